"""Films of a run while it trains: their options, and what takes them."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from sapg_isaaclab.commands import policy_choice
from sapg_isaaclab.errors import InputError, one_line

if TYPE_CHECKING:
    from sapg_isaaclab.agents.blocks import BlockLayout
    from sapg_isaaclab.runs.run_folder import RunFolder
    from sapg_isaaclab.training.clips import Clips
    from sapg_isaaclab.training.trainer import TrainerCfg

SIZE = "480x360"
"""Size of what is drawn of a block [pixel]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options.

    Args:
        parser: The command's parser.
    """
    add = parser.add_argument
    add("--video", action="store_true", default=None, help="film the leader now and then: videos/ in the run folder")
    add("--no_video", dest="video", action="store_false", default=None, help="with --resume: film no more")
    add("--video_length", type=int, metavar="STEPS", help="steps of a clip (200)")
    add(
        "--video_interval",
        type=int,
        metavar="STEPS",
        help="steps from clip to clip (2000, or as many as it takes for filming to cost 3 %% of the time)",
    )
    add("--video_blocks", type=_blocks, metavar="K,L", help="policies to film, side by side (the leader's)")


def _blocks(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not understood; use numbers of blocks, such as 0,3")
    return list(dict.fromkeys(map(int, text.split(","))))


def check_early(args: argparse.Namespace) -> None:
    """Check what needs no configuration.

    Args:
        args: Parsed arguments.

    Raises:
        InputError: If something is wrong.
    """
    _refuse_viewer(args, args.video)


def _refuse_viewer(args: argparse.Namespace, video: bool | None) -> None:
    if video and args.visualizer:
        raise InputError("--video draws off screen, --viz shows training live; drop --viz, or add --no_video")


def check(args: argparse.Namespace, cfg: TrainerCfg, agent_cfg: Any, layout: BlockLayout) -> None:
    """Check the options of filming while training.

    Args:
        args: Parsed arguments of ``train``.
        cfg: Options of the run: those and, after a resume, those of before.
        agent_cfg: Options of the agent.
        layout: Which environment of this process belongs to which policy.

    Raises:
        InputError: If one is wrong, or of no use.
    """
    for name in ("video_interval", "video_length", "video_blocks"):
        if getattr(args, name) is not None and not cfg.video:
            raise InputError(f"--{name} says how to film; add --video")
    _refuse_viewer(args, cfg.video)
    if cfg.video_interval is not None and cfg.video_interval < cfg.video_length:
        raise InputError(
            f"--video_interval {cfg.video_interval} is not allowed; use {cfg.video_length} or more: a clip is that"
            " long (--video_length)"
        )
    for block in cfg.video_blocks:
        policy_choice.check_block(block, agent_cfg, "--video_blocks")
        if block >= len(layout.held):
            raise InputError(
                f"--video_blocks {block} is not on rank 0, which films; use one of its blocks, 0 to"
                f" {len(layout.held) - 1}"
            )


def prepare(env_cfg: Any) -> None:
    """Let an environment be drawn.

    Args:
        env_cfg: Configuration of the environment, before it is made.

    Raises:
        InputError: If this machine cannot draw.
    """
    from sapg_isaaclab.commands import film

    film.enable(env_cfg, SIZE)


def check_drawing(env: Any) -> None:
    """Draw once, to see whether a task can be drawn at all.

    Args:
        env: Environment that was made after :func:`prepare`.

    Raises:
        InputError: If it cannot.
    """
    from sapg_isaaclab.tasks.rendering import grab_frame

    try:
        grab_frame(env)
    except Exception as error:  # whatever a driver or a task of somebody else raises
        raise InputError(f"--video: the task cannot be drawn ({one_line(error)}); drop --video") from error


def clips(env: Any, agent: Any, run: RunFolder, cfg: TrainerCfg) -> Clips:
    """What films a run while it trains.

    Args:
        env: Environment that was made after :func:`prepare`.
        agent: The agent.
        run: The run folder.
        cfg: Options of the run.

    Returns:
        The recorder, for the trainer.
    """
    from sapg_isaaclab.commands import film
    from sapg_isaaclab.tasks.rendering import grab_frame
    from sapg_isaaclab.training.clips import Clips

    return Clips(
        run.path / "videos",
        lambda env_index: grab_frame(env, env_index),
        control_rate=film.frame_rate(env.unwrapped.cfg),
        block_size=agent.layout.block_size,
        blocks=cfg.video_blocks,
        length=cfg.video_length,
        interval=cfg.video_interval,
    )
