"""A learning benchmark that needs no simulator: environments with an exploration trap, thousands of them on a CPU.

    python scripts/study.py references
    python scripts/study.py bars --algorithm sapg
    python scripts/study.py scaling --env key_door --jobs 2
    python scripts/study.py updates --num_blocks 1 6 64

``references`` measures what random, trapped and optimal behaviour earn. ``bars`` trains an algorithm with five seeds
and fails if one stays below its bar. ``train`` makes one run and ``evaluate`` plays what it has learned; they are
what ``scripts/reproduce.py`` calls. ``scaling`` draws return against number of environments; every run is a run
folder below ``--output``, and finished ones are not repeated when the command is, so that it may be interrupted.
``updates`` measures what an update of SAPG costs with few and with many policies, on made-up data, in CPU time of one
thread.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

from sapg_isaaclab.commands import cli
from sapg_isaaclab.errors import InputError, one_line
from sapg_isaaclab.runs.files import try_folder

ENVS = ("two_hills", "two_goals", "key_door", "door_chain", "one_door")
"""Environments, named here so that arguments are checked before torch is imported. A test compares all three."""

BARS = ("sapg", "cpo", "ppo", "epo", "dexpbt", "pql", "pql_d")
"""Algorithms that have a bar."""

ALGORITHMS = (
    "sapg",
    "sapg_no_off_policy",
    "sapg_separate",
    "sapg_fixed_minibatch",
    "sapg_double_minibatches",
    "cpo",
    "ppo",
    "ppo_fixed_minibatch",
    "epo",
    "dexpbt",
    "pql",
    "pql_d",
)
"""Algorithms that can be trained."""


def main(argv: list[str] | None = None) -> int:
    """Measure.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_study, argv)


def _study(argv: list[str] | None) -> int:
    parser = cli.Parser(description="Learning benchmark without a simulator.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("references", help="what random, trapped and optimal behaviour earn")
    bar = commands.add_parser("bars", help="train with five seeds and compare with the bar")
    bar.add_argument("--algorithm", required=True, nargs="+", choices=BARS)
    train = commands.add_parser("train", help="one run")
    train.add_argument("--env", choices=ENVS, help="where")
    train.add_argument("--algorithm", default="sapg", choices=ALGORITHMS, metavar="NAME",
                       help=f"of {', '.join(ALGORITHMS)}; default: %(default)s")  # fmt: skip
    train.add_argument("--num_envs", type=cli.positive, default=768, help="default: %(default)s")
    train.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    train.add_argument("--iterations", type=cli.positive, default=80, help="updates; default: %(default)s")
    train.add_argument("--resume", type=cli.path, metavar="RUN", help="go on with a stopped run, exactly")
    train.add_argument("--dump_states", type=int, default=0, metavar="K", help="visited states to keep of each policy")
    train.add_argument("options", nargs="*", metavar="agent.NAME=VALUE", help="options of the agent")
    evaluate = commands.add_parser("evaluate", help="what a run's leader earns on fresh episodes, sampled actions")
    evaluate.add_argument("--run", type=cli.path, required=True, metavar="RUN", help="run folder")
    evaluate.add_argument("--episodes", type=cli.positive, default=200, help="default: %(default)s")
    evaluate.add_argument("--seed", type=int, default=10_001, help="default: %(default)s")
    evaluate.add_argument("--output", type=cli.path, required=True, metavar="FILE", help="JSON file to write")
    scaling = commands.add_parser("scaling", help="return against number of environments")
    scaling.add_argument("--env", default="key_door", choices=ENVS, help="default: %(default)s")
    scaling.add_argument(
        "--algorithms", nargs="+", default=["sapg", "ppo", "ppo_fixed_minibatch"], choices=ALGORITHMS, metavar="NAME",
        help=f"of {', '.join(ALGORITHMS)}; default: sapg ppo ppo_fixed_minibatch",
    )  # fmt: skip
    scaling.add_argument(
        "--num_envs",
        nargs="+",
        type=cli.positive,
        default=[384, 1536, 6144, 24576],
        metavar="N",
        help="default: 384 1536 6144 24576",
    )
    scaling.add_argument(
        "--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], metavar="S", help="default: 1 2 3 4 5"
    )
    scaling.add_argument("--iterations", type=cli.positive, default=80, help="updates of a run; default: %(default)s")
    updates = commands.add_parser("updates", help="what an update costs against the number of policies")
    updates.add_argument(
        "--num_blocks", nargs="+", type=cli.positive, default=[1, 6, 16, 64, 256], metavar="M",
        help="numbers of policies; default: 1 6 16 64 256",
    )  # fmt: skip
    updates.add_argument("--num_envs", type=cli.positive, default=24576, help="default: %(default)s")
    updates.add_argument("--updates", type=cli.positive, default=3, help="to time, after one; default: %(default)s")
    updates.add_argument("options", nargs="*", metavar="agent.NAME=VALUE", help="options of the agent")
    for command in (bar, train, scaling):
        command.add_argument("--output", type=cli.path, default="logs/study", metavar="FOLDER",
                             help="folder of all runs; default: %(default)s")  # fmt: skip
    for command in (bar, scaling):
        command.add_argument("--jobs", type=cli.positive, default=1, help="processes at a time; default: %(default)s")
    args = parser.parse_args(argv)
    if args.command == "references":
        return _references()
    if args.command == "updates":
        return _updates(args)
    output = pathlib.Path(args.output)
    try:
        if args.command == "evaluate":
            return _evaluate(args, output)
        try_folder(output.resolve())
        return {"bars": _bars, "train": _train, "scaling": _scaling}[args.command](args, output)
    except OSError as error:
        raise InputError(f"--output {output} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise InputError(one_line(error)) from error
    except KeyboardInterrupt:
        print("the same command goes on with what is missing", file=sys.stderr)
        raise


def _references() -> int:
    from sapg_isaaclab.experiments import references
    from sapg_isaaclab.experiments import study_envs as envs

    for env in envs.ENVS:
        for behaviour in references.BEHAVIOURS:
            found = references.measure(env, behaviour)
            print(f"{env:<10} {behaviour:<8} return {found.mean:7.3f} +- {found.standard_error:.3f}"
                  f"   successes {found.successes:.5f}")  # fmt: skip
    return 0


def _updates(args: argparse.Namespace) -> int:
    from sapg_isaaclab.agents.sapg import SapgCfg
    from sapg_isaaclab.commands import apart
    from sapg_isaaclab.experiments import point_runs as runs
    from sapg_isaaclab.experiments import update_cost

    settings = []
    try:
        for blocks in args.num_blocks:
            settings.append({**runs.typed(args.options), "num_blocks": blocks})
            SapgCfg(**settings[-1]).check(args.num_envs)
    except (TypeError, ValueError) as error:
        raise InputError(one_line(error)) from error
    found = []
    for setting in settings:
        row = apart.call(update_cost.measure, setting, args.num_envs, args.updates)
        found.append(row)
        print(f"{row['policies']} policies: an update {row['update_s']:.2f} s, {row['peak_mb']:.0f} MB", flush=True)
    print(update_cost.table(found).markdown())
    return 0


def _bars(args: argparse.Namespace, output: pathlib.Path) -> int:
    from sapg_isaaclab.experiments import bars

    passed = True
    for algorithm in args.algorithm:
        returns = bars.measure(algorithm, output, args.jobs)
        passed &= min(returns) > bars.BARS[algorithm].height()
        print(bars.verdict(algorithm, returns), flush=True)
    return 0 if passed else 1


def _train(args: argparse.Namespace, output: pathlib.Path) -> int:
    from sapg_isaaclab.experiments import point_runs as runs
    from sapg_isaaclab.runs.run_folder import RunFolder

    if (args.env is None) == (args.resume is None):
        raise InputError("give --env for a new run, or --resume RUN to go on with one")
    resume = RunFolder(args.resume) if args.resume else None
    setting = runs.setting_of(resume) if resume else runs.Setting(
        args.env, args.algorithm, args.num_envs, args.seed, args.iterations, tuple(args.options), args.dump_states
    )  # fmt: skip
    setting.agent_cfg()
    print(f"finished: {runs.train(setting, output, resume).path}")
    return 0


def _evaluate(args: argparse.Namespace, output: pathlib.Path) -> int:
    from sapg_isaaclab.commands import evaluation, places
    from sapg_isaaclab.experiments import point_runs as runs
    from sapg_isaaclab.runs.run_folder import RunFolder

    places.check_new_file(output, "--output")
    result = runs.evaluate(RunFolder(args.run), args.episodes, args.seed)
    evaluation.write_json(output, result)
    print(evaluation.text({**result, "checkpoint": args.run, "policy": "leader"}))
    return 0


def _scaling(args: argparse.Namespace, output: pathlib.Path) -> int:
    from sapg_isaaclab.experiments import point_runs as runs
    from sapg_isaaclab.experiments import scaling
    from sapg_isaaclab.runs.files import write_atomically

    settings = scaling.settings(args.env, args.algorithms, args.num_envs, args.seeds, args.iterations)
    done: dict[Any, Any] = {}
    for setting, run, before in runs.train_all(settings, output, args.jobs):
        done[setting] = run
        found = runs.outcome(run)
        print(f"{len(done)}/{len(settings)} {setting.algorithm}, {setting.num_envs} environments, seed {setting.seed}:"
              f" return {found['return']:.2f}, successes {found['successes']:.3f},"
              f" {found['wall_time_s']:.0f} s{' (done before)' if before else ''}", flush=True)  # fmt: skip
    data = scaling.collect(done)
    target = output / f"scaling_{args.env}.json"
    write_atomically(target, json.dumps(data, indent=1) + "\n")
    scaling.plot(data, target.with_suffix(".png"))
    print(scaling.table(data).markdown())
    print(f"written to {target} and {target.with_suffix('.png')}")
    return 0
