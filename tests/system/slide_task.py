"""A task such as somebody else's project has: an ordinary Isaac Lab environment that knows nothing of this package.

A cube above the ground is given a velocity and shall come to a goal. The registration brings no agent's options.
"""

import gymnasium as gym
import torch
from isaaclab.assets import RigidObjectCfg
from isaaclab.envs import DirectRLEnv, DirectRLEnvCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sim import SimulationCfg
from isaaclab.utils import configclass
from isaaclab_ov.physics import OvPhysxCfg

from sapg_isaaclab.assets.robots import ALLEGRO_CUBE_CFG


@configclass
class SlideSceneCfg(InteractiveSceneCfg):
    num_envs: int = 32
    env_spacing: float = 2.0
    object: RigidObjectCfg = ALLEGRO_CUBE_CFG
    light = None


@configclass
class SlideEnvCfg(DirectRLEnvCfg):
    decimation = 2
    episode_length_s = 0.5
    observation_space = 3
    action_space = 3
    state_space = 0
    sim: SimulationCfg = SimulationCfg(device="cpu", dt=1.0 / 60.0, gravity=(0.0, 0.0, 0.0), physics=OvPhysxCfg())
    scene: SlideSceneCfg = SlideSceneCfg()


class SlideEnv(DirectRLEnv):
    def __init__(self, cfg, render_mode=None, **kwargs):
        super().__init__(cfg, render_mode, **kwargs)
        self.object = self.scene["object"]
        self.goal = torch.zeros(self.num_envs, 3, device=self.device)

    def _error(self):
        return self.goal - (self.object.data.root_pos_w.torch - self.scene.env_origins)

    def _pre_physics_step(self, actions):
        velocity = torch.cat((actions.clamp(-1.0, 1.0), torch.zeros_like(actions)), dim=1)
        self.object.write_root_velocity_to_sim_index(root_velocity=velocity)

    def _apply_action(self):
        pass

    def _get_observations(self):
        return {"policy": self._error()}

    def _get_rewards(self):
        return -self._error().norm(dim=1)

    def _get_dones(self):
        late = self.episode_length_buf >= self.max_episode_length - 1
        return torch.zeros_like(late), late

    def _reset_idx(self, env_ids):
        super()._reset_idx(env_ids)
        self.goal[env_ids] = 0.5 + 0.2 * torch.rand(len(env_ids), 3, device=self.device)


gym.register(
    "Test-Slide-Direct",
    entry_point="slide_task:SlideEnv",
    disable_env_checker=True,
    kwargs={"env_cfg_entry_point": "slide_task:SlideEnvCfg"},
)
