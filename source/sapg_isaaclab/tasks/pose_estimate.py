"""The pose of an object as a robot's cameras have it: noisy, late, and with frames missing."""

from __future__ import annotations

import math
from typing import Any

import torch
from isaaclab.utils import configclass
from isaaclab.utils.math import quat_mul


@configclass
class PoseEstimateCfg:
    """Errors of the pose that a policy sees where ``asymmetric`` is on. All are 0 by default: the true pose."""

    position_noise: float = 0.0
    """Standard deviation of the position in a frame, on each axis [m]."""

    rotation_noise: float = 0.0
    """Standard deviation of the orientation in a frame, about each axis [rad]."""

    max_delay: int = 0
    """Longest delay [control steps]. Every episode has one of its own, uniform from 0 to this."""

    drop_probability: float = 0.0
    """Probability that a frame is missing; the one before it then stays."""

    def check(self) -> None:
        """Refuse values that have no meaning.

        Raises:
            ValueError: If there is one.
        """
        for name in ("position_noise", "rotation_noise", "max_delay"):
            if getattr(self, name) < 0:
                raise ValueError(f"pose_estimate.{name}={getattr(self, name)} is not allowed; use 0 or more")
        if not 0.0 <= self.drop_probability < 1.0:
            raise ValueError(
                f"pose_estimate.drop_probability={self.drop_probability} is not allowed; use 0 or more, and less than 1"
            )

    def is_exact(self) -> bool:
        """Whether the estimate is the true pose."""
        return not (self.position_noise or self.rotation_noise or self.max_delay or self.drop_probability)


def check_asymmetry(cfg: Any) -> None:
    """Refuse errors of an estimate that nobody sees or that have no meaning, and a critic that would see nothing.

    Args:
        cfg: Configuration of the environment, with the sizes of its spaces.

    Raises:
        ValueError: If there is one.
    """
    cfg.pose_estimate.check()
    if cfg.asymmetric and not cfg.state_space:
        raise ValueError(
            "asymmetric=true, but this task has no state for its critic (cfg.state_space); drop the option"
        )
    if not (cfg.asymmetric or cfg.pose_estimate.is_exact()):
        raise ValueError(
            "pose_estimate is what the policy sees with env.asymmetric=true; add that, or drop its options"
        )


class PoseEstimate:
    """Estimates of one object's pose in every environment. An episode begins with a frame and none before it.

    Nothing here outlives an episode, so a run that is resumed, whose episodes begin anew, has nothing to save.

    Args:
        cfg: The errors.
        num_envs: Number of environments N.
        device: Where to compute.
    """

    def __init__(self, cfg: PoseEstimateCfg, num_envs: int, device: str | torch.device) -> None:
        self.cfg, self._exact = cfg, cfg.is_exact()
        self._frames = torch.zeros(cfg.max_delay + 1, num_envs, 7, device=device)  # a ring
        self._newest = 0
        self._delay = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._begins = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._step: int | None = None

    def restart(self, env_ids: torch.Tensor) -> None:
        """Episodes begin: what was seen before is forgotten, and a delay drawn, with the next look.

        Args:
            env_ids: Their environments. Shape (n,).
        """
        self._begins.index_fill_(0, env_ids, True)

    def look(self, pose: torch.Tensor, step: int) -> torch.Tensor:
        """What is known of a pose now.

        Args:
            pose: True position [m] and orientation, xyzw. Shape (N, 7).
            step: Number of the control step. A second look in the same one sees the same, but in environments whose
                episode began in between.

        Returns:
            Estimate of the same shape.
        """
        if self._exact:
            return pose
        frame, begins = self._frame(pose), self._begins.unsqueeze(-1)
        if step != self._step:
            self._step, before = step, self._frames[self._newest]
            missing = torch.rand(len(pose), 1, device=pose.device) < self.cfg.drop_probability
            self._newest = (self._newest + 1) % len(self._frames)
            self._frames[self._newest].copy_(torch.where(missing, before, frame))
        self._frames.copy_(torch.where(begins, frame, self._frames))
        drawn = torch.randint_like(self._delay, len(self._frames))
        self._delay.copy_(torch.where(self._begins, drawn, self._delay))
        self._begins.fill_(False)
        shown = (self._newest - self._delay) % len(self._frames)
        return self._frames.gather(0, shown.view(1, -1, 1).expand(1, -1, 7)).squeeze(0)

    def _frame(self, pose: torch.Tensor) -> torch.Tensor:
        """Pose with the noise of a frame, shape (N, 7)."""
        pos, quat = pose[:, :3], pose[:, 3:]
        if self.cfg.position_noise:
            pos = pos + self.cfg.position_noise * torch.randn_like(pos)
        if self.cfg.rotation_noise:
            half = 0.5 * self.cfg.rotation_noise * torch.randn_like(pos)  # half the rotation vector
            angle = torch.linalg.vector_norm(half, dim=-1, keepdim=True)
            quat = quat_mul(torch.cat((half * torch.sinc(angle / math.pi), angle.cos()), dim=-1), quat)
        return torch.cat((pos, quat), dim=-1)
