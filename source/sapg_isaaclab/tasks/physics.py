"""The physics engines a task runs on, and the size of their contact buffers.

All engines step at 120 Hz, which is the official 60 Hz with two substeps.
"""

from __future__ import annotations

import torch
from isaaclab.physics import PhysxAutoCfg
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg
from isaaclab_ov.physics import OvPhysxCfg
from isaaclab_physx.physics import PhysxCfg
from isaaclab_tasks.utils import PresetCfg

DEFAULT_DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"
"""The first GPU where there is one, else the CPU."""

DEFAULT_NUM_ENVS = 24576 if torch.cuda.is_available() else 384
"""Environments of a task: the paper's number on a GPU; on a CPU, where more do not step faster, six blocks of 64."""

NEWTON_BUFFERS = {"njmax": 200, "nconmax": 100}
"""Constraint rows and contacts of MuJoCo Warp in each environment, for one robot."""


@configclass
class PhysicsPresets(PresetCfg):
    """Choices of ``physics=``."""

    ovphysx = OvPhysxCfg()
    """PhysX without Isaac Sim, on CUDA or on the CPU."""

    newton_mjwarp = NewtonCfg(
        solver_cfg=MJWarpSolverCfg(
            integrator="implicitfast",
            cone="elliptic",
            impratio=10.0,
            update_data_interval=2,
            **NEWTON_BUFFERS,
        ),
        num_substeps=2,
    )
    """MuJoCo Warp. Friction cones are round and stiff so that fingers hold; contacts and rows are counted per env."""

    isaacsim_physx = PhysxCfg(solver_type=1, bounce_threshold_velocity=0.2)
    """PhysX inside Isaac Sim."""

    physx = PhysxAutoCfg(isaacsim_physx=isaacsim_physx, ovphysx=ovphysx)
    """PhysX inside Isaac Sim where something else needs Isaac Sim, otherwise without."""

    default = ovphysx


PHYSICS_NAMES = ("ovphysx", "newton_mjwarp", "isaacsim_physx", "physx")
"""Names that ``physics=`` accepts."""

# what one environment may need at most, with room to spare: about 25 shapes, a cube in the grip of four fingers
PER_ENV = {
    "gpu_max_rigid_contact_count": 512,
    "gpu_max_rigid_patch_count": 64,
    "gpu_found_lost_pairs_capacity": 128,
    "gpu_found_lost_aggregate_pairs_capacity": 1024,
    "gpu_total_aggregate_pairs_capacity": 256,
    "gpu_collision_stack_size": 8192,
}


def contact_buffers(num_envs: int) -> dict[str, int]:
    """Sizes of PhysX's GPU buffers, which do not grow while the simulation runs.

    Args:
        num_envs: Environments in this process.

    Returns:
        Field of the physics configuration -> size: elements, or bytes for the collision stack. Powers of two, at least
        2**16.

    Raises:
        ValueError: If ``num_envs`` is below 1.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs={num_envs} is not allowed; give at least 1")
    return {name: max(2**16, 1 << (need * num_envs - 1).bit_length()) for name, need in PER_ENV.items()}


def fit_contact_buffers(physics: object, num_envs: int) -> None:
    """Enlarge a configuration's GPU buffers to what ``num_envs`` environments need; never shrinks them.

    Args:
        physics: A physics configuration; one without these buffers is left alone.
        num_envs: Environments in this process.
    """
    for name, size in contact_buffers(num_envs).items():
        if hasattr(physics, name):
            setattr(physics, name, max(getattr(physics, name), size))


def fit_newton_buffers(physics: object, robots: int) -> None:
    """Enlarge MuJoCo Warp's buffers for several robots in each environment; sizes that a user chose stay.

    Args:
        physics: A physics configuration; one of another engine is left alone.
        robots: Robots in each environment.
    """
    solver = getattr(physics, "solver_cfg", None)
    for name, size in NEWTON_BUFFERS.items():
        if getattr(solver, name, None) == size:
            setattr(solver, name, robots * size)
