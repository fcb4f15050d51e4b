"""skrl's interface, once for all agents: its constructor, its eleven-argument methods, its records of episodes."""

from __future__ import annotations

from typing import Any, ClassVar, NotRequired, TypedDict, cast

import gymnasium
import torch
from skrl.agents.torch import Agent, AgentCfg
from skrl.memories.torch import Memory

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.contract import Infos, Transition


class AgentArguments(TypedDict):
    """Arguments of every agent, by name, as skrl has them."""

    models: dict[str, Any]
    memory: NotRequired[Any]
    observation_space: NotRequired[gymnasium.Space | None]
    state_space: NotRequired[gymnasium.Space | None]
    action_space: NotRequired[gymnasium.Space | None]
    device: NotRequired[str | torch.device | None]
    cfg: NotRequired[AgentCfg | dict[str, Any] | None]
    num_envs: NotRequired[int | None]


class BaseAgent(Agent):
    """An skrl agent whose policies act in blocks of environments.

    A subclass says what its options and its memory are, and what it does: :meth:`record` takes in a step,
    :meth:`after_step` learns from it. The rest of what a trainer may ask is in
    :class:`~sapg_isaaclab.agents.contract.TrainableAgent`.

    Args:
        models: Networks by name.
        memory: Where steps are kept; None for an agent that only acts.
        observation_space: Box of D observations.
        state_space: Box of the privileged state, if any.
        action_space: Box of A actions.
        device: Where to compute.
        cfg: Options, as an object of :attr:`CFG` or as a dictionary of what differs from its defaults.
        num_envs: Number of environments; the memory's if not given.

    Raises:
        ValueError: If an option is wrong, or the memory is of another kind.
    """

    CFG: ClassVar[type[Any]]
    """Class of the options; has what :class:`~sapg_isaaclab.agents.contract.AgentOptions` says."""

    MEMORY: ClassVar[type[Any]] = Memory
    """Class of the memory."""

    PER_RANK: ClassVar[tuple[str, ...]] = ()
    """Entries of ``state_dict()`` that differ between ranks, so that a checkpoint keeps every rank's."""

    EXCHANGES_IN_STEPS: ClassVar[bool] = False
    """Whether ranks send each other anything before the last step of an iteration is over."""

    cfg: Any
    memory: Any
    models: dict[str, Any]
    write_interval: Any

    def __init__(
        self,
        *,
        models: dict[str, Any],
        memory: Any = None,
        observation_space: gymnasium.Space | None = None,
        state_space: gymnasium.Space | None = None,
        action_space: gymnasium.Space | None = None,
        device: str | torch.device | None = None,
        cfg: AgentCfg | dict[str, Any] | None = None,
        num_envs: int | None = None,
    ) -> None:
        options: Any = cfg if isinstance(cfg, AgentCfg) else self.CFG(**(cfg or {}))
        if memory is not None and not isinstance(memory, self.MEMORY):
            raise ValueError(
                f"{type(self).__name__} needs a {self.MEMORY.__name__}, not {type(memory).__name__};"
                " use build_agent(env, cfg)"
            )
        if num_envs is None and memory is not None:
            num_envs = memory.num_envs
        self.layout: BlockLayout = options.check(num_envs)
        self.metrics: dict[str, float] = {}
        self.decisions: list[dict[str, Any]] = []
        super().__init__(
            cfg=options,
            models=models,
            memory=memory,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )

    @property
    def leader(self) -> int:
        """Block whose episodes and policy stand for the run."""
        return self.layout.leader

    @property
    def tracked(self) -> slice:
        """Environments that skrl's own statistics, which pick its best checkpoint, run over: the leader's."""
        return self.layout.slice(self.leader)

    # -- what an algorithm does ----------------------------------------------------------------------------------------

    def record(self, step: Transition) -> None:
        """Take in a step of all environments, also while not training.

        Args:
            step: The step.
        """
        raise NotImplementedError

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        """What follows a step while training: where it is due, an update.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        raise NotImplementedError

    def publish(self, metrics: dict[str, float]) -> None:
        """Renew :attr:`metrics`, and give them to skrl's own log where it is on.

        Args:
            metrics: Numbers by tag.
        """
        self.metrics = metrics
        if self.write_interval > 0:
            for tag, value in metrics.items():
                self.track_data(tag, value)

    # -- skrl's interface ----------------------------------------------------------------------------------------------

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
        """Take in a step of all environments. The tensors are those of :class:`~.contract.Transition`.

        Args:
            observations: Observations before the step. Shape (N, D).
            states: Privileged states before the step. Shape (N, S) or None.
            actions: Actions taken. Shape (N, A).
            rewards: Rewards. Shape (N, 1).
            next_observations: Observations after the step, of the new episode where one ended. Shape (N, D).
            next_states: Privileged states after the step. Shape (N, S) or None.
            terminated: Whether the task ended. Shape (N, 1).
            truncated: Whether time ran out. Shape (N, 1).
            infos: Extras of the environment; see :class:`~.contract.Infos`.
            timestep: Current step.
            timesteps: Number of steps.

        Raises:
            ValueError: If the algorithm needs something that the environment does not give.
        """
        said = cast(Infos, infos if isinstance(infos, dict) else {})
        step = Transition(
            observations, states, actions, rewards, next_observations, next_states, terminated, truncated, said
        )
        if self.write_interval > 0:
            own = step.rows(self.tracked, said)
            super().record_transition(**own.tensors(), infos=said, timestep=timestep, timesteps=timesteps)
        self.record(step)

    def pre_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Nothing to do before a step. See skrl's Agent.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """

    def post_interaction(self, *, timestep: int, timesteps: int) -> None:
        """What follows a step. See skrl's Agent.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        if self.training:
            self.after_step(timestep=timestep, timesteps=timesteps)
        super().post_interaction(timestep=timestep, timesteps=timesteps)
