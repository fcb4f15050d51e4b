"""What the commands share: their arguments, and errors as one line."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib.util
import math
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from sapg_isaaclab import account, streams
from sapg_isaaclab.commands import early
from sapg_isaaclab.commands.task_config import SELECTORS
from sapg_isaaclab.errors import ONE_LINE_ERRORS, InputError, report
from sapg_isaaclab.training import signals

LAUNCHER: dict[tuple[str, ...], dict[str, Any]] = {
    ("--livestream",): {"type": int, "choices": (0, 1, 2)},
    ("--xr",): {"action": "store_true"},
    ("--device",): {},
    ("--visualizer", "--viz"): {},
    ("--verbose",): {"action": "store_true"},
    ("--info",): {"action": "store_true"},
    ("--experience",): {},
    ("--deterministic",): {"action": "store_true"},
    ("--kit_args",): {},
    ("--anim_recording_enabled",): {"action": "store_true"},
    ("--anim_recording_start_time",): {"type": float},
    ("--anim_recording_stop_time",): {"type": float},
    ("--max_visible_envs",): {"type": int},
}
"""Arguments of Isaac Lab's launcher, so that a wrong one is seen before Isaac Lab is imported. A test compares."""

_VIEWERS = {"newton_gl": None, "viser": "viser", "rerun": "rerun", "newton_rtx": "ovrtx", "kit": "isaacsim"}
"""Viewers, and what they need: an extra of isaaclab, named like the module that it installs."""

_TOKENS = ("env.", "agent.", *(f"{selector}=" for selector in SELECTORS))


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line."""

    def __init__(self, **options: Any) -> None:
        """Make the parser of a command, or of what a command can do.

        Args:
            options: Those of :class:`argparse.ArgumentParser`.
        """
        # an abbreviation that works today may be ambiguous tomorrow
        super().__init__(**{"prog": _program(), "allow_abbrev": False, **options})

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
    result = Parser(description=description)
    result.add_argument("--task", help="task id, such as SAPG-Allegro-Reorient (list_envs shows all), or module:ID")
    result.add_argument("--num_envs", type=int, help="number of environments of this process")
    result.add_argument("--seed", type=int, help="seed of everything random; -1 draws one")
    result.add_argument("--log_root", type=path, default="logs/sapg", help="folder of all runs (default: %(default)s)")
    result.add_argument("--headless", action="store_true", help="no window (the default, unless --viz is given)")
    return result


def path(text: str) -> str:
    """Type of arguments that name a file or a folder.

    Args:
        text: What was typed.

    Returns:
        The same with ``~`` expanded, which a shell leaves alone behind an equals sign.

    Raises:
        ArgumentTypeError: If it is empty, as where a variable of the shell is not set.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return os.path.expanduser(text)


def positive(text: str) -> int:
    """Type of arguments that count something.

    Args:
        text: What was typed.

    Returns:
        The number.

    Raises:
        ValueError: If it is not a whole number of at least 1, which argparse reports.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; it must be at least 1")
    return number


def _program() -> str:
    """How the process was started, for the first line of a help text."""
    script = pathlib.Path(sys.argv[0]).name
    start = {"__main__.py": "python -m sapg_isaaclab", "sapg_isaaclab": "sapg_isaaclab"}.get(script)
    return f"{start} {sys.argv[1]}" if start and len(sys.argv) > 1 else script


def sibling(name: str) -> str:
    """How another command is typed, in the way in which this one was.

    Args:
        name: The command.

    Returns:
        Text for the terminal.
    """
    script = pathlib.Path(sys.argv[0])
    if script.name == "sapg_isaaclab":
        return f"sapg_isaaclab {name}"
    if script.parent.name == "scripts" and script.suffix == ".py":
        return f"./isaaclab.sh -p scripts/{name}.py"
    return f"python -m sapg_isaaclab {name}"


def parse_early(parser: Parser, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse without Isaac Lab: what is wrong with an argument itself is answered at once.

    Args:
        parser: Parser with the command's own arguments.
        argv: Arguments without the program's name.

    Returns:
        Arguments, and the tokens for presets and configurations.

    Raises:
        InputError: If an argument is unknown or not of its type.
    """
    complete = Parser(parents=[parser], add_help=False)
    for flags, options in LAUNCHER.items():
        complete.add_argument(*flags, **options)
    args, tokens = complete.parse_known_args(argv)
    for action in complete._actions:
        value = getattr(args, action.dest, None)
        if isinstance(value, str) and not value.strip() and action.nargs != "?":  # such a one is a flag, too
            raise InputError(f"{action.option_strings[0]} has an empty value {value!r}; give it one, or drop it")
    known = [option for action in complete._actions for option in action.option_strings]
    for token in tokens:
        name, equals, _ = token.partition("=")
        if name.startswith("-"):
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(f"unknown option {name}; {f'did you mean {near[0]}?' if near else 'see --help'}")
        if not equals or not token.startswith(_TOKENS):
            raise InputError(
                f"{token!r} is not understood; allowed are --options, physics=NAME, presets=NAME, env.NAME=VALUE and"
                " agent.NAME=VALUE"
            )
    viewers = args.visualizer.split(",") if args.visualizer else []
    if args.headless and viewers:
        raise InputError(f"--headless and --viz {args.visualizer} contradict each other; drop one of them")
    for viewer in viewers:
        if viewer not in (*_VIEWERS, "newton", "none"):
            raise InputError(f"--viz {viewer} is unknown; use {', '.join(_VIEWERS)} or none")
        extra = _VIEWERS.get(viewer)
        if extra is not None and importlib.util.find_spec(extra) is None:
            raise InputError(f"--viz {viewer} is not installed; pip install 'isaaclab[{extra}]==3.0.*'")
    return args, tokens


def without_dashes(argv: list[str]) -> list[str]:
    """Write options as Isaac Lab does where a sweep has put dashes before them.

    Args:
        argv: Arguments, such as ``--agent.learning_rate=0.001``.

    Returns:
        The same with ``agent.learning_rate=0.001``; others as they are.

    Raises:
        InputError: If such an option has no value behind an equals sign.
    """
    result = []
    for text in argv:
        bare = text.lstrip("-")
        if text.startswith("-") and bare.startswith(_TOKENS):
            if "=" not in bare:
                raise InputError(f"{text} needs a value behind an equals sign; type {bare}=VALUE")
            text = bare
        elif text.startswith("-") and bare in SELECTORS:
            raise InputError(f"{text} needs a value behind an equals sign; type {bare}=NAME")
        result.append(text)
    return result


def check_early(
    parser: Parser, argv: list[str] | None, check: Callable[[argparse.Namespace, list[str]], None] | None = None
) -> list[str]:
    """Check what can be checked before torch and Isaac Lab are imported.

    Args:
        parser: Parser with the command's own arguments.
        argv: Arguments without the program's name. Those of the process by default.
        check: Further checks of the command that need neither.

    Returns:
        The arguments, without dashes before overrides.

    Raises:
        InputError: If an argument is wrong.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        argv = without_dashes(argv)
        if not {"-h", "--help"} & set(argv):
            args, tokens = parse_early(parser, argv)
            early.check(args, tokens)
            if check is not None:
                check(args, tokens)
    except InputError as error:
        error.reported = os.environ.get("RANK", "0") != "0"  # torchrun's processes all get here: one answers
        raise
    return argv


def parse(
    parser: Parser, argv: list[str] | None, check: Callable[[argparse.Namespace, list[str]], None] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line, in two steps: what can be checked without Isaac Lab is, before it is imported.

    Args:
        parser: Parser with the command's own arguments.
        argv: Arguments without the program's name. Those of the process by default.
        check: Further checks of the command that need neither torch nor Isaac Lab.

    Returns:
        Arguments, and the tokens for presets and configurations (``physics=...``, ``env.X=...``).

    Raises:
        InputError: If an argument is unknown or not of its type.
        SystemExit: After printing the help text.
    """
    argv = check_early(parser, argv, check)
    # the help text of presets and the launcher's arguments come from Isaac Lab
    from isaaclab.app import add_launcher_args
    from isaaclab_tasks.utils import setup_preset_cli

    complete = Parser(parents=[parser], description=parser.description, add_help=False)
    add_launcher_args(complete)
    complete.set_defaults(device=None)
    return setup_preset_cli(complete, argv)


def run_command(
    command: Callable[[list[str] | None], int], argv: list[str] | None = None, *, needs_reader: bool = True
) -> int:
    """Run a command, the one place where that is done.

    What the user did wrong becomes one line, our own mistakes keep their traceback. Whoever reads the output may go:
    the command goes on to its end, for the files that it writes.

    Args:
        command: Takes the arguments and returns the exit code.
        argv: Arguments without the program's name. Those of the process by default.
        needs_reader: Whether what is printed is a result: a reader that is slow is waited for, and output that finds
            no room is an error. Training needs none, its results are in the run folder.

    Returns:
        Exit code of the process.
    """
    account.complete()
    streams.protect(math.inf if needs_reader else 1.0)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of another kind, or none at all
            stream.reconfigure(errors="backslashreplace")  # an 8-bit terminal must not end a run with a path's name
    try:
        with signals.interrupting():
            code = command(argv)
    except ONE_LINE_ERRORS as error:
        return report(error)
    except KeyboardInterrupt as interrupt:
        name = str(interrupt) or "SIGINT"
        print(f"interrupted by {name}", file=sys.stderr, flush=True)
        return 128 + signal.Signals[name]  # as a shell says of a process that a signal ended
    lost = streams.lost_output() if needs_reader else None
    if lost is not None:
        print(f"error: the output could not be written: {lost.strerror}", file=sys.stderr, flush=True)
        return code or 1
    return code


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
