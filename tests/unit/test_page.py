import json
import pathlib

import pytest

from sapg_isaaclab.commands import analyze
from sapg_isaaclab.experiments import page

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_results_are_what_their_data_say():
    results = ROOT / "docs" / "results.md"
    text = results.read_text(encoding="utf-8")
    assert text.count("<!-- made from ") >= 2
    assert page.renewed(results) == text, "stale; run: python scripts/analyze.py page docs/results.md"


def test_a_block_by_hand(tmp_path, capsys):
    runs = [
        {"algorithm": "ppo", "num_envs": 384, "seed": 1, "return": 2.0, "successes": 0.0},
        {"algorithm": "ppo", "num_envs": 384, "seed": 2, "return": 4.0, "successes": 0.995},
    ]
    (tmp_path / "study.json").write_text(json.dumps({"references": {}, "runs": runs}))
    (tmp_path / "page.md").write_text("before\n<!-- made from study.json -->\nstale\n<!-- end -->\nafter\n")
    assert analyze.main(["page", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text().splitlines() == [
        "before",
        "<!-- made from study.json -->",
        "",
        "| environments | 384 |",
        "| --- | --- |",
        "| `ppo` | 1 of 2, 3.0 ± 1.0 |",
        "",
        "<!-- end -->",
        "after",
    ]


def test_ends_of_curves_by_hand():
    curve = [0.0] * 18 + [1.0, None]  # of the last two updates, one has an episode
    runs = [{"env": "e", "algorithm": "sapg", "leader": curve, "followers": [2.0] * 20},
            {"env": "e", "algorithm": "sapg", "leader": [3.0] * 20, "followers": [2.0] * 20},
            {"env": "e", "algorithm": "ppo", "leader": curve}]  # fmt: skip
    assert page.ends({"runs": runs}).rows == [
        ("`e`", "`ppo`", "1", "1.00 ± 0.00", "–"),  # noqa: RUF001
        ("`e`", "`sapg`", "2", "2.00 ± 1.00", "2.00 ± 0.00"),
    ]


@pytest.mark.parametrize(("content", "message"), [(None, "there is no data.json"), ("{}", "data.json holds nothing")])
def test_a_block_without_data_is_one_line(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "data.json").write_text(content)
    (tmp_path / "page.md").write_text("<!-- made from data.json -->\n<!-- end -->\n")
    assert analyze.main(["page", str(tmp_path / "page.md")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
