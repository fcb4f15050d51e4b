"""Figures: one way to begin one and to write it, whole or not at all."""

from __future__ import annotations

import io
import pathlib
from typing import Any

from sapg_isaaclab.runs.files import write_atomically


def begin(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (6.4, 4.0), **options: Any
) -> tuple[Any, Any]:
    """An empty figure that needs no screen.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        size: Width and height [inch].
        options: Arguments of matplotlib's ``subplots``.

    Returns:
        matplotlib's figure and its axes: one, or an array of them.
    """
    from matplotlib.figure import Figure  # late: it takes a third of a second

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def write(figure: Any, path: str | pathlib.Path) -> list[pathlib.Path]:
    """Write a figure; equal figures give equal files.

    Args:
        figure: matplotlib's figure.
        path: The file, whose ending chooses the format. Without an ending, both ``.png`` and ``.svg`` are written.

    Returns:
        The files.

    Raises:
        ValueError: If matplotlib does not know the format.
        OSError: If one cannot be written.
    """
    import matplotlib

    path = pathlib.Path(path)
    files = [path] if path.suffix else [path.with_name(path.name + ending) for ending in (".png", ".svg")]
    for file in files:
        kind, content = file.suffix[1:], io.BytesIO()
        undated = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else None
        with matplotlib.rc_context({"svg.hashsalt": "sapg"}):
            figure.savefig(content, format=kind, dpi=150, metadata=undated)
        write_atomically(file, content.getvalue())
    return files
