"""The environment: what :class:`TaskEnv` asks of a task."""

import contextlib

import torch

from sapg_isaaclab.tasks.base import TaskEnv
from slide.rewards import distance_term


class SlideEnv(TaskEnv):
    def _prepare(self, cfg):
        return contextlib.nullcontext()

    def _set_up(self):
        self.object = self.scene["object"]
        self.goal = torch.zeros(self.num_envs, 3, device=self.device)

    def _pre_physics_step(self, actions):
        velocity = torch.cat((actions.clamp(-1.0, 1.0), torch.zeros_like(actions)), dim=1)
        self.object.write_root_velocity_to_sim_index(root_velocity=velocity)

    def _judge(self):
        self.error = self.goal - (self.object.data.root_pos_w.torch - self.scene.env_origins)
        self.successes += self.error.norm(dim=1) < self.cfg.success_distance
        late = self.episode_length_buf >= self.max_episode_length - 1
        return torch.zeros_like(late), late

    def _pay(self):
        self._finished_successes.copy_(torch.where(self._finished(), self.successes, self._finished_successes))
        self.extras["log"] = self._common_metrics()
        return distance_term(self.error)

    def _reset_idx(self, env_ids):
        super()._reset_idx(env_ids)
        rows = torch.as_tensor(env_ids, dtype=torch.long, device=self.device)
        self.successes.index_fill_(0, rows, 0.0)
        self.goal.index_copy_(0, rows, 0.5 + 0.2 * torch.rand(len(rows), 3, device=self.device))
        pose = self.object.data.default_root_pose.torch.index_select(0, rows)
        pose[:, :3] += self.scene.env_origins.index_select(0, rows)
        self.object.write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)

    def _get_observations(self):
        return {"policy": self.goal - (self.object.data.root_pos_w.torch - self.scene.env_origins)}
