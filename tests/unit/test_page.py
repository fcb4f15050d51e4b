import json
import pathlib

import pytest

from sapg_isaaclab.commands import analyze
from sapg_isaaclab.experiments import drawing, page

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


def test_lines_beside_the_first_by_hand():
    values = {"ppo": [1.0, 2.0, 3.0, 4.0], "sapg": [3.0, 5.0, 6.0, 7.0]}
    runs = [
        {"task": "door_chain", "line": line, "num_envs": 384, "seed": seed, "value": value, "successes": value / 10}
        for line in values
        for seed, value in enumerate(values[line])
    ]
    for run in runs[4:]:
        run["best_policy"] = run["value"] + 1.0
    data = {"kind": "sizes", "tasks": {"door_chain": "door_chain"}, "lines": {"ppo": "PPO", "sapg": "SAPG"}}
    first, second = drawing.against({**data, "runs": runs}).rows
    # the middle half of 1, 2, 3, 4 is 2 and 3; the deviation is sqrt(5 / 3)
    assert first[:4] == ("384", "PPO", "4", "2.5 ± 0.65") and first[4].startswith("2.5 [")
    assert first[5:] == ("0", drawing.NOTHING, drawing.NOTHING, drawing.NOTHING)
    # runs above 0.5: 5, 6 and 7 of 10. In 14.5 of 16 pairs SAPG is higher, one being equal. U = 14.5, its mean is 8 and
    # its variance 16 / 12 (9 - 6 / 56) = 11.86 with one tie: z = 6 / 3.444 with continuity, so p = 0.081
    assert second[:4] == ("384", "SAPG", "4", "5.25 ± 0.85") and second[4].startswith("5.5 [")
    assert second[5:] == ("3", "6.25", "0.91", "0.081")
    alone = drawing.against({**data, "runs": [run for run in runs if run["line"] == "sapg"]}).rows
    assert [row[7:] for row in alone] == [(drawing.NOTHING, drawing.NOTHING)]


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
