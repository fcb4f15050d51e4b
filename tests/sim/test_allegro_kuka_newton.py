"""SAPG-AllegroKuka on newton_mjwarp. On a CPU this engine is slow: two environments, few steps."""

import pytest
import torch
from kuka_env import JOINTS, POSES, TIPS, hold_actions, make, park_robot, put_object, put_robot

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def env():
    env = make("Regrasp", num_envs=2, physics="newton_mjwarp")
    yield env
    env.close()


def test_kinematics_and_masses_are_those_of_ovphysx(env):
    assert [env.arms[0].robot.joint_names[i] for i in env.arms[0].joint_ids] == JOINTS
    put_robot(env, POSES["B"])
    env._measure()
    torch.testing.assert_close(env.measured.tips, torch.tensor(TIPS["B"]).expand(2, 4, 3), atol=1.6e-5, rtol=0)
    torch.testing.assert_close(env.object.data.body_mass.torch[:, 0], env.object_mass)


def test_robot_is_weightless_the_object_is_not(env):
    env.reset()
    env.pushes.probability.zero_()
    park_robot(env)
    put_object(env, [0, 1], [0.0, 0.0, 1.0])
    env.step(hold_actions(env))
    velocity = env.object.data.root_lin_vel_w.torch[:, 2]
    torch.testing.assert_close(velocity, torch.full((2,), -9.81 / 60), atol=5e-3, rtol=0)
    assert (env.joint_pos - env.targets).abs().max() < 5e-3


def test_fingers_move_faster_than_an_unclamped_damping_would_let_them(env):
    env.reset()
    park_robot(env)
    actions, fastest = hold_actions(env), 0.0
    actions[:, 8:11] = 1.0
    for _ in range(6):
        obs, *_ = env.step(actions)
        fastest = max(fastest, env.joint_vel[:, 8:11].abs().max().item())
    assert torch.isfinite(obs["policy"]).all()
    assert fastest > 1.0
