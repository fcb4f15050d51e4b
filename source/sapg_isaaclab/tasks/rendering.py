"""Pictures of a task without Isaac Sim, a display or a GPU.

    enable_rendering(env_cfg)
    env = gym.make(task_id, cfg=env_cfg)
    ...
    frame = grab_frame(env)

The frames come from Newton's OpenGL viewer through EGL, with any physics engine. On a bare Debian or Ubuntu it needs
the packages ``libegl1 libegl-mesa0 libgl1-mesa-dri libgl1 libopengl0 libglx0 libx11-6``.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from isaaclab.envs import DirectRLEnv, DirectRLEnvCfg


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
    """
    if not 0 <= env_index < env_cfg.scene.num_envs:
        raise ValueError(f"env_index={env_index} is not allowed; give 0 to {env_cfg.scene.num_envs - 1}")
    if width < 1 or height < 1:
        raise ValueError(f"a frame of {width}x{height} pixels is not allowed; give at least 1x1")
    # the viewer loads OpenGL, which a machine that only trains need not have
    from isaaclab_visualizers.newton import NewtonGLVisualizerCfg

    viewer = NewtonGLVisualizerCfg(
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


def grab_frame(env: gym.Env) -> np.ndarray:
    """Draw the environment as it is now.

    Args:
        env: An environment whose configuration went through :func:`enable_rendering`, wrapped or not.

    Returns:
        RGB image, uint8, shape (H, W, 3).

    Raises:
        RuntimeError: If it did not.
    """
    sim = env.unwrapped.sim
    viewers = [viewer for viewer in sim.visualizers if hasattr(viewer, "render_rgb_array")]
    if not viewers:
        raise RuntimeError("the environment has no viewer; call enable_rendering(env_cfg) before gym.make")
    sim.vis_marker_registry.dispatch_callbacks()
    return np.ascontiguousarray(viewers[0].render_rgb_array())


def aim_cameras(env: DirectRLEnv, eye: tuple[float, float, float], lookat: tuple[float, float, float]) -> None:
    """Point the cameras of all viewers at the environment they show, else at environment 0.

    Args:
        env: The environment.
        eye: Camera position in the environment frame [m].
        lookat: Point the camera looks at, in the environment frame [m].
    """
    for viewer in env.sim.visualizers:
        origin = env.scene.env_origins[(viewer.cfg.visible_env_indices or [0])[0]].cpu().numpy()
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
