"""What the environments of all tasks share: how they are made, what they tell an agent, what a resume needs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sapg_isaaclab.tasks.imports import deferred_moviepy

with deferred_moviepy():
    from isaaclab.envs import DirectRLEnv
    from isaaclab.envs.common import VecEnvObs, VecEnvStepReturn

from sapg_isaaclab.block_tags import block_scalars
from sapg_isaaclab.tasks import nan_guard, randomization
from sapg_isaaclab.tasks.base_cfg import TaskEnvCfg
from sapg_isaaclab.tasks.curriculum import Curriculum
from sapg_isaaclab.tasks.drives import HeldDrives
from sapg_isaaclab.tasks.make import check_num_blocks, check_registration_kwargs, resolve_env_cfg
from sapg_isaaclab.tasks.pose_estimate import PoseEstimate, check_asymmetry
from sapg_isaaclab.tasks.rendering import aim_cameras, enable_if_asked, grab_frame, mend_viser
from sapg_isaaclab.tasks.threads import physx_threads, set_torch_threads


class TaskEnv(DirectRLEnv):
    """A task for a partitioned agent.

    ``extras["log"]`` holds 0-dim tensors. ``extras["successes"]``, shape (N,), is the number of goals each environment
    reached in its last finished episode, 0 until its first one ends; later steps write into the same tensor.
    ``extras["final_obs"]["policy"]``, shape (N, O), is valid in steps where some episode ended and only for those
    environments: the observation of the state the episode ended in. With ``cfg.asymmetric``, observations have the key
    ``"critic"`` beside ``"policy"``.

    An environment whose physics state or actions are not finite is put back: the step terminates its episode with
    reward 0 and counts neither for successes nor for the curriculum. ``extras["broken"]``, bool, shape (N,), says which
    did in this step, ``extras["log"]["Metrics/nan_resets"]`` how many there were since the start.

    A task gives :meth:`_prepare`, :meth:`_set_up`, :meth:`_judge`, :meth:`_pay`, and what Isaac Lab asks for:
    ``_pre_physics_step``, ``_reset_idx`` and ``_get_observations``.
    """

    cfg: TaskEnvCfg

    REWARD_WEIGHTS: tuple[str, ...] = ()
    """Options of the reward that may differ between environments."""

    curriculum: Curriculum | None = None
    """What makes the task harder as its policies get better; a task that has one makes it in ``_set_up``."""

    restores_episodes = False
    """Whether :meth:`load_state_dict` goes on in the middle of episodes, so that a policy's memory is worth saving."""

    def __init_subclass__(cls, **kwargs: Any):
        """Make Isaac Lab's class a direct base of every task: it is those that skrl's ``wrap_env`` looks at."""
        super().__init_subclass__(**kwargs)
        if DirectRLEnv not in cls.__bases__:
            cls.__bases__ = (*cls.__bases__, DirectRLEnv)

    def __init__(
        self,
        cfg: TaskEnvCfg | None = None,
        render_mode: str | None = None,
        *,
        num_envs: int | None = None,
        device: str | None = None,
        seed: int | None = None,
        physics: str | None = None,
        env_cfg_entry_point: str | None = None,
        **kwargs: Any,
    ):
        """Make the environment, from a configuration or from a few choices.

        Args:
            cfg: Complete configuration; the remaining choices must then be None.
            render_mode: ``"rgb_array"`` lets :meth:`render` give pictures.
            num_envs: Number of environments. Defaults to the task's.
            device: ``"cpu"`` or ``"cuda:<index>"``. Defaults to the first GPU where there is one, else the CPU.
            seed: Seed of the environment. Defaults to none.
            physics: Physics preset. Defaults to ``"ovphysx"``.
            env_cfg_entry_point: ``"module:class"`` of the configuration to start from; given by the registration.
            kwargs: The rest of the registration; not used.

        Raises:
            ValueError: If a choice is not possible.
            RuntimeError: If pictures are wanted where none can be drawn.
        """
        check_registration_kwargs(kwargs)
        cfg = resolve_env_cfg(cfg, env_cfg_entry_point, num_envs=num_envs, device=device, seed=seed, physics=physics)
        check_num_blocks(cfg.scene.num_envs, cfg.num_blocks)
        enable_if_asked(cfg, render_mode)
        randomization.renew(cfg)
        with self._prepare(cfg), physx_threads(cfg.sim.physics, cfg.physx_threads):
            check_asymmetry(cfg)
            super().__init__(cfg, render_mode)
        set_torch_threads(cfg.torch_threads, cfg.sim.device)
        randomization.randomize(self)
        # commands that a task changes within a control step must reach the engine there
        held = self.scene.articulations.values() if type(self)._apply_action is TaskEnv._apply_action else ()
        self.drives = HeldDrives(held)
        self.successes = torch.zeros(self.num_envs, device=self.device)
        self._finished_successes = torch.zeros(self.num_envs, device=self.device)
        self.reward_weights = {
            name: torch.full((self.num_envs,), float(getattr(cfg, name)), device=self.device)
            for name in self.REWARD_WEIGHTS
        }
        """Weights of the reward by option, shape (N,) each; write into them for other weights in some environments."""
        self.nan_guard = nan_guard.NanGuard(self.num_envs, self.device, on_nan=cfg.on_nan, nan_limit=cfg.nan_limit)
        """Finds environments that are not finite."""
        self.extras["broken"] = self.nan_guard.broken
        self.extras["successes"] = self._finished_successes
        self.extras["log"] = {}
        self.pose_estimate = PoseEstimate(cfg.pose_estimate, self.num_envs, self.device) if cfg.asymmetric else None
        """What the policy knows of the object's pose; None where it sees what the critic sees."""
        self._shortened: torch.Tensor | None = None
        self._set_up()
        if self.sim.visualizers:
            self.set_debug_vis(True)
            mend_viser(self)
            aim_cameras(self)

    def _prepare(self, cfg: Any) -> contextlib.AbstractContextManager[None]:
        """Check and complete the configuration, before anything is made.

        Args:
            cfg: The configuration.

        Returns:
            What the scene is made in.

        Raises:
            ValueError: If a value has no meaning.
        """
        raise NotImplementedError

    def step(self, action: torch.Tensor) -> VecEnvStepReturn:
        """Do one control step; the drives get their commands once, before the first of its physics steps.

        Args:
            action: Actions, shape (N, A).

        Returns:
            As in Gymnasium: observations, rewards, terminated, truncated, extras.
        """
        self._asked = action.to(self.device)
        self._not_numbers = self._asked.isnan().any(-1)
        with self.drives.hold():
            return super().step(torch.where(self._not_numbers.unsqueeze(-1), 0.0, self._asked))

    def _apply_action(self) -> None:
        """Nothing: called in every physics step, but commands hold for the whole control step.

        Drives of a task that overrides this get their commands in every physics step.
        """

    def render(self, recompute: bool = False) -> np.ndarray | None:
        """Draw the first environment, without Isaac Sim, a display or a GPU.

        Args:
            recompute: As in Isaac Lab; pictures are always drawn anew.

        Returns:
            With ``render_mode="rgb_array"`` an RGB image, uint8, shape (480, 640, 3); otherwise None.
        """
        return grab_frame(self) if self.render_mode == "rgb_array" else super().render(recompute)

    def _reset_idx(self, env_ids: Sequence[int] | torch.Tensor) -> None:
        super()._reset_idx(env_ids)
        rows = torch.as_tensor(env_ids, dtype=torch.long, device=self.device)
        if self.pose_estimate is not None:
            self.pose_estimate.restart(rows)
        if self._shortened is not None:
            self._shortened.index_fill_(0, rows, False)

    def begin_within(self, steps: torch.Tensor) -> None:
        """Let environments count steps of the episodes that they have just begun as taken: these run out of time early.

        Such an episode counts neither for successes nor for the curriculum.

        Args:
            steps: Numbers of steps, integer, shape (N,), such as
                :func:`~sapg_isaaclab.training.staggering.initial_steps` gives.
        """
        self.episode_length_buf.copy_(steps)
        self._shortened = self.episode_length_buf > 0

    def _set_up(self) -> None:
        """Look up what the scene holds and make the buffers of the task."""
        raise NotImplementedError

    # what Isaac Lab asks for after physics, and of a task what is left

    def _judge(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Measure, and decide which episodes end.

        Returns:
            Whether they terminated and whether time ran out, bool, shape (N,) each.
        """
        raise NotImplementedError

    def _pay(self) -> torch.Tensor:
        """Rewards of the step, shape (N,); also keeps the statistics and draws the next goals."""
        raise NotImplementedError

    def _get_dones(self) -> tuple[torch.Tensor, torch.Tensor]:
        guard, seen = self.nan_guard, {**getattr(self, "obs_buf", {}), "actions": self._asked}
        if guard.look(
            nan_guard.physics_state(self.scene), seen, step=self.common_step_counter, suspects=self._not_numbers
        ):
            # so that all that is made of the state is finite; the new episode begins with the reset
            nan_guard.put_back(self.scene, guard.broken)
        terminated, timed_out = self._judge()
        return terminated | guard.broken, timed_out & ~guard.broken

    def _get_rewards(self) -> torch.Tensor:
        return self._pay().masked_fill(self.nan_guard.broken, 0.0)

    def _compute_observations(self) -> VecEnvObs:
        # what sensors say is known anew after the next physics step only
        return {name: self.nan_guard.clean(value) for name, value in super()._compute_observations().items()}

    # successes, and the curriculum that they move

    def _finished(self) -> torch.Tensor:
        """Which episodes ended in this step and count, bool, shape (N,)."""
        counts = self.reset_buf & ~self.nan_guard.broken
        return counts if self._shortened is None else counts & ~self._shortened

    def _move_curriculum(self) -> None:
        """Make the next step of the curriculum if the successes that count allow it."""
        finished = self._finished_successes
        if self.cfg.curriculum.gate == "leader":
            finished = finished[: self.num_envs // self.cfg.num_blocks]
        self.curriculum.update(self.common_step_counter, finished)

    def _common_metrics(self) -> dict[str, torch.Tensor]:
        """What all tasks log, 0-dim: successes, also of every block, and what each block's own curriculum is at."""
        finished = self._finished_successes
        # every goal but an episode's last was reached
        log = {"Metrics/successes": finished.mean(), "Metrics/success_rate": (finished / (finished + 1.0)).mean()}
        log["Metrics/nan_resets"] = self.nan_guard.total.float()
        if self.cfg.num_blocks > 1:
            blocks, first = finished.view(self.cfg.num_blocks, -1).mean(-1), self.cfg.first_block
            log |= block_scalars("Block_{}/successes", blocks, first)
            log["Leader/successes"] = blocks[0]
        if self.curriculum is not None and self.curriculum.groups is not None:
            for name, values in self.curriculum.values.items():
                log |= block_scalars(f"{name.capitalize()}/block_{{}}", values.clone(), self.cfg.first_block)
        return log

    # checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What of the environment a resumed run needs; episodes themselves start anew.

        Returns:
            Numbers and tensors by name: the count of control steps, the successes of each environment's last finished
            episode, shape (N,), which metrics and curricula are made of, the count of broken environments, and the
            curriculum where there is one.
        """
        state = {
            "common_step_counter": self.common_step_counter,
            "finished_successes": self._finished_successes.cpu().clone(),
            "nan_resets": int(self.nan_guard.total),
        }
        return state if self.curriculum is None else {**state, "curriculum": self.curriculum.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Args:
            state: The saved numbers.

        Raises:
            KeyError: If one is missing.
        """
        self.common_step_counter = int(state["common_step_counter"])
        self._finished_successes.copy_(state["finished_successes"])
        self.nan_guard.load(state["nan_resets"])
        if self.curriculum is not None:
            self.curriculum.load_state_dict(state["curriculum"])
