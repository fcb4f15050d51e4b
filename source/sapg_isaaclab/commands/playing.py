"""Running a trained policy without learning: for pictures and for figures."""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
from collections.abc import Callable
from typing import Any

import torch

from sapg_isaaclab.agents.sapg.policies import Player
from sapg_isaaclab.commands import policy_choice, task_config
from sapg_isaaclab.commands.job import check_agent, saved_configs
from sapg_isaaclab.commands.policy_choice import ACTIONS
from sapg_isaaclab.errors import InputError, TrainingError
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder, experiment_name
from sapg_isaaclab.training import session


@dataclasses.dataclass(kw_only=True)
class Replay:
    """A policy to run and the environment to run it in."""

    task: str
    """Task id."""

    env_cfg: Any
    """Configuration of the environment: that of the run, with the changes asked for."""

    agent_cfg: Any
    """Configuration of the agent: that of the run."""

    saved: dict[str, Any] | None
    """The checkpoint; None for an untrained policy."""

    path: pathlib.Path | None
    """The checkpoint's file."""

    block: int
    """Whose policy."""

    deterministic: bool
    """Mean actions instead of samples."""

    seed: int
    """Seed of the environment and of sampled actions."""

    overrides: list[str] = dataclasses.field(default_factory=list)
    """Presets and overrides that were asked for beside those of the run."""

    @property
    def policy_name(self) -> str:
        """What is run, in words."""
        name = self.agent_cfg.policy_names()[self.block]
        return f"{'untrained ' if self.saved is None else ''}{name}, {self.mode} actions"

    @property
    def mode(self) -> str:
        """``deterministic`` or ``stochastic``."""
        return ACTIONS[0] if self.deterministic else ACTIONS[1]

    @property
    def run(self) -> RunFolder | None:
        """Run folder that the checkpoint lies in, if any."""
        return checkpoint.run_of(self.path) if self.path is not None else None

    def start(self) -> tuple[Any, Player]:
        """Make the environment and the policy. Inside the launcher only.

        Returns:
            The wrapped environment, and the policy: a function from observations (N, D) to actions (N, A).

        Raises:
            InputError: If the checkpoint does not fit the task.
        """
        env = session.make_env(self.task, self.env_cfg, self.seed)
        agent = session.make_agent(env, self.agent_cfg, with_memory=False)
        agent.init()
        if self.saved is not None:
            session.load_into(agent.load_policy, self.saved["agent"], f"checkpoint {self.path}")
        agent.enable_training_mode(False)
        return env, agent.player(self.block, deterministic=self.deterministic)


def plan(args: argparse.Namespace, tokens: list[str], num_envs: int) -> Replay:
    """Check the command line and load the checkpoint it refers to. Creates nothing on disk.

    Args:
        args: Parsed arguments.
        tokens: Presets and overrides.
        num_envs: Number of environments where none is asked for.

    Returns:
        What to run.

    Raises:
        InputError: If something cannot be done as asked.
    """
    task_config.refuse_contradictions(args, tokens)
    task = task_config.check_task(args.task) if args.task is not None else None
    path = saved = None
    if args.checkpoint == "none":
        task = task_config.check_task(task)
        env_cfg, agent_cfg = task_config.resolve_configs(task, tokens)
        check_agent(agent_cfg, None)
    else:
        policy_choice.check(args, tokens)
        experiment = None
        if task is not None and args.checkpoint == "pretrained":
            experiment = experiment_name(task, task_config.resolve_configs(task, [])[1])
        path = checkpoint.resolve(args.checkpoint, args.log_root, experiment, task=task)
        saved = checkpoint.load(path)
        if task is not None and task != saved["task"]:
            raise InputError(f"--task {task}, but checkpoint {path} is of {saved['task']}; drop --task")
        task, env_cfg, agent_cfg = saved_configs(saved, tokens)
    if getattr(agent_cfg, "compile", False):
        agent_cfg.compile = False  # only updates are compiled; the machine here may have no compiler
    leader = saved["blocks"]["leader"] if saved else 0
    block, names = leader if args.block is None else args.block, agent_cfg.policy_names()
    if not 0 <= block < len(names):
        known = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
        raise InputError(f"--block {block} does not exist; use one of {known}")
    chosen = any(token.startswith("env.scene.num_envs=") for token in tokens)
    env_cfg.scene.num_envs = args.num_envs or (env_cfg.scene.num_envs if chosen else num_envs)
    env_cfg.sim.device = args.device or env_cfg.sim.device
    asked = any(token.startswith("env.curriculum.enabled=") for token in tokens)
    if hasattr(getattr(env_cfg, "curriculum", None), "enabled") and not asked:
        # figures and pictures are of the task itself: its curriculum would begin anew with easier goals
        env_cfg.curriculum.enabled = False
    if hasattr(env_cfg, "num_blocks"):
        env_cfg.num_blocks = 1  # all environments act by one policy
    task_config.check_launch(env_cfg, args)
    default = ACTIONS[0] if getattr(env_cfg, "deterministic_evaluation", True) else ACTIONS[1]
    return Replay(
        task=task,
        env_cfg=env_cfg,
        agent_cfg=agent_cfg,
        saved=saved,
        path=path,
        block=block,
        deterministic=(args.actions or default) == ACTIONS[0],
        seed=task_config.check_seed(args.seed if args.seed is not None else agent_cfg.seed),
        overrides=tokens,
    )


@dataclasses.dataclass
class Episodes:
    """Finished episodes, in no particular order."""

    returns: list[float] = dataclasses.field(default_factory=list)
    """Sum of rewards of each."""

    lengths: list[int] = dataclasses.field(default_factory=list)
    """Number of steps of each."""

    terminated: list[float] = dataclasses.field(default_factory=list)
    """1 for each that ended before its time, as when the object is dropped; 0 for a time-out."""

    successes: list[float] = dataclasses.field(default_factory=list)
    """Successes of each; empty if the task counts none."""


@torch.no_grad()
def run_episodes(
    env: Any,
    act: Player,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    on_step: Callable[[], None] | None = None,
) -> Episodes:
    """Run a policy from a reset and collect finished episodes.

    With ``episodes``, the first ``ceil(episodes / N)`` episodes of every environment count. The first ones to finish
    would not be a fair sample: short episodes finish first.

    Args:
        env: The wrapped environment.
        act: The policy.
        episodes: Least number of episodes.
        steps: Number of steps, instead of ``episodes``; whatever finishes counts.
        on_step: Called after every step.

    Returns:
        The episodes.

    Raises:
        TrainingError: If a reward is not finite.
    """
    quota = math.ceil(episodes / env.num_envs) if episodes is not None else None
    returns = torch.zeros(env.num_envs, device=env.device)
    lengths = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
    counts = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
    result = Episodes()
    observations, _ = env.reset()
    step = 0
    while (quota is None and step < steps) or (quota is not None and bool((counts < quota).any())):
        observations, rewards, terminated, truncated, infos = env.step(act(observations))
        step += 1
        returns += rewards.view(-1)
        lengths += 1
        done = (terminated | truncated).view(-1)
        act.reset(done)
        counted = done if quota is None else done & (counts < quota)
        rows = counted.nonzero().view(-1)
        if len(rows):
            if not torch.isfinite(returns[rows]).all():
                raise TrainingError(f"the environment returned a reward that is not finite within {step} steps")
            result.returns += returns[rows].tolist()
            result.lengths += lengths[rows].tolist()
            result.terminated += terminated.view(-1)[rows].float().tolist()
            if "successes" in infos:
                result.successes += infos["successes"][rows].tolist()
        counts += counted
        returns.masked_fill_(done, 0.0)
        lengths.masked_fill_(done, 0)
        if on_step is not None:
            on_step()
    return result
