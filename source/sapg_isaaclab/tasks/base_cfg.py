"""Options that all tasks share."""

from __future__ import annotations

from typing import Literal

from isaaclab.envs import DirectRLEnvCfg
from isaaclab.utils import configclass
from isaaclab.utils.noise import NoiseModelCfg
from isaaclab_tasks.utils import preset

from sapg_isaaclab.tasks import nan_guard, randomization
from sapg_isaaclab.tasks.pose_estimate import PoseEstimateCfg
from sapg_isaaclab.tasks.threads import check_threads


@configclass
class TaskEnvCfg(DirectRLEnvCfg):
    """Options of every :class:`~sapg_isaaclab.tasks.base.TaskEnv`."""

    is_finite_horizon = False
    # for whoever bootstraps time-outs with the state an episode ended in, which the autoreset hides; the training
    # script leaves it out for agents that do not
    compute_final_obs = True

    num_blocks: int = 1
    """Number of policy blocks: each gets the same mix of what differs between environments, and the metrics distinguish
    them. The training script sets it."""

    first_block: int = 0
    """Number of the first of them in the metrics, where several processes have some blocks each. The training script
    sets it."""

    asymmetric: bool = False
    """Whether policy and critic see differently: the policy what a robot can know, with the object's pose as
    ``pose_estimate`` has it, and the critic, as Isaac Lab's group ``critic``, everything."""

    pose_estimate: PoseEstimateCfg = PoseEstimateCfg()
    """Errors of the pose that the policy then sees."""

    action_noise_model: NoiseModelCfg | None = preset(default=None, randomized=randomization.ACTION_NOISE)
    """Noise of actions, and of each episode's an offset, before they are clamped."""

    observation_noise_model: NoiseModelCfg | None = preset(default=None, randomized=randomization.OBSERVATION_NOISE)
    """Noise of what the policy sees, and of each episode's an offset."""

    randomization_seed: int | None = None
    """Seed of what is drawn once, such as friction; None for the environment's. The training script sets it to the
    run's, so that a resumed run draws the same."""

    on_nan: Literal["reset", "stop"] = "reset"
    """What becomes of an environment whose physics state or actions are not finite: it begins a new episode and is
    counted, or training also stops at the end of the iteration."""

    nan_limit: float = 0.25
    """Training stops where more such resets happen in one iteration than this share of the environments; one is always
    allowed."""

    physx_threads: int | None = None
    """Worker threads of PhysX without Isaac Sim; None for as many as there are cores for this process. The motion does
    not depend on it."""

    torch_threads: int | None = None
    """Threads of torch in this process; None for what ``OMP_NUM_THREADS``, the program or torch has chosen, but for at
    most half of the cores where physics runs on the CPU and ``OMP_NUM_THREADS`` is not set."""

    def validate_config(self) -> None:
        """Refuse values that have no meaning; Isaac Lab asks for it before anything is made.

        Raises:
            ValueError: If there is one.
        """
        check_threads(self)
        nan_guard.check(self.on_nan, self.nan_limit)

    def play_mode(self) -> None:
        """Make the scene small enough to watch."""
        super().play_mode()
        self.scene.num_envs = min(self.scene.num_envs, 16)
