"""``train --video`` as a user types it."""

import imageio.v3 as imageio
import pytest
import torch
from typed_commands import TASK, load_command, run_command

from same_state import assert_same_state
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs
from sapg_isaaclab.tasks import rendering

pytestmark = pytest.mark.slow


def test_a_filmed_run_of_the_task_learns_the_same(trained_once, tmp_path):
    plain = checkpoint.load(checkpoint.latest(*find_runs(trained_once[0] / "logs" / "sapg")))
    arguments = ["--task", TASK, "--num_envs", 12, "--max_iterations", 3, "agent.rollouts=4", "--seed", 5]
    film = ["--video", "--video_blocks", "0,4", "--video_length", 6, "--video_interval", 8]
    result = run_command("train", *arguments, *film, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = find_runs(tmp_path / "logs" / "sapg")
    filmed = checkpoint.load(checkpoint.latest(run))
    assert_same_state(plain["agent"], filmed["agent"])
    assert torch.equal(plain["rng"]["torch"], filmed["rng"]["torch"])
    # steps 1, 3 and 5 of six; then 9 and 11, where the run ends with step 12
    clips = sorted((run.path / "videos").iterdir())
    assert [path.name for path in clips] == ["iteration_000000_block_0_4.mp4", "iteration_000002_block_0_4.mp4"]
    for path, frames in zip(clips, (3, 2)):
        video = imageio.imread(path)
        assert video.shape == (frames, 360, 960, 3) and video.std() > 10 and imageio.immeta(path)["fps"] == 15.0
        assert (video[:, :, :480] != video[:, :, 480:]).any()  # two hands
        assert f"video: {path}" in result.stdout
    # the run remembers that it is filmed
    result = run_command("train", "--resume", "latest", "--max_iterations", 4, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (run.path / "videos" / "iteration_000003_block_0_4.mp4").is_file()
    result = run_command("train", "--resume", "latest", "--max_iterations", 5, "--no_video", cwd=tmp_path)
    assert result.returncode == 0 and "video: " not in result.stdout, result.stderr
    assert "Perf/video_s" in metrics.read(run)[3] and "Perf/video_s" not in metrics.read(run)[4]


FOREIGN = ["--task", "slide_task:Test-Slide-Direct", "--device", "cpu", "--max_iterations", "2", "--num_envs", "6"]


def test_a_task_of_somebody_else_is_filmed_too(tmp_path):
    assert load_command("train").main([*FOREIGN, "--log_root", str(tmp_path), "--video", "--video_length", "8"]) == 0
    (run,) = find_runs(tmp_path)
    (clip,) = (run.path / "videos").iterdir()
    assert imageio.imread(clip).shape[1:] == (360, 480, 3)


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no context\nof OpenGL")

    monkeypatch.setattr(rendering, "grab_frame", fail)
    with pytest.raises(SystemExit):
        load_command("train").main([*FOREIGN, "--log_root", str(tmp_path), "--video"])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == ["error: --video: the task cannot be drawn (no context of OpenGL); drop --video"]
    assert not list(tmp_path.iterdir())
