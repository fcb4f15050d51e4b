"""What the scripts share: command-line arguments, and errors as one line."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from sapg_isaaclab import account
from sapg_isaaclab.commands.task_config import SELECTORS
from sapg_isaaclab.errors import ONE_LINE_ERRORS, InputError, report

_ELSEWHERE = {"--video": "videos are made by scripts/play.py", "--checkpoint": "use --resume or --init_from"}

_OPTIONAL_VIEWERS = ("viser", "rerun")
"""Viewers in the browser: extras of isaaclab, named like the module they install."""


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Args:
            message: What is wrong.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{message}; see --help")


def parser(description: str) -> Parser:
    """Parser with the arguments that all scripts have.

    Args:
        description: First line of the help text.

    Returns:
        The parser; :func:`parse` completes it.
    """
    # an abbreviation that works today may be ambiguous tomorrow
    result = Parser(description=description, allow_abbrev=False)
    result.add_argument("--task", help="task id, such as SAPG-Allegro-Reorient; scripts/list_envs.py shows all")
    result.add_argument("--num_envs", type=int, help="number of environments of this process")
    result.add_argument("--seed", type=int, help="seed of everything random; -1 draws one")
    result.add_argument("--log_root", default="logs/sapg", help="folder of all runs (default: %(default)s)")
    result.add_argument("--headless", action="store_true", help="no window (the default, unless --viz is given)")
    return result


def parse(parser: Parser, argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line.

    Args:
        parser: Parser with the script's own arguments.
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Arguments, and the tokens for presets and configurations (``physics=...``, ``env.X=...``).

    Raises:
        InputError: If an argument is unknown or not of its type.
        SystemExit: After printing the help text.
    """
    # the help text of presets and the launcher's arguments come from Isaac Lab
    from isaaclab.app import add_launcher_args
    from isaaclab_tasks.utils import setup_preset_cli

    add_launcher_args(parser)
    parser.set_defaults(device=None)
    args, tokens = setup_preset_cli(parser, sys.argv[1:] if argv is None else argv)
    known = [option for action in parser._actions for option in action.option_strings]
    for token in tokens:
        name, equals, _ = token.partition("=")
        if name.startswith("-"):
            near = difflib.get_close_matches(name, known, n=1)
            hint = _ELSEWHERE.get(name, f"did you mean {near[0]}?" if near else "see --help")
            raise InputError(f"unknown option {name}; {hint}")
        if not equals or not (name in SELECTORS or name.startswith(("env.", "agent."))):
            raise InputError(
                f"{token!r} is not understood; allowed are --options, physics=NAME, presets=NAME, env.NAME=VALUE and"
                " agent.NAME=VALUE"
            )
    if args.headless and args.visualizer:
        raise InputError(f"--headless and --viz {','.join(args.visualizer)} contradict each other; drop one of them")
    for viewer in args.visualizer or ():
        if viewer in _OPTIONAL_VIEWERS and importlib.util.find_spec(viewer) is None:
            raise InputError(f"--viz {viewer} is not installed; pip install 'isaaclab[{viewer}]==3.0.*'")
    return args, tokens


def run_command(command: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Run a script's command; what the user did wrong becomes one line, our own mistakes keep their traceback.

    Args:
        command: Takes the arguments and returns the exit code.
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code of the process.
    """
    account.complete()
    try:
        return command(argv)
    except ONE_LINE_ERRORS as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130


@contextlib.contextmanager
def launched(env_cfg: Any, args: argparse.Namespace) -> Iterator[None]:
    """Isaac Lab's launcher, without a traceback for what :func:`run_command` would report as one line.

    Args:
        env_cfg: Configuration of the environment.
        args: Parsed arguments.
    """
    from isaaclab.app import launch_simulation

    args.device = env_cfg.sim.device
    if args.device == "cpu":
        args.distributed = False  # it would put every process on a GPU
    with launch_simulation(env_cfg, args):
        try:
            yield
        except ONE_LINE_ERRORS as error:
            # the simulator may end the process when it is closed: the exit code has to pass through it
            raise SystemExit(report(error)) from None
        except Exception:
            # Isaac Lab would print the traceback and Python once more
            traceback.print_exc()
            raise SystemExit(1) from None
