"""A cube in weightlessness is given a velocity and shall come to a goal."""

from isaaclab.assets import RigidObjectCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sim import SimulationCfg
from isaaclab.utils import configclass

from sapg_isaaclab.assets.robots import ALLEGRO_CUBE_CFG
from sapg_isaaclab.tasks.base_cfg import TaskEnvCfg
from sapg_isaaclab.tasks.physics import PhysicsPresets


@configclass
class SlideSceneCfg(InteractiveSceneCfg):
    num_envs: int = 12
    env_spacing: float = 2.0
    object: RigidObjectCfg = ALLEGRO_CUBE_CFG


@configclass
class SlideEnvCfg(TaskEnvCfg):
    decimation = 2
    episode_length_s = 0.2
    observation_space = 3
    action_space = 3
    state_space = 0
    sim: SimulationCfg = SimulationCfg(device="cpu", dt=1.0 / 60.0, gravity=(0.0, 0.0, 0.0), physics=PhysicsPresets())
    scene: SlideSceneCfg = SlideSceneCfg()
    success_distance: float = 0.5
