"""Draw learning curves of run folders.

Example::

    ./isaaclab.sh -p scripts/analyze.py curves --tag Leader/return --output curves.png \
        --runs SAPG=logs/sapg/allegro_reorient/2026-01-01_10-00-00,logs/sapg/allegro_reorient/2026-01-01_11-00-00
"""

from __future__ import annotations

import argparse
import pathlib
import sys


def main(argv: list[str] | None = None) -> int:
    """Draw.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(description="Figures from run folders.")
    commands = parser.add_subparsers(dest="command", required=True)
    curves = commands.add_parser("curves", help="a number against environment steps, mean and standard error")
    curves.add_argument("--tag", default="Leader/return", help="which number of metrics.jsonl (default: %(default)s)")
    curves.add_argument("--output", required=True, metavar="FILE", help="picture to write, such as curves.png")
    curves.add_argument(
        "--runs", required=True, nargs="+", metavar="LABEL=RUN[,RUN...]", help="run folders of one line each"
    )
    args = parser.parse_args(argv)

    from sapg_isaaclab.experiments import curves as analysis

    groups = {}
    for group in args.runs:
        label, equals, runs = group.partition("=")
        if not equals or not runs:
            print(f"error: --runs {group} is not LABEL=RUN[,RUN...]", file=sys.stderr)
            return 2
        groups[label] = runs.split(",")
    output = pathlib.Path(args.output)
    if not output.parent.is_dir():
        print(f"error: the folder of --output {output} does not exist", file=sys.stderr)
        return 2
    try:
        analysis.plot(groups, args.tag, output)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written to {output}")
    return 0
