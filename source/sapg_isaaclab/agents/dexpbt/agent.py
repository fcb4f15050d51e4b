"""DexPBT as an skrl agent. Reads in the order of an iteration: act, record, learn, compare, change."""

from __future__ import annotations

import copy
from collections import Counter
from statistics import fmean
from typing import Any

import torch

from sapg_isaaclab.agents.base import BaseAgent
from sapg_isaaclab.agents.contract import Infos, Transition
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.dexpbt.mutation import Hyperparameters, mutate, uniform
from sapg_isaaclab.agents.dexpbt.objective import Objectives
from sapg_isaaclab.agents.dexpbt.selection import Verdict, select
from sapg_isaaclab.agents.options import flatten
from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.agents.sapg.batch import minibatch_bounds
from sapg_isaaclab.agents.sapg.policies import Player
from sapg_isaaclab.block_tags import block_tags


class DexPBT(BaseAgent):
    """A population of PPO learners (Petrenko et al., 2023; official code of the SAPG paper's comparison).

    Each of P learners has networks, optimiser and moments of its own, and acts in its own block of environments. Every
    ``interval`` steps of a learner the population is compared: the worst learners take over the weights of better ones
    or keep theirs, and their hyper-parameters mutate.

    After every update ``metrics`` holds the newest numbers by tag, and ``decisions`` every decision so far.

    Args:
        learners: P agents with one block each and options of their own, with memories of equally many environments, or
            all without memory for a population that only acts.
        cfg: Options; see :class:`~sapg_isaaclab.agents.dexpbt.cfg.DexPbtCfg`.
        reward_weights: Weights of the reward by name, shape (N,) each, written in place. Leave them out for an
            environment without a true objective: what ranks the learners must not change.
        curriculum: The environment's :class:`~sapg_isaaclab.tasks.curriculum.Curriculum` or anything with
            ``groups`` and ``copy``; with a group per learner, a replacement takes over the donor's group.
        observation_space: Box of D observations.
        state_space: Box of the privileged state, if any.
        action_space: Box of A actions.
        device: Where to compute.

    Raises:
        ValueError: If an option is wrong.
    """

    CFG = DexPbtCfg
    cfg: DexPbtCfg

    def __init__(
        self,
        *,
        learners: list[SAPG],
        cfg: DexPbtCfg,
        reward_weights: dict[str, torch.Tensor] | None = None,
        curriculum: Any | None = None,
        observation_space=None,
        state_space=None,
        action_space=None,
        device: str | torch.device | None = None,
    ) -> None:
        if len(learners) != cfg.num_blocks:
            raise ValueError(f"{len(learners)} learners came, but agent.num_blocks is {cfg.num_blocks}")
        super().__init__(
            cfg=cfg,
            num_envs=sum(learner.layout.num_envs for learner in learners),
            models={f"learner_{block}": learner.model for block, learner in enumerate(learners)},
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        self.learners = learners
        self._learns = learners[0].memory is not None
        self.reward_weights = self._chosen(reward_weights or {}) if self._learns else {}
        self.curriculum = self._own(curriculum) if self._learns else None
        self.objectives = Objectives(self.layout, cfg.rollouts, self.device)
        self.hyperparameters = [self._initial(block) for block in range(cfg.num_blocks)]
        """What mutates, of every learner, as it is now."""
        self.frames = 0
        """Environment steps that each learner has taken."""
        self.decisions = []
        """Every decision so far, in the order in which they were made: ``frames`` (environment steps of a learner),
        ``learner``, ``action`` (``initial``, ``keep``, ``mutate`` or ``replace``), ``reason``, ``objective``, ``donor``
        and ``changed``: hyper-parameters by name, old and new."""
        self.generator = torch.Generator().manual_seed(cfg.seed)
        self._changed_at = [0] * cfg.num_blocks
        self._leader = 0
        self._rollout = 0
        self.checkpoint_modules = {
            f"learner_{block}_{name}": module
            for block, learner in enumerate(learners)
            for name, module in learner.checkpoint_modules.items()
        }

    def _chosen(self, offered: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights of the reward that mutate."""
        names = self.cfg.mutated_rewards or tuple(offered)
        for name in names:
            if name not in offered:
                allowed = f"one of {', '.join(offered)}" if offered else "empty, for this environment offers none"
                raise ValueError(f"agent.mutated_rewards has {name!r}; it must be {allowed}")
        return {name: offered[name] for name in names}

    def _own(self, curriculum: Any | None) -> Any | None:
        """The curriculum if every learner has a group of its own; None where all share one tolerance."""
        groups, learners = getattr(curriculum, "groups", None), self.cfg.num_blocks
        if groups not in (None, learners):
            raise ValueError(
                f"the environment's curriculum has {groups} groups, the population {learners} learners;"
                f" add env.num_blocks={learners}"
            )
        return curriculum if groups is not None else None

    def _initial(self, block: int) -> Hyperparameters:
        first = self.layout.slice(block).start
        values = {f"agent.{name}": getattr(self.learners[block].cfg, name) for name in self.cfg.mutated}
        return values | {f"reward.{name}": weights[first].item() for name, weights in self.reward_weights.items()}

    @property
    def leader(self) -> int:
        """The best learner: the one with the largest known objective now; 0 before any is known."""
        return self._leader

    @property
    def tracked(self) -> slice:
        """All environments: the leader changes, and skrl's statistics must not tell its episodes apart."""
        return slice(None)

    def sizes(self) -> dict[str, str]:
        """Numbers of environments and rows, in words."""
        size, learners = self.layout.block_size, self.cfg.num_blocks
        rows = self.cfg.rollouts * size
        parts = len(minibatch_bounds(rows, rows, self.learners[0].cfg)) - 1
        return {
            "environments": f"{self.layout.num_envs} = {learners} learners x {size}",
            "batch": f"{learners} learners x {rows} rows in {parts} minibatches",
        }

    def init(self, *, trainer_cfg: Any = None) -> None:
        """Create the memories and give every learner its first hyper-parameters. See skrl's Agent.

        Args:
            trainer_cfg: Configuration of the trainer.
        """
        super().init(trainer_cfg=trainer_cfg)
        for learner in self.learners:
            learner.init()
        if self._learns and not self.decisions:
            for block in range(self.cfg.num_blocks):
                self._mutate(block, "initial", "first mutation", self.hyperparameters[block])

    def enable_training_mode(self, enabled: bool = True, *, apply_to_models: bool = False) -> None:
        """Turn training on or off. See skrl's Agent.

        Args:
            enabled: Whether to train; otherwise the best learner acts in all environments.
            apply_to_models: Whether the models' mode is set too.
        """
        super().enable_training_mode(enabled, apply_to_models=apply_to_models)
        for learner in self.learners:
            learner.enable_training_mode(enabled)

    # -- acting --------------------------------------------------------------------------------------------------------

    def act(
        self, observations: torch.Tensor, states: torch.Tensor | None, *, timestep: int, timesteps: int
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Sample an action in every environment, each learner in its block.

        Args:
            observations: Observations. Shape (N, D).
            states: Privileged states, if critics see them. Shape (N, S).
            timestep: Current step, unused.
            timesteps: Number of steps, unused.

        Returns:
            Unclamped actions (N, A), and ``log_prob`` (N, 1), ``mean_actions`` (N, A), ``log_std`` (N, A).
        """
        clock = {"timestep": timestep, "timesteps": timesteps}
        if not self.training:
            return self.learners[self.leader].act(observations, states, **clock)
        parts = []
        for block, learner in enumerate(self.learners):
            where = self.layout.slice(block)
            parts.append(learner.act(observations[where], None if states is None else states[where], **clock))
        actions, extras = zip(*parts)
        return torch.cat(actions), {name: torch.cat([extra[name] for extra in extras]) for name in extras[0]}

    def player(self, block: int | None = None, *, deterministic: bool = True) -> Player:
        """One learner's policy for playing and evaluation, with a recurrent state of its own.

        Args:
            block: Whose policy; the best learner's if not given.
            deterministic: Mean actions instead of samples.

        Returns:
            A function from observations to actions.

        Raises:
            ValueError: If there is no such learner.
        """
        block = self.leader if block is None else block
        self.layout.check_block(block)
        return self.learners[block].player(deterministic=deterministic)

    # -- recording -----------------------------------------------------------------------------------------------------

    def record(self, step: Transition) -> None:
        """Store a step of all environments, each learner its own rows.

        Args:
            step: The step. Of its infos, ``true_objective`` is read if the task has one, and ``final_obs`` with
                ``timeout_bootstrap=final_obs``.

        Raises:
            ValueError: If the true last observations are needed and missing.
        """
        if not self.training:
            self.learners[self.leader].record(step)
            return
        index = self._rollout % self.cfg.rollouts
        self.objectives.step(index, step.rewards.view(-1), step.done.view(-1), step.infos.get("true_objective"))
        final = step.infos.get("final_obs") if self.cfg.timeout_bootstrap == "final_obs" else None
        final = {name: flatten(values) for name, values in (final or {}).items()}
        for block, learner in enumerate(self.learners):
            where = self.layout.slice(block)
            seen: Infos = {"final_obs": {name: value[where] for name, value in final.items()}} if final else {}
            learner.record(step.rows(where, seen))

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        """Update after every ``rollouts`` steps.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        for learner in self.learners:
            learner.after_step(timestep=timestep, timesteps=timesteps)
        self._rollout += 1
        if self._rollout % self.cfg.rollouts == 0:
            self.update(timestep=timestep, timesteps=timesteps)

    # -- comparing and changing ----------------------------------------------------------------------------------------

    def update(self, *, timestep: int, timesteps: int) -> None:
        """What follows the learners' own updates: objectives, the comparison if it is due, and the numbers.

        Args:
            timestep: Current step, unused.
            timesteps: Number of steps, unused.
        """
        before, interval = self.frames, self.cfg.interval
        self.frames += self.cfg.rollouts * self.layout.block_size
        self.objectives.finish_iteration()
        known = {block: value for block, value in enumerate(self.objectives.now) if value is not None}
        if known:
            self._leader = max(known, key=lambda block: known[block])
        metrics = self._report()
        if self.frames // interval > before // interval:
            self._compare()
        counts = Counter(decision["action"] for decision in self.decisions)
        metrics["Population/replacements"] = float(counts["replace"])
        metrics["Population/mutations"] = float(counts["mutate"] + counts["replace"])
        self.publish(metrics)

    def _compare(self) -> None:
        """End an interval: decide about every learner by the same objectives, and change those that are behind.

        A learner that others may be replaced by is one of the best and never changed itself, so the order is no matter.
        """
        now, best = list(self.objectives.now), list(self.objectives.best)
        self.objectives.end_interval()
        for block in range(self.cfg.num_blocks):
            verdict = select(
                block,
                now,
                best[block],
                frames=self.frames,
                frames_since_start=self.frames - self._changed_at[block],
                cfg=self.cfg,
                generator=self.generator,
            )
            if verdict.action == "keep" or verdict.donor is None:
                self._note(block, "keep", verdict.reason, now[block])
            else:
                self._change(block, verdict, verdict.donor, now[block])

    def _change(self, block: int, verdict: Verdict, donor: int, objective: float | None) -> None:
        if verdict.action == "replace":
            self._replace(block, donor)
        # in either case the donor's hyper-parameters are as good a start as the learner's own (official code)
        base = donor if uniform(self.generator) < 0.5 else block
        self._mutate(block, verdict.action, verdict.reason, self.hyperparameters[base], objective, donor)
        self._changed_at[block] = self.frames
        self.objectives.restart(block)

    def _replace(self, target: int, source: int) -> None:
        """Copy networks, optimiser with its step size, moments and curriculum; the frame counters are not copied."""
        learner, donor = self.learners[target], self.learners[source]
        learner.load_policy({"policies": donor.policies.state_dict()})
        # an optimiser keeps the very tensors it is given
        learner.learner.load_state_dict(copy.deepcopy(donor.learner.state_dict()))
        learner.restart_episodes()
        if self.curriculum is not None:
            self.curriculum.copy(source, target)

    def _mutate(
        self,
        block: int,
        action: str,
        reason: str,
        base: Hyperparameters,
        objective: float | None = None,
        donor: int | None = None,
    ) -> None:
        """Give a learner mutated hyper-parameters and note what has changed."""
        old, cfg = self.hyperparameters[block], self.cfg
        new = mutate(base, rate=cfg.mutation_rate, factors=cfg.mutation_range, generator=self.generator)
        self._apply(block, new)
        changed = {name: [old[name], value] for name, value in new.items() if value != old[name]}
        self._note(block, action, reason, objective, donor, changed)

    def _apply(self, block: int, values: Hyperparameters) -> None:
        for name, value in values.items():
            kind, option = name.split(".", 1)
            if kind == "agent":
                setattr(self.learners[block].cfg, option, value)
            else:
                self.reward_weights[option][self.layout.slice(block)].fill_(value)
        self.hyperparameters[block] = dict(values)

    def _note(
        self,
        block: int,
        action: str,
        reason: str,
        objective: float | None = None,
        donor: int | None = None,
        changed: dict[str, list[float]] | None = None,
    ) -> None:
        decision = {
            "frames": self.frames,
            "learner": block,
            "action": action,
            "reason": reason,
            "objective": objective,
            "donor": donor,
            "changed": changed or {},
        }
        self.decisions.append(decision)

    def _report(self) -> dict[str, float]:
        """Numbers by tag: losses are means over learners, the rest is each learner's."""
        each = [learner.metrics for learner in self.learners]
        metrics = {
            tag: fmean(numbers[tag] for numbers in each) for tag in each[0] if tag.startswith(("Loss/", "Policy/"))
        }
        for own, tag in (
            ("Block_0/std", "Block_{}/std"),
            ("Block_0/entropy", "Block_{}/entropy"),
            ("Policy/learning_rate", "Block_{}/learning_rate"),
        ):
            metrics |= block_tags(tag, {block: numbers[own] for block, numbers in enumerate(each)}, len(each))
        known = {block: value for block, value in enumerate(self.objectives.now) if value is not None}
        metrics |= block_tags("Population/objective_{}", known, len(each))
        if known:
            metrics["Population/best_objective"] = known[self.leader]
            metrics["Population/leader"] = float(self.leader)
        return metrics

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the population needs to go on, as tensors, numbers and text. Taken between updates.

        Returns:
            Nested dictionary that ``torch.load(weights_only=True)`` accepts.
        """
        return {
            "learners": [learner.state_dict() for learner in self.learners],
            "hyperparameters": [dict(values) for values in self.hyperparameters],
            "objectives": self.objectives.state_dict(),
            "frames": self.frames,
            "changed_at": list(self._changed_at),
            "leader": self._leader,
            "decisions": list(self.decisions),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another algorithm, another number of learners or another network.
        """
        self._check_state(state)
        for learner, saved in zip(self.learners, state["learners"]):
            learner.load_state_dict(saved)
        for block, values in enumerate(state["hyperparameters"]):
            self._apply(block, values)
        self.objectives.load_state_dict(state["objectives"])
        self.frames, self._changed_at = state["frames"], list(state["changed_at"])
        self._leader = state["leader"]
        self.decisions = list(state["decisions"])
        self.generator.set_state(state["generator"].cpu())  # always of a CPU

    def restart_episodes(self) -> None:
        """Forget recurrent states and episodes under way: every environment begins a new episode."""
        for learner in self.learners:
            learner.restart_episodes()
        self.objectives.restart_episodes()

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks, standard deviations and moments of all learners, and who is the best of them.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another algorithm, another number of learners or another network.
        """
        self._check_state(state)
        for learner, saved in zip(self.learners, state["learners"]):
            learner.load_policy(saved)
        self._leader = state["leader"]

    def _check_state(self, state: dict[str, Any]) -> None:
        if "learners" not in state:
            raise ValueError("the checkpoint is not of a population; use the algorithm of the run that wrote it")
        count = len(state["learners"])
        if count != self.cfg.num_blocks:
            raise ValueError(
                f"the checkpoint holds {count} learners, this agent {self.cfg.num_blocks}; add agent.num_blocks={count}"
            )
