"""Measure a policy: return and successes over finished episodes, with standard errors.

Example::

    ./isaaclab.sh -p scripts/evaluate.py --checkpoint best --episodes 200 --output evaluation.json
    ./isaaclab.sh -p scripts/evaluate.py --task SAPG-Allegro-Reorient --checkpoint none
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib

from sapg_isaaclab.commands import cli


def main(argv: list[str] | None = None) -> int:
    """Evaluate.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_evaluate, argv)


def _evaluate(argv: list[str] | None) -> int:
    from sapg_isaaclab.commands import evaluation as report
    from sapg_isaaclab.commands import places, policy_choice

    def check(args: argparse.Namespace, tokens: list[str]) -> None:
        policy_choice.check(args, tokens)
        if args.output is not None:
            places.check_new_file(pathlib.Path(args.output), "--output")

    parser = cli.parser("Measure a policy over finished episodes: mean and standard error of return and successes.")
    policy_choice.add_arguments(parser)
    parser.add_argument("--episodes", type=int, default=200, help="least number of episodes (default: %(default)s)")
    parser.add_argument(
        "--output", type=cli.path, metavar="FILE", help="also write the result, with every episode, as JSON"
    )
    args, tokens = cli.parse(parser, argv, check)
    from sapg_isaaclab.commands import playing
    from sapg_isaaclab.commands.episodes import run_episodes

    output = pathlib.Path(args.output) if args.output else None
    job = playing.plan(args, tokens, num_envs=min(args.episodes, 50))
    with cli.launched(job.env_cfg, args), contextlib.ExitStack() as cleanup:
        env, act = job.start()
        cleanup.callback(env.close)
        print(f"evaluating {job.policy_name}, on {env.num_envs} environments", flush=True)
        episodes = run_episodes(env, act, episodes=args.episodes)
        result = report.evaluation(job, episodes, env.num_envs)
        print(report.text(result))
        if output is not None:
            report.write_json(output, result)
            print(f"written to {output}")
    return 0
