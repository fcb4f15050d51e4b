"""List the tasks that SAPG can train on, with their presets.

Example::

    ./isaaclab.sh -p scripts/list_envs.py
"""

from __future__ import annotations

import contextlib
import io
import sys

from sapg_isaaclab.commands import cli


def main(argv: list[str] | None = None) -> int:
    """Print the table.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_list, argv)


def _list(argv: list[str] | None) -> int:
    parser = cli.Parser(description="List the tasks that SAPG can train on, with their presets.")
    parser.add_argument("--keyword", default="", help="only tasks whose id contains this")
    args = parser.parse_args(argv)
    from rich.console import Console
    from rich.table import Table

    from sapg_isaaclab.commands import task_config

    with contextlib.redirect_stdout(io.StringIO()):  # Isaac Lab tells which files it reads
        rows = [task_config.describe_task(task) for task in task_config.sapg_tasks(args.keyword)]
    if not rows:
        print(f"no task with {args.keyword!r} in its id; there are {', '.join(task_config.sapg_tasks())}")
        return 0
    table = Table(title="Tasks for SAPG: --task ID")
    table.add_column("id", no_wrap=True)
    for column in ("environments", "steps per episode", "physics=", "presets="):
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0
