"""What the simulator tests of the AllegroKuka tasks share."""

import gymnasium as gym
import torch
from isaaclab_tasks.utils import parse_env_cfg

import sapg_isaaclab  # noqa: F401

torch.set_num_threads(1)

FINGERS = ("index", "middle", "ring", "thumb")
JOINTS = [f"iiwa7_joint_{i}" for i in range(1, 8)] + [f"{finger}_joint_{i}" for finger in FINGERS for i in range(4)]

# Forward kinematics of the official URDF with its base at (0, 0.8, 0), from an independent implementation that agrees
# with MuJoCo's reading of the same URDF: joint angles [rad], then points in the environment frame [m].
POSES = {
    "A": [-1.571, 1.571, 0.0, 1.376, 0.0, 1.485, 2.358, *[0.0] * 16],
    # arm, index and middle, ring and thumb
    "B": [
        *(0.3, -0.6, 0.2, 1.1, -0.4, 0.7, -1.2),
        *(0.1, 0.5, 0.6, 0.4, -0.1, 0.7, 0.3, 0.5),
        *(0.05, 0.4, 0.8, 0.2, 0.9, 0.3, 0.5, 0.6),
    ],
    "C": [
        *(-1.0, 0.9, 0.5, -1.3, 0.8, -0.9, 1.5),
        *(-0.2, 0.2, 0.9, 0.7, 0.15, 1.0, 0.6, 0.3),
        *(0.2, 0.6, 0.4, 0.9, 1.2, 0.6, 0.2, 0.9),
    ],
    "Z": [0.0] * 23,
}
LINK_7 = {
    "A": ((-0.00011, 0.24198, 0.72351), (0.68767, -0.28565, 0.25592, 0.61645)),
    "B": ((-0.62124, 0.50590, 0.66494), (0.43871, -0.21496, -0.35620, 0.79653)),
    "C": ((0.50673, 0.31144, 0.38274), (0.70459, -0.22280, 0.37832, 0.55748)),
    "Z": ((0.0, 0.8, 1.221), (0.0, 0.0, 0.0, 1.0)),
}
PALM_CENTER = {
    "A": (0.01402, 0.08446, 0.69204),
    "B": (-0.73361, 0.41135, 0.73153),
    "C": (0.56700, 0.16436, 0.35565),
    "Z": (0.0, 0.78, 1.381),
}
TIPS = {
    "A": [
        (0.06897, -0.10087, 0.68356),
        (0.01146, -0.10368, 0.68315),
        (-0.04605, -0.10083, 0.68336),
        (0.19496, 0.13527, 0.72797),
    ],
    "B": [
        (-0.85919, 0.33313, 0.69423),
        (-0.87901, 0.39258, 0.73291),
        (-0.88132, 0.41413, 0.76118),
        (-0.79475, 0.35965, 0.65238),
    ],
    "C": [
        (0.62915, 0.08697, 0.27674),
        (0.60763, 0.13211, 0.24257),
        (0.57148, 0.08168, 0.25523),
        (0.60319, 0.17539, 0.25878),
    ],
    "Z": [
        (0.04715, 0.74936, 1.56615),
        (0.00649, 0.79002, 1.56900),
        (-0.03418, 0.83069, 1.56615),
        (0.14909, 0.67313, 1.32655),
    ],
}


def make(task, robot="AllegroKuka", **changes):
    """A task on the CPU, unwrapped and reset; ``changes`` are fields of its configuration or the usual choices."""
    task_id = f"SAPG-{robot}-{task}"
    num_envs, physics = changes.pop("num_envs", 12), changes.pop("physics", "ovphysx")
    cfg = parse_env_cfg(task_id, device="cpu", num_envs=num_envs, overrides=[f"physics={physics}"])
    cfg.seed = 0
    for name, value in changes.items():
        setattr(cfg, name, value)
    env = gym.make(task_id, cfg=cfg).unwrapped
    env.reset()
    return env


def by_name(env, tensor, arm=0):
    """Columns of an arm's joint tensor in the task's order, found by name."""
    return torch.stack([tensor[:, env.arms[arm].robot.joint_names.index(name)] for name in JOINTS], dim=-1)


def put_robot(env, joint_pos):
    """Put all robots somewhere, at rest, with targets to match."""
    joint_pos = torch.as_tensor(joint_pos).expand(env.num_envs, len(env.arms.lower)).contiguous()
    env.arms.put(joint_pos, torch.zeros_like(joint_pos), torch.arange(env.num_envs, dtype=torch.int32))
    env.targets.copy_(joint_pos.clamp(env.arms.lower, env.arms.upper))


def park_robot(env):
    """Stretch the arms upwards, away from everything."""
    put_robot(env, torch.zeros_like(env.arms.lower).clamp(env.arms.lower, env.arms.upper))


def hold_actions(env):
    """Actions that keep the present joint targets."""
    lower, upper = env.arms.lower, env.arms.upper
    actions = (2.0 * env.targets - upper - lower) / (upper - lower)
    if env.cfg.arm_mode == "velocity":
        actions[:, :7] = 0.0
    return actions


def put_object(env, env_ids, pos=None, quat=(0.0, 0.0, 0.0, 1.0), lin_vel=(0.0, 0.0, 0.0)):
    """Put the object somewhere; positions in the environment frame, one for all or one each."""
    env_ids = torch.as_tensor(env_ids, dtype=torch.int32)
    count = len(env_ids)
    pose = torch.empty(count, 7)
    pose[:, :3] = torch.as_tensor(pos) + env.scene.env_origins[env_ids]
    pose[:, 3:] = torch.as_tensor(quat)
    velocity = torch.zeros(count, 6)
    velocity[:, :3] = torch.as_tensor(lin_vel)
    env.object.write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)
    env.object.write_root_velocity_to_sim_index(root_velocity=velocity, env_ids=env_ids)


def carried_return(env, steps=40):
    """Sum of rewards of an oracle that carries the object to its goal in a straight line, per environment."""
    everywhere = range(env.num_envs)
    start, total = env.object_pos.clone(), torch.zeros(env.num_envs)
    alive = torch.ones(env.num_envs, dtype=torch.bool)
    for step in range(steps):
        share = min(1.0, (step + 1) / (steps / 2))
        put_object(env, everywhere, torch.lerp(start, env.goal_pos, share), env.goal_quat)
        _, reward, terminated, truncated, _ = env.step(hold_actions(env))
        total += reward * alive
        alive &= ~(terminated | truncated)
    return total


def random_return(env, steps=40):
    """Sum of rewards of random actions, per environment."""
    total, alive = torch.zeros(env.num_envs), torch.ones(env.num_envs, dtype=torch.bool)
    for _ in range(steps):
        _, reward, terminated, truncated, _ = env.step(2.0 * torch.rand(env.num_envs, env.cfg.action_space) - 1.0)
        total += reward * alive
        alive &= ~(terminated | truncated)
    return total
