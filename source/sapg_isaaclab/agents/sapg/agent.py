"""SAPG as an skrl agent. Reads in the order of an iteration: act, record, prepare the batch, learn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Unpack

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.base import AgentArguments, BaseAgent
from sapg_isaaclab.agents.contract import Infos, Transition
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.normalizer import standardize
from sapg_isaaclab.agents.options import flatten
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.returns import bootstrapped_rewards, gae, n_step_returns
from sapg_isaaclab.agents.sapg.aggregation import OffPolicyRows, draw_pairs, relabel
from sapg_isaaclab.agents.sapg.batch import clean_first, minibatch_bounds, row_order, row_weights
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.learner import Batch, Learner
from sapg_isaaclab.agents.sapg.networks import Sequences
from sapg_isaaclab.agents.sapg.policies import Player, Policies
from sapg_isaaclab.agents.sapg.recurrence import RolloutStates
from sapg_isaaclab.agents.sapg.report import report


class SAPG(BaseAgent):
    """Split and Aggregate Policy Gradients (Singla et al., ICML 2024).

    M policies act in a block of environments each; block 0 is the leader and also learns from followers' rows. With
    one block this is PPO. While training, environment n acts by the policy of its block; otherwise every environment
    acts by the leader's.

    Where torch's process group has several ranks, each holds all M blocks of its own environments. They keep the same
    parameters, step sizes and running moments: gradients, divergences and the moments of all data run over all ranks.

    After every update ``metrics`` holds the newest numbers, by tag.

    Args:
        models: The same :class:`~sapg_isaaclab.agents.sapg.networks.BlockActorCritic` as ``policy`` and ``value``.
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

    CFG = SapgCfg
    MEMORY = BlockMemory
    cfg: SapgCfg

    def __init__(self, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(**arguments)
        cfg, self.model = self.cfg, self.models["policy"]
        self.policies = Policies(self.model, self.layout, cfg, has_states=self.state_space is not None)
        self.ranks = Ranks.current()
        self.learner = Learner(self.model, self.layout, cfg, self.ranks)
        self.entropy_coefs = self.layout.entropy_coefs(cfg.entropy_loss_scale, cfg.entropy_schedule).to(self.device)
        # on the host and seeded alike everywhere, so that all ranks draw the same followers without a message
        self.block_generator = torch.Generator().manual_seed(cfg.seed)
        self._blocks = torch.arange(self.layout.num_envs, device=self.device) // self.layout.block_size
        self._rollout = 0
        self._pairs: list[tuple[int, int]] = []
        self._state: torch.Tensor | None = None
        self._states: RolloutStates | None = None
        self.checkpoint_modules = {
            "policy": self.model,
            "optimizer": self.learner.optimizer,
            "scalers": self.policies.scalers,
            "value_scaler": self.policies.value_scaler,
        }

    def init(self, *, trainer_cfg: Any = None) -> None:
        """Create the memory's tensors. Called by skrl's trainers; see skrl's Agent.

        Args:
            trainer_cfg: Configuration of the trainer.
        """
        super().init(trainer_cfg=trainer_cfg)
        self.ranks.broadcast(self._shared())
        self.enable_models_training_mode(False)
        if self.memory is None:
            return
        widths = {name: scaler.mean.numel() for name, scaler in self.policies.scalers.items()}
        widths |= dict.fromkeys(("actions", "mean", "log_std"), self.model.num_actions)
        widths |= dict.fromkeys(("rewards", "log_prob", "values"), 1)
        if self.cfg.timeout_bootstrap == "final_obs":
            widths["final_values"] = 1
        for name, width in widths.items():
            self.memory.create_tensor(name, size=width, dtype=torch.float32)
        for name in ("terminated", "truncated"):
            self.memory.create_tensor(name, size=1, dtype=torch.bool)
        if self.policies.recurrent:
            shape = self.model.state_shape
            self._states = RolloutStates(
                self.cfg.rollouts, self.cfg.sequence_length, self.layout, shape, self.memory.device
            )

    def _shared(self) -> Iterator[torch.Tensor]:
        """Every tensor that must be the same on all ranks."""
        for module in (self.model, self.policies.scalers, self.policies.value_scaler):
            yield from module.state_dict().values()
        for state in self.learner.optimizer.state.values():
            yield from state.values()
        yield self.learner.learning_rate

    def sizes(self) -> dict[str, str]:
        """Sizes of a run in words, for its first lines.

        Returns:
            Text by name.
        """
        layout, batch = self.layout, self.cfg.rollouts * self.layout.num_envs
        rows = minibatch_bounds(batch, batch, self.cfg)[1]
        return {
            "environments": f"{layout.num_envs} = {layout.num_blocks} blocks x {layout.block_size}",
            "batch": f"{batch} rows = {self.cfg.rollouts} steps x {layout.num_envs}, minibatch {rows}",
        }

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
        if self.policies.recurrent and (self._state is None or len(self._state) != len(observations)):
            self._state = torch.zeros(len(observations), *self.model.state_shape, device=self.device)
        self._state_before = self._state
        out = self.policies.evaluate(self.policies.seen(observations, states), blocks, self._state)
        mean, log_std, self._state = out.mean, out.log_std, out.state
        actions = mean + log_std.exp() * torch.randn_like(mean)
        log_prob = gaussian_log_prob(actions, mean, log_std).unsqueeze(-1)
        self._acted = {"mean": mean, "log_std": log_std, "log_prob": log_prob, "values": out.values.unsqueeze(-1)}
        return actions, {"log_prob": log_prob, "mean_actions": mean, "log_std": log_std}

    def player(self, block: int = 0, *, deterministic: bool = True) -> Player:
        """One policy for playing and evaluation, with a recurrent state of its own.

        Args:
            block: Whose policy; 0 is the leader.
            deterministic: Mean actions instead of samples.

        Returns:
            A function from observations to actions.

        Raises:
            ValueError: If there is no such block.
        """
        return Player(self.policies, block, deterministic)

    # -- recording -----------------------------------------------------------------------------------------------------

    def record(self, step: Transition) -> None:
        """Store a step of all environments.

        Args:
            step: The step; ``final_obs`` of its infos is read with ``timeout_bootstrap=final_obs``.

        Raises:
            ValueError: If the true last observations are needed and missing.
        """
        if not self.training:
            self._reset_state(step.done)
            return
        index = self._rollout % self.cfg.rollouts
        if index == 0:
            # drawn before the rollout, so that only the states of these blocks need be kept
            self._pairs = draw_pairs(self.cfg, self.layout, self.block_generator)
        if self.policies.recurrent:
            if index == 0:
                stored = self.cfg.rnn_off_policy_values == "stored"
                self._states.begin(sorted({source for _, source in self._pairs}) if stored else [])
            self._states.record(index, self._state_before)
        sample = {"observations": step.observations, "states": step.states, "actions": step.actions, **self._acted}
        if self.cfg.timeout_bootstrap == "final_obs":
            sample["final_values"] = self._final_values(step.truncated, step.infos)
        self._reset_state(step.done)
        self._next = self.policies.seen(step.next_observations, step.next_states)
        self.memory.add_samples(
            **sample,
            rewards=step.rewards * self.cfg.rewards_scale,
            terminated=step.terminated,
            truncated=step.truncated,
        )

    def _reset_state(self, done: torch.Tensor) -> None:
        if self.policies.recurrent:
            self._state = self._state * done.logical_not().view(-1, 1, 1)

    @torch.no_grad()
    def _final_values(self, truncated: torch.Tensor, infos: Infos) -> torch.Tensor:
        """Value (N, 1) of the true last state where time ran out, 0 elsewhere."""
        values = torch.zeros(truncated.shape, device=self.device)
        rows = truncated.squeeze(-1).nonzero().squeeze(-1)
        if rows.numel():
            if "final_obs" not in infos:
                raise ValueError(
                    "agent.timeout_bootstrap=final_obs, but the environment gives no final observations;"
                    " set env.compute_final_obs=true or agent.timeout_bootstrap=current_value"
                )
            final = infos["final_obs"]
            states = flatten(final["critic"])[rows] if "states" in self.policies.scalers else None
            seen = self.policies.seen(flatten(final["policy"])[rows], states)
            state = self._state[rows] if self.policies.recurrent else None
            values[rows] = self.policies.evaluate(seen, self._blocks[rows], state).values.unsqueeze(1)
        return values

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        """Update after every ``rollouts`` steps.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        self._rollout += 1
        if self._rollout % self.cfg.rollouts == 0:
            self.enable_models_training_mode(True)
            self.update(timestep=timestep, timesteps=timesteps)
            self.enable_models_training_mode(False)

    # -- learning ------------------------------------------------------------------------------------------------------

    def update(self, *, timestep: int, timesteps: int) -> None:
        """One update of all policies from the rollout in memory.

        Args:
            timestep: Current step, unused.
            timesteps: Number of steps, unused.
        """
        batch, off = self._batch(self._pairs)
        learned = self.learner.learn(batch)
        with torch.no_grad():
            # what acted, block by block, in the rollout's last step
            log_std = self.memory.blocks()["log_std"][-1].mean(dim=1)
            log_mu = None if off is None else off.log_mu
            rate = self.learner.learning_rate
            self.publish(report(learned, rate, log_std, self._pairs, log_mu, clip=self.cfg.ratio_clip))

    @torch.no_grad()
    def _batch(self, pairs: list[tuple[int, int]]) -> tuple[Batch, OffPolicyRows | None]:
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
        next_value = self.policies.evaluate(self._next, self._blocks, self._state).values
        chain = (rewards, values, next_value, terminated, truncated)
        advantages, returns = gae(*chain, gamma=cfg.discount_factor, lam=cfg.gae_lambda)
        if cfg.on_policy_target == "nstep":
            returns = n_step_returns(*chain, gamma=cfg.discount_factor, n=cfg.n_step)
        per_target = int(cfg.off_policy_ratio * cfg.rollouts * self.layout.block_size)
        off = relabel(
            self.memory,
            pairs,
            rewards,
            self._look,
            gamma=cfg.discount_factor,
            rows_per_target=None if cfg.subsample == "block" else per_target,
            run_length=cfg.sequence_length if cfg.subsample == "sequence" else 1,
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
        if cfg.importance_clip == "mu":
            columns["log_mu"].clamp_(max=math.log(cfg.mu_max))
        if cfg.normalize_values:
            self.policies.value_scaler.update(columns["values"].unsqueeze(-1), self.ranks)
            self.policies.value_scaler.update(columns["returns"].unsqueeze(-1), self.ranks)
            columns |= {name: self.policies.value_scaler.normalize(columns[name]) for name in ("values", "returns")}
        if cfg.normalize_advantages:
            columns["advantages"] = standardize(columns["advantages"], self.ranks)
        weights = row_weights(group, self.layout, cfg)
        if weights is not None:
            columns["weights"] = weights
        columns["group"] = group

        order = row_order(steps, envs, off, group, cfg)
        unit = cfg.sequence_length if self.policies.recurrent else 1
        bounds = minibatch_bounds(len(order), steps * envs, cfg, unit)
        clean: list[int] = []
        if self.policies.recurrent:
            resets = self._begins().flatten()[rows[order]].view(-1, unit)
            resets[:, 0] = False
            sequence_order, clean = clean_first(resets.any(dim=1), bounds)
            order = order.view(-1, unit)[sequence_order].flatten()
        batch = TensorDict({name: column[order] for name, column in columns.items()}, batch_size=[len(order)])
        flat, order_rows = data.flatten(), rows[order]
        for name in ("actions", "log_prob", "mean", "log_std"):
            batch[name] = flat[name][order_rows]
        batch["log_prob"] = batch["log_prob"].squeeze(-1)
        seen = TensorDict({name: flat[name][order_rows] for name in self.policies.scalers}, batch_size=batch.batch_size)
        if cfg.normalize_observations:
            for name, scaler in self.policies.scalers.items():
                scaler.update(seen[name], self.ranks)
        blocks = blocks[order]
        batch["entropy_coefs"] = self.entropy_coefs[blocks]
        batch["inputs"] = TensorDict(self.policies.inputs(seen, blocks), batch_size=batch.batch_size)
        sequences = None
        if self.policies.recurrent:
            sequences = Sequences(self._states.before_rows(order_rows[::unit]), resets[sequence_order])
        # the official remainder makes a larger minibatch: in pieces, it takes no more memory than the others
        return Batch(batch, bounds, bounds[1] - bounds[0], unit, sequences, clean), off

    def _begins(self) -> torch.Tensor:
        """Whether an episode begins with the step, (T, N); never at t = 0, where the state is zeroed already."""
        done = (self.memory.rollout["terminated"] | self.memory.rollout["truncated"]).squeeze(-1)
        return torch.cat((torch.zeros_like(done[:1]), done[:-1]))

    def _look(self, target: int, source: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What policy ``target`` makes of the rows of block ``source``.

        Returns:
            Mean (T, B, A), log-std (T, B, A) and values in reward units (T + 1, B).
        """
        where, steps, rollout = self.layout.slice(source), self.cfg.rollouts, self.memory.rollout
        rows = rollout[:, where].select(*self._next.keys())
        after = self._next[where]
        if not self.policies.recurrent:
            out = self.policies.evaluate(torch.cat((rows, after.unsqueeze(0))).flatten(), target)
            mean, log_std = (column.view(steps + 1, -1, column.shape[-1])[:-1] for column in out[:2])
            return mean, log_std, out.values.view(steps + 1, -1)
        state = self._state[where]
        if self.cfg.rnn_off_policy_values == "stored":
            out = self.policies.evaluate(rows.flatten(), target, self._states.of_block(source).flatten(0, 1))
            mean, log_std = (column.view(steps, -1, column.shape[-1]) for column in out[:2])
            values = out.values.view(steps, -1)
        else:
            sequences = Sequences(self._states.starts[0, where], self._begins()[:, where].T)
            out = self.policies.evaluate(rows.transpose(0, 1).flatten(), target, sequences)
            mean, log_std = (column.view(-1, steps, column.shape[-1]).transpose(0, 1) for column in out[:2])
            values = out.values.view(-1, steps).T
            done = (rollout["terminated"] | rollout["truncated"])[-1, where]
            state = out.state * done.logical_not().view(-1, 1, 1)
        last = self.policies.evaluate(after, target, state).values
        return mean, log_std, torch.cat((values, last[None]))

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on, as tensors, numbers and text. Taken between updates.

        Returns:
            Nested dictionary that ``torch.load(weights_only=True)`` accepts.
        """
        return {
            "policies": self.policies.state_dict(),
            "learner": self.learner.state_dict(),
            "block_generator": self.block_generator.get_state(),
            "recurrent_state": self._state if self.training else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another number of blocks or another network.
        """
        self.load_policy(state)
        self.learner.load_state_dict(state["learner"])
        self.block_generator.set_state(state["block_generator"].cpu())
        saved = state["recurrent_state"]
        self._state = None if saved is None else saved.to(self.device)

    def restart_episodes(self) -> None:
        """Forget the recurrent state: every environment begins a new episode."""
        self._state = None

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks, latents, standard deviations and moments only.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another number of blocks or another network.
        """
        self.policies.load_state_dict(state["policies"])
