"""Which policy plays, in which environment: the checked sum of command line, checkpoint and task."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from typing import Any

from sapg_isaaclab.agents.sapg.policies import Player
from sapg_isaaclab.agents.saving import load_into
from sapg_isaaclab.commands import policy_choice, task_config
from sapg_isaaclab.commands.job import check_agent, saved_configs
from sapg_isaaclab.commands.policy_choice import ACTIONS
from sapg_isaaclab.errors import InputError
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
            load_into(agent.load_policy, self.saved["agent"], f"checkpoint {self.path}")
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
    block = leader if args.block is None else args.block
    policy_choice.check_block(block, agent_cfg, "--block")
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
