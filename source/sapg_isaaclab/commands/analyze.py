"""Figures and tables from run folders.

    python scripts/analyze.py curves --output curves.png --runs SAPG=RUN,RUN PPO=RUN,RUN
    python scripts/analyze.py compare --runs SAPG=RUN,RUN,RUN PPO=RUN,RUN,RUN

``curves`` draws a number against environment steps. ``compare`` takes the mean over the last tenth of each run and
prints what each algorithm reaches and whether two of them differ; with ``--output`` it draws performance profiles.
A picture without an ending is written as PNG and as SVG.

    python scripts/analyze.py page docs/results.md

``page`` makes anew what a page has from data: the blocks between ``<!-- made from ... -->`` and ``<!-- end -->``, and
the figures of suites in its folder ``images``.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from sapg_isaaclab.commands import cli
from sapg_isaaclab.commands.places import check_file
from sapg_isaaclab.errors import InputError, one_line


def parser() -> argparse.ArgumentParser:
    """The options of this command.

    Returns:
        The parser.
    """
    top = cli.Parser(description="Figures and tables from run folders.")
    commands = top.add_subparsers(dest="command", required=True)
    curves = commands.add_parser("curves", help="a number against environment steps, mean and standard error")
    compare = commands.add_parser("compare", help="what algorithms reach at the end, and whether they differ")
    for command in (curves, compare):
        command.add_argument("--tag", default="Leader/return", help="number of metrics.jsonl; default: %(default)s")
        command.add_argument(
            "--runs", required=True, nargs="+", metavar="LABEL=RUN[,RUN...]", help="run folders of each algorithm"
        )
    curves.add_argument("--output", required=True, type=cli.path, metavar="FILE", help="picture to write: curves.png")
    compare.add_argument("--output", type=cli.path, metavar="FILE", help="picture of performance profiles to write")
    compare.add_argument(
        "--format", default="markdown", choices=("markdown", "csv", "latex"), help="of the tables; default: %(default)s"
    )
    compare.add_argument(
        "--last", type=float, default=0.1, metavar="SHARE", help="end of a run that counts; default: %(default)s"
    )
    page = commands.add_parser("page", help="make the blocks of a page anew that are made from data")
    page.add_argument("page", type=cli.path, help="Markdown file, such as docs/results.md")
    return top


def main(argv: list[str] | None = None) -> int:
    """Draw or compare.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_analyze, argv)


def _analyze(argv: list[str] | None) -> int:
    args = parser().parse_args(argv)
    if args.command == "page":
        return _page(pathlib.Path(args.page))
    output = pathlib.Path(args.output) if args.output else None
    try:
        groups = _groups(args.runs)
        if output is not None:
            check_file(output, "--output")
        (_curves if args.command == "curves" else _compare)(args, groups, output)
    except OSError as error:
        raise InputError(f"--output {output} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise InputError(one_line(error)) from error
    if output is not None:
        print(f"written to {output if output.suffix else f'{output}.png and {output}.svg'}", file=sys.stderr)
    return 0


def _page(page: pathlib.Path) -> int:
    from sapg_isaaclab.experiments import drawing
    from sapg_isaaclab.experiments import page as blocks
    from sapg_isaaclab.runs.files import write_atomically

    try:
        text, suites = blocks.renewed(page), blocks.suites(page)
        for name, data in suites.items():
            drawing.draw(data, page.parent / "images" / f"{name}.png")
        write_atomically(page, text)
    except (OSError, ValueError) as error:
        raise InputError(one_line(error)) from error
    print(f"{page}: {text.count('<!-- made from')} blocks, {len(suites)} figures")
    return 0


def _curves(args: argparse.Namespace, groups: dict[str, list[str]], output: pathlib.Path) -> None:
    from sapg_isaaclab.experiments import curves

    curves.plot(groups, args.tag, output)


def _compare(args: argparse.Namespace, groups: dict[str, list[str]], output: pathlib.Path | None) -> None:
    from sapg_isaaclab.experiments import comparison
    from sapg_isaaclab.experiments.curves import final_value

    if not 0.0 < args.last <= 1.0:
        raise ValueError(f"--last {args.last:g} is not in (0, 1]")
    scores = {label: [final_value(run, args.tag, args.last) for run in runs] for label, runs in groups.items()}
    if args.format == "markdown":
        print(f"{args.tag}, mean over the last {args.last:.0%} of each run\n")
    tables = [comparison.table(scores)]
    if len(scores) > 1 and min(map(len, scores.values())) > 1:
        tables.append(comparison.pairs(scores))
    print(*(getattr(table, args.format)().rstrip("\n") for table in tables), sep="\n\n")
    if output is not None:
        comparison.plot_profiles(scores, args.tag, output)


def _groups(arguments: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for argument in arguments:
        label, equals, runs = argument.partition("=")
        if not equals or not label or not all(runs.split(",")):
            raise ValueError(f"--runs {argument} is not LABEL=RUN[,RUN...]")
        if label in groups:
            raise ValueError(f"--runs gives {label!r} twice; put its runs behind one label, with commas")
        groups[label] = [str(pathlib.Path(run).expanduser()) for run in runs.split(",")]
    return groups
