"""The same task on newton_mjwarp. On a CPU this engine is slow: two environments, few steps."""

import numpy as np
import pytest
import torch
from sim_env import hold_actions, make, place_object

from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.tables.allegro_hand import ALLEGRO_HAND

pytestmark = pytest.mark.slow

JOINTS = [joint.name for joint in ALLEGRO_HAND.joints]


@pytest.fixture(scope="module")
def env():
    env = make(num_envs=2, seed=0, physics="newton_mjwarp")
    yield env
    env.close()


def test_joint_order_limits_and_kinematics_are_those_of_ovphysx(env):
    assert [env.hand.joint_names[i] for i in env._joint_ids] == JOINTS
    lower = torch.tensor([joint.lower for joint in ALLEGRO_HAND.joints])
    torch.testing.assert_close(env._joint_lower, lower, atol=1e-5, rtol=0)
    joint_pos = lower + 0.4
    env.hand.write_joint_position_to_sim_index(position=joint_pos.repeat(2, 1), joint_ids=env._joint_ids)
    root = env.cfg.scene.robot.init_state
    poses = kinematics.forward_kinematics(
        ALLEGRO_HAND, dict(zip(JOINTS, joint_pos.double().tolist())), (np.array(root.pos), np.array(root.rot))
    )
    for index, name in enumerate(env.hand.body_names):
        pos = env.hand.data.body_link_pos_w.torch[:, index] - env.scene.env_origins
        torch.testing.assert_close(pos.double(), torch.tensor(poses[name][0]).expand(2, 3), atol=1e-5, rtol=0)


def test_observations_show_the_state(env):
    env.reset()
    actions = torch.rand(2, 16) - 0.5
    obs = env.step(actions)[0]["policy"]
    joint_pos = torch.stack([env.hand.data.joint_pos.torch[:, env.hand.joint_names.index(name)] for name in JOINTS], -1)
    normalised = (2 * joint_pos - env._joint_upper - env._joint_lower) / (env._joint_upper - env._joint_lower)
    torch.testing.assert_close(obs[:, :16], normalised)
    torch.testing.assert_close(obs[:, 48:51], env.object_pos)
    torch.testing.assert_close(obs[:, 51:55], env.object_quat)
    torch.testing.assert_close(obs[:, 72:], actions)


def test_hand_is_weightless_the_object_is_not(env):
    env.reset()
    place_object(env, [0, 1], pos=[0.0, -0.2, 0.72])
    env.step(hold_actions(env))
    velocity = env.object.data.root_lin_vel_w.torch[:, 2]
    torch.testing.assert_close(velocity, torch.full((2,), -0.327), atol=5e-3, rtol=0)
    assert (env.joint_pos(env._actuated_ids) - env.targets).abs().max() < 2e-3


def test_cube_rests_on_the_hand(env):
    env.reset()
    curl = torch.tensor([0.0, 0.35, 0.4, 0.4] * 3 + [0.6, 0.3, 0.3, 0.3])
    env.hand.write_joint_position_to_sim_index(position=curl.repeat(2, 1), joint_ids=env._joint_ids)
    place_object(env, [0, 1], pos=[0.0, -0.15, 0.57], quat=[0.0, 0.0, 0.0, 1.0])
    actions = (2 * curl - env._joint_upper - env._joint_lower) / (env._joint_upper - env._joint_lower)
    for _ in range(20):
        _, _, terminated, _, _ = env.step(actions.repeat(2, 1))
        assert not terminated.any()
    assert env.object.data.root_lin_vel_w.torch.norm(dim=-1).max() < 0.05
    assert (env.object_pos[:, 2] > 0.5).all()
