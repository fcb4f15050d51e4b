"""Physics presets and the size of contact buffers, without making an environment."""

import pytest
from isaaclab_newton.physics import NewtonCfg
from isaaclab_ov.physics import OvPhysxCfg
from isaaclab_physx.physics import PhysxCfg
from isaaclab_tasks.utils import parse_env_cfg
from sim_env import TASK_ID

from sapg_isaaclab.tasks.physics import (
    PER_ENV,
    PHYSICS_NAMES,
    PhysicsPresets,
    contact_buffers,
    fit_contact_buffers,
    fit_newton_buffers,
)


def test_names_are_the_presets():
    assert set(PHYSICS_NAMES) == {name for name in PhysicsPresets.__dataclass_fields__ if name != "default"}


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        ([], OvPhysxCfg),
        (["physics=ovphysx"], OvPhysxCfg),
        (["physics=newton_mjwarp"], NewtonCfg),
        (["physics=isaacsim_physx"], PhysxCfg),
    ],
)
def test_physics_token_selects_the_engine(overrides, kind):
    assert type(parse_env_cfg(TASK_ID, overrides=overrides).sim.physics) is kind


@pytest.mark.parametrize("num_envs", [1, 64, 8192, 24576])
def test_buffers_hold_what_the_environments_need(num_envs):
    sizes = contact_buffers(num_envs)
    for name, need in PER_ENV.items():
        assert sizes[name] >= need * num_envs
        assert sizes[name] & (sizes[name] - 1) == 0
        assert sizes[name] <= max(2**16, 2 * need * num_envs)


def test_buffers_at_the_papers_size():
    # 24576 * 512 = 12.6 M contacts -> 2^24; 24576 * 64 = 1.57 M patches -> 2^21
    sizes = contact_buffers(24576)
    assert sizes["gpu_max_rigid_contact_count"] == 2**24
    assert sizes["gpu_max_rigid_patch_count"] == 2**21


def test_buffers_grow_and_never_shrink():
    physics = OvPhysxCfg()
    defaults = OvPhysxCfg()
    fit_contact_buffers(physics, 16)
    assert physics.gpu_max_rigid_contact_count == defaults.gpu_max_rigid_contact_count
    fit_contact_buffers(physics, 24576)
    assert physics.gpu_max_rigid_contact_count == 2**24
    with pytest.raises(ValueError, match="num_envs=0 is not allowed"):
        contact_buffers(0)


def test_mujoco_has_rows_for_every_robot_unless_somebody_chose_them():
    physics = parse_env_cfg(TASK_ID, overrides=["physics=newton_mjwarp"]).sim.physics
    for robots, njmax in ((1, 200), (2, 400), (2, 400)):
        fit_newton_buffers(physics, robots)
        assert (physics.solver_cfg.njmax, physics.solver_cfg.nconmax) == (njmax, njmax // 2)
    physics.solver_cfg.njmax = 60
    fit_newton_buffers(physics, 2)
    assert physics.solver_cfg.njmax == 60
    fit_newton_buffers(OvPhysxCfg(), 2)
