"""What a person sees while training runs: a live table in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from typing import IO, Any, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sapg_isaaclab.block_tags import MOST_BLOCKS
from sapg_isaaclab.streams import Forgiving

LINE_INTERVAL_S = 5.0
"""Shortest time between two lines in a log [s]."""


class Progress:
    """Shows the state of training after every iteration.

    Used as a context manager, so that the terminal is put in order whatever happens.
    """

    def __init__(
        self, start: int, total: int, policies: list[str], console: Console | None = None, *, quiet: bool = False
    ) -> None:
        """Prepare the display.

        Args:
            start: Iterations finished before this start of the run.
            total: Number of iterations of the whole run.
            policies: Name of the policy of each block.
            console: Where to write. Standard output by default.
            quiet: Show nothing, as on all ranks but the first.
        """
        # whoever reads along may go; rich would end the process
        self.console = console or Console(file=cast(IO[str], Forgiving(sys.stdout)))
        self._start, self._total, self._policies, self._quiet = start, total, policies, quiet
        self._began = time.monotonic()
        self._last_line = -LINE_INTERVAL_S
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        """Start the display."""
        if self.console.is_terminal and not self._quiet:
            self._live = Live(console=self.console, refresh_per_second=4, transient=False)
            self._live.start()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """End the display."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, iteration: int, env_steps: int, metrics: dict[str, float]) -> None:
        """Show a finished iteration.

        Args:
            iteration: Number of finished iterations.
            env_steps: Number of environment steps so far.
            metrics: Value by tag.
        """
        if self._quiet:
            return
        elapsed = time.monotonic() - self._began
        eta_s = elapsed / max(iteration - self._start, 1) * (self._total - iteration)
        if self._live is not None:
            self._live.update(self._table(iteration, env_steps, eta_s, metrics))
        elif elapsed - self._last_line >= LINE_INTERVAL_S or iteration in (self._start + 1, self._total):
            self._last_line = elapsed
            self.console.print(
                self._line(iteration, env_steps, eta_s, metrics), highlight=False, markup=False, soft_wrap=True
            )

    def note(self, text: str) -> None:
        """Print a line that stays, above the live table.

        Args:
            text: The line.
        """
        console = self._live.console if self._live is not None else self.console
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _line(self, iteration: int, env_steps: int, eta_s: float, metrics: dict[str, float]) -> str:
        several = len(self._policies) > 1
        parts = [
            f"iteration {iteration}/{self._total}",
            f"{env_steps:,} env-steps",
            f"{metrics.get('Perf/env_steps_per_s', 0.0):,.0f}/s",
            f"ETA {duration(eta_s)}",
            f"{'leader' if several else 'policy'}: return {_number(metrics.get('Leader/return'))}"
            f" successes {_number(metrics.get('Leader/successes'))}",
        ]
        if several:
            returns = " ".join(_number(metrics.get(f"{own}/return{end}")) for own, end, _ in self._rows())
            parts.append(f"blocks: return {returns}")
        return " | ".join([*parts, *_learning(metrics)])

    def _table(self, iteration: int, env_steps: int, eta_s: float, metrics: dict[str, float]) -> Group:
        head = Text(
            f"iteration {iteration}/{self._total}   {env_steps:,} env-steps   "
            f"{metrics.get('Perf/env_steps_per_s', 0.0):,.0f}/s   ETA {duration(eta_s)}"
        )
        foot = Text("   ".join(_learning(metrics)))
        bar = Table.grid()  # a bar by itself ends without a line break
        bar.add_row(ProgressBar(total=self._total, completed=iteration, width=60))
        table = Table(box=None, pad_edge=False, padding=(0, 2))
        table.add_column("policy")
        for column in ("return", "successes", "length", "entropy", "std"):
            table.add_column(column, justify="right")
        several = len(self._policies) > 1
        if len(self._policies) > MOST_BLOCKS:
            leader = (_number(metrics.get(f"Leader/{name}")) for name in ("return", "successes", "length"))
            table.add_row("leader", *leader, "-", "-")
        for own, end, policy in self._rows():
            episodes = own if several else "Leader"
            row = [_number(metrics.get(f"{episodes}/{name}{end}")) for name in ("return", "successes", "length")]
            row += [_number(metrics.get(f"{own}/{name}{end}")) for name in ("entropy", "std")]
            table.add_row(policy, *row)
        return Group(head, bar, table, foot)

    def _rows(self) -> list[tuple[str, str, str]]:
        """What is shown of the policies: begin and end of the tags, and a name; of many, a summary."""
        count = len(self._policies)
        if count > MOST_BLOCKS:
            return [("Blocks", f"_{word}", f"{word} of {count}") for word in ("lowest", "median", "highest")]
        return [(f"Block_{block}", "", policy) for block, policy in enumerate(self._policies)]


def duration(seconds: float) -> str:
    """Readable time span.

    Args:
        seconds: Time span [s].

    Returns:
        Such as ``45s``, ``3m20s``, ``5h07m`` or ``2d03h``.
    """
    total = max(0, round(seconds))
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    if total < 86400:
        return f"{total // 3600}h{total % 3600 // 60:02d}m"
    return f"{total // 86400}d{total % 86400 // 3600:02d}h"


def _learning(metrics: dict[str, float]) -> list[str]:
    """What an update says of itself, as far as its algorithm has it."""
    shown = {"lr": ("Policy/learning_rate", ".1e"), "kl": ("Policy/kl", ".4f"), "critic loss": ("Loss/critic", ".3g")}
    return [f"{name} {metrics[tag]:{form}}" for name, (tag, form) in shown.items() if tag in metrics]


def _number(value: Any, form: str = ".3g") -> str:
    return "-" if value is None else format(value, form)
