"""A table of text, as Markdown for a page, LaTeX for a paper and CSV for a program."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib

from sapg_isaaclab.runs.files import write_atomically

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells of text under a row of headings; the first column names the rows."""

    headings: tuple[str, ...]
    """Names of the columns."""

    rows: list[tuple[str, ...]]
    """Cells, as many in each row as there are headings."""

    def markdown(self) -> str:
        """The table for a page.

        Returns:
            Lines joined by line breaks, without one at the end.
        """
        cells = [self.headings, ("---",) * len(self.headings), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)

    def text(self) -> str:
        """The table for a terminal.

        Returns:
            Aligned lines joined by line breaks, without one at the end.
        """
        cells = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells)]
        first, *rest = widths
        lines = ("  ".join((row[0].ljust(first), *map(str.rjust, row[1:], rest))) for row in cells)
        return "\n".join(line.rstrip() for line in lines)

    def latex(self) -> str:
        """The table for a paper, without packages beyond LaTeX's own.

        Returns:
            A ``tabular`` with a line break at its end.
        """
        first, *rest = (
            " & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in (self.headings, *self.rows)
        )
        lines = [rf"\begin{{tabular}}{{l{'c' * (len(self.headings) - 1)}}}", r"\hline", first, r"\hline", *rest]
        return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"

    def csv(self) -> str:
        """The table for a program.

        Returns:
            Comma-separated values with one line for the headings.
        """
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.headings, *self.rows])
        return text.getvalue()

    def write(self, stem: pathlib.Path) -> list[pathlib.Path]:
        """Write all three.

        Args:
            stem: Where, without an ending.

        Returns:
            The files: ``.md``, ``.csv``, ``.tex``.

        Raises:
            OSError: If one cannot be written.
        """
        contents = {".md": self.markdown() + "\n", ".csv": self.csv(), ".tex": self.latex()}
        files = [stem.with_name(stem.name + ending) for ending in contents]
        for file, content in zip(files, contents.values()):
            write_atomically(file, content)
        return files
