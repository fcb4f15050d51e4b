"""Pictures without a display or a GPU."""

import ctypes.util
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
import warp as wp
from isaaclab_tasks.utils import parse_env_cfg
from isaaclab_visualizers.viser.viser_visualizer import NewtonViewerViser
from sim_env import TASK_ID, make

from sapg_isaaclab.tasks.rendering import enable_rendering, grab_frame, mend_viser, screen_color


@pytest.mark.skipif(ctypes.util.find_library("EGL") is None, reason="libEGL is not installed")
def test_frame_shows_the_chosen_environment_and_its_goal():
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
    cfg.seed = 0
    enable_rendering(cfg, width=320, height=240, env_index=1)
    env = make(cfg=cfg, device=None)
    frame = grab_frame(env)
    assert frame.shape == (240, 320, 3) and frame.dtype == np.uint8
    assert frame.std() > 10.0
    # the goal is drawn right of the hand: turning it changes the right half of the picture
    env.goal_quat[1] = torch.tensor([0.0, 0.6, 0.0, 0.8])
    turned = grab_frame(env)
    changed = np.abs(turned.astype(int) - frame.astype(int)).max(-1) > 40
    assert changed[:, 160:].sum() > 50 >= changed[:, :160].sum()
    # the other environment is not in the picture
    env.goal_quat[0] = torch.tensor([0.6, 0.0, 0.0, 0.8])
    assert np.abs(grab_frame(env).astype(int) - turned.astype(int)).max() <= 40
    env.step(torch.ones(2, 16))
    assert (np.abs(grab_frame(env).astype(int) - turned.astype(int)).max(-1) > 40).sum() > 50
    env.close()


def test_without_a_viewer_a_frame_is_refused():
    env = make(num_envs=1)
    with pytest.raises(RuntimeError, match="call enable_rendering"):
        grab_frame(env)
    env.close()


def test_wrong_environment_or_size_is_refused():
    cfg = parse_env_cfg(TASK_ID, num_envs=4)
    with pytest.raises(ValueError, match="env_index=4 is not allowed; give 0 to 3"):
        enable_rendering(cfg, env_index=4)
    with pytest.raises(ValueError, match="0x480 pixels"):
        enable_rendering(cfg, width=0)
    assert gym.spec(TASK_ID)


def test_viser_draws_the_ground():
    # as in Isaac Lab, without a web server: a ground of no instances is the shortest way through the method
    viewer = object.__new__(NewtonViewerViser)
    viewer._isaaclab_plane_grid_cache, viewer._plane_handles, viewer._plane_geometry_keys = {}, {}, {}
    visualizer = SimpleNamespace(cfg=SimpleNamespace(visualizer_type="viser"), _viewer=viewer)
    mend_viser(SimpleNamespace(sim=SimpleNamespace(visualizers=[visualizer])))
    nothing = wp.zeros(0, dtype=wp.transform, device="cpu")
    assert viewer._log_plane_instances("ground", {"width": 1.0, "length": 1.0}, nothing, None) is None


def test_half_as_bright_to_the_eye_is_a_fifth_of_the_light():
    # sRGB: 0.5 = 1.055 * 0.2140 ** (1 / 2.4) - 0.055, and 12.92 * 0.002 below the knee
    assert screen_color((0.0, 0.2140, 1.0)) == pytest.approx((0.0, 0.5, 1.0), abs=1e-4)
    assert screen_color((0.002,) * 3) == pytest.approx((0.02584,) * 3)
