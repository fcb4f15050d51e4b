"""Arguments that say which policy acts, and how: those that play and evaluate have in common."""

from __future__ import annotations

import argparse
from typing import Any

from sapg_isaaclab.block_tags import MOST_BLOCKS
from sapg_isaaclab.errors import InputError

ACTIONS = ("deterministic", "stochastic")
"""Values of ``--actions``: the policy's mean, or a sample."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments.

    Args:
        parser: The command's parser.
    """
    add = parser.add_argument
    add(
        "--checkpoint",
        default="latest",
        metavar="latest|best|pretrained|PATH|none",
        help="policy (latest); none: untrained",
    )
    add("--block", type=int, help="whose policy (the leader's; DexPBT: that of the best learner)")
    # Isaac Lab's launcher has a --deterministic of another meaning
    add("--actions", choices=ACTIONS, help="mean actions (default for hands) or samples, as in training")


def check_block(block: int, agent_cfg: Any, option: str) -> None:
    """Check that there is a policy of a number.

    Args:
        block: The number.
        agent_cfg: Options of the agent.
        option: Which option gave it.

    Raises:
        InputError: If there is none.
    """
    names = agent_cfg.policy_names()
    if not 0 <= block < len(names):
        words = [f"{index} ({name})" for index, name in enumerate(names)]
        known = ", ".join(words) if len(words) <= MOST_BLOCKS else f"{words[0]} to {words[-1]}"
        raise InputError(f"{option} {block} does not exist; use one of {known}")


def check(args: argparse.Namespace, tokens: list[str]) -> None:
    """Refuse options that a finished policy cannot have.

    Args:
        args: Parsed arguments.
        tokens: Presets and overrides.

    Raises:
        InputError: If there is one.
    """
    if args.checkpoint == "none":
        if not args.task:
            from sapg_isaaclab.commands import task_config

            task_config.check_task(None)
        return
    for token in tokens:
        if token.startswith("agent."):
            raise InputError(f"{token}: the agent's options come from the checkpoint; drop it")
