"""``render_mode="rgb_array"``, and the recorders of Gymnasium and Isaac Lab, without Isaac Sim, a display or a GPU."""

import ctypes.util

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from isaaclab.envs.utils.video_recorder_cfg import VideoRecorderCfg
from isaaclab_tasks.utils import parse_env_cfg
from sim_env import TASK_ID, place_object

from sapg_isaaclab.tasks import rendering
from sapg_isaaclab.tasks.rendering import enable_rendering, grab_frame

needs_egl = pytest.mark.skipif(ctypes.util.find_library("EGL") is None, reason="libEGL is not installed")


def changed(frame, other):
    """Number of pixels that differ to the eye."""
    return (np.abs(frame.astype(int) - other.astype(int)).max(-1) > 40).sum()


@needs_egl
def test_gymnasium_films_the_task(tmp_path):
    env = gym.make(TASK_ID, num_envs=2, device="cpu", seed=0, render_mode="rgb_array")
    env = gym.wrappers.RecordVideo(env, str(tmp_path), step_trigger=lambda step: step == 1, video_length=5)
    env.reset()
    first = env.render()
    assert first.shape == (480, 640, 3) and first.dtype == np.uint8 and first.std() > 10.0
    # the cube is in the picture: without it, and with it elsewhere, another picture
    place_object(env.unwrapped, [0], pos=(0.0, -0.2, -5.0))
    gone = env.render()
    place_object(env.unwrapped, [0], pos=(0.0, -0.2, 0.62), quat=(0.0, 0.0, 0.3826834, 0.9238795))
    assert changed(first, gone) > 2000 and changed(env.render(), gone) > 2000
    # smooth edges: Newton alone has none without a window, and then an edge has no colours in between
    assert env.unwrapped.sim.visualizers[0]._viewer.renderer.msaa_samples == 4
    # the other environment has a picture of its own
    other = grab_frame(env, 1)
    assert changed(other, first) > 500 and changed(grab_frame(env, 0), other) > 500
    for _ in range(8):
        env.step(torch.zeros(2, 16))
    env.close()
    (path,) = tmp_path.glob("*.mp4")
    # Gymnasium stops with the frame after the last
    assert imageio.imread(path).shape == (6, 480, 640, 3) and imageio.immeta(path)["fps"] == pytest.approx(30.0)


@needs_egl
def test_isaac_lab_films_the_task(tmp_path):
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=1)
    cfg.video_recorders = [VideoRecorderCfg(source="visualizer:newton", output_dir=str(tmp_path), video_length=4)]
    env = gym.make(TASK_ID, cfg=cfg)
    env.reset()
    assert env.render() is None  # nobody asked for frames
    for _ in range(5):
        env.step(torch.zeros(1, 16))
    env.close()
    frames = imageio.imread(tmp_path / "clip_0000.mp4")
    assert frames.shape == (4, 480, 640, 3) and frames.std() > 10.0 and changed(frames[0], frames[3]) > 0


def test_a_machine_without_egl_is_told_what_to_install(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(RuntimeError, match="pictures need libEGL.*apt-get install libegl1 "):
        enable_rendering(parse_env_cfg(TASK_ID, num_envs=1))
