"""Environments whose physics has broken down: found, put back and counted, without the host waiting for the device.

A number that is not finite (NaN or infinite) stays in an environment for good, and one in 24,576 would end the run. So
such an environment begins a new episode, like one that was lost; its neighbours do not notice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import warp as wp

KEPT = 16
"""Number of resets of a run that are kept to look into."""


def check(on_nan: Any, nan_limit: Any) -> None:
    """Check the options.

    Args:
        on_nan: What to do about such an environment.
        nan_limit: Resets of an iteration, as a share of the environments, beyond which training stops.

    Raises:
        ValueError: If one has no meaning.
    """
    if on_nan not in ("reset", "stop"):
        raise ValueError(f"on_nan={on_nan!r} is unknown; use 'reset' or 'stop'")
    number = isinstance(nan_limit, (int, float)) and not isinstance(nan_limit, bool)
    if not number or not 0.0 <= nan_limit < math.inf:
        raise ValueError(f"nan_limit={nan_limit!r} is not allowed; use a share of the environments, such as 0.25")


def physics_state(scene: Any) -> dict[str, torch.Tensor]:
    """What the engine computes of the things in a scene that move.

    Args:
        scene: The interactive scene.

    Returns:
        Shape (N, ...) each, by the names of thing and quantity: joint positions [rad] and velocities [rad/s] of
        articulations, and poses [m, xyzw] and velocities [m/s, rad/s] in the world of what is not fixed in place.
    """
    state = {}
    for name, articulation in scene.articulations.items():
        state[f"{name}.joint_pos"] = articulation.data.joint_pos.torch
        state[f"{name}.joint_vel"] = articulation.data.joint_vel.torch
    for name, thing in _free(scene).items():
        state[f"{name}.pose"] = thing.data.root_pose_w.torch
        state[f"{name}.velocity"] = thing.data.root_vel_w.torch
    return state


def put_back(scene: Any, mask: torch.Tensor) -> None:
    """Give everything in some environments its default state, at rest.

    Args:
        scene: The interactive scene.
        mask: The environments, bool, shape (N,).
    """
    env_mask = wp.from_torch(mask, dtype=wp.bool)
    for articulation in scene.articulations.values():
        position = articulation.data.default_joint_pos.torch
        articulation.write_joint_state_to_sim_mask(
            position=position, velocity=torch.zeros_like(position), env_mask=env_mask
        )
    for thing in _free(scene).values():
        pose = thing.data.default_root_pose.torch.clone()
        pose[:, :3] += scene.env_origins
        thing.write_root_pose_to_sim_mask(root_pose=pose, env_mask=env_mask)
        velocity = torch.zeros_like(thing.data.default_root_vel.torch)
        thing.write_root_velocity_to_sim_mask(root_velocity=velocity, env_mask=env_mask)


def _free(scene: Any) -> dict[str, Any]:
    """Articulations and rigid objects by name that are neither fixed in place nor moved by hand."""
    articulations = {name: each for name, each in scene.articulations.items() if not each.is_fixed_base}
    kinematic = {
        name
        for name, each in scene.rigid_objects.items()
        if getattr(getattr(each.cfg.spawn, "rigid_props", None), "kinematic_enabled", False)
    }
    return articulations | {name: each for name, each in scene.rigid_objects.items() if name not in kinematic}


@dataclasses.dataclass(kw_only=True)
class NanReport:
    """Resets since the last report."""

    new: int
    """How many there were."""

    kept: dict[str, np.ndarray]
    """The first of the run among them, at most :data:`KEPT` rows: ``env_ids``, ``steps`` (control steps of the run),
    and by name what the environments saw (``policy``), did (``actions``) and the state in which they were found. Empty
    where none is new."""

    reason: str
    """Why training must stop; empty to go on."""


class NanGuard:
    """Finds, counts and keeps them.

    Everything is a tensor on the simulation device. On a CPU, where the host knows, nothing more is done in a step in
    which all is well; elsewhere everything is done under masks.
    """

    def __init__(self, num_envs: int, device: str, *, on_nan: str, nan_limit: float):
        """Begin with none.

        Args:
            num_envs: Number of environments N.
            device: Device of the tensors.
            on_nan: ``"reset"``, or ``"stop"`` to ask for the end of training at the first.
            nan_limit: Resets between two reports, as a share of N, beyond which training must stop; one is always
                allowed.
        """
        self.on_nan, self.nan_limit, self.num_envs = on_nan, nan_limit, num_envs
        self.host_knows = device == "cpu"
        """Whether asking for a value of a tensor costs nothing."""
        self.broken = torch.zeros(num_envs, dtype=torch.bool, device=device)
        """Environments that were found in the present step, shape (N,); changed in place."""
        self.total = torch.zeros((), dtype=torch.long, device=device)
        """Resets since the start of the run, 0-dim; changed in place."""
        self._priority = torch.arange(num_envs, 0, -1, device=device)
        self._rows = torch.arange(KEPT, device=device)
        self._kept: dict[str, torch.Tensor] = {}
        self.reported = 0
        """The same as a number of the host, as of the last report."""

    def look(
        self,
        state: Mapping[str, torch.Tensor],
        seen: Mapping[str, torch.Tensor],
        *,
        step: int,
        suspects: torch.Tensor,
    ) -> bool:
        """Look for them, after physics.

        Args:
            state: What must be finite, shape (N, ...) each.
            seen: What is kept beside it, shape (N, ...) each.
            step: Control steps of the run.
            suspects: Environments to count in any case, bool, shape (N,).

        Returns:
            False if it is known that there are none.
        """
        values = torch.cat([value.flatten(1) for value in state.values()], dim=-1)
        torch.logical_not(torch.isfinite(values).all(-1), out=self.broken)
        self.broken |= suspects
        if self.host_knows and not self.broken.any():
            return False
        self._keep({**seen, **state}, step)
        self.total += self.broken.sum()
        return True

    def _keep(self, values: dict[str, torch.Tensor], step: int) -> None:
        """Write the first of the run into rows of their own; row ``KEPT`` takes what is not wanted."""
        count = min(KEPT, self.num_envs)
        priority, env_ids = torch.where(self.broken, self._priority, 0).topk(count)
        slots = torch.where(priority > 0, self.total + self._rows[:count], KEPT).clamp(max=KEPT)
        values = {name: value.index_select(0, env_ids) for name, value in values.items()}
        values |= {"env_ids": env_ids, "steps": torch.full_like(env_ids, step)}
        for name, value in values.items():
            if name not in self._kept:
                with torch.inference_mode(False):  # it outlives a step that is taken in that mode
                    self._kept[name] = torch.zeros(KEPT + 1, *value.shape[1:], dtype=value.dtype, device=value.device)
            self._kept[name].index_copy_(0, slots, value)

    def clean(self, values: torch.Tensor) -> torch.Tensor:
        """Numbers of all environments, with 0 where one of a broken environment is not finite.

        Args:
            values: Shape (N, ...).

        Returns:
            The same shape.
        """
        mask = self.broken.view(-1, *[1] * (values.ndim - 1))
        return torch.where(mask, values.nan_to_num(0.0, 0.0, 0.0), values)

    def report(self) -> NanReport:
        """What happened since the last report. The host waits for the device.

        Returns:
            The report.
        """
        total, before = int(self.total), self.reported
        new, self.reported = total - before, total
        rows = slice(min(before, KEPT), min(total, KEPT))
        kept = {name: value[rows].cpu().numpy() for name, value in self._kept.items()} if rows.start < rows.stop else {}
        reason = ""
        if new and self.on_nan == "stop":
            reason = "env.on_nan=stop"
        elif new > max(1.0, self.nan_limit * self.num_envs):
            reason = f"more than env.nan_limit={self.nan_limit:g} allows"
        return NanReport(new=new, kept=kept, reason=reason)

    def load(self, total: int) -> None:
        """Go on counting.

        Args:
            total: Resets since the start of the run.
        """
        self.total.fill_(total)
        self.reported = total
