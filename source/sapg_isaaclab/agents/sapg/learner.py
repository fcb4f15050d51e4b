"""The learning half of SAPG: minibatches, their losses, and the optimiser's steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.gaussian import gaussian_entropy, gaussian_kl, gaussian_log_prob
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.agents.sapg import coupling, losses
from sapg_isaaclab.agents.sapg.batch import Batch, Piece
from sapg_isaaclab.agents.sapg.networks import Sequences
from sapg_isaaclab.agents.sapg.policies import Policies
from sapg_isaaclab.agents.saving import load_grad_scaler

LOSSES = ("Loss/policy", "Loss/value", "Loss/entropy", "Loss/bounds", "Loss/awac")
"""The last one where followers imitate the leader only."""


class Step(NamedTuple):
    """What an optimiser step reports of itself, over the minibatches of all ranks, on the device.

    Attributes:
        losses: Weighted mean losses, in the order of :data:`LOSSES`. Shape (4,), or (5,).
        kl: Mean divergence of the rows that steer the step size [nat], scalar.
        kl_on_policy: Mean divergence of on-policy rows.
        kl_off_policy: Mean divergence of relabelled rows; 0 where there are none.
        grad_norm: Norm of the gradient before clipping.
        skipped: Whether the step was left out because gradients overflowed in half precision, boolean scalar.
    """

    losses: torch.Tensor
    kl: torch.Tensor
    kl_on_policy: torch.Tensor
    kl_off_policy: torch.Tensor
    grad_norm: torch.Tensor
    skipped: torch.Tensor


class PieceLosses(NamedTuple):
    """Losses of a piece of a minibatch.

    Attributes:
        parts: Weighted means over its rows, in the order of :data:`LOSSES`. Shape (4,), or (5,).
        divergence: Sums of the divergence over all rows but imitated ones and over on-policy rows, and the numbers of
            these rows. Shape (4,).
        mean: Mean actions of the rows, without gradient. Shape (rows, A).
        log_std: Log standard deviations of the rows, without gradient. Shape (rows, A).
    """

    parts: torch.Tensor
    divergence: torch.Tensor
    mean: torch.Tensor
    log_std: torch.Tensor


class Learner:
    """Owns the optimiser and takes its steps.

    Args:
        policies: Networks of all policies, in one Adam group: clipping the gradient's norm couples policies, and
            momentum moves a latent in minibatches without its rows (as in the official code). With
            ``critic_learning_rate`` the critic's layers are a second one.
        ranks: Processes that take every step together, each with minibatches of its own.
    """

    def __init__(self, policies: Policies, ranks: Ranks = ALONE) -> None:
        self.policies, self.ranks = policies, ranks
        self.model, self.layout, self.cfg = policies.model, policies.layout, policies.cfg
        model, cfg = self.model, self.cfg
        coefs = self.layout.entropy_coefs(cfg.entropy_loss_scale, cfg.entropy_schedule)
        self.entropy_coefs = coefs.to(model.device)
        device = torch.device(model.device).type
        rate = torch.tensor(cfg.learning_rate, device=model.device)
        groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
        if cfg.critic_learning_rate is not None:
            critic = [*model.critic.parameters(), *model.value.parameters()]
            mine = set(map(id, critic))
            groups[0]["params"] = [each for each in model.parameters() if id(each) not in mine]
            groups.append({"params": critic, "lr": torch.tensor(cfg.critic_learning_rate, device=model.device)})
        self.optimizer = torch.optim.Adam(groups, lr=rate, eps=1e-8, fused=True)
        self._clipped = [group["params"] for group in self.optimizer.param_groups]  # together, also what leaves it
        half = cfg.mixed_precision
        if device == "cpu" and model.state_shape is not None:
            # oneDNN has no LSTM in bfloat16 for processors without AVX-512
            half = half and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        # bfloat16 has the exponents of float32: only float16 needs its gradients scaled
        self.grad_scaler = torch.amp.GradScaler(device, enabled=cfg.mixed_precision and device == "cuda")
        self._half = {
            "device_type": device,
            "dtype": torch.float16 if device == "cuda" else torch.bfloat16,
            "enabled": half,
        }
        self._evaluate: Any = model.evaluate
        self._losses = self._losses_of_inputs
        if cfg.compile:
            self._losses = torch.compile(self._losses_of_inputs)
            if model.state_shape is not None:
                # torch does not trace an LSTM: around it, everything else is compiled
                self._evaluate = torch.compiler.disable(model.evaluate)

    @property
    def learning_rate(self) -> torch.Tensor:
        """Step size of the policies, a scalar on the device."""
        return self.optimizer.param_groups[0]["lr"]

    def learn(self, batch: Batch) -> list[Step]:
        """Minibatch steps over all epochs.

        Args:
            batch: What to learn from. The reference means and log-stds in it are overwritten.

        Returns:
            What each step reports of itself.
        """
        cfg, steps = self.cfg, []
        if cfg.observation_moments == "update":
            self.policies.update_moments(batch.rows, self.ranks)
        for epoch in range(cfg.learning_epochs):
            begin = len(steps)
            for rows, pieces in batch.minibatches():
                if epoch == 0 and cfg.observation_moments != "update":
                    self.policies.update_moments(rows, self.ranks)
                steps.append(self.step(pieces))
                if epoch == 0 and cfg.observation_moments == "minibatch_twice":
                    self.policies.update_moments(rows, self.ranks, standardised=True)
            if cfg.learning_rate_schedule == "kl":
                self.adapt_learning_rate(torch.stack([step.kl for step in steps[begin:]]).mean())
        return steps

    def step(self, pieces: list[Piece]) -> Step:
        """One step of the optimiser, or none where gradients overflow in half precision.

        Args:
            pieces: A minibatch.

        Returns:
            What the step reports.
        """
        scaler, parameters = self.grad_scaler, list(self.model.parameters())
        self.model.zero_grad(set_to_none=True)
        total, found = sum(len(piece.rows) for piece in pieces), []
        for rows, sequences in pieces:
            piece = self.losses(rows, sequences)
            parts = piece.parts * (len(rows) / total)
            scaler.scale(parts.sum()).backward()
            # the next pass measures its divergence from this one (official code)
            rows["mean"].copy_(piece.mean)
            rows["log_std"].copy_(piece.log_std)
            found.append(torch.cat((parts.detach(), piece.divergence)))
        # before the gradients are unscaled, so that a step is skipped by all ranks or by none
        sums = self.ranks.average_gradients(parameters, torch.stack(found).sum(dim=0))
        scaler.unscale_(self.optimizer)
        limit = self.cfg.grad_norm_clip or float("inf")
        norms = [torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True) for parameters in self._clipped]
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        scaler.step(self.optimizer)
        scaler.update()
        skipped = norm.isfinite().logical_not() & scaler.is_enabled()  # without a scaler every step is taken
        parts, (kl, kl_on, rows, rows_on) = sums[:-4], sums[-4:]
        least = 1.0 / self.ranks.size
        mean, mean_on = kl / rows.clamp(min=least), kl_on / rows_on.clamp(min=least)
        mean_off = (kl - kl_on) / (rows - rows_on).clamp(min=least)
        steering = mean_on if self.cfg.kl_scope == "on_policy" else mean
        return Step(parts, steering, mean_on, mean_off, norm, skipped)

    def losses(self, rows: TensorDict, sequences: Sequences | None = None) -> PieceLosses:
        """Losses of a minibatch, or of a piece of one.

        Args:
            rows: Its rows; the columns are those of :class:`~sapg_isaaclab.agents.sapg.batch.Batch`.
            sequences: Recurrent states and resets of its sequences.

        Returns:
            Losses, divergence from the reference policies, and the policies now.
        """
        inputs = self.policies.inputs(rows, self.model.identity(rows["block"]))
        as_leader = None
        if self.cfg.leader_penalty > 0.0:
            as_leader = self.policies.inputs(rows, self.policies.identity_of(self.layout.leader, len(rows)))
        return PieceLosses(*self._losses(rows, inputs, sequences, as_leader))

    def _losses_of_inputs(
        self,
        rows: TensorDict,
        inputs: dict[str, torch.Tensor],
        sequences: Sequences | None,
        as_leader: dict[str, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        cfg = self.cfg
        with torch.autocast(**self._half):
            out = self._evaluate(inputs["observations"], inputs.get("states"), sequences)
        mean, log_std, values = (column.float() for column in out[:3])
        log_prob = gaussian_log_prob(rows["actions"], mean, log_std)
        advantages = rows["advantages"]
        if as_leader is not None:
            advantages = self._penalised(advantages, log_prob, rows, as_leader, sequences)
        value_clip = cfg.ratio_clip if cfg.value_clip_mode == "max" else None
        parts = torch.stack(
            (
                losses.surrogate(
                    log_prob, rows["log_prob"], advantages, clip=cfg.ratio_clip, log_mu=rows.get("log_mu", None)
                ),
                cfg.value_loss_scale * losses.value_loss(values, rows["values"], rows["returns"], clip=value_clip),
                losses.entropy_loss(gaussian_entropy(log_std), self.entropy_coefs[rows["block"]]),
                cfg.bounds_loss_scale * losses.bounds_loss(mean),
            )
        )
        learned = None
        if cfg.awac_scale > 0.0:
            imitated = coupling.imitates(rows["group"], self.layout.num_blocks).to(parts.dtype)
            learned = 1.0 - imitated
            weights = coupling.awac_weights(
                rows["advantages"], temperature=cfg.awac_temperature, maximum=cfg.awac_weight_max
            )
            awac = cfg.awac_scale * coupling.awac_loss(log_prob, weights)
            parts = torch.cat((parts * learned, (awac * imitated).unsqueeze(0)))
        if "weights" in rows.keys():
            parts = parts * rows["weights"]
        with torch.no_grad():
            kl = gaussian_kl(mean, log_std, rows["mean"], rows["log_std"])
            own = (rows["group"] < self.layout.num_blocks).to(kl.dtype)
            counted = torch.ones_like(kl) if learned is None else learned
            every = kl if learned is None else kl * learned
            divergence = torch.stack((every.sum(), (kl * own).sum(), counted.sum(), own.sum()))
        return parts.mean(dim=1), divergence, mean.detach(), log_std.detach()

    def _penalised(
        self,
        advantages: torch.Tensor,
        log_prob: torch.Tensor,
        rows: TensorDict,
        as_leader: dict[str, torch.Tensor],
        sequences: Sequences | None,
    ) -> torch.Tensor:
        """Advantages, those of followers' own rows with the penalty on their distance from the leader."""
        with torch.no_grad(), torch.autocast(**self._half):
            out = self._evaluate(as_leader["observations"], as_leader.get("states"), sequences)
        leader_log_prob = gaussian_log_prob(rows["actions"], out.mean.float(), out.log_std.float())
        group, leader = rows["group"], self.layout.leader
        of_followers = (group < self.layout.num_blocks) & (group != leader)
        penalised = coupling.penalised_advantages(advantages, log_prob, leader_log_prob, scale=self.cfg.leader_penalty)
        return torch.where(of_followers, penalised, advantages)

    def adapt_learning_rate(self, kl: torch.Tensor) -> None:
        """Adapt the step size to a divergence (official schedule), on the device: the host never waits for it.

        Args:
            kl: Mean divergence of an epoch [nat], scalar.
        """
        rate, threshold = self.optimizer.param_groups[0]["lr"], self.cfg.kl_threshold
        factor = torch.where(kl > 2.0 * threshold, 1.0 / 1.5, torch.where(kl < 0.5 * threshold, 1.5, 1.0))
        rate.mul_(factor).clamp_(*self.cfg.learning_rate_bounds)

    def forget(self, table: torch.nn.Parameter, rows: torch.Tensor) -> None:
        """Let Adam begin anew in rows of a parameter that were written from outside.

        Args:
            table: The parameter. Shape (M, columns).
            rows: Which rows. Boolean, shape (M,).
        """
        for moment in self.optimizer.state.get(table, {}).values():
            if moment.shape == table.shape:  # the number of steps is common to all rows
                moment.masked_fill_(rows.unsqueeze(1), 0.0)

    def leave_out(self, parameter: torch.nn.Parameter) -> None:
        """Take a parameter out of the optimiser. Its gradient stays part of the norm that is clipped.

        With half precision on CUDA that gradient is then not unscaled, so it dominates the norm (released code of EPO).

        Args:
            parameter: The parameter; nothing happens if it is out already.
        """
        for group in self.optimizer.param_groups:
            group["params"] = [own for own in group["params"] if own is not parameter]
        self.optimizer.state.pop(parameter, None)

    def state_dict(self) -> dict[str, Any]:
        """State of the optimiser and of the gradient scaler."""
        return {"optimizer": self.optimizer.state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.
        """
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates):
            rate.copy_(group["lr"])
            group["lr"] = rate  # the loaded one may live on another device
        load_grad_scaler(self.grad_scaler, state["grad_scaler"])
