"""SAPG as an skrl agent. Reads in the order of an iteration: act, record, prepare the batch, learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Unpack

import torch
from skrl import logger
from tensordict import TensorDict

from sapg_isaaclab.agents.base import AgentArguments, BaseAgent
from sapg_isaaclab.agents.contract import Transition
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.memory import BlockMemory
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.sapg.aggregation import OffPolicyRows, Pair, draw_pairs, relabel
from sapg_isaaclab.agents.sapg.batch import Batch, assemble, minibatch_bounds, on_policy_rows
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.coupling import imitates, imitation_pairs, imitation_statistics
from sapg_isaaclab.agents.sapg.discriminator import Discriminator
from sapg_isaaclab.agents.sapg.evolution import Evolution
from sapg_isaaclab.agents.sapg.learner import Learner
from sapg_isaaclab.agents.sapg.networks import Sequences
from sapg_isaaclab.agents.sapg.policies import Player, Policies
from sapg_isaaclab.agents.sapg.recurrence import RolloutStates, episode_begins
from sapg_isaaclab.agents.sapg.report import report

POOR_SHARE, POOR_UPDATES = 0.1, 20
"""A warning is due when the effective share of relabelled rows stays below this for so many updates."""


class Acted(NamedTuple):
    """What acting leaves for recording, of all environments.

    Attributes:
        columns: By name: ``mean``, ``log_std`` (N, A), ``log_prob`` and ``values`` (N, 1).
        state: Recurrent state before the step. Shape (K, N, H); None without an LSTM.
    """

    columns: dict[str, torch.Tensor]
    state: torch.Tensor | None


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
        ranks: Processes that train it together; those of torch's process group by default.

    Raises:
        ValueError: If an option is wrong.
    """

    CFG = SapgCfg
    MEMORY = BlockMemory
    PER_RANK = ("recurrent_state", "episode_objectives")
    cfg: SapgCfg

    def __init__(self, *, ranks: Ranks | None = None, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(**arguments)
        cfg, self.model = self.cfg, self.models["policy"]
        self.policies = Policies(self.model, self.layout, cfg, has_states=self.state_space is not None)
        self.ranks = Ranks.current() if ranks is None else ranks
        self.learner = Learner(self.policies, self.ranks)
        self.evolution: Evolution | None = None
        if cfg.evolution_interval and self.memory is not None:
            self.evolution = Evolution(self.learner, self.ranks, self.device)
            self.decisions = self.evolution.decisions
        # on the host and seeded alike everywhere, so that all ranks draw the same followers without a message
        self.block_generator = torch.Generator().manual_seed(cfg.seed)
        self.pairs: list[Pair] = []
        """(target, source) pairs of the rollout under way and of the update that follows it."""
        self.imitation = imitation_pairs(cfg, self.layout)
        """(follower, leader) pairs: who also learns to do what the leader did (CPO)."""
        self.discriminator: Discriminator | None = None
        if cfg.adversarial_scale > 0.0 and self.memory is not None:
            width = self.model.num_observations + self.model.num_actions
            self.discriminator = Discriminator(width, self.layout, cfg, self.device, self.ranks)
        self._found: dict[str, torch.Tensor] = {}  # what preparing the newest batch has to report, by tag
        blocks = torch.arange(self.layout.num_envs, device=self.device) // self.layout.block_size
        self._identity = self.model.identity(blocks)  # of the policy that acts in each environment
        self._steps = 0  # of all environments, so far
        self._poor_updates = 0  # in a row
        self._acted: Acted | None = None
        self._after: TensorDict | None = None  # what the networks see after the newest step
        self._state: Any = None  # recurrent state (K, N, H), made when first needed
        self._states: RolloutStates | None = None
        self.checkpoint_modules = {
            "policy": self.model,
            "optimizer": self.learner.optimizer,
            "scalers": self.policies.scalers,
            "value_scaler": self.policies.value_scaler,
        }
        if self.discriminator is not None:
            self.checkpoint_modules |= {
                "discriminator": self.discriminator.network,
                "discriminator_optimizer": self.discriminator.optimizer,
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
        if self.discriminator is not None:
            yield from self.discriminator.network.state_dict().values()
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
        rows = len(observations)
        who = self._identity if self.training else self.policies.identity_of(self.layout.leader, rows)
        if self._state is None or self._state.shape[1] != rows:
            self._state = self.model.initial_state(rows)
        before = self._state
        out = self.policies.evaluate(self.policies.network_rows(observations, states), who, before)
        mean, log_std, self._state = out.mean, out.log_std, out.state
        actions = mean + log_std.exp() * torch.randn_like(mean)
        log_prob = gaussian_log_prob(actions, mean, log_std).unsqueeze(-1)
        values = out.values.unsqueeze(-1)
        self._acted = Acted({"mean": mean, "log_std": log_std, "log_prob": log_prob, "values": values}, before)
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
        if self.evolution is not None:
            self.evolution.record(step)
        acted: Any = self._acted
        self._acted = None  # with an LSTM its state is large, and not needed while learning
        index = self._steps % self.cfg.rollouts
        if index == 0:
            # drawn before the rollout, so that only the states of these blocks need be kept
            self.pairs = draw_pairs(self.cfg, self.layout, self.block_generator)
        if self.policies.recurrent:
            if index == 0:
                stored = self.model.values_recur and self.cfg.rnn_off_policy_values == "stored"
                sources = {source for _, source in (*self.pairs, *self.imitation)}
                self._states.begin(sorted(sources) if stored else [])
            self._states.record(index, acted.state)
        sample = {"observations": step.observations, "states": step.states, "actions": step.actions}
        sample |= acted.columns
        if self.cfg.timeout_bootstrap == "final_obs":
            sample["final_values"] = self._final_values(step)
        self._reset_state(step.done)
        self._after = self.policies.network_rows(step.next_observations, step.next_states)
        self.memory.add_samples(
            **sample,
            rewards=step.rewards * self.cfg.rewards_scale,
            terminated=step.terminated,
            truncated=step.truncated,
        )

    def _reset_state(self, done: torch.Tensor) -> None:
        if self.policies.recurrent:
            self._state = self._state * done.logical_not().view(1, -1, 1)

    @torch.no_grad()
    def _final_values(self, step: Transition) -> torch.Tensor:
        """Value (N, 1) of what is seen after the step, of the true last state where time ran out."""
        states = step.true_next("critic") if "states" in self.policies.scalers else None
        rows = self.policies.network_rows(step.true_next("policy"), states)
        return self.policies.evaluate(rows, self._identity, self._state).values.unsqueeze(-1)

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        """Update after every ``rollouts`` steps.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        self._steps += 1
        if self._steps % self.cfg.rollouts == 0:
            self.update(timestep=timestep, timesteps=timesteps)

    # -- learning ------------------------------------------------------------------------------------------------------

    def update(self, *, timestep: int, timesteps: int) -> None:
        """One update of all policies from the rollout in memory.

        Args:
            timestep: Current step, unused.
            timesteps: Number of steps, unused.
        """
        batch, off = self.batch()
        if self.discriminator is not None:
            self.discriminator.learn(self.memory.rollout)
        evolved: dict[str, torch.Tensor] = {}
        if self.evolution is not None and self.cfg.evolution_timing == "before_update":
            evolved = self.evolution.update()
        # only here: in training mode cuDNN keeps what a backward pass of an LSTM needs
        self.enable_models_training_mode(True)
        steps = self.learner.learn(batch)
        self.enable_models_training_mode(False)
        if self.evolution is not None and self.cfg.evolution_timing == "after_update":
            evolved = self.evolution.update()
        with torch.no_grad():
            # what acted, block by block, in the rollout's last step
            log_std = self.memory.blocks()["log_std"][-1].mean(dim=1)
            log_mu = None if off is None else off.log_mu
            rate = self.learner.learning_rate
            more, clip = self._found | evolved, self.cfg.ratio_clip
            metrics = report(steps, rate, log_std, self.pairs, log_mu, clip=clip, more=more)
        self.publish(metrics if self.evolution is None else self.evolution.note(metrics))
        self._watch_sample_share()

    def _watch_sample_share(self) -> None:
        """Say once that relabelled rows have nearly nothing to teach, where that lasts."""
        share = self.metrics.get("OffPolicy/effective_sample_share", 1.0)
        self._poor_updates = self._poor_updates + 1 if share < POOR_SHARE else 0
        if self._poor_updates == POOR_UPDATES and self.ranks.is_main:
            logger.warning(
                f"OffPolicy/effective_sample_share has been below {POOR_SHARE} for {POOR_UPDATES} updates: the leader"
                " is so far from the followers that it learns next to nothing from their data"
            )

    @torch.no_grad()
    def batch(self) -> tuple[Batch, OffPolicyRows | None]:
        """Prepare what an update learns from: targets, relabelled rows, order, minibatches.

        Returns:
            The batch, and the relabelled rows in it, if there are any.
        """
        cfg, bonus, self._found = self.cfg, None, {}
        if self.discriminator is not None:
            bonus, numbers = self.discriminator.judge(self.memory.rollout)
            self._found |= {f"Adversarial/{name}": value for name, value in numbers.items()}
        next_value = self.policies.evaluate(self._after, self._identity, self._state).values
        on = on_policy_rows(self.memory.rollout, next_value, cfg, bonus)
        per_target = int(cfg.off_policy_ratio * cfg.rollouts * self.layout.block_size)
        off = relabel(
            self.memory,
            self.pairs,
            on.rewards,
            self.evaluate_as,
            gamma=cfg.discount_factor,
            rows_per_target=None if cfg.subsample == "block" else per_target,
            run_length=cfg.sequence_length if cfg.subsample == "sequence" else 1,
        )
        imitated = relabel(self.memory, self.imitation, on.rewards, self.evaluate_as, gamma=cfg.discount_factor)
        batch = assemble(self.memory, on, off, self._states, self.policies, self.ranks, imitated)
        if imitated is not None:
            which = imitates(batch.rows["group"], self.layout.num_blocks)
            numbers = imitation_statistics(batch.rows["advantages"], which, imitated.log_mu, cfg)
            self._found |= {f"Awac/{name}": value for name, value in numbers.items()}
        return batch, off

    @torch.no_grad()
    def evaluate_as(self, target: int, source: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Evaluate the rows of a block under another policy, before the update.

        With an LSTM, means and log-stds come from the unroll that learning begins with: every sequence from the state
        in which the source's policy began it. Only values follow ``rnn_off_policy_values``, where they read a state.

        Args:
            target: Block whose policy and value look.
            source: Block whose rows they look at.

        Returns:
            Mean (T, B, A), log-std (T, B, A) and values in reward units (T + 1, B).
        """
        where, steps, rollout = self.layout.slice(source), self.cfg.rollouts, self.memory.rollout
        rows, after = rollout[:, where].select(*self._after.keys()), self._after[where]
        if not self.policies.recurrent:
            joined: Any = torch.cat((rows, after.unsqueeze(0)))
            out = self.policies.evaluate(joined.flatten(), target)
            mean, log_std = (column.view(steps + 1, -1, column.shape[-1])[:-1] for column in out[:2])
            return mean, log_std, out.values.view(steps + 1, -1)
        by_env, resets = rows.transpose(0, 1).flatten(), episode_begins(rollout)[:, where].T
        cut = resets.reshape(-1, self.cfg.sequence_length).clone()
        cut[:, 0].fill_(False)  # the stored state is zeroed already
        out = self.policies.evaluate(by_env, target, Sequences(self._states.sequences_of(source), cut))
        mean, log_std = (column.view(-1, steps, column.shape[-1]).transpose(0, 1) for column in out[:2])
        state = self._state[:, where]
        if not self.model.values_recur:
            values = out.values.view(-1, steps).T
        elif self.cfg.rnn_off_policy_values == "stored":
            stored = self._states.of_block(source).flatten(1, 2)
            values = self.policies.evaluate(rows.flatten(), target, stored).values.view(steps, -1)
        else:
            out = self.policies.evaluate(by_env, target, Sequences(self._states.starts[:, 0, where], resets))
            values = out.values.view(-1, steps).T
            done = (rollout["terminated"] | rollout["truncated"])[-1, where]
            state = out.state * done.logical_not().view(1, -1, 1)
        last = self.policies.evaluate(after, target, state).values
        return mean, log_std, torch.cat((values, last[None]))

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on, as tensors, numbers and text. Taken between updates.

        Returns:
            Nested dictionary that ``torch.load(weights_only=True)`` accepts.
        """
        evolution = self.evolution
        state = {
            "policies": self.policies.state_dict(),
            "learner": self.learner.state_dict(),
            "block_generator": self.block_generator.get_state(),
            "recurrent_state": self._state if self.training else None,
            "evolution": None if evolution is None else evolution.state_dict(),
            "episode_objectives": None if evolution is None else evolution.objectives.state_dict(),
        }
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another algorithm, number of blocks or network.
        """
        self.load_policy(state)
        if self.evolution is not None:
            self.evolution.load_state_dict(state["evolution"])
            self.evolution.objectives.load_state_dict(state["episode_objectives"])
            self.decisions = self.evolution.decisions
        self.learner.load_state_dict(state["learner"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
        self.block_generator.set_state(state["block_generator"].cpu())
        saved = state["recurrent_state"]
        self._state = None if saved is None else saved.to(self.device)

    def restart_episodes(self) -> None:
        """Forget recurrent states and returns under way: every environment begins a new episode."""
        self._state = None
        if self.evolution is not None:
            self.evolution.objectives.restart_episodes()

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks, latents, standard deviations and moments only.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another algorithm, number of blocks or network.
        """
        if "policies" not in state:
            raise ValueError("the checkpoint holds no SAPG or PPO agent; use the algorithm of the run that wrote it")
        self.policies.load_state_dict(state["policies"])
