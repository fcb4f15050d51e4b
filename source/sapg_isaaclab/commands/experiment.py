"""The group ``agent.experiment`` of skrl's configurations: what of it has a meaning here, by which option it is had."""

from __future__ import annotations

import argparse
import re
from typing import Any

from sapg_isaaclab.errors import InputError

GROUP = "agent.experiment."

WANDB = ("project", "entity", "group", "tags", "name", "notes", "job_type")
"""What ``agent.experiment.wandb_kwargs.`` takes: arguments of ``wandb.init``. The first four are options, too."""

REFUSED = {
    "write_interval": "every iteration is written; drop it",
    "checkpoint_interval": "use --checkpoint_interval ITERATIONS",
    "store_separately": "a checkpoint is one file; drop it",
}
"""Fields that are refused, with what to do instead."""

KEPT = ("directory",)
"""Fields that stay in the agent's configuration."""

MAPPED = ("experiment_name", "wandb", "wandb_kwargs")
"""Fields that stand for an option of the command line."""

_NAME = re.compile(r"[^/\0]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run's name and of Weights & Biases.

    Args:
        parser: The command's parser.
    """
    add = parser.add_argument
    add("--run_name", metavar="NAME", help="the run folder is called <time>_NAME")
    add("--wandb_project", metavar="NAME", help="Weights & Biases: project (else WANDB_PROJECT, else the experiment)")
    add("--wandb_entity", metavar="NAME", help="Weights & Biases: user or team")
    add("--wandb_group", metavar="NAME", help="Weights & Biases: group of runs")
    add("--wandb_tags", metavar="A,B", help="Weights & Biases: tags")


def take(args: argparse.Namespace, tokens: list[str]) -> list[str]:
    """Turn options of the group into those of the command line.

    Args:
        args: Parsed arguments; ``run_name``, ``logger`` and ``wandb_options`` (arguments of ``wandb.init``) are set.
        tokens: Presets and overrides.

    Returns:
        The tokens that are left.

    Raises:
        InputError: If one is refused, unknown, or contradicts another.
    """
    wandb: dict[str, Any] = {}
    left = []
    for token in tokens:
        path, _, text = token.partition("=")
        name, _, key = path.removeprefix(GROUP).partition(".")
        if not path.startswith(GROUP) or (name in KEPT and not key):
            left.append(token)
        elif name in REFUSED:
            raise InputError(f"{token} has no effect here: {REFUSED[name]}")
        elif path == f"{GROUP}experiment_name":
            _set(args, "run_name", text, token)
        elif path == f"{GROUP}wandb":
            if text.lower() not in ("true", "false"):
                raise InputError(f"{token} is not allowed: it must be true or false")
            _set(args, "logger", "wandb" if text.lower() == "true" else "tensorboard", token)
        elif name == "wandb_kwargs" and key in WANDB:
            wandb[key] = text
        elif name == "wandb_kwargs":
            raise InputError(
                f"{token} is not understood; use {GROUP}wandb_kwargs.NAME=VALUE with one of {', '.join(WANDB)}"
            )
        else:
            known = ", ".join((*KEPT, *MAPPED))
            raise InputError(f"there is no option {path}; {GROUP.rstrip('.')} has {known}")
    for key in WANDB[:4]:
        value = getattr(args, f"wandb_{key}")
        if value is not None and wandb.get(key, value) != value:
            raise InputError(
                f"--wandb_{key} {value} and {GROUP}wandb_kwargs.{key}={wandb[key]} contradict each other; drop one"
            )
        if value is not None:
            wandb[key] = value
    if "tags" in wandb:
        given = wandb["tags"]
        wandb["tags"] = [tag.strip(" '\"") for tag in wandb["tags"].strip("[]()").split(",") if tag.strip()]
        if not wandb["tags"]:
            raise InputError(f"--wandb_tags {given} names no tag; use NAME or NAME,NAME")
    if wandb and args.logger == "tensorboard":
        raise InputError(f"options of Weights & Biases ({', '.join(wandb)}) need --logger wandb, not tensorboard")
    if wandb:
        args.logger = "wandb"
    args.wandb_options = wandb or None
    for option, value in (("--run_name", args.run_name), (f"{GROUP}directory", _directory(left))):
        check_name(option, value)
    return left


def check_name(option: str, value: str | None) -> None:
    """Check the name of a folder.

    Args:
        option: Who names it, for the message.
        value: The name; None if there is none.

    Raises:
        InputError: If no folder can have it.
    """
    if value is not None and (
        not _NAME.fullmatch(value) or value.strip() in ("", ".", "..") or len(value.encode()) > 150
    ):
        raise InputError(
            f"{option} {value!r} is not allowed; it names one folder, without '/' and at most 150 bytes long"
        )


def _directory(tokens: list[str]) -> str | None:
    return next((token.split("=", 1)[1] for token in tokens if token.startswith(f"{GROUP}directory=")), None)


def _set(args: argparse.Namespace, name: str, value: str, token: str) -> None:
    now = getattr(args, name)
    if now is not None and now != value:
        raise InputError(f"--{name} {now} and {token} contradict each other; drop one of them")
    setattr(args, name, value)
