"""PQL as an skrl agent. Reads in the order of a step: act, record, learn."""

from __future__ import annotations

import copy
from typing import Any, Unpack

import torch

from sapg_isaaclab.agents.base import AgentArguments, BaseAgent
from sapg_isaaclab.agents.contract import Transition
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.pql.learner import Learner
from sapg_isaaclab.agents.pql.replay import Replay, Step
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.agents.saving import check_shapes, load_generator


class PQL(BaseAgent):
    """Parallel Q-Learning (Li et al., ICML 2023).

    One deterministic policy acts in all environments, each with noise of its own strength. After every step of all of
    them, critics and policy learn from a replay. What three processes of the official code do side by side takes place
    here one after the other, in their average ratio, so that a run can be repeated.

    Where torch's process group has several ranks, each has environments, a replay and minibatches of its own. Networks
    and moments stay the same on all: gradients are averaged, and moments run over what all ranks see.

    ``metrics`` holds the newest numbers by tag, renewed every ``rollouts`` steps.

    Args:
        models: :class:`~sapg_isaaclab.agents.pql.networks.Actor` as ``policy`` and a
            :class:`~sapg_isaaclab.agents.pql.networks.DoubleCritic` as ``critic``.
        memory: Where transitions are kept; None for an agent that only acts.
        observation_space: Box of D observations.
        state_space: Box of a privileged state, not read.
        action_space: Box of A actions, in [-1, 1].
        device: Where to compute.
        cfg: Options; see :class:`~sapg_isaaclab.agents.pql.cfg.PqlCfg`.

    Raises:
        ValueError: If an option is wrong.
    """

    CFG = PqlCfg
    MEMORY = Replay
    PER_RANK = ("generator", "replay")
    EXCHANGES_IN_STEPS = True
    cfg: PqlCfg
    memory: Any  # a Replay; None for an agent that only acts

    def __init__(self, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(**arguments)
        cfg, models, memory = self.cfg, self.models, self.memory
        self.actor, self.critic = models["policy"], models["critic"]
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.scaler = RunningMoments(
            self.actor.num_observations, epsilon=1e-4, clamp=float("inf"), device=self.actor.device
        )
        self.ranks = Ranks.current()
        self.generator = torch.Generator(self.device).manual_seed(self.ranks.seed(cfg.seed))
        self.steps = 0
        """Steps of all environments taken so far."""
        self.learning_from = cfg.warmup_steps
        """Step after which learning starts: the end of the warm-up, or of refilling the replay."""
        self._modules = {
            "actor": self.actor,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "scaler": self.scaler,
        }
        self.checkpoint_modules = dict(self._modules)
        self.learner = None
        if memory is not None:
            self.learner = Learner(
                self.actor, self.critic, self.target_critic, self.scaler, memory, cfg, self.generator, self.ranks
            )
            noise = exploration(memory.num_envs, cfg.exploration_min, cfg.exploration_max, self.ranks)
            self._noise = noise.to(self.device)
            self.checkpoint_modules["actor_optimizer"] = self.learner.actor_optimizer
            self.checkpoint_modules["critic_optimizer"] = self.learner.critic_optimizer

    def init(self, *, trainer_cfg: Any = None) -> None:
        """Begin with rank 0's networks. Called by skrl's trainers; see skrl's Agent.

        Args:
            trainer_cfg: Configuration of the trainer.
        """
        super().init(trainer_cfg=trainer_cfg)
        self.ranks.broadcast(value for module in self._modules.values() for value in module.state_dict().values())

    def sizes(self) -> dict[str, str]:
        """Sizes worth knowing at the start of a run.

        Returns:
            Text by name.
        """
        cfg, memory = self.cfg, self.memory
        critic, actor = cfg.updates_per_step, cfg.updates_per_step / cfg.critic_updates_per_actor_update
        return {
            "environments": str(memory.num_envs),
            "batch": f"{cfg.batch_size} rows, {critic} critic and {actor:g} actor updates per step",
            "replay": f"{memory.size:,} transitions, {memory.bytes / 1e6:,.0f} MB",
        }

    # -- acting --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def act(
        self, observations: torch.Tensor, states: torch.Tensor | None, *, timestep: int, timesteps: int
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Act in every environment: with noise while training, uniformly at random in its first steps.

        The official code's order: the moments take in what is seen before it is acted upon.

        Args:
            observations: Observations. Shape (N, D).
            states: Privileged states, not read.
            timestep: Current step, unused.
            timesteps: Number of steps, unused.

        Returns:
            Actions in [-1, 1] (N, A), and ``mean_actions`` (N, A), those without noise.
        """
        if self.training and self.cfg.normalize_observations:
            self.scaler.update(observations, self.ranks)
        mean = self.policy(observations)
        actions = mean
        if self.training:
            if self.steps < self.cfg.warmup_steps:
                uniform = torch.rand(mean.shape, generator=self.generator, device=self.device)
                actions = 2.0 * uniform - 1.0
            else:
                noise = torch.randn(mean.shape, generator=self.generator, device=self.device)
                actions = (mean + self._noise * noise).clamp_(-1.0, 1.0)
        return actions, {"mean_actions": mean}

    def policy(self, observations: torch.Tensor) -> torch.Tensor:
        """The policy's actions without noise.

        Args:
            observations: Observations. Shape (rows, D).

        Returns:
            Actions in [-1, 1]. Shape (rows, A).
        """
        return self.actor.evaluate(
            self.scaler.normalize(observations) if self.cfg.normalize_observations else observations
        )

    def player(self, block: int = 0, *, deterministic: bool = True) -> Player:
        """The policy for playing and evaluation.

        Args:
            block: 0, the only one there is.
            deterministic: Actions without noise, instead of noise as in the first environment of training.

        Returns:
            A function from observations to actions.

        Raises:
            ValueError: If there is no such block.
        """
        self.layout.check_block(block)
        return Player(self, 0.0 if deterministic else self.cfg.exploration_min)

    # -- recording -----------------------------------------------------------------------------------------------------

    def record(self, step: Transition) -> None:
        """Store a step of all environments.

        Args:
            step: The step; ``final_obs`` of its infos is read with ``timeout_bootstrap=final_obs``.

        Raises:
            ValueError: If the true last observations are needed and missing.
        """
        if not self.training:
            return
        done = over = step.done.view(-1)
        next_observations = step.next_observations
        if self.cfg.timeout_bootstrap == "final_obs":
            over = step.terminated.view(-1)
            next_observations = step.true_next("policy")
        rewards = step.rewards.view(-1) * self.cfg.rewards_scale
        self.memory.add(Step(step.observations, step.actions, rewards, next_observations, done, over.logical_not()))
        self.steps += 1

    def restart_episodes(self) -> None:
        """Drop unfinished windows of rewards: every environment begins a new episode."""
        self.memory.cut()

    # -- learning ------------------------------------------------------------------------------------------------------

    def after_step(self, *, timestep: int, timesteps: int) -> None:
        """Learn after every step, once the warm-up is over.

        Args:
            timestep: Current step.
            timesteps: Number of steps.
        """
        # the replay is still empty if episodes were restarted just before
        if self.steps > self.learning_from and len(self.memory):
            self.update(timestep=timestep, timesteps=timesteps)
        if self.steps % self.cfg.rollouts == 0:
            self.publish(self.learner.report() | {"Replay/size": float(len(self.memory))})

    def update(self, *, timestep: int, timesteps: int) -> None:
        """Critic and actor updates of one step of all environments.

        Args:
            timestep: Current step, unused.
            timesteps: Number of steps, unused.
        """
        self.learner.learn()

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on, as tensors, numbers and text; the replay with ``save_replay``.

        Returns:
            Nested dictionary that ``torch.load(weights_only=True)`` accepts.
        """
        return {
            "pql": {name: module.state_dict() for name, module in self._modules.items()},
            "learner": self.learner.state_dict(),
            "generator": self.generator.get_state(),
            "steps": self.steps,
            "learning_from": self.learning_from,
            "replay": self.memory.state_dict() if self.cfg.save_replay else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, refilling the replay first if it was not saved.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another algorithm, network or replay.
        """
        self.load_policy(state)
        self.learner.load_state_dict(state["learner"])
        load_generator(self.generator, state["generator"], seed=self.cfg.seed)
        self.steps, self.learning_from = state["steps"], state["learning_from"]
        if state["replay"] is not None:
            self.memory.load_state_dict(state["replay"])
        else:
            self.learning_from = self.steps + self.cfg.warmup_steps

    def load_policy(self, state: dict[str, Any]) -> None:
        """Take networks and moments only.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another algorithm or network.
        """
        if "pql" not in state:
            raise ValueError("the checkpoint holds no PQL agent; use the algorithm of the run that wrote it")
        for name, module in self._modules.items():
            check_shapes(name, state["pql"][name], module.state_dict())
            module.load_state_dict(state["pql"][name])


class Player:
    """The policy in any number of environments, without learning.

    Args:
        agent: Whose policy.
        noise: Standard deviation of exploration noise.
    """

    def __init__(self, agent: PQL, noise: float) -> None:
        self._agent, self._noise = agent, noise

    @torch.no_grad()
    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        """Act.

        Args:
            observations: Observations of all environments. Shape (N, D).

        Returns:
            Actions in [-1, 1] of shape (N, A).
        """
        actions = self._agent.policy(observations)
        if self._noise:
            actions = (actions + self._noise * torch.randn_like(actions)).clamp_(-1.0, 1.0)
        return actions

    def reset(self, done: torch.Tensor) -> None:
        """Nothing to forget where an episode ended.

        Args:
            done: Whether it did, boolean. Shape (N,) or (N, 1).
        """


def exploration(num_envs: int, low: float, high: float, ranks: Ranks = ALONE) -> torch.Tensor:
    """Strength of exploration in every environment, evenly spaced and fixed: mixed exploration of PQL.

    Ranks take turns, so that all of them together explore as one process with all environments would.

    Args:
        num_envs: Number of environments N of this rank.
        low: Standard deviation in the first environment of all ranks.
        high: Standard deviation in the last one.
        ranks: This process among all.

    Returns:
        Standard deviations of shape (N, 1).
    """
    return torch.linspace(low, high, num_envs * ranks.size)[ranks.rank :: ranks.size, None]
