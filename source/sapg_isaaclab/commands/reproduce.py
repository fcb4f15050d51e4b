"""A table or a figure of the paper by one command, at any scale.

    python scripts/reproduce.py table1 --scale smoke
    python scripts/reproduce.py figure6 --scale laptop --tasks SAPG-Allegro-Reorient --dry_run
    python scripts/reproduce.py table1 --scale paper --where slurm

It says what will be trained and what that costs, starts what is missing, goes on with what was stopped, leaves alone
what is done, and writes the table or figure. Ctrl-C leaves checkpoints; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from sapg_isaaclab.commands import cli
from sapg_isaaclab.errors import InputError

if TYPE_CHECKING:
    from sapg_isaaclab.experiments.campaign import Campaign
    from sapg_isaaclab.experiments.suites import Place
    from sapg_isaaclab.experiments.trials import Trial


def main(argv: list[str] | None = None) -> int:
    """Plan, train, evaluate and draw.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_reproduce, argv)


def _parser() -> argparse.ArgumentParser:
    from sapg_isaaclab.experiments.suites import LINES, SCALES, SUITES

    parser = cli.Parser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("suite", choices=SUITES, help="which table or figure")
    add("--scale", default="smoke", choices=SCALES, help="how large; default: %(default)s")
    add("--tasks", nargs="+", metavar="TASK", help="tasks; the suite's by default")
    add("--algorithms", nargs="+", metavar="NAME", help=f"lines; the suite's by default. Of {', '.join(LINES)}")
    add("--seeds", nargs="+", metavar="SEED", help="such as 1 2 3 or 1..5; the scale's by default")
    add("--num_envs", nargs="+", type=cli.positive, metavar="N", help="numbers of environments; the suite's by default")
    add("--where", default="local", choices=("local", "slurm"), help="processes of this machine, or one array job")
    add("--jobs", type=cli.positive, default=1, help="runs at a time on this machine; default: %(default)s")
    add("--ranks", type=cli.positive, default=1, help="processes, and GPUs, that share each run; default: %(default)s")
    add(
        "--device",
        nargs="+",
        metavar="DEVICE",
        help="where to compute, in turns: cuda:0 cuda:1; the scale's by default",
    )
    add("--episodes", type=int, help="episodes of each run's evaluation, 0 for none; the scale's by default")
    add("--log_root", type=cli.path, default="logs/sapg", help="folder of new runs; default: %(default)s")
    add("--also", nargs="+", type=cli.path, default=[], metavar="FOLDER", help="further folders to look for runs in")
    add(
        "--output",
        type=cli.path,
        default="logs/reproduce",
        metavar="FOLDER",
        help="where results go; default: %(default)s",
    )
    add("--rate", type=float, help="environment steps per second of a run, to estimate hours by")
    add("--any_code", action="store_true", help="count runs of other versions of the code and its packages, too")
    add("--dry_run", action="store_true", help="only say what would be done, and what it would cost")
    return parser


def _reproduce(argv: list[str] | None) -> int:
    from sapg_isaaclab.experiments import campaign, cost, suites
    from sapg_isaaclab.experiments.trials import expand_seeds

    args = _parser().parse_args(argv)
    if args.episodes is not None and args.episodes < 0:
        raise InputError(f"--episodes {args.episodes} is not allowed; it must be at least 0")
    if args.rate is not None and not args.rate > 0:
        raise InputError(f"--rate {args.rate:g} is not allowed; it must be above 0")
    for folder in args.also:
        if not pathlib.Path(folder).is_dir():
            raise InputError(f"--also {folder} does not exist")
    seeds = expand_seeds(args.seeds) if args.seeds else None
    chosen = {"tasks": args.tasks, "lines": args.algorithms, "seeds": seeds}
    trials = suites.plan(args.suite, args.scale, **chosen, sizes=args.num_envs, ranks=args.ranks)
    scale = suites.SCALES[args.scale]
    devices = args.device or [scale.device]
    episodes = scale.episodes if args.episodes is None else args.episodes
    work = campaign.Campaign(
        pathlib.Path(args.log_root),
        map(pathlib.Path, args.also),
        devices=[devices[index % len(devices)] for index in range(args.jobs)],
        episodes=episodes,
        any_code=args.any_code,
    )
    kinds = cost.estimate(trials.values(), work.shelf(), rate=args.rate, hours=scale.hours)
    print(cost.table(kinds).text())
    print(f"{args.suite}, {args.scale} scale: {len(set(trials.values()))} runs, {args.jobs} at a time. Not counted: the"
          f" start of each run, and its evaluation on {episodes} episodes", flush=True)  # fmt: skip
    if args.dry_run:
        return 0
    folder = pathlib.Path(args.output) / f"{args.suite}_{args.scale}"
    if args.where == "slurm":
        from sapg_isaaclab.commands import slurm

        slurm.submit(work, trials.values(), devices[0], folder)
        failed = 0
    else:
        try:
            failed = work.carry_out(trials.values(), lambda line: print(line, flush=True))
        except KeyboardInterrupt as stop:
            print(f"stopped ({stop or 'Ctrl-C'}); the same command goes on with what is missing", file=sys.stderr)
            return 130
    _write(args, work, trials, episodes, folder)
    return 1 if failed else 0


def _write(args: Any, work: Campaign, trials: dict[Place, Trial], episodes: int, folder: pathlib.Path) -> None:
    from sapg_isaaclab.experiments import drawing, evidence
    from sapg_isaaclab.runs.files import write_atomically

    data = evidence.collect(args.suite, args.scale, trials, work.shelf(), episodes)
    if not data["runs"]:
        print("no run is done yet, so there is nothing to show")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "data.json", json.dumps(data, indent=1) + "\n")
    drawing.table(data).write(folder / "table")
    drawing.robust(data).write(folder / "interquartile")
    drawing.draw(data, folder / "figure")
    print(f"\n{len(data['runs'])} of {data['planned']} runs; in training / fresh episodes (runs)\n")
    print(drawing.table(data).markdown())
    print(f"\nwritten to {folder}: data.json, table and interquartile (.md, .csv, .tex), figure (.png, .svg)")
