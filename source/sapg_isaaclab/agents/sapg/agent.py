"""SAPG as an skrl agent. Reads in the order of an iteration: act, record, prepare the batch, learn."""

from __future__ import annotations

from typing import Any

import torch
from skrl.agents.torch import Agent
from skrl.memories.torch import Memory
from tensordict import TensorDict

from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.models import BlockActorCritic
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.returns import bootstrapped_rewards, gae, n_step_returns
from sapg_isaaclab.agents.sapg import losses
from sapg_isaaclab.agents.sapg.aggregation import OffPolicyRows, draw_pairs, relabel
from sapg_isaaclab.agents.sapg.batch import minibatch_bounds, row_order, row_weights
from sapg_isaaclab.agents.sapg.cfg import SapgCfg

# what one minibatch reports, in this order; averaged over the update and read by the host once
MINIBATCH_METRICS = ("Loss/policy", "Loss/value", "Loss/entropy", "Loss/bounds", "Policy/kl", "Policy/grad_norm")


class SAPG(Agent):
    """Split and Aggregate Policy Gradients (Singla et al., ICML 2024).

    M policies act in a block of environments each; block 0 is the leader and also learns from followers' rows. With
    one block this is PPO. While training, environment n acts by the policy of its block; otherwise every environment
    acts by the leader's.

    After every update ``metrics`` holds the newest numbers, by tag.

    Args:
        models: The same :class:`~sapg_isaaclab.agents.models.BlockActorCritic` as ``policy`` and ``value``.
        memory: Where rollouts are kept; None for an agent that only acts.
        observation_space: Box of D observations.
        state_space: Box of the privileged state, if any.
        action_space: Box of A actions. Environments must accept any real action and clamp it to [-1, 1] themselves:
            log-probabilities are those of the unclamped sample.
        device: Where to compute.
        cfg: Options; see :class:`~sapg_isaaclab.agents.sapg.cfg.SapgCfg`.

    Raises:
        ValueError: If an option is wrong.
    """

    cfg: SapgCfg

    def __init__(
        self,
        *,
        models: dict[str, BlockActorCritic],
        memory: Memory | None = None,
        observation_space=None,
        state_space=None,
        action_space=None,
        device: str | torch.device | None = None,
        cfg: SapgCfg | dict[str, Any] | None = None,
    ) -> None:
        cfg = SapgCfg(**(cfg or {})) if cfg is None or isinstance(cfg, dict) else cfg
        if memory is not None and not isinstance(memory, BlockMemory):
            raise ValueError(f"SAPG needs a BlockMemory, not {type(memory).__name__}; use build_agent(env, cfg)")
        self.layout = cfg.check(memory.num_envs if memory is not None else cfg.num_blocks)
        super().__init__(
            cfg=cfg,
            models=models,
            memory=memory,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        self.model = models["policy"]
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=torch.tensor(cfg.learning_rate, device=self.device), eps=1e-8, fused=True
        )
        widths = {"observations": self.model.num_observations}
        if cfg.critic_input == "states":
            if state_space is None:
                raise ValueError(
                    "agent.critic_input=states, but this environment has no privileged state; remove the option"
                )
            widths["states"] = self.model.num_states
        self.scalers = torch.nn.ModuleDict(
            {name: RunningMoments(width, device=self.device) for name, width in widths.items()}
        )
        self.value_scaler = RunningMoments(1, device=self.device)
        self.entropy_coefs = self.layout.entropy_coefs(cfg.entropy_loss_scale, cfg.entropy_schedule).to(self.device)
        # on the host and seeded alike everywhere, so that all ranks draw the same followers without a message
        self.block_generator = torch.Generator().manual_seed(cfg.seed)
        self.metrics: dict[str, float] = {}
        self._blocks = torch.arange(self.layout.num_envs, device=self.device) // self.layout.block_size
        self._rollout = 0
        self.checkpoint_modules = {
            "policy": self.model,
            "optimizer": self.optimizer,
            "scalers": self.scalers,
            "value_scaler": self.value_scaler,
        }

    def init(self, *, trainer_cfg: Any = None) -> None:
        """Create the memory's tensors. Called by skrl's trainers; see skrl's Agent.

        Args:
            trainer_cfg: Configuration of the trainer.
        """
        super().init(trainer_cfg=trainer_cfg)
        self.enable_models_training_mode(False)
        if self.memory is None:
            return
        widths = {name: scaler.mean.numel() for name, scaler in self.scalers.items()}
        widths |= dict.fromkeys(("actions", "mean", "log_std"), self.model.num_actions)
        widths |= dict.fromkeys(("rewards", "log_prob", "values"), 1)
        if self.cfg.timeout_bootstrap == "final_obs":
            widths["final_values"] = 1
        for name, width in widths.items():
            self.memory.create_tensor(name, size=width, dtype=torch.float32)
        for name in ("terminated", "truncated"):
            self.memory.create_tensor(name, size=1, dtype=torch.bool)

    # -- acting --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def act(
        self, observations: torch.Tensor, states: torch.Tensor | None, *, timestep: int, timesteps: int
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Sample an action in every environment, policy and value in one pass.

        Args:
            observations: Observations. Shape (N, D).
            states: Privileged states, if the critic sees them. Shape (N, S).
            timestep: Current step, unused.
            timesteps: Number of steps, unused.

        Returns:
            Unclamped actions (N, A), and ``log_prob`` (N, 1), ``mean_actions`` (N, A), ``log_std`` (N, A).
        """
        blocks = self._blocks if self.training else self._blocks.new_full((len(observations),), self.layout.leader)
        mean, log_std, values = self._evaluate(self._seen(observations, states), blocks)
        actions = mean + log_std.exp() * torch.randn_like(mean)
        log_prob = losses.gaussian_log_prob(actions, mean, log_std).unsqueeze(-1)
        self._acted = {"mean": mean, "log_std": log_std, "log_prob": log_prob, "values": values.unsqueeze(-1)}
        return actions, {"log_prob": log_prob, "mean_actions": mean, "log_std": log_std}

    @torch.no_grad()
    def act_block(self, observations: torch.Tensor, block: int = 0, *, deterministic: bool = True) -> torch.Tensor:
        """Action of one policy in every environment, for playing and evaluation.

        Args:
            observations: Observations of any number of environments. Shape (N, D).
            block: Whose policy; 0 is the leader.
            deterministic: Mean action instead of a sample.

        Returns:
            Unclamped actions of shape (N, A).

        Raises:
            ValueError: If there is no such block.
        """
        self.layout.check_block(block)
        blocks = self._blocks.new_full((len(observations),), block)
        inputs = self._inputs(self._seen(observations, None, critic=False), blocks)
        mean, log_std = self.model.policy(inputs["observations"])
        return mean if deterministic else mean + log_std.exp() * torch.randn_like(mean)

    def _seen(self, observations: torch.Tensor, states: torch.Tensor | None, *, critic: bool = True) -> TensorDict:
        rows = {"observations": observations}
        if critic and "states" in self.scalers:
            if states is None:
                raise ValueError("agent.critic_input=states, but the environment gave no state (key 'critic')")
            rows["states"] = states
        return TensorDict(rows, batch_size=[len(observations)])

    def _inputs(self, rows: TensorDict, blocks: torch.Tensor) -> dict[str, torch.Tensor]:
        """Standardise every input and append the one-hot identity of the row's policy."""
        identity = self.model.identity(blocks)
        inputs = {}
        for name, value in rows.items():
            value = self.scalers[name].normalize(value) if self.cfg.normalize_observations else value
            inputs[name] = value if identity is None else torch.cat((value, identity), dim=1)
        return inputs

    def _evaluate(
        self, rows: TensorDict, blocks: torch.Tensor | int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean (rows, A), log-std (rows, A) and value in reward units (rows,) of rows under the given policies."""
        if isinstance(blocks, int):
            blocks = self._blocks.new_full((len(rows),), blocks)
        inputs = self._inputs(rows, blocks)
        mean, log_std, values = self.model.evaluate(inputs["observations"], inputs.get("states"))
        return mean, log_std, self.value_scaler.denormalize(values) if self.cfg.normalize_values else values

    # -- recording -----------------------------------------------------------------------------------------------------

    def record_transition(
        self,
        *,
        observations: torch.Tensor,
        states: torch.Tensor | None,
        actions: torch.Tensor,
        rewards: torch.Tensor,
        next_observations: torch.Tensor,
        next_states: torch.Tensor | None,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        infos: Any,
        timestep: int,
        timesteps: int,
    ) -> None:
        """Store a step of all environments.

        Args:
            observations: Observations before the step. Shape (N, D).
            states: Privileged states before the step. Shape (N, S) or None.
            actions: Actions taken. Shape (N, A).
            rewards: Rewards. Shape (N, 1).
            next_observations: Observations after the step, of the new episode where one ended. Shape (N, D).
            next_states: Privileged states after the step. Shape (N, S) or None.
            terminated: Whether the task ended. Shape (N, 1).
            truncated: Whether time ran out. Shape (N, 1).
            infos: Extras of the environment; ``final_obs`` is read with ``timeout_bootstrap=final_obs``.
            timestep: Current step.
            timesteps: Number of steps.

        Raises:
            ValueError: If the true last observations are needed and missing.
        """
        # skrl's own statistics, which pick its best checkpoint, are the leader's
        leader = self.layout.slice(self.layout.leader)
        super().record_transition(
            observations=observations,
            states=states,
            actions=actions,
            rewards=rewards[leader],
            next_observations=next_observations,
            next_states=next_states,
            terminated=terminated[leader],
            truncated=truncated[leader],
            infos=infos,
            timestep=timestep,
            timesteps=timesteps,
        )
        if not self.training:
            return
        sample = {"observations": observations, "states": states, "actions": actions, **self._acted}
        if self.cfg.timeout_bootstrap == "final_obs":
            sample["final_values"] = self._final_values(truncated, infos)
        self._next = self._seen(next_observations, next_states)
        self.memory.add_samples(
            **sample, rewards=rewards * self.cfg.rewards_scale, terminated=terminated, truncated=truncated
        )

    @torch.no_grad()
    def _final_values(self, truncated: torch.Tensor, infos: Any) -> torch.Tensor:
        """Value (N, 1) of the true last state where time ran out, 0 elsewhere."""
        values = torch.zeros(truncated.shape, device=self.device)
        rows = truncated.squeeze(-1).nonzero().squeeze(-1)
        if rows.numel():
            if not isinstance(infos, dict) or "final_obs" not in infos:
                raise ValueError(
                    "agent.timeout_bootstrap=final_obs, but the environment gives no final observations;"
                    " set env.compute_final_obs=true or agent.timeout_bootstrap=current_value"
                )
            final = infos["final_obs"]
            states = final["critic"][rows] if "states" in self.scalers else None
            values[rows] = self._evaluate(self._seen(final["policy"][rows], states), self._blocks[rows])[2].unsqueeze(1)
        return values

    def pre_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Nothing to do before a step. See skrl's Agent.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """

    def post_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Update after every ``rollouts`` steps. See skrl's Agent.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        if self.training:
            self._rollout += 1
            if self._rollout % self.cfg.rollouts == 0:
                self.enable_models_training_mode(True)
                self.update(timestep=timestep, timesteps=timesteps)
                self.enable_models_training_mode(False)
        super().post_interaction(timestep=timestep, timesteps=timesteps)

    # -- learning ------------------------------------------------------------------------------------------------------

    def update(self, *, timestep: int, timesteps: int) -> None:
        """One update of all policies from the rollout in memory.

        Args:
            timestep: Current step, unused.
            timesteps: Number of steps, unused.
        """
        pairs = draw_pairs(self.cfg, self.layout, self.block_generator)
        batch, off = self._batch(pairs)
        learned = self._learn(batch)
        self.metrics = self._report(learned, pairs, off)
        if self.write_interval > 0:
            for tag, value in self.metrics.items():
                self.track_data(tag, value)

    @torch.no_grad()
    def _batch(self, pairs: list[tuple[int, int]]) -> tuple[TensorDict, OffPolicyRows | None]:
        """All rows of an update in the order they are visited: on-policy rows, then relabelled ones, shuffled."""
        cfg, data = self.cfg, self.memory.rollout
        rewards, values, terminated, truncated = (
            data[name].squeeze(-1) for name in ("rewards", "values", "terminated", "truncated")
        )
        bootstrap = {
            "none": lambda: None,
            "current_value": lambda: values,
            "final_obs": lambda: data["final_values"].squeeze(-1),
        }[cfg.timeout_bootstrap]()
        rewards = bootstrapped_rewards(rewards, terminated, truncated, gamma=cfg.discount_factor, bootstrap=bootstrap)
        chain = (rewards, values, self._evaluate(self._next, self._blocks)[2], terminated, truncated)
        advantages, returns = gae(*chain, gamma=cfg.discount_factor, lam=cfg.gae_lambda)
        if cfg.on_policy_target == "nstep":
            returns = n_step_returns(*chain, gamma=cfg.discount_factor, n=cfg.n_step)
        per_target = int(cfg.off_policy_ratio * cfg.rollouts * self.layout.block_size)
        off = relabel(
            self.memory,
            pairs,
            rewards,
            self._next,
            self._evaluate,
            gamma=cfg.discount_factor,
            rows_per_target=per_target if cfg.subsample == "transition" else None,
        )

        steps, envs = rewards.shape
        rows = torch.arange(steps * envs, device=self.device)
        blocks = self._blocks.repeat(steps)
        group = blocks
        columns = {"values": values.flatten(), "returns": returns.flatten(), "advantages": advantages.flatten()}
        if cfg.importance_clip == "mu":
            columns["log_mu"] = torch.zeros_like(columns["values"])
        if off is not None:
            rows, blocks = torch.cat((rows, off.rows)), torch.cat((blocks, off.target))
            group = torch.cat((group, off.target + self.layout.num_blocks))
            columns = {name: torch.cat((column, getattr(off, name))) for name, column in columns.items()}
        if cfg.importance_clip == "mu" and cfg.mu_max < float("inf"):
            columns["log_mu"].clamp_(max=torch.tensor(cfg.mu_max).log().item())
        if cfg.normalize_values:
            self.value_scaler.update(columns["values"].unsqueeze(-1))
            self.value_scaler.update(columns["returns"].unsqueeze(-1))
            columns |= {name: self.value_scaler.normalize(columns[name]) for name in ("values", "returns")}
        if cfg.normalize_advantages:
            std, mean = torch.std_mean(columns["advantages"])
            columns["advantages"] = (columns["advantages"] - mean) / (std + 1e-8)
        weights = row_weights(group, self.layout, cfg)
        if weights is not None:
            columns["weights"] = weights
        columns["group"] = group

        order = row_order(steps, envs, off, group, cfg)
        batch = TensorDict({name: column[order] for name, column in columns.items()}, batch_size=[len(order)])
        flat, order_rows = data.flatten(), rows[order]
        for name in ("actions", "log_prob", "mean", "log_std"):
            batch[name] = flat[name][order_rows]
        batch["log_prob"] = batch["log_prob"].squeeze(-1)
        seen = TensorDict({name: flat[name][order_rows] for name in self.scalers}, batch_size=batch.batch_size)
        if cfg.normalize_observations:
            for name, scaler in self.scalers.items():
                scaler.update(seen[name])
        blocks = blocks[order]
        batch["entropy_coefs"] = self.entropy_coefs[blocks]
        batch["inputs"] = TensorDict(self._inputs(seen, blocks), batch_size=batch.batch_size)
        return batch, off

    def _learn(self, batch: TensorDict) -> torch.Tensor:
        """Minibatch steps over all epochs. Returns the mean of MINIBATCH_METRICS, on the device."""
        cfg = self.cfg
        bounds = minibatch_bounds(len(batch), cfg.rollouts * self.layout.num_envs, cfg)
        reports = []
        for _ in range(cfg.learning_epochs):
            for start, end in zip(bounds[:-1], bounds[1:]):
                rows = batch[start:end]
                parts, kl, mean, log_std = self._losses(rows)
                total = parts.sum()
                self.optimizer.zero_grad(set_to_none=True)
                total.backward()
                limit = cfg.grad_norm_clip or float("inf")
                norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit, foreach=True)
                self.optimizer.step()
                # the next pass measures its divergence from this one (official code)
                rows["mean"].copy_(mean)
                rows["log_std"].copy_(log_std)
                reports.append(torch.cat((parts.detach(), torch.stack((kl, norm)))))
            if cfg.learning_rate_schedule == "kl":
                self._adapt_learning_rate(torch.stack(reports[-len(bounds) + 1 :])[:, 4].mean())
        return torch.stack(reports).mean(dim=0)

    def _losses(self, rows: TensorDict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weighted losses (policy, value, entropy, bounds) of a minibatch, its divergence, means and log-stds."""
        cfg, inputs = self.cfg, rows["inputs"]
        mean, log_std, values = self.model.evaluate(inputs["observations"], inputs.get("states", None))
        log_prob = losses.gaussian_log_prob(rows["actions"], mean, log_std)
        value_clip = cfg.ratio_clip if cfg.value_clip_mode == "max" else None
        parts = torch.stack(
            (
                losses.surrogate(
                    log_prob, rows["log_prob"], rows["advantages"], clip=cfg.ratio_clip, log_mu=rows.get("log_mu", None)
                ),
                cfg.value_loss_scale * losses.value_loss(values, rows["values"], rows["returns"], clip=value_clip),
                losses.entropy_loss(losses.gaussian_entropy(log_std), rows["entropy_coefs"]),
                cfg.bounds_loss_scale * losses.bounds_loss(mean),
            )
        )
        if "weights" in rows.keys():
            parts = parts * rows["weights"]
        with torch.no_grad():
            kl = losses.gaussian_kl(mean, log_std, rows["mean"], rows["log_std"])
            if cfg.kl_scope == "on_policy":
                counted = rows["group"] < self.layout.num_blocks
                kl = (kl * counted).sum() / counted.sum().clamp(min=1)
            else:
                kl = kl.mean()
        return parts.mean(dim=1), kl, mean.detach(), log_std.detach()

    def _adapt_learning_rate(self, kl: torch.Tensor) -> None:
        """Official schedule, on the device: the host never waits for the divergence."""
        rate, threshold = self.optimizer.param_groups[0]["lr"], self.cfg.kl_threshold
        factor = torch.where(kl > 2.0 * threshold, 1.0 / 1.5, torch.where(kl < 0.5 * threshold, 1.5, 1.0))
        rate.mul_(factor).clamp_(*self.cfg.learning_rate_bounds)

    @torch.no_grad()
    def _report(self, learned: torch.Tensor, pairs: list, off: OffPolicyRows | None) -> dict[str, float]:
        """Numbers of an update, brought to the host in one transfer."""
        tags = [*MINIBATCH_METRICS, "Policy/learning_rate"]
        numbers = [learned, self.optimizer.param_groups[0]["lr"].reshape(1)]
        log_std = self.memory.blocks()["log_std"][-1].mean(dim=1)
        tags += [f"Block_{block}/std" for block in range(self.layout.num_blocks)]
        numbers.append(log_std.exp().mean(dim=-1))
        tags += [f"Block_{block}/entropy" for block in range(self.layout.num_blocks)]
        numbers.append(losses.gaussian_entropy(log_std))
        if off is not None:
            ratio = off.log_mu.double().exp()
            inside = ((ratio - 1.0).abs() < self.cfg.ratio_clip).double().mean()
            effective = ratio.sum().square() / (ratio.numel() * ratio.square().sum()).clamp(min=1e-300)
            tags += ["OffPolicy/effective_sample_share", "OffPolicy/mean_ratio", "OffPolicy/unclipped_share"]
            numbers.append(torch.stack((effective, ratio.mean(), inside)))
        metrics = dict(zip(tags, torch.cat([number.double() for number in numbers]).tolist()))
        if len(pairs) == 1:
            metrics["OffPolicy/source_block"] = float(pairs[0][1])
        return metrics

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on, as tensors, numbers and text. Taken between updates.

        Returns:
            Nested dictionary that ``torch.load(weights_only=True)`` accepts.
        """
        return {
            "layout": {"num_blocks": self.layout.num_blocks, "leader": self.layout.leader},
            "model": self.model.state_dict(),
            "scalers": self.scalers.state_dict(),
            "value_scaler": self.value_scaler.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "block_generator": self.block_generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another number of blocks or another network.
        """
        self.load_policy(state)
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.load_state_dict(state["optimizer"])
        rate.copy_(self.optimizer.param_groups[0]["lr"])
        self.optimizer.param_groups[0]["lr"] = rate
        self.block_generator.set_state(state["block_generator"].cpu())

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks, latents, standard deviations and moments only.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another number of blocks or another network.
        """
        blocks = state["layout"]["num_blocks"]
        if blocks != self.layout.num_blocks:
            raise ValueError(
                f"the checkpoint holds {blocks} policies, this agent {self.layout.num_blocks};"
                f" add agent.num_blocks={blocks}"
            )
        own = self.model.state_dict()
        for name, value in state["model"].items():
            if name not in own or own[name].shape != value.shape:
                came = "nothing" if name not in own else tuple(own[name].shape)
                raise ValueError(
                    f"the checkpoint's {name} has shape {tuple(value.shape)}, this agent's {came};"
                    " use the task and the network options of the run that wrote it"
                )
        self.model.load_state_dict(state["model"])
        self.scalers.load_state_dict(state["scalers"])
        self.value_scaler.load_state_dict(state["value_scaler"])
