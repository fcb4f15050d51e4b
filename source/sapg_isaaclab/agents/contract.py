"""What a trainer may ask of an agent and of an environment, and what the two tell each other in a step.

Nothing has to inherit from the protocols here: whatever has their members will do. :class:`~.base.BaseAgent` brings the
part of :class:`TrainableAgent` that all agents share.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, Protocol, TypedDict

import gymnasium
import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.options import flatten


class Infos(TypedDict, total=False):
    """What an environment says beside observations and rewards. Every entry may be missing."""

    log: dict[str, torch.Tensor]
    """Numbers for the run's log by tag, scalars on the device."""
    successes: torch.Tensor
    """Goals reached in each environment's last finished episode. Shape (N,)."""
    true_objective: torch.Tensor
    """What each environment's last finished episode is worth, apart from its shaped reward. Shape (N,)."""
    final_obs: dict[str, Any]
    """``policy`` and, with a privileged state, ``critic``: the last observations of episodes that ended in this step,
    each as the environment's spaces have them. Valid only in those environments."""
    broken: torch.Tensor
    """Environments that had broken down and were put back in this step; their episodes do not count. Shape (N,)."""
    shortened: torch.Tensor
    """Environments whose episode, until this step, was a shortened one, which does not count. A trainer that staggers
    starts adds it. Shape (N,)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Transition:
    """One step of all environments.

    Attributes:
        observations: Before the step. Shape (N, D).
        states: Privileged states before the step, if there are any. Shape (N, S).
        actions: Actions taken. Shape (N, A).
        rewards: Shape (N, 1).
        next_observations: After the step, of the new episode where one ended. Shape (N, D).
        next_states: After the step. Shape (N, S) or None.
        terminated: Whether the task ended, boolean. Shape (N, 1).
        truncated: Whether time ran out, boolean. Shape (N, 1).
        infos: What the environment says beside; empty if it says nothing.
    """

    observations: torch.Tensor
    states: torch.Tensor | None
    actions: torch.Tensor
    rewards: torch.Tensor
    next_observations: torch.Tensor
    next_states: torch.Tensor | None
    terminated: torch.Tensor
    truncated: torch.Tensor
    infos: Infos

    @property
    def done(self) -> torch.Tensor:
        """Whether the episode ended with the step, boolean. Shape (N, 1)."""
        return self.terminated | self.truncated

    def true_next(self, who: Literal["policy", "critic"]) -> torch.Tensor:
        """What is seen after the step: of the old episode where time ran out, of the new one where a task ended.

        Args:
            who: ``policy`` for observations, ``critic`` for privileged states.

        Returns:
            Shape (N, D) or (N, S).

        Raises:
            ValueError: If time ran out and the environment does not give what was seen last.
        """
        after: Any = self.next_observations if who == "policy" else self.next_states
        final = self.infos.get("final_obs", {})
        if who in final:
            # not by rows, which the host would have to count; where no time ran out it may be stale
            return torch.where(self.truncated.view(-1, 1), flatten(final[who]), after)
        # environments first give it when first they reset: until then, and only then, the host has to look
        if self.truncated.any():
            raise ValueError(
                f"agent.timeout_bootstrap=final_obs, but the environment gives no final_obs[{who!r}];"
                " set env.compute_final_obs=true or another agent.timeout_bootstrap"
            )
        return after

    def tensors(self) -> dict[str, Any]:
        """Every field but ``infos``, by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "infos"}

    def rows(self, where: slice, infos: Infos) -> Transition:
        """The step in some environments. Views, nothing is copied.

        Args:
            where: Which environments.
            infos: What is to be known of them beside.

        Returns:
            Their part of every tensor.
        """
        own: dict[str, Any] = {name: value if value is None else value[where] for name, value in self.tensors().items()}
        return Transition(**own, infos=infos)


class Player(Protocol):
    """One policy in any number of environments, without learning."""

    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        """Act.

        Args:
            observations: Observations. Shape (N, D).

        Returns:
            Actions of shape (N, A).
        """
        ...

    def reset(self, done: torch.Tensor) -> None:
        """Forget what is known of an episode where it ended.

        Args:
            done: Whether it did, boolean. Shape (N,) or (N, 1).
        """
        ...


class AgentOptions(Protocol):
    """What a trainer reads of an agent's configuration."""

    rollouts: int
    """Steps T of all environments in an iteration."""

    seed: int
    """Seed of the agent's own draws."""

    def check(self, num_envs: int | None) -> BlockLayout:
        """Check every option and their combination.

        Args:
            num_envs: Environments of this process; None for an agent that only acts.

        Returns:
            The block layout.

        Raises:
            ValueError: With one line that says what came, what is allowed and what to type.
        """
        ...

    def policy_names(self) -> list[str]:
        """What to call the policy of each block."""
        ...


class TrainableAgent(Protocol):
    """What a trainer may ask of an agent: skrl's interface, and what follows here."""

    cfg: Any
    """Its options, as :class:`AgentOptions`."""

    layout: BlockLayout
    """Which environment belongs to which policy. With one policy there is one block."""

    metrics: dict[str, float]
    """Newest numbers by tag; renewed by the end of every iteration."""

    decisions: list[dict[str, Any]]
    """Decisions worth a log of their own, all of them so far, as plain values. Most algorithms make none."""

    models: dict[str, Any]
    """Networks by name."""

    PER_RANK: ClassVar[tuple[str, ...]]
    """Entries of :meth:`state_dict` that differ between ranks, so that a checkpoint keeps every rank's."""

    EXCHANGES_IN_STEPS: ClassVar[bool]
    """Whether ranks send each other anything before the last step of an iteration is over. Where they do, a rank that
    fails in a step cannot tell the others why: they learn that it is gone."""

    @property
    def leader(self) -> int:
        """Block whose episodes and policy stand for the run. It may change between iterations."""
        ...

    def init(self, *, trainer_cfg: Any = None) -> None:
        """Make what is needed for training. Called once, before everything else."""
        ...

    def enable_training_mode(self, enabled: bool = True, *, apply_to_models: bool = False) -> None:
        """Turn learning on or off."""
        ...

    def pre_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Before a step of all environments."""
        ...

    def act(
        self, observations: torch.Tensor, states: torch.Tensor | None, *, timestep: int, timesteps: int
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Actions (N, A) in every environment, and what else the policy says of them."""
        ...

    def record_transition(self, **step: Any) -> None:
        """Take in a step of all environments: the fields of :class:`Transition`, ``timestep`` and ``timesteps``."""
        ...

    def post_interaction(self, *, timestep: int, timesteps: int) -> None:
        """After a step of all environments; after the last one of an iteration, its update."""
        ...

    def sizes(self) -> dict[str, str]:
        """Sizes worth knowing at the start of a run, as text by name."""
        ...

    def player(self, *, deterministic: bool = True) -> Player:
        """The leader's policy. Agents of several policies also take ``block``."""
        ...

    def restart_episodes(self) -> None:
        """Forget episodes under way: the environment was reset."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs, as tensors, numbers and text. Taken between iterations.

        All ranks ask for it, and what it says on rank 0 is whole but for what others have under :attr:`PER_RANK`.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, which may come from another type of device.

        Raises:
            ValueError: In one line, if it belongs to another algorithm or network.
        """
        ...

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks and moments of :meth:`state_dict` only.

        Raises:
            ValueError: In one line, if it belongs to another algorithm or network.
        """
        ...


class VectorEnv(Protocol):
    """What a trainer and :func:`~.build.build_agent` ask of an environment: skrl's wrapper of a vectorised one."""

    @property
    def num_envs(self) -> int:
        """Number N of environments of this process."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its tensors live."""
        ...

    @property
    def observation_space(self) -> gymnasium.Space:
        """Of one environment: a flat Box, or a dictionary of them."""
        ...

    @property
    def state_space(self) -> gymnasium.Space | None:
        """The same of the privileged state, if there is any."""
        ...

    @property
    def action_space(self) -> gymnasium.Space:
        """A flat Box."""
        ...

    @property
    def unwrapped(self) -> Any:
        """The task itself, which may be a :class:`ResumableTask`, :class:`TimedTask` and so on, as below."""
        ...

    def reset(self) -> tuple[torch.Tensor, Any]:
        """Begin new episodes everywhere: observations (N, D) and infos."""
        ...

    def step(
        self, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Observations (N, D), rewards, terminated and truncated (N, 1), and :class:`Infos`."""
        ...

    def state(self) -> torch.Tensor | None:
        """Privileged states (N, S), if there are any."""
        ...


class ResumableTask(Protocol):
    """A task that keeps something beyond an episode, such as a curriculum. Others are simply reset on a resume."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs, as tensors, numbers and text."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> torch.Tensor | None:
        """Take it over.

        Returns:
            Observations (N, D) if whole episodes were restored; None if they begin anew.
        """
        ...


class TimedTask(Protocol):
    """A task whose episodes run out of time, as Isaac Lab counts it. Asked for only where starts are staggered."""

    max_episode_length: int
    """Steps until an episode runs out of time."""

    episode_length_buf: torch.Tensor
    """Steps taken of the episodes under way, which may be written into. Shape (N,)."""

    def begin_within(self, steps: torch.Tensor) -> None:
        """Count so many steps, shape (N,), of the episodes that have just begun as taken.

        May be missing; a task has it to leave these episodes out of statistics of its own.
        """
        ...


class GuardedTask(Protocol):
    """A task that puts environments back that have broken down."""

    nan_guard: Any
    """Has ``report()``, which a trainer asks for once an iteration, ``reported``, the resets of the run until then, and
    ``num_envs``; see :class:`~sapg_isaaclab.tasks.nan_guard.NanGuard`."""


class PopulationTask(Protocol):
    """A task that a population of learners reaches into. Each of these may be missing."""

    reward_weights: dict[str, torch.Tensor]
    """Weights of the reward by name, shape (N,) each, which may be written into."""

    curriculum: Any
    """Has ``groups`` (one per learner of this process, or None where all share it), ``group_state(group)`` and
    ``load_group(group, state)``, with which one learner takes over the numbers of another."""

    extras: dict[str, Any]
    """:class:`Infos` as of the last step; the entry ``true_objective`` is there from the beginning."""
