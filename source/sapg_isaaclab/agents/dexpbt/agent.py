"""DexPBT as an skrl agent. Reads in the order of an iteration: act, record, learn, compare, change."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import Any

import torch

from sapg_isaaclab.agents.base import BaseAgent
from sapg_isaaclab.agents.contract import Infos, Transition
from sapg_isaaclab.agents.dexpbt import takeover
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.dexpbt.objective import Objectives
from sapg_isaaclab.agents.dexpbt.population import Population
from sapg_isaaclab.agents.dexpbt.settings import Settings
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

    Where torch's process group has several ranks, each holds a part of the learners, with the environments of these.
    Objectives and the learners' numbers are exchanged after every update and every rank comes to the same decisions; a
    learner that takes over from one of another rank gets its state from there.

    After every update ``metrics`` holds the newest numbers by tag, and ``decisions`` every decision so far, in the
    order in which they were made: ``frames`` (environment steps of a learner), ``learner``, ``action`` (``initial``,
    ``keep``, ``mutate`` or ``replace``), ``reason``, ``objective``, ``donor`` and ``changed``: hyper-parameters by
    name, old and new.

    Args:
        learners: Agents with one block each and options of their own, those that this rank holds: with memories of
            equally many environments, or all without memory for a population that only acts.
        cfg: Options; see :class:`~sapg_isaaclab.agents.dexpbt.cfg.DexPbtCfg`.
        reward_weights: Weights of the reward by name, shape (N,) each, written in place. Leave them out for an
            environment without a true objective: what ranks the learners must not change.
        curriculum: The environment's :class:`~sapg_isaaclab.tasks.curriculum.Curriculum` or anything else that
            :class:`~sapg_isaaclab.agents.contract.PopulationTask` allows; with a group for each learner of this rank, a
            replacement takes over the donor's group.
        observation_space: Box of D observations.
        state_space: Box of the privileged state, if any.
        action_space: Box of A actions.
        device: Where to compute.

    Raises:
        ValueError: If an option is wrong.
    """

    CFG = DexPbtCfg
    PER_RANK = ("objectives",)
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
        self._learns = learners[0].memory is not None
        super().__init__(
            cfg=cfg,
            num_envs=sum(learner.layout.num_envs for learner in learners) if self._learns else None,
            models={},
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        if len(learners) != len(self.layout.held):
            raise ValueError(f"{len(learners)} learners came, but agent.num_blocks is {cfg.num_blocks}")
        self.learners = dict(zip(self.layout.held, learners))
        """The learners of this rank, by their number in the population."""
        self.ranks = self.layout.spread
        self.models = {f"learner_{block}": learner.model for block, learner in self.learners.items()}
        offered = reward_weights if self._learns else None
        self.settings = Settings(self.learners, self.layout, cfg, offered or {})
        self.curriculum = self._own(curriculum) if self._learns else None
        self.objectives = Objectives(self.layout, cfg.rollouts, self.device)
        self.population = Population(cfg)
        """What all ranks decide alike."""
        self.decisions = self.population.decisions
        self._leader = 0
        self._rollout = 0
        self.checkpoint_modules = {
            f"learner_{block}_{name}": module
            for block, learner in self.learners.items()
            for name, module in learner.checkpoint_modules.items()
        }

    def _own(self, curriculum: Any | None) -> Any | None:
        """The curriculum if every learner has a group of its own; None where all share one tolerance."""
        groups, learners = getattr(curriculum, "groups", None), len(self.layout.held)
        if groups not in (None, learners):
            raise ValueError(
                f"the environment's curriculum has {groups} groups, the population {learners} learners;"
                f" add env.num_blocks={learners}"
            )
        return curriculum if groups is not None else None

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
        size, here, learners = self.layout.block_size, len(self.layout.held), self.cfg.num_blocks
        rows = self.cfg.rollouts * size
        parts = len(minibatch_bounds(rows, rows, self._any.cfg)) - 1
        share = f"{learners} learners" if here == learners else f"{here} of {learners} learners"
        return {
            "environments": f"{self.layout.num_envs} = {share} x {size}",
            "batch": f"{share} x {rows} rows in {parts} minibatches",
        }

    @property
    def _any(self) -> SAPG:
        return self.learners[self.layout.held.start]

    def init(self, *, trainer_cfg: Any = None) -> None:
        """Create the memories and give every learner its first hyper-parameters. See skrl's Agent.

        Args:
            trainer_cfg: Configuration of the trainer.
        """
        super().init(trainer_cfg=trainer_cfg)
        for learner in self.learners.values():
            learner.init()
        if self._learns and not self.decisions:
            own = [self.settings.read(block) for block in self.learners]
            self.population.begin([values for part in self.ranks.gather(own) for values in part])
            self._apply()

    def enable_training_mode(self, enabled: bool = True, *, apply_to_models: bool = False) -> None:
        """Turn training on or off. See skrl's Agent.

        Args:
            enabled: Whether to train; otherwise the best learner acts in all environments.
            apply_to_models: Whether the models' mode is set too.
        """
        super().enable_training_mode(enabled, apply_to_models=apply_to_models)
        for learner in self.learners.values():
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
            return self._held(self.leader).act(observations, states, **clock)
        parts = []
        for block, learner in self.learners.items():
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
            ValueError: If there is no such learner, or another rank holds it.
        """
        return self._held(self.leader if block is None else block).player(deterministic=deterministic)

    def _held(self, block: int) -> SAPG:
        self.layout.slice(block)  # refuses what is not here
        return self.learners[block]

    # -- recording -----------------------------------------------------------------------------------------------------

    def record(self, step: Transition) -> None:
        """Store a step of all environments, each learner its own rows.

        Args:
            step: The step. Of its infos, ``true_objective`` is read if the task has one, ``shortened``, and
                ``final_obs`` with ``timeout_bootstrap=final_obs``.

        Raises:
            ValueError: If the true last observations are needed and missing.
        """
        if not self.training:
            self._held(self.leader).record(step)
            return
        index, infos = self._rollout % self.cfg.rollouts, step.infos
        self.objectives.step(
            index, step.rewards.view(-1), step.done.view(-1), infos.get("true_objective"), infos.get("shortened")
        )
        final = infos.get("final_obs") if self.cfg.timeout_bootstrap == "final_obs" else None
        final = {name: flatten(values) for name, values in (final or {}).items()}
        for block, learner in self.learners.items():
            where = self.layout.slice(block)
            seen: Infos = {"final_obs": {name: value[where] for name, value in final.items()}} if final else {}
            learner.record(step.rows(where, seen))

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        """Update after every ``rollouts`` steps.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        for learner in self.learners.values():
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
        population, interval = self.population, self.cfg.interval
        before = population.frames
        population.frames += self.cfg.rollouts * self.layout.block_size
        self.objectives.finish_iteration()
        known = {block: value for block, value in enumerate(self.objectives.now) if value is not None}
        if known:
            self._leader = max(known, key=lambda block: known[block])
        metrics = self._report(known)
        if population.frames // interval > before // interval:
            self.compare()
        counts = Counter(decision["action"] for decision in self.decisions)
        metrics["Population/replacements"] = float(counts["replace"])
        metrics["Population/mutations"] = float(counts["mutate"] + counts["replace"])
        self.publish(metrics)

    def compare(self) -> None:
        """End an interval: compare the learners and change those that are behind."""
        changes = self.population.compare(list(self.objectives.now), list(self.objectives.best))
        self.objectives.end_interval()
        for block, donor in changes:
            if donor is not None:
                self._replace(block, donor)
            self.objectives.restart(block)
        self._apply()

    def _replace(self, target: int, source: int) -> None:
        """Let a learner take over from another, from its rank to the other's. Frame counters are not copied."""
        state, first, layout = None, self.layout.held.start, self.layout
        if source in self.learners:
            state = takeover.give(self.learners[source], self.curriculum, source - first)
        state = self.ranks.hand_over(state, layout.holder(source), layout.holder(target))
        if state is not None:
            takeover.take(self.learners[target], self.curriculum, target - first, state)

    def _apply(self) -> None:
        """Bring hyper-parameters to where they are read."""
        for block in self.learners:
            self.settings.write(block, self.population.hyperparameters[block])

    def _report(self, known: dict[int, float]) -> dict[str, float]:
        """Numbers by tag: losses are means over learners, the rest is each learner's."""
        own = [learner.metrics for learner in self.learners.values()]
        each = [numbers for part in self.ranks.gather(own) for numbers in part]
        metrics = {
            tag: fmean(numbers[tag] for numbers in each) for tag in each[0] if tag.startswith(("Loss/", "Policy/"))
        }
        for name, tag in (
            ("Block_0/std", "Block_{}/std"),
            ("Block_0/entropy", "Block_{}/entropy"),
            ("Policy/learning_rate", "Block_{}/learning_rate"),
        ):
            metrics |= block_tags(tag, {block: numbers[name] for block, numbers in enumerate(each)}, len(each))
        metrics |= block_tags("Population/objective_{}", known, len(each))
        if known:
            metrics["Population/best_objective"] = known[self.leader]
            metrics["Population/leader"] = float(self.leader)
        return metrics

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the population needs to go on, as tensors, numbers and text. Taken between updates.

        Returns:
            Nested dictionary that ``torch.load(weights_only=True)`` accepts: with all learners on rank 0, with its own
            ones on another.
        """
        own = [learner.state_dict() for learner in self.learners.values()]
        others = self.ranks.gather_states(own)
        return {
            "learners": [state for part in (own, *others) for state in part],
            "objectives": self.objectives.state_dict(),
            "leader": self._leader,
            **self.population.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned on rank 0, with the objectives of this rank.

        Raises:
            ValueError: If it belongs to another algorithm, another number of learners or another network.
        """
        self._check_state(state)
        for block, learner in self.learners.items():
            learner.load_state_dict(state["learners"][block])
        self.population.load_state_dict(state)
        self._apply()
        self.objectives.load_state_dict(state["objectives"])
        self._leader = state["leader"]

    def restart_episodes(self) -> None:
        """Forget recurrent states and episodes under way: every environment begins a new episode."""
        for learner in self.learners.values():
            learner.restart_episodes()
        self.objectives.restart_episodes()

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks, standard deviations and moments of all learners, and who is the best of them.

        Args:
            state: What :meth:`state_dict` returned on rank 0.

        Raises:
            ValueError: If it belongs to another algorithm, another number of learners or another network.
        """
        self._check_state(state)
        for block, learner in self.learners.items():
            learner.load_policy(state["learners"][block])
        self._leader = state["leader"]

    def _check_state(self, state: dict[str, Any]) -> None:
        if "learners" not in state:
            raise ValueError("the checkpoint is not of a population; use the algorithm of the run that wrote it")
        count = len(state["learners"])
        if count != self.cfg.num_blocks:
            raise ValueError(
                f"the checkpoint holds {count} learners, this agent {self.cfg.num_blocks}; add agent.num_blocks={count}"
            )
