"""Pictures of a task without Isaac Sim, a display or a GPU.

    env = gym.make(task_id, render_mode="rgb_array")
    env.reset()
    frame = env.render()

or, with a configuration and for tasks of other packages too:

    enable_rendering(env_cfg, width=960, height=720)
    env = gym.make(task_id, cfg=env_cfg)
    env.reset()
    frame = grab_frame(env)

The frames come from Newton's OpenGL viewer through EGL, with any physics engine.
"""

from __future__ import annotations

import ctypes.util
import os

import gymnasium as gym
import numpy as np
from isaaclab.envs import DirectRLEnv, DirectRLEnvCfg

SYSTEM_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libgl1 libopengl0 libglx0 libx11-6"
"""What a bare Debian or Ubuntu lacks."""


def enable_rendering(env_cfg: DirectRLEnvCfg, width: int = 640, height: int = 480, env_index: int = 0) -> None:
    """Let the environment made from a configuration draw pictures off screen.

    The simulation runs as fast as without; only the frames that are asked for cost time.

    Args:
        env_cfg: Configuration of the environment, changed in place.
        width: Width of the frames [pixel].
        height: Height of the frames [pixel].
        env_index: The environment to draw.

    Raises:
        ValueError: If ``env_index`` or the size is out of range.
        RuntimeError: If this machine cannot draw.
    """
    if not 0 <= env_index < env_cfg.scene.num_envs:
        raise ValueError(f"env_index={env_index} is not allowed; give 0 to {env_cfg.scene.num_envs - 1}")
    if width < 1 or height < 1:
        raise ValueError(f"a frame of {width}x{height} pixels is not allowed; give at least 1x1")
    if not os.environ.get("DISPLAY") and ctypes.util.find_library("EGL") is None:
        raise RuntimeError(f"pictures need libEGL, which is not installed; apt-get install {SYSTEM_PACKAGES}")
    from isaaclab_visualizers.newton import NewtonGLVisualizerCfg

    viewer = NewtonGLVisualizerCfg(
        # by its name: the class loads OpenGL, which a machine that only trains need not have
        class_type="sapg_isaaclab.tasks.offscreen:OffscreenViewer",
        headless=True,
        streaming_view=False,
        enable_live_plots=False,
        window_width=width,
        window_height=height,
        visible_env_indices=[env_index],
    )
    if env_cfg.sim.default_visualizer_cfg is not None:
        viewer.focal_length = env_cfg.sim.default_visualizer_cfg.focal_length
    env_cfg.sim.visualizer_cfgs = [viewer]
    if hasattr(env_cfg.sim.physics, "load_visual_shapes"):
        env_cfg.sim.physics.load_visual_shapes = True  # else Newton as physics engine drops what does not collide


def enable_if_asked(env_cfg: DirectRLEnvCfg, render_mode: str | None) -> None:
    """Let an environment draw if somebody will want frames of it: by its render mode, or to record videos.

    Args:
        env_cfg: Configuration of the environment, changed in place; viewers that it has stay.
        render_mode: Gymnasium's.

    Raises:
        RuntimeError: If this machine cannot draw.
    """
    recorded = any(recorder.source.startswith("visualizer") for recorder in env_cfg.video_recorders)
    if (render_mode == "rgb_array" or recorded) and not env_cfg.sim.visualizer_cfgs:
        enable_rendering(env_cfg)


def grab_frame(env: gym.Env, env_index: int | None = None) -> np.ndarray:
    """Draw an environment as it is now.

    Args:
        env: Environments whose configuration went through :func:`enable_rendering`, wrapped or not.
        env_index: Which of them; the one that was drawn before by default.

    Returns:
        RGB image, uint8, shape (H, W, 3).

    Raises:
        RuntimeError: If it did not.
    """
    env = env.unwrapped
    viewers = [viewer for viewer in env.sim.visualizers if hasattr(viewer, "render_rgb_array")]
    if not viewers:
        raise RuntimeError("the environment has no viewer; call enable_rendering(env_cfg) before gym.make")
    if env_index is not None and viewers[0].cfg.visible_env_indices != [env_index]:
        viewers[0].show(env_index)
        aim_cameras(env)
    env.sim.vis_marker_registry.dispatch_callbacks()
    return np.ascontiguousarray(viewers[0].render_rgb_array())


def aim_cameras(env: DirectRLEnv) -> None:
    """Point the cameras of all viewers at the environment they show, else at environment 0.

    Args:
        env: The environment. Its configuration may have ``camera_eye`` and ``camera_lookat``: where the camera is and
            what it looks at, in the frame of the environment shown [m]; else those of the viewer are taken so.
    """
    for viewer in env.sim.visualizers:
        origin = env.scene.env_origins[(viewer.cfg.visible_env_indices or [0])[0]].cpu().numpy()
        eye, lookat = (getattr(env.cfg, f"camera_{name}", getattr(viewer.cfg, name)) for name in ("eye", "lookat"))
        viewer.set_camera_view(tuple(np.asarray(eye) + origin), tuple(np.asarray(lookat) + origin))


def screen_color(linear: tuple[float, float, float]) -> tuple[float, float, float]:
    """Colour of a marker that looks like a USD shape of a colour: viewers convert those of shapes only.

    Args:
        linear: Red, green, blue as linear light, in [0, 1].

    Returns:
        The same as sRGB, in [0, 1].
    """
    return tuple(12.92 * c if c <= 0.0031308 else 1.055 * c ** (1.0 / 2.4) - 0.055 for c in linear)


def mend_viser(env: DirectRLEnv) -> None:
    """Give viser's viewer a method that Isaac Lab 3.0.0 calls and Newton 1.6 has not; without it, it shows nothing.

    Args:
        env: The environment; one without this viewer is left alone.
    """
    for viewer in env.sim.visualizers:
        if viewer.cfg.visualizer_type == "viser" and not hasattr(viewer._viewer, "_to_numpy"):
            viewer._viewer._to_numpy = lambda array: array.numpy() if hasattr(array, "numpy") else np.asarray(array)
