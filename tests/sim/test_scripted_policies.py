"""Policies written by hand, on real physics and through actions alone, do better than chance.

What a task pays for must be within reach of its actuators: an arm that grasps a cube lifts it, a hand that holds still
keeps it.
"""

import gymnasium as gym
import numpy as np
import pytest
import torch
from kuka_env import make, put_object, random_return
from scipy.spatial.transform import Rotation

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO

pytestmark = pytest.mark.slow

NUM_ARMS, NUM_HANDS = 32, 48
BASE = np.array([0.0, 0.8, 0.0])
ARM = KUKA_ALLEGRO.joints[:7]
ORIGINS = [(np.array(joint.xyz), Rotation.from_euler("xyz", joint.rpy).as_matrix()) for joint in ARM]
_, (PALM_POS, PALM_QUAT) = kinematics.attachment(KUKA_ALLEGRO, "palm_link")
PALM_ROT = Rotation.from_quat(PALM_QUAT).as_matrix()

# control steps at which the arm is above the cube, at it, has closed the hand, has lifted
ABOVE, DOWN, CLOSED, LIFTED = 80, 140, 195, 250


def palm_of(joints):
    """Positions (N, 3), rotations (N, 3, 3) and Jacobians (N, 6, 7) of the palm for arm joints (N, 7)."""
    pos, rot = np.tile(BASE, (len(joints), 1)), np.tile(np.eye(3), (len(joints), 1, 1))
    axes, points = [], []
    for (offset, turn), angle in zip(ORIGINS, joints.T):
        pos, rot = pos + rot @ offset, rot @ turn
        axes.append(rot[:, :, 2])
        points.append(pos)
        rot = rot @ Rotation.from_rotvec(np.outer(angle, [0.0, 0.0, 1.0])).as_matrix()
    pos, rot = pos + rot @ PALM_POS, rot @ PALM_ROT
    columns = [np.concatenate((np.cross(axis, pos - point), axis), -1) for axis, point in zip(axes, points)]
    return pos, rot, np.stack(columns, -1)


def towards(joints, goal_pos, goal_rot):
    """Arm joints one damped least-squares step nearer to a pose of the palm, at most 0.06 rad away."""
    for _ in range(2):
        pos, rot, jacobian = palm_of(joints)
        turn = Rotation.from_matrix(goal_rot @ rot.transpose(0, 2, 1)).as_rotvec()
        error = np.concatenate((goal_pos - pos, turn), -1)[..., None]
        transposed = jacobian.transpose(0, 2, 1)
        step = transposed @ np.linalg.solve(jacobian @ transposed + 0.05**2 * np.eye(6), error)
        joints = joints + step[..., 0].clip(-0.03, 0.03)
    return joints


def hand_pose(spread, thumb, share):
    """Hand joints (N, 16) that close from open (share 0) to a grip of middle finger against thumb (share 1)."""
    pose = np.zeros((NUM_ARMS, 16))
    pose[:, 0], pose[:, 8] = spread, -spread
    for finger in (0, 4, 8):
        pose[:, finger + 1 : finger + 4] = np.array([0.25, 0.55, 0.5]) + share[:, None] * np.array([0.9, 0.6, 0.5])
    pose[:, 12:14] = thumb
    pose[:, 14:] = np.array([0.05, 0.1]) + share[:, None] * np.array([0.9, 0.6])
    return pose


def test_a_scripted_arm_lifts_a_cube_and_is_paid_for_it_once():
    """Inverse kinematics above the cube, down, close, up; each arm tries it a little differently, some succeed."""
    env = make("Regrasp", num_envs=NUM_ARMS, object_sets=["default"], force_scale=0.0)
    random = random_return(env, steps=300)
    env.reset()
    put_object(env, range(NUM_ARMS), [0.0, 0.0, 0.556])
    rng = np.random.default_rng(0)
    low, high = np.array([[0.025, 0.055], [-0.01, 0.01], [0.095, 0.125]]).T  # of the cube in the palm's frame [m]
    cube_in_palm = rng.uniform(low, high, (NUM_ARMS, 3))
    spread, delay = rng.uniform(-0.25, 0.1, NUM_ARMS), rng.integers(0, 30, NUM_ARMS)
    thumb = rng.uniform((1.42, 0.0), (1.57, 0.3), (NUM_ARMS, 2))
    # fingers towards -y as at the start, palm down
    palm_rot = np.tile(np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]).T, (NUM_ARMS, 1, 1))
    grasp = env.object_pos.double().numpy() - (palm_rot @ cube_in_palm[..., None])[..., 0]

    arm = env.targets[:, :7].double().numpy()
    start, start_rot, _ = palm_of(env.joint_pos[:, :7].double().numpy())
    env._measure()
    center = (0.00814, 0.00626, 0.00537)  # the task's palm centre in the frame of the palm [m]
    np.testing.assert_allclose(start + start_rot @ center, env.measured.palm_pos[:, 0].numpy(), atol=1e-4)

    lower, upper = env.arms.lower[7:].numpy(), env.arms.upper[7:].numpy()
    total, lifts, bonus = (torch.zeros(NUM_ARMS) for _ in range(3))
    alive = torch.ones(NUM_ARMS, dtype=torch.bool)
    up = np.array([0.0, 0.0, 0.15])
    for step in range(LIFTED + 50):
        if step < 20:  # away from the table first
            goal, rot = start + up * step / 20, start_rot
        elif step < DOWN:
            goal, rot = grasp + up * min(1.0, max(0.0, (DOWN - 10 - step) / (DOWN - 10 - ABOVE))), palm_rot
        else:
            goal = grasp + [0.0, 0.0, 0.25] * np.array(min(1.0, max(0.0, (step - CLOSED) / (LIFTED - CLOSED))))
        arm = towards(arm, goal, rot)
        # the fingers close first, each thumb a little later
        share = np.full(NUM_ARMS, (step - DOWN) / 30).clip(0.0, 1.0)
        pose = hand_pose(spread, thumb, share)
        pose[:, 14:] = hand_pose(spread, thumb, ((step - DOWN - delay) / 20).clip(0.0, 1.0))[:, 14:]
        arm_actions = (arm - env.targets[:, :7].numpy()) / (env.cfg.arm_speed * env.step_dt)
        hand_actions = (2.0 * pose - lower - upper) / (upper - lower)
        actions = np.concatenate((arm_actions, hand_actions), -1)
        _, reward, terminated, truncated, extras = env.step(torch.tensor(actions, dtype=torch.float32))
        total += reward * alive
        lifts += env._just_lifted * alive
        bonus += NUM_ARMS * extras["log"]["Reward/lift_bonus"] / env.cfg.lift_bonus
        alive &= ~(terminated | truncated)
    held = alive & env.lifted & (env.object_pos[:, 2] > 0.73)
    print(f"{int(held.sum())} of {NUM_ARMS} lift and hold; return {total[held].mean():.0f} against {random.mean():.1f}")
    env.close()
    assert held.sum() >= 2
    assert (lifts[held] == 1).all()
    assert bonus[0].item() == pytest.approx(lifts.sum().item(), abs=1e-3)
    assert total[held].min() > 300.0
    assert total.mean() > random.mean() + 50.0


def mean_reward(env, actions=None, steps=240):
    """Mean reward of a step, and number of dropped cubes, under constant or, by default, random actions."""
    env.reset()
    total, drops = 0.0, 0
    for _ in range(steps):
        random = 2.0 * torch.rand(env.num_envs, env.cfg.action_space) - 1.0
        _, reward, terminated, _, _ = env.step(random if actions is None else actions)
        total += reward.mean().item()
        drops += terminated.sum().item()
    return total / steps, drops


# fingers [rad] by the end of a joint's name; all other joints are straight
@pytest.mark.parametrize(
    ("task", "fingers", "margin"),
    [("SAPG-Allegro-Reorient", {}, 0.5), ("SAPG-Shadow-Reorient", {"J2": 0.3, "J1": 0.3}, 0.1)],
)
def test_a_hand_that_keeps_the_cube_earns_more_than_a_restless_one(task, fingers, margin):
    env = gym.make(task, num_envs=NUM_HANDS, device="cpu", seed=0).unwrapped
    lower, upper = env._actuated_lower, env._actuated_upper
    names = env.cfg.actuated_joint_names
    pose = torch.tensor([sum(angle for end, angle in fingers.items() if name.endswith(end)) for name in names])
    pose = pose.float().clamp(lower, upper)
    random, random_drops = mean_reward(env)
    kept, drops = mean_reward(env, ((2.0 * pose - upper - lower) / (upper - lower)).repeat(NUM_HANDS, 1))
    env.close()
    print(f"{task}: {kept:.2f} a step and {drops} drops against {random:.2f} and {random_drops}")
    assert kept > random + margin
    assert drops < random_drops
