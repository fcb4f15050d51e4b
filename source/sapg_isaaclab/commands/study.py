"""A learning benchmark that needs no simulator: environments with an exploration trap, thousands of them on a CPU.

    python scripts/study.py references
    python scripts/study.py bars --algorithm sapg
    python scripts/study.py scaling --env key_door --jobs 2

``references`` measures what random, trapped and optimal behaviour earn. ``bars`` trains an algorithm with five seeds
and fails if one stays below its bar. ``scaling`` draws return against number of environments; every run is a run
folder below ``--output``, and finished ones are not repeated when the command is, so that it may be interrupted.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any


def main(argv: list[str] | None = None) -> int:
    """Measure.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    from sapg_isaaclab.experiments import bars
    from sapg_isaaclab.experiments.point_envs import ENVS
    from sapg_isaaclab.experiments.point_runs import ALGORITHMS

    parser = argparse.ArgumentParser(description="Learning benchmark without a simulator.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("references", help="what random, trapped and optimal behaviour earn")
    bar = commands.add_parser("bars", help="train with five seeds and compare with the bar")
    bar.add_argument("--algorithm", required=True, nargs="+", choices=bars.BARS)
    scaling = commands.add_parser("scaling", help="return against number of environments")
    scaling.add_argument("--env", default="key_door", choices=ENVS, help="default: %(default)s")
    scaling.add_argument(
        "--algorithms", nargs="+", default=["sapg", "ppo", "ppo_fixed_minibatch"], choices=ALGORITHMS, metavar="NAME",
        help=f"of {', '.join(ALGORITHMS)}; default: %(default)s",
    )  # fmt: skip
    scaling.add_argument(
        "--num_envs", nargs="+", type=_positive, default=[384, 1536, 6144, 24576], help="default: %(default)s"
    )
    scaling.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="default: %(default)s")
    scaling.add_argument("--iterations", type=_positive, default=80, help="updates of each run; default: %(default)s")
    for command in (bar, scaling):
        command.add_argument("--output", type=pathlib.Path, default=pathlib.Path("logs/study"), metavar="FOLDER",
                             help="folder of all runs; default: %(default)s")  # fmt: skip
        command.add_argument("--jobs", type=_positive, default=1, help="processes at a time; default: %(default)s")
    args = parser.parse_args(argv)
    try:
        return {"references": _references, "bars": _bars, "scaling": _scaling}[args.command](args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on with what is missing", file=sys.stderr)
        return 130


def _references(args: argparse.Namespace) -> int:
    from sapg_isaaclab.experiments import point_envs as envs
    from sapg_isaaclab.experiments import references

    for env in envs.ENVS:
        for behaviour in references.BEHAVIOURS:
            found = references.measure(env, behaviour)
            print(f"{env:<10} {behaviour:<8} return {found.mean:7.3f} +- {found.standard_error:.3f}"
                  f"   successes {found.successes:.5f}")  # fmt: skip
    return 0


def _bars(args: argparse.Namespace) -> int:
    from sapg_isaaclab.experiments import bars

    passed = True
    for algorithm in args.algorithm:
        returns = bars.measure(algorithm, args.output, args.jobs)
        passed &= min(returns) > bars.BARS[algorithm].height()
        print(bars.verdict(algorithm, returns), flush=True)
    return 0 if passed else 1


def _scaling(args: argparse.Namespace) -> int:
    from sapg_isaaclab.experiments import point_runs as runs
    from sapg_isaaclab.experiments import scaling
    from sapg_isaaclab.runs.files import write_atomically

    settings = scaling.settings(args.env, args.algorithms, args.num_envs, args.seeds, args.iterations)
    done: dict[Any, Any] = {}
    for setting, run, before in runs.train_all(settings, args.output, args.jobs):
        done[setting] = run
        found = runs.outcome(run)
        print(f"{len(done)}/{len(settings)} {setting.algorithm}, {setting.num_envs} environments, seed {setting.seed}:"
              f" return {found['return']:.2f}, successes {found['successes']:.3f},"
              f" {found['wall_time_s']:.0f} s{' (done before)' if before else ''}", flush=True)  # fmt: skip
    data = scaling.collect(done)
    target = args.output / f"scaling_{args.env}.json"
    write_atomically(target, json.dumps(data, indent=1) + "\n")
    scaling.plot(data, target.with_suffix(".png"))
    print(scaling.table(data).markdown())
    print(f"written to {target} and {target.with_suffix('.png')}")
    return 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)
