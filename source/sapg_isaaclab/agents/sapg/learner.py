"""The learning half of SAPG: minibatches, their losses, and the optimiser's steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.gaussian import gaussian_entropy, gaussian_kl, gaussian_log_prob
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.agents.sapg import losses
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.networks import BlockActorCritic, Sequences
from sapg_isaaclab.agents.saving import load_grad_scaler

# what one minibatch reports, in this order; averaged over the update and read by the host once
MINIBATCH_METRICS = ("Loss/policy", "Loss/value", "Loss/entropy", "Loss/bounds", "Policy/kl", "Policy/grad_norm")


Piece = tuple[TensorDict, Sequences | None]


@dataclasses.dataclass
class Batch:
    """Everything an update visits, in the order it does.

    Attributes:
        rows: All rows. Batch size [R].
        bounds: Bounds of the minibatches, in units of ``unit`` rows.
        most: Most units that go through the networks at once; larger minibatches do so in pieces.
        unit: Rows that stay together: L with an LSTM, else 1.
        sequences: Recurrent states (S, K, H) and resets (S, L) of the rows' sequences; None without an LSTM.
        clean: Number of sequences without a reset at the head of each minibatch.
    """

    rows: TensorDict
    bounds: list[int]
    most: int
    unit: int = 1
    sequences: Sequences | None = None
    clean: list[int] = dataclasses.field(default_factory=list)

    def minibatches(self) -> Iterator[list[Piece]]:
        """Rows and sequences of one minibatch after the other, in pieces of equal size. Views, nothing is copied."""
        for index, (start, end) in enumerate(zip(self.bounds[:-1], self.bounds[1:])):
            count = -(-(end - start) // self.most)
            cuts = [start + (end - start) * piece // count for piece in range(count + 1)]
            yield [self._piece(a, b, index) for a, b in zip(cuts[:-1], cuts[1:])]

    def _piece(self, start: int, end: int, minibatch: int) -> Piece:
        rows = self.rows[start * self.unit : end * self.unit]
        if self.sequences is None:
            return rows, None
        states, resets, _ = self.sequences
        clean = min(max(self.bounds[minibatch] + self.clean[minibatch] - start, 0), end - start)
        return rows, Sequences(states[start:end], resets[start:end], clean)


class Learner:
    """Owns the optimiser and takes its steps.

    Args:
        model: Networks of all policies, in one Adam group: clipping the gradient's norm couples policies, and momentum
            moves a latent in minibatches without its rows (as in the official code).
        layout: Blocks.
        cfg: Options.
        ranks: Processes that take every step together, each with minibatches of its own.
    """

    def __init__(self, model: BlockActorCritic, layout: BlockLayout, cfg: SapgCfg, ranks: Ranks = ALONE) -> None:
        self.model, self.layout, self.cfg, self.ranks = model, layout, cfg, ranks
        device = torch.device(model.device).type
        rate = torch.tensor(cfg.learning_rate, device=model.device)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, eps=1e-8, fused=True)
        # bfloat16 has the exponents of float32: only float16 needs its gradients scaled
        self.grad_scaler = torch.amp.GradScaler(device, enabled=cfg.mixed_precision and device == "cuda")
        self._half = {
            "device_type": device,
            "dtype": torch.float16 if device == "cuda" else torch.bfloat16,
            "enabled": cfg.mixed_precision,
        }
        self._evaluate = model.evaluate
        self._losses = self.losses
        if cfg.compile:
            self._losses = torch.compile(self.losses)
            if model.state_shape is not None:
                # torch does not trace an LSTM: around it, everything else is compiled
                self._evaluate = torch.compiler.disable(model.evaluate)

    @property
    def learning_rate(self) -> torch.Tensor:
        """Step size, a scalar on the device."""
        return self.optimizer.param_groups[0]["lr"]

    def learn(self, batch: Batch) -> torch.Tensor:
        """Minibatch steps over all epochs.

        Args:
            batch: What to learn from. The reference means and log-stds in it are overwritten.

        Returns:
            Mean of :data:`MINIBATCH_METRICS` over all minibatches of all ranks, on the device.
        """
        cfg, scaler = self.cfg, self.grad_scaler
        limit = cfg.grad_norm_clip or float("inf")
        reports = []
        for _ in range(cfg.learning_epochs):
            epoch = len(reports)
            for pieces in batch.minibatches():
                self.optimizer.zero_grad(set_to_none=True)
                total, found = sum(len(rows) for rows, _ in pieces), []
                for rows, sequences in pieces:
                    parts, kl, counted, mean, log_std = self._losses(rows, sequences)
                    parts = parts * (len(rows) / total)
                    scaler.scale(parts.sum()).backward()
                    # the next pass measures its divergence from this one (official code)
                    rows["mean"].copy_(mean)
                    rows["log_std"].copy_(log_std)
                    found.append(torch.cat((parts.detach(), torch.stack((kl * counted, counted)))))
                # before the gradients are unscaled, so that a step is skipped by all ranks or by none
                sums = self.ranks.average_gradients(self.model.parameters(), torch.stack(found).sum(dim=0))
                scaler.unscale_(self.optimizer)
                norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit, foreach=True)
                scaler.step(self.optimizer)
                scaler.update()
                kl = sums[4] / sums[5].clamp(min=1.0 / self.ranks.size)
                reports.append(torch.cat((sums[:4], torch.stack((kl, norm)))))
            if cfg.learning_rate_schedule == "kl":
                self.adapt_learning_rate(torch.stack(reports[epoch:])[:, 4].mean())
        return torch.stack(reports).mean(dim=0)

    def losses(
        self, rows: TensorDict, sequences: Sequences | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Losses of a minibatch, or of a piece of one.

        Args:
            rows: Its rows. Batch size [rows].
            sequences: Recurrent states and resets of its sequences.

        Returns:
            Weighted mean losses (policy, value, entropy, bounds), the mean divergence from the reference policies, the
            number of rows that this mean runs over, and the current means and log-stds of the rows without gradient.
        """
        cfg, inputs = self.cfg, rows["inputs"]
        with torch.autocast(**self._half):
            out = self._evaluate(inputs["observations"], inputs.get("states", None), sequences)
        mean, log_std, values = (column.float() for column in out[:3])
        log_prob = gaussian_log_prob(rows["actions"], mean, log_std)
        value_clip = cfg.ratio_clip if cfg.value_clip_mode == "max" else None
        parts = torch.stack(
            (
                losses.surrogate(
                    log_prob, rows["log_prob"], rows["advantages"], clip=cfg.ratio_clip, log_mu=rows.get("log_mu", None)
                ),
                cfg.value_loss_scale * losses.value_loss(values, rows["values"], rows["returns"], clip=value_clip),
                losses.entropy_loss(gaussian_entropy(log_std), rows["entropy_coefs"]),
                cfg.bounds_loss_scale * losses.bounds_loss(mean),
            )
        )
        if "weights" in rows.keys():
            parts = parts * rows["weights"]
        with torch.no_grad():
            kl = gaussian_kl(mean, log_std, rows["mean"], rows["log_std"])
            counted = torch.ones_like(kl)
            if cfg.kl_scope == "on_policy":
                counted = (rows["group"] < self.layout.num_blocks).to(kl.dtype)
            count = counted.sum()
            kl = (kl * counted).sum() / count.clamp(min=1.0)
        return parts.mean(dim=1), kl, count, mean.detach(), log_std.detach()

    def adapt_learning_rate(self, kl: torch.Tensor) -> None:
        """Adapt the step size to a divergence (official schedule), on the device: the host never waits for it.

        Args:
            kl: Mean divergence of an epoch [nat], scalar.
        """
        rate, threshold = self.optimizer.param_groups[0]["lr"], self.cfg.kl_threshold
        factor = torch.where(kl > 2.0 * threshold, 1.0 / 1.5, torch.where(kl < 0.5 * threshold, 1.5, 1.0))
        rate.mul_(factor).clamp_(*self.cfg.learning_rate_bounds)

    def state_dict(self) -> dict[str, Any]:
        """State of the optimiser and of the gradient scaler."""
        return {"optimizer": self.optimizer.state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.
        """
        rate = self.learning_rate
        self.optimizer.load_state_dict(state["optimizer"])
        rate.copy_(self.learning_rate)
        self.optimizer.param_groups[0]["lr"] = rate  # the loaded one may live on another device
        load_grad_scaler(self.grad_scaler, state["grad_scaler"])
