import json

import numpy as np
import pytest

from sapg_isaaclab.experiments import curves


def write(folder, slope):
    folder.mkdir()
    rows = [{"env_steps": 10 * i, "Leader/return": slope * i} for i in range(1, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"env_steps": 0}, *rows]))
    return folder


def test_mean_and_standard_error_by_hand(tmp_path):
    runs = [curves.read(write(tmp_path / str(slope), slope), "Leader/return") for slope in (1, 2, 3)]
    steps, mean, error = curves.mean_and_error(runs, points=5)
    np.testing.assert_allclose(steps, [10, 20, 30, 40, 50])
    np.testing.assert_allclose(mean, [2, 4, 6, 8, 10])
    np.testing.assert_allclose(error[0], 1.0 / np.sqrt(3))  # sample sd of 1, 2, 3 is 1
    assert curves.mean_and_error(runs[:1], points=5)[2].tolist() == [0.0] * 5


def test_wrong_folder_and_wrong_number_are_named(tmp_path):
    with pytest.raises(ValueError, match="no run folder"):
        curves.read(tmp_path, "Leader/return")
    with pytest.raises(ValueError, match="it has Leader/return, env_steps"):
        curves.read(write(tmp_path / "run", 1), "Leader/reward")


def test_plot_is_written(tmp_path):
    run = write(tmp_path / "run", 1)
    curves.plot({"SAPG": [str(run)]}, "Leader/return", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
