"""Watch a policy: writes a short video, an animation or PNG frames, and prints the returns of the episodes.

Example::

    ./isaaclab.sh -p scripts/play.py
    ./isaaclab.sh -p scripts/play.py --checkpoint best --block 3 --frames frames
"""

from __future__ import annotations

import argparse
import contextlib

from sapg_isaaclab.commands import cli


def main(argv: list[str] | None = None) -> int:
    """Play.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_play, argv)


def _play(argv: list[str] | None) -> int:
    from sapg_isaaclab.commands import film, policy_choice

    def check(args: argparse.Namespace, tokens: list[str]) -> None:
        policy_choice.check(args, tokens)
        film.target(args)

    parser = cli.parser("Run a policy, write a video of one environment and print the returns of the episodes.")
    policy_choice.add_arguments(parser)
    add = parser.add_argument
    add("--steps", "--video_length", type=int, default=300, help="number of steps (default: %(default)s)")
    add(
        "--video",
        nargs="?",
        const="",
        type=cli.path,
        metavar="FILE",
        help=".mp4, .gif or .webp file (default: videos/ in the run folder)",
    )
    add("--frames", type=cli.path, metavar="FOLDER", help="write PNG frames into this new folder instead of a video")
    add("--no_video", action="store_true", help="draw nothing, only print returns")
    add("--env_index", type=int, default=0, help="which environment is filmed (default: %(default)s)")
    add("--size", default="640x480", metavar="WxH", help="size of the picture (default: %(default)s)")
    args, tokens = cli.parse(parser, argv, check)
    from sapg_isaaclab.commands import playing
    from sapg_isaaclab.commands.episodes import run_episodes

    target = film.target(args)
    job = playing.plan(args, tokens, num_envs=4)
    if target is None and not args.no_video:
        target = film.default_target(job)
    if target is not None:
        film.enable(job.env_cfg, args.size, args.env_index)
    with cli.launched(job.env_cfg, args), contextlib.ExitStack() as cleanup:
        env, act = job.start()
        cleanup.callback(env.close)
        print(f"playing {job.policy_name}, {args.steps} steps of {env.num_envs} environments", flush=True)
        recorder = cleanup.enter_context(film.Recorder(env, target, film.frame_rate(job.env_cfg)))
        episodes = run_episodes(env, act, steps=args.steps, on_step=recorder.grab)
    for index, value in enumerate(episodes.returns):
        successes = f", successes {episodes.successes[index]:g}" if episodes.successes else ""
        print(f"episode {index + 1}: return {value:.3f}, length {episodes.lengths[index]}{successes}")
    if not episodes.returns:
        print(f"no episode ended within {args.steps} steps")
    if target is not None:
        print(f"written: {target}")
    return 0
