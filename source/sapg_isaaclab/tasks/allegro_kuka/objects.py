"""Gives every environment its cuboid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from isaaclab.scene import InteractiveSceneCfg

from sapg_isaaclab.assets.robots import cuboid_spawner
from sapg_isaaclab.assets.tables.cuboids import Scale


def assign_objects(num_envs: int, num_blocks: int, num_shapes: int) -> np.ndarray:
    """Which shape each environment gets.

    Shapes are dealt out anew in every block of environments, so that all policies see the same mix.

    Args:
        num_envs: Environments in this process, a multiple of ``num_blocks``.
        num_blocks: Number of policy blocks.
        num_shapes: Number of shapes to choose from.

    Returns:
        Index of the shape of each environment, shape (num_envs,).
    """
    return np.arange(num_envs) % (num_envs // num_blocks) % num_shapes


@contextmanager
def objects_in(scene: InteractiveSceneCfg, scales: list[Scale], assignment: np.ndarray) -> Iterator[None]:
    """Let a scene that is made inside this context spawn different objects in its environments.

    The configuration is as before afterwards: hundreds of spawners and a function have no place in a saved file.

    Args:
        scene: Configuration of the scene, with a rigid object called ``object``.
        scales: Shapes in use.
        assignment: Index of the shape of each environment, shape (num_envs,).
    """
    spawn, strategy = scene.object.spawn, scene.clone_cfg.clone_strategy
    scene.object.spawn = cuboid_spawner(scales)
    scene.clone_cfg.clone_strategy = lambda weights, num_clones: assignment
    try:
        yield
    finally:
        scene.object.spawn, scene.clone_cfg.clone_strategy = spawn, strategy
