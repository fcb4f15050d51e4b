import csv
import io

import pytest

from sapg_isaaclab.commands import analyze
from sapg_isaaclab.experiments import figures
from sapg_isaaclab.experiments.tables import Table

TABLE = Table(("", "reach_x"), [("SAPG (0 ± 0)", "3.0 ± 0.5"), ("a|b, c & d", "12 %")])


def test_one_table_in_three_languages():
    assert TABLE.markdown().splitlines() == [
        "|  | reach_x |",
        "| --- | --- |",
        "| SAPG (0 ± 0) | 3.0 ± 0.5 |",
        "| a\\|b, c & d | 12 % |",
    ]
    assert list(csv.reader(io.StringIO(TABLE.csv()))) == [list(TABLE.headings), *map(list, TABLE.rows)]
    assert TABLE.latex().splitlines() == [
        r"\begin{tabular}{lc}",
        r"\hline",
        r" & reach\_x \\",
        r"\hline",
        r"SAPG (0 $\pm$ 0) & 3.0 $\pm$ 0.5 \\",
        r"a|b, c \& d & 12 \% \\",
        r"\hline",
        r"\end{tabular}",
    ]


def test_a_table_is_written_three_times(tmp_path):
    files = TABLE.write(tmp_path / "table1.5")
    assert [file.name for file in files] == ["table1.5.md", "table1.5.csv", "table1.5.tex"]
    assert files[2].read_text() == TABLE.latex()


def drawn(path):
    figure, axes = figures.begin()
    axes.plot([0, 1], [1, 0], label="falls")
    axes.legend()
    return figures.write(figure, path)


def test_a_figure_without_an_ending_is_png_and_svg_and_the_same_every_time(tmp_path):
    first, second = drawn(tmp_path / "a"), drawn(tmp_path / "b")
    assert [file.suffix for file in first] == [".png", ".svg"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert first[0].read_bytes()[:4] == b"\x89PNG" and b"<svg" in first[1].read_bytes()


def test_an_unknown_format_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        drawn(tmp_path / "a.nonsense")
    assert not list(tmp_path.iterdir())


def test_comparison_as_latex_has_nothing_around_it(tmp_path, capsys):
    rows = "".join(f'{{"env_steps": {step}, "Leader/return": {step}}}\n' for step in (1, 2))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(rows)
    assert analyze.main(["compare", "--format", "latex", "--runs", f"A={tmp_path / 'a'}", f"B={tmp_path / 'b'}"]) == 0
    assert capsys.readouterr().out.startswith(r"\begin{tabular}{lcccc}")
