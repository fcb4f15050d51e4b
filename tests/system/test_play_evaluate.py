import json
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest
from typed_commands import TASK, load_command, run_command

from sapg_isaaclab.commands import film
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import find_runs
from sapg_isaaclab.tasks import rendering

SHORT = "env.episode_length_s=0.5"  # 15 steps


@pytest.mark.slow
def test_evaluate_reports_the_leader_as_text_and_json(trained, capsys):
    files = ["--log_root", str(trained / "logs" / "sapg"), "--output", str(trained / "result.json")]
    arguments = ["--episodes", "7", "--num_envs", "4", "--device", "cpu", SHORT]
    assert load_command("evaluate").main([*files, *arguments]) == 0
    output = capsys.readouterr().out
    written = json.loads((trained / "result.json").read_text())
    (run,) = find_runs(trained / "logs" / "sapg")
    assert written["checkpoint"] == str(checkpoint.latest(run))
    assert (written["block"], written["actions"], written["iteration"]) == (0, "deterministic", 3)
    # two episodes of each of the four environments
    assert written["num_episodes"] == 8 == len(written["episodes"]["return"])
    assert written["return"]["mean"] == pytest.approx(np.mean(written["episodes"]["return"]))
    error = np.std(written["episodes"]["return"], ddof=1) / 8**0.5
    assert written["return"]["standard_error"] == pytest.approx(error)
    assert "successes" in written and written["length"]["max"] <= 15
    assert f"{written['return']['mean']:.3f} +- {error:.3f} (standard error)" in output
    assert "leader, deterministic actions, 8 episodes" in output


@pytest.mark.slow
def test_evaluate_measures_an_untrained_follower(trained, capsys):
    arguments = ["--checkpoint", "none", "--task", TASK, "--block", "3", "--actions", "stochastic", "--device", "cpu"]
    assert load_command("evaluate").main([*arguments, "--episodes", "3", "--num_envs", "3", SHORT]) == 0
    output = capsys.readouterr().out
    assert "untrained follower 3, stochastic actions" in output
    assert "follower 3, stochastic actions, 3 episodes" in output


@pytest.mark.slow
def test_play_writes_pictures_and_prints_returns(trained):
    arguments = ["--checkpoint", "best", "--steps", 20, "--frames", "frames", "--size", "160x120", SHORT]
    result = run_command("play", *arguments, cwd=trained)
    assert result.returncode == 0, result.stderr
    frames = sorted((trained / "frames").iterdir())
    assert [path.name for path in frames] == [f"frame_{index:05d}.png" for index in range(20)]
    first, last = imageio.imread(frames[0]), imageio.imread(frames[-1])
    assert first.shape == (120, 160, 3) and (first != last).any() and first.std() > 5
    assert "playing leader, deterministic actions" in result.stdout and "episode 1: return " in result.stdout


def test_video_has_a_frame_per_step_and_runs_in_real_time(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "grab_frame", lambda env: np.full((48, 64, 3), 90, dtype=np.uint8))
    env_cfg = SimpleNamespace(sim=SimpleNamespace(dt=1 / 120), decimation=4)
    path = tmp_path / "videos" / "film.mp4"
    with film.Recorder(None, path, film.frame_rate(env_cfg)) as recorder:
        for _ in range(15):
            recorder.grab()
    assert imageio.imread(path).shape == (15, 48, 64, 3)
    assert imageio.immeta(path)["fps"] == pytest.approx(30.0)
