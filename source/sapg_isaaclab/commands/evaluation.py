"""The result of an evaluation, as text and as JSON."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Any

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.files import write_atomically
from sapg_isaaclab.runs.run_folder import git_state, package_versions
from sapg_isaaclab.runs.statistics import summary

if TYPE_CHECKING:
    from sapg_isaaclab.commands.episodes import Episodes
    from sapg_isaaclab.commands.playing import Replay


def evaluation(job: Replay, episodes: Episodes, num_envs: int) -> dict[str, Any]:
    """Figures of an evaluation and what is needed to repeat it.

    Args:
        job: What was run.
        episodes: What came of it.
        num_envs: Number of environments.

    Returns:
        Plain values. ``return``, ``length`` [steps], ``terminated`` (share) and ``successes`` hold
        statistics, ``episodes`` every single one.
    """
    figures = {
        "return": episodes.returns,
        "length": episodes.lengths,
        "terminated": episodes.terminated,
        "successes": episodes.successes,
    }
    return {
        "task": job.task,
        "checkpoint": str(job.path) if job.path else None,
        "iteration": job.saved["iteration"] if job.saved else 0,
        "env_steps": job.saved["env_steps"] if job.saved else 0,
        "algorithm": job.saved["algorithm"] if job.saved else None,
        "overrides": job.overrides,
        "block": job.block,
        "policy": job.agent_cfg.policy_names()[job.block],
        "actions": job.mode,
        "num_envs": num_envs,
        "num_episodes": len(episodes.returns),
        "broken_episodes": episodes.broken,
        "seed": job.seed,
        "device": job.env_cfg.sim.device,
        "physics": type(job.env_cfg.sim.physics).__name__.removesuffix("Cfg"),
        **{name: summary(values) for name, values in figures.items() if values},
        "episodes": {name: values for name, values in figures.items() if values},
        "packages": package_versions(),
        "git": git_state(),
    }


def text(result: dict[str, Any]) -> str:
    """An evaluation in a few lines.

    Args:
        result: What :func:`evaluation` returned.

    Returns:
        Text for the terminal.
    """
    source = result["checkpoint"] or "untrained policy"
    lines = [
        f"{result['task']}: {source} (iteration {result['iteration']}, {result['env_steps']:,} env-steps)",
        f"{result['policy']}, {result['actions']} actions, {result['num_episodes']} episodes, seed {result['seed']}",
    ]
    for name in ("return", "successes", "length", "terminated"):
        if name in result:
            figure = result[name]
            lines.append(
                f"  {name:<10}{figure['mean']:>10.3f} +- {figure['standard_error']:.3f} (standard error)"
                f"   from {figure['min']:.3f} to {figure['max']:.3f}"
            )
    if result["broken_episodes"]:
        lines.append(f"  {result['broken_episodes']} more episodes are left out: their physics broke down")
    return "\n".join(lines)


def write_json(path: pathlib.Path, result: dict[str, Any]) -> None:
    """Write an evaluation as JSON.

    Args:
        path: The file.
        result: What :func:`evaluation` returned.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        write_atomically(path, json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
