"""What the simulator tests share.

One environment lives at a time, so a module makes its own and its tests share it.
"""

import gymnasium as gym
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sapg_isaaclab  # noqa: F401

TASK_ID = "SAPG-Allegro-Reorient"

torch.set_num_threads(1)


def make(**kwargs):
    """The task on the CPU, unwrapped and reset."""
    env = gym.make(TASK_ID, **({"device": "cpu"} | kwargs)).unwrapped
    env.reset()
    return env


def place_object(env, env_ids, pos=None, quat=None, lin_vel=(0.0, 0.0, 0.0), ang_vel=(0.0, 0.0, 0.0)):
    """Put the object somewhere; position in the environment frame."""
    env_ids = torch.as_tensor(env_ids, dtype=torch.int32)
    pose = torch.cat((env.object_pos, env.object_quat), dim=-1)[env_ids].clone()
    if pos is not None:
        pose[:, :3] = torch.as_tensor(pos)
    if quat is not None:
        pose[:, 3:] = torch.as_tensor(quat)
    pose[:, :3] += env.scene.env_origins[env_ids]
    velocity = torch.tensor([*lin_vel, *ang_vel]).repeat(len(env_ids), 1)
    env.object.write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)
    env.object.write_root_velocity_to_sim_index(root_velocity=velocity, env_ids=env_ids)


def hold_actions(env):
    """Actions that keep the present joint targets."""
    lower, upper = env.hand.data.joint_limits.torch[0, env._actuated_ids].unbind(-1)
    return (2.0 * env.targets - upper - lower) / (upper - lower)


class Indexing(TorchDispatchMode):
    """Counts the reads by an index tensor, ``x[:, ids]``: they start torch's threads however small the tensor is."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.index.Tensor
        return func(*args, **(kwargs or {}))
