"""A task is a folder and one line, as CONTRIBUTING says: tests/slide trains, goes on and plays like ours."""

import math
import pathlib

import numpy as np
import pytest
import torch
from typed_commands import load_command

from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs
from sapg_isaaclab.tasks.nan_guard import NanGuard
from slide.rewards import distance_term


def test_contributing_names_the_files_of_the_example():
    tests = pathlib.Path(__file__).parents[1]
    text = (tests.parent / "CONTRIBUTING.md").read_text()
    for file in ("env.py", "env_cfg.py", "rewards.py", "agents"):
        assert f"`{file}" in text and list((tests / "slide").glob(f"{file}*"))
    assert "tests/slide" in text


def test_its_reward_by_hand():
    assert distance_term(torch.tensor([[3.0, 0.0, -4.0]])).item() == -5.0


@pytest.mark.slow
def test_it_trains_goes_on_breaks_down_and_plays(tmp_path, capsys, monkeypatch):
    common = ["--device", "cpu", "--log_root", str(tmp_path)]
    train = ["--task", "slide:Test-Slide", *common, "presets=wide"]
    assert load_command("train").main([*train, "--max_iterations", "2"]) == 0
    (run,) = find_runs(tmp_path)
    assert run.path.parent.name == "test_slide"
    saved = checkpoint.load(checkpoint.latest(run))
    assert (saved["agent_cfg"]["hidden_sizes"], saved["agent_cfg"]["num_blocks"]) == ([32, 32], 3)
    assert load_command("train").main(["--resume", str(run.path), *common, "--max_iterations", "4"]) == 0
    rows = metrics.read(run)
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4] and rows[-1]["env_steps"] == 4 * 4 * 12
    assert checkpoint.load(checkpoint.latest(run))["env"]["common_step_counter"] == 16
    assert rows[-1]["Metrics/nan_resets"] == 0.0 and rows[-1]["Leader/episodes"] > 0

    # the engine returns a position that is no number: training goes on, says so, and keeps what was seen
    judge = NanGuard.look

    def look(guard, state, seen, **more):
        if more["step"] == 18:
            state["object.pose"][7, 1] = math.nan
        return judge(guard, state, seen, **more)

    monkeypatch.setattr(NanGuard, "look", look)
    assert load_command("train").main(["--resume", str(run.path), *common, "--max_iterations", "6"]) == 0
    assert [row["Metrics/nan_resets"] for row in metrics.read(run)] == [0.0] * 4 + [1.0, 1.0]
    assert np.load(run.path / "nan_resets_5.npz")["env_ids"].tolist() == [7]
    assert "1 of 12 environments had a physics state" in capsys.readouterr().err
    monkeypatch.undo()

    play = ["--checkpoint", str(run.path), "--device", "cpu", "--num_envs", "2", "--steps", "3", "--no_video"]
    assert load_command("play").main(play) == 0
    assert "playing leader" in capsys.readouterr().out
