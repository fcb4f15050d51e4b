"""Exported policies in the tasks that they are made for."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.commands.export import task_interface
from sapg_isaaclab.deploy import load_policy
from sapg_isaaclab.deploy.export import export_policy, observation_moments
from sapg_isaaclab.tasks.in_hand import rewards
from toy_env import ToyEnv

torch.set_num_threads(1)

ALLEGRO = "SAPG-Allegro-Reorient"
TASKS = [ALLEGRO, "SAPG-Shadow-Reorient", "SAPG-AllegroKuka-Regrasp", "SAPG-AllegroKukaTwoArms-Reorient"]


def make(task, num_envs=4, **changes):
    """A task on the CPU, and what it says of itself. Always the same from its first step on."""
    cfg = parse_env_cfg(task, device="cpu", num_envs=num_envs)
    cfg.seed = 3
    for name, value in changes.items():
        setattr(cfg, name, value)
    interface = task_interface(task, cfg)
    env = gym.make(task, cfg=cfg).unwrapped
    return env, interface


def exported(interface, folder, suffix, **options):
    """A policy that moves the hand about, and its file."""
    space = gym.spaces.Box(-1.0, 1.0, (interface["observations"]["size"],))
    env = ToyEnv(4)
    env.observation_space, env.action_space = space, gym.spaces.Box(-1.0, 1.0, (interface["actions"]["size"],))
    torch.manual_seed(1)
    agent = build_agent(env, SapgCfg(hidden_sizes=(64, 32), **options), with_memory=False)
    agent.init()
    agent.enable_training_mode(False)
    observation_moments(agent, 0).update(0.5 * torch.randn(200, *space.shape))
    agent.policies.model.mean.weight.data *= 6.0
    path = folder / f"policy{suffix}"
    export_policy(agent, path, file_format="torchscript" if suffix == ".pt" else "onnx", interface=interface)
    return agent, load_policy(path)


def episodes(env, policy, steps, on_step=None):
    """Observations, rewards and ends of some steps after a reset, stacked."""
    observations, history = env.reset()[0]["policy"], []
    for _ in range(steps):
        actions = policy(observations)
        if on_step is not None:
            on_step(observations, actions)
        observations, reward, terminated, truncated, _ = env.step(actions)
        observations, done = observations["policy"], terminated | truncated
        policy.reset(done)
        history.append((observations.clone(), reward.clone(), done.clone()))
    return [torch.stack(parts) for parts in zip(*history)]


@pytest.mark.slow
def test_a_file_gets_the_episodes_of_its_policy(tmp_path):
    # without a latent there is nothing to fold, and TorchScript computes what the policy does to the last bit
    results = []
    for which in range(2):
        env, interface = make(ALLEGRO, episode_length_s=2.0)
        agent, policy = exported(interface, tmp_path, ".pt", num_blocks=1)
        results.append(episodes(env, (agent.player(0), policy)[which], steps=150))
        env.close()
    assert results[0][2].sum() >= 8, "several episodes are wanted"
    for of_policy, of_file in zip(*results):
        assert torch.equal(of_policy, of_file)


@pytest.mark.slow
@pytest.mark.parametrize("task", [ALLEGRO, "SAPG-AllegroKuka-Regrasp"])
def test_a_file_drives_the_task_as_its_policy_would(task, tmp_path):
    # contacts blow up a difference in the eighth digit within steps: so both are asked about the same observations
    env, interface = make(task, episode_length_s=1.0)
    agent, policy = exported(interface, tmp_path, ".onnx", num_blocks=3, rnn_units=32)
    player, differences, sizes = agent.player(0), [], []
    forget = policy.reset

    def ask(observations, actions):
        differences.append((player(observations) - actions).abs().max())
        sizes.append(actions.std())

    policy.reset = lambda done: (forget(done), player.reset(done))
    *_, ends = episodes(env, policy, steps=100, on_step=ask)
    env.close()
    assert ends.sum() >= 4 and min(sizes) > 0.05
    assert max(differences) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_description_makes_the_tasks_observations_and_joint_targets(task, tmp_path):
    env, interface = make(task, action_smoothing=0.7)
    _, policy = exported(interface, tmp_path, ".onnx", num_blocks=1)
    env.reset()
    targets = policy.joint_targets(env.targets)
    torch.manual_seed(0)
    for _ in range(6):
        actions = 1.5 * torch.randn(env.num_envs, policy.num_actions)
        observations = env.step(actions)[0]["policy"]
        assert not env.reset_buf.any()
        np.testing.assert_allclose(targets(actions.numpy()), env.targets.numpy(), atol=1e-6)
    values = kuka_values(env, actions) if "Kuka" in task else in_hand_values(env, actions)
    made = policy.observe({name: np.asarray(value).reshape(env.num_envs, -1) for name, value in values.items()})
    np.testing.assert_allclose(made, observations.numpy(), atol=2e-6)
    robots = {"robot": env.hand} if "Kuka" not in task else dict(zip(env.cfg.arms, [arm.robot for arm in env.arms]))
    joints = {
        f"{arm}_{joint}" if len(robots) > 1 else joint: (robot, column)
        for arm, robot in robots.items()
        for column, joint in enumerate(robot.joint_names)
    }
    assert joints.keys() >= set(policy.joint_names)
    for joint in interface["actions"]["joints"]:
        robot, column = joints[joint["name"]]
        for name, read in {
            "stiffness": robot.data.joint_stiffness,
            "damping": robot.data.joint_damping,
            "effort_limit": robot.data.joint_effort_limits,
            "velocity_limit": robot.data.joint_vel_limits,
            "armature": robot.data.joint_armature,
        }.items():
            assert read.torch[0, column].item() == pytest.approx(joint[name], rel=1e-5), (joint["name"], name)
    for name, robot in robots.items():
        base = robot.data.root_link_pose_w.torch[0].clone()
        base[:3] -= env.scene.env_origins[0]
        expected = interface["frames"]["environment"][f"{name}_base"]
        np.testing.assert_allclose(base.numpy(), [*expected["pos"], *expected["quat"]], atol=1e-5)
    env.close()


def in_hand_values(env, actions):
    """Items in SI units, but those that the description knows as constant."""
    data = env.object.data
    values = {
        "joint_pos": env.joint_pos(env._joint_ids),
        "joint_vel": env.hand.data.joint_vel.torch[:, env._joint_ids],
        "object_pos": env.object_pos,
        "object_quat": env.object_quat,
        "object_lin_vel": data.root_lin_vel_w.torch,
        "object_ang_vel": data.root_ang_vel_w.torch,
        "goal_quat": env.goal_quat,
        "goal_rotation": rewards.relative_rotation(env.object_quat, env.goal_quat),
        "actions": actions.clamp(-1.0, 1.0),
    }
    if env.cfg.fingertip_body_names:
        sensor, hand, tips = env._wrench_sensor.data, env.hand.data, env._fingertip_ids
        parts = (hand.body_link_quat_w, hand.body_com_lin_vel_w, hand.body_com_ang_vel_w)
        values["joint_force"] = sensor.torque.torch[:, env._joint_rows, 2]
        values["fingertip_state"] = torch.cat((env.fingertip_pos, *(part.torch[:, tips] for part in parts)), dim=-1)
        wrench = (sensor.force.torch, sensor.torque.torch)
        values["fingertip_wrench"] = torch.cat([part[:, env._fingertip_rows] for part in wrench], dim=-1)
    return values


def kuka_values(env, actions):
    """Items in SI units."""
    measured, palms = env.measured, {}
    for arm, prefix in enumerate(env.cfg.arm_prefixes()):
        palms[f"{prefix}palm_quat"] = measured.palm_quat[:, arm]
        palms[f"{prefix}palm_lin_vel"] = measured.palm_vel[:, arm, :3]
        palms[f"{prefix}palm_ang_vel"] = measured.palm_vel[:, arm, 3:]
    closest_tip = {"closest_tip": env.shown_tip} if env.cfg.observe_closest_tip else {}
    return {
        "joint_pos": env.joint_pos,
        "joint_vel": env.joint_vel,
        "palm_pos": measured.palm_pos,
        **palms,
        "object_quat": env.object_quat,
        "object_lin_vel": env.object.data.root_lin_vel_w.torch,
        "object_ang_vel": env.object.data.root_ang_vel_w.torch,
        "tips_from_palm": measured.tips_from_palm,
        "keypoints_from_palm": measured.from_palms(measured.keypoints),
        "keypoints_from_goal": measured.keypoints_from_goal,
        "object_scale": env.object_edges,
        "closest_keypoint": env.shown_keypoint,
        **closest_tip,
        "lifted": env.shown_lifted,
        "progress": np.log1p(env.episode_length_buf.numpy() / 10.0),
        "successes": np.log1p(env.successes.numpy()),
        "reward": env.last_reward,
    }
