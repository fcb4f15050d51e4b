"""All commands by name. Nothing heavy is imported before one of them is asked for."""

from __future__ import annotations

import difflib
import importlib
import sys

from sapg_isaaclab import streams

COMMANDS = {
    "train": "train SAPG or one of its baselines on a task",
    "play": "watch a policy: a video or pictures, and the returns of its episodes",
    "evaluate": "measure a policy over finished episodes, with standard errors",
    "export": "write a policy as one ONNX or TorchScript file",
    "list_envs": "list the tasks with their presets",
    "benchmark": "measure the speed of a task under random actions",
    "compare_engines": "run the same motion on two physics engines and compare",
    "study": "learning benchmarks that need no simulator",
    "reproduce": "a table or a figure of the paper by one command, at any scale",
    "analyze": "draw and compare the curves of run folders",
}
"""What each command does; it is the function ``main`` of the module of the same name beside this file."""


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first argument names.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    streams.protect()  # whoever reads the help text may go, too
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        from sapg_isaaclab import __version__

        print(f"sapg_isaaclab {__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name.replace("-", "_"), COMMANDS, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"use one of {', '.join(COMMANDS)}"
        print(f"error: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    return importlib.import_module(f"sapg_isaaclab.commands.{name}").main(rest) or 0


def usage() -> str:
    """The help text.

    Returns:
        One line for each command.
    """
    lines = (f"  {name:<16} {text}" for name, text in COMMANDS.items())
    return "\n".join(
        (
            "usage: python -m sapg_isaaclab COMMAND [ARGUMENTS]",
            "",
            "Split and Aggregate Policy Gradients for Isaac Lab.",
            "",
            *lines,
            "",
            "python -m sapg_isaaclab COMMAND --help tells its options.",
        )
    )
