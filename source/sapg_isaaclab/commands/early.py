"""Checks of the command line that need neither torch nor Isaac Lab, which take seconds to import.

They only refuse what is certainly wrong; everything is checked once more when the configurations are there.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os
import re
from typing import Any

from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.commands import declared, task_config
from sapg_isaaclab.commands.overrides import convert
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.run_folder import check_writable, find_runs

DEFAULT_ITERATIONS = 10_000
"""Iterations of a training run where no number is asked for."""

LOWEST = {
    "num_envs": 1,
    "max_iterations": 1,
    "checkpoint_interval": 1,
    "checkpoint_minutes": 0.01,
    "keep_checkpoints": 0,
    "dump_states": 0,
    "episodes": 1,
    "steps": 1,
    "video_length": 1,
    "video_interval": 1,
    "env_index": 0,
    "record": 1,
    "block": 0,
}
"""Least value of the options that are numbers."""

CHOSEN = ("latest", "best", "pretrained", "none")
"""Words that stand for a checkpoint; anything else is a path."""


def check(args: argparse.Namespace, tokens: list[str]) -> None:
    """Check what the command line itself tells.

    Args:
        args: Parsed arguments.
        tokens: Presets and overrides.

    Raises:
        InputError: If something is wrong.
    """
    _numbers(args)
    if args.device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", args.device):
        raise InputError(f"--device {args.device} is unknown; use cpu or cuda:0")
    ours = _task(args.task)
    names = [token.split("=", 1)[0] for token in tokens]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} is given more than once; keep one")
    task_config.refuse_contradictions(args, tokens)
    if ours:
        for token in tokens:
            _token(token, ours, getattr(args, "algorithm", None) or "sapg")
    _places(args)


def _numbers(args: argparse.Namespace) -> None:
    for name, low in LOWEST.items():
        value = getattr(args, name, None)
        if value is not None and not value >= low:
            raise InputError(f"--{name} {value} is not allowed; it must be at least {low}")
    if args.seed is not None:
        task_config.check_seed(args.seed)


def _task(task: str | None) -> str | None:
    """The task if it is one of ours; None if only Isaac Lab, or a module of the user's, can tell."""
    if task is None:
        return None
    module, _, name = task.rpartition(":")
    known = {own.lower(): own for own in task_config.sapg_tasks()}
    if not module and name in known.values():
        return name
    if module and not module.startswith("sapg_isaaclab"):
        task_config.see_working_folder()
        try:
            found = importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            found = False
        if not found:
            raise InputError(f"--task {task}: package {module!r} cannot be imported; see its name and PYTHONPATH")
    elif name not in known.values() and name.lower().startswith("sapg-"):
        near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
        if near and difflib.SequenceMatcher(None, near[0], name.lower()).ratio() > 0.85:
            raise InputError(f"--task {task} is unknown; did you mean {' or '.join(known[match] for match in near)}?")
    return None


def _token(token: str, task: str, algorithm: str) -> None:
    path, _, text = token.partition("=")
    section, _, option = path.partition(".")
    if section == "agent" and algorithm in ALGORITHMS:
        known = declared.options(algorithm)
        name = option.split(".")[0]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
            hint = (
                f"did you mean {' or '.join(f'agent.{match}' for match in near)}?" if near else "see docs/algorithm.md"
            )
            raise InputError(f"there is no option agent.{name}; {hint}")
        if name == option and known[name] is not Any:
            convert(known[name], text, path)
    elif not option and path in task_config.SELECTORS:
        allowed = set(declared.engines()) if path == "physics" else declared.presets()
        for name in (part.strip() for part in text.split(",")):
            if name != "default" and name not in allowed and not declared.mentioned(name):
                near = difflib.get_close_matches(name, allowed, n=1)
                listing = f"use one of {', '.join(sorted(allowed))}"
                hint = f"did you mean {near[0]}? Otherwise {listing}" if near else listing
                raise InputError(f"{path}={name} is unknown for {task}; {hint}")


def _places(args: argparse.Namespace) -> None:
    if getattr(args, "resume", None) == "pretrained":
        raise InputError("--resume goes on with a run, and the pretrained policy is none; use --init_from pretrained")
    for option in ("resume", "init_from", "checkpoint"):
        chosen = getattr(args, option, None)
        if chosen is not None and chosen not in CHOSEN and not os.path.exists(os.path.expanduser(chosen)):
            known = ", ".join(str(run.path) for run in find_runs(args.log_root)[:3]) or "none"
            raise InputError(f"checkpoint {chosen} does not exist; runs found in {args.log_root}: {known}")
    if hasattr(args, "resume") and not args.resume:
        check_writable(args.log_root, "")
