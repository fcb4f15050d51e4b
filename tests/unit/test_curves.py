import json

import numpy as np
import pytest

from sapg_isaaclab.commands import analyze
from sapg_isaaclab.experiments import comparison, curves


def write(folder, slope):
    folder.mkdir()
    rows = [{"env_steps": 10 * i, "Leader/return": slope * i} for i in range(1, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"env_steps": 0}, *rows]))
    return folder


def test_curves_meet_where_all_of_them_have_steps():
    # y = x / 10 on [10, 30] and y = 2 x / 10 on [20, 50]: common are 20, 25, 30
    first = np.array([10.0, 30.0]), np.array([1.0, 3.0])
    second = np.array([20.0, 50.0]), np.array([4.0, 10.0])
    steps, values = curves.on_common_steps([first, second], points=3)
    np.testing.assert_allclose(steps, [20, 25, 30])
    np.testing.assert_allclose(values, [[2, 2.5, 3], [4, 5, 6]])
    with pytest.raises(ValueError, match="no environment steps in common"):
        curves.on_common_steps([first, (np.array([40.0, 50.0]), np.zeros(2))])


def test_series_leaves_out_rows_without_the_number_and_a_line_that_is_being_written(tmp_path):
    run = write(tmp_path / "run", 2)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"env_steps": 60, "Lead')
    for path in (run, run / "metrics.jsonl"):
        steps, values = curves.series(path, "Leader/return")
        assert steps.tolist() == [10, 20, 30, 40, 50] and values.tolist() == [2, 4, 6, 8, 10]
    assert curves.final_value(run, "Leader/return", 0.4) == 9.0  # of 8 and 10
    assert curves.final_value(run, "Leader/return", 0.01) == 10.0


def test_wrong_folder_and_wrong_number_are_named(tmp_path):
    with pytest.raises(ValueError, match="no run folder"):
        curves.series(tmp_path, "Leader/return")
    with pytest.raises(ValueError, match="it has Leader/return, env_steps"):
        curves.series(write(tmp_path / "run", 1), "Leader/reward")


def test_plot_is_written(tmp_path):
    run = write(tmp_path / "run", 1)
    curves.plot({"SAPG": [str(run)]}, "Leader/return", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_compared_algorithms_by_hand():
    scores = {"a": [4.0, 5.0, 6.0], "b": [1.0, 2.0, 3.0]}
    row = comparison.table(scores).markdown().splitlines()[2]
    assert row.startswith("| a | 3 | 5 ± 0.58 | 5 [4, 6] |") and row.endswith("| 4, 6 |")
    # t = 3 / sqrt(2 / 3) with 4 degrees of freedom; of 20 orders two are so extreme; every pair is won
    assert comparison.pairs(scores).markdown().splitlines()[2] == "| a - b | +3 | 0.0213 | 0.1 | 1.00 |"


def test_command_compares_runs_and_draws(tmp_path, capsys):
    ours, theirs = ([str(write(tmp_path / f"run{slope}", slope)) for slope in slopes] for slopes in ((4, 5, 6), (1, 2)))
    arguments = ["compare", "--last", "0.2", "--runs", f"ours={','.join(ours)}", f"theirs={','.join(theirs)}"]
    assert analyze.main([*arguments, "--output", str(tmp_path / "profiles.svg")]) == 0
    out = capsys.readouterr().out
    assert "| ours | 3 | 25 ± 2.9 |" in out and "| ours - theirs | +17.5 |" in out
    assert (tmp_path / "profiles.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curves", "--runs", "SAPG", "--output", "x.png"], "SAPG is not LABEL=RUN[,RUN...]"),
        (["curves", "--runs", "SAPG=a,,b", "--output", "x.png"], "is not LABEL=RUN[,RUN...]"),
        (["compare", "--runs", "a=x", "a=y"], "gives 'a' twice"),
        (["curves", "--runs", "a=x", "--output", "/none/x.png"], "--output /none/x.png: there is no folder /none"),
        (["compare", "--runs", "a=x", "--last", "0"], "--last 0 is not in (0, 1]"),
        (["compare", "--runs", "a=/none"], "/none is no run folder"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, capsys):
    assert analyze.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
