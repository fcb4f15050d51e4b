"""Between SI units and the numbers of a policy, as an exported file's metadata describes it. numpy and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sapg_isaaclab.errors import InputError


class ObservationMap:
    """Puts an observation together from its items.

    An item of the observation is ``(value - offset) * scale``, item after item, clipped to +- ``clip`` in the end.

    Args:
        observations: ``observations`` of the metadata.

    Raises:
        InputError: If the metadata names no items.
    """

    def __init__(self, observations: Mapping[str, Any]) -> None:
        if not observations.get("items"):
            raise InputError("the task of this policy did not describe its observation; pass whole observations (N, D)")
        self._items = observations["items"]
        self._clip = observations.get("clip")
        self._constants = {item["name"]: item["constant"] for item in self._items if "constant" in item}
        self._affine = [(_floats(item.get("offset", 0.0)), _floats(item.get("scale", 1.0))) for item in self._items]

    def __call__(self, values: Mapping[str, Any]) -> np.ndarray:
        """Observations of N robots.

        Args:
            values: Item by name in its own unit, shape (N, size), or (size,) for the same in all rows. Items that the
                metadata knows as constant may be left out.

        Returns:
            Observations (N, D), float32.

        Raises:
            InputError: If an item is missing, unknown or of another size.
        """
        names = [item["name"] for item in self._items]
        missing = [name for name in names if name not in values and name not in self._constants]
        unknown = [name for name in values if name not in names]
        if missing or unknown:
            came = f"{', '.join(missing)} missing" if missing else f"{', '.join(unknown)} unknown"
            raise InputError(f"the observation has the items {', '.join(names)}; {came}")
        columns = []
        for item, (offset, scale) in zip(self._items, self._affine):
            name, size = item["name"], item["stop"] - item["start"]
            value = np.atleast_2d(_floats(values.get(name, self._constants.get(name))))
            if value.ndim != 2 or value.shape[1] != size:
                raise InputError(f"{name} has shape {value.shape}; it must be (N, {size})")
            columns.append((value - offset) * scale)
        rows = max(len(column) for column in columns)
        if any(len(column) not in (1, rows) for column in columns):
            raise InputError(f"the items have {sorted({len(c) for c in columns})} rows; give all for the same N robots")
        observation = np.concatenate([np.broadcast_to(c, (rows, c.shape[1])) for c in columns], axis=1)
        return observation if self._clip is None else observation.clip(-self._clip, self._clip)


class JointTargets:
    """Turns actions into joint targets, as the task does: clamp, map, smooth, keep within the limits.

    The target of a joint in mode ``position`` goes towards ``lower + (action + 1) / 2 * (upper - lower)``, a share
    ``smoothing`` of the way in a control step; in mode ``velocity`` it moves by ``action * speed`` per second.

    Args:
        actions: ``actions`` of the metadata.
        control_hz: Control steps per second.
        start: Joint targets before the first step [rad], commonly the joints' positions. Shape (N, A).

    Raises:
        InputError: If the metadata does not say what actions mean, or ``start`` has another size.
    """

    def __init__(self, actions: Mapping[str, Any], control_hz: float, start: Any) -> None:
        joints = actions.get("joints")
        if not joints:
            raise InputError("the task of this policy did not describe its actions; map them as the task does")
        self._low, self._high = actions["clamp"]
        self._lower, self._upper = (_floats([joint[side] for joint in joints]) for side in ("lower", "upper"))
        self._velocity = np.array([joint["mode"] == "velocity" for joint in joints])
        self._gain = _floats([joint.get("speed", 0.0) / control_hz for joint in joints])
        self._share = _floats([joint.get("smoothing", 1.0) for joint in joints])
        self.value = np.atleast_2d(_floats(start)).copy()
        """Joint targets [rad]. Shape (N, A)."""
        if self.value.ndim != 2 or self.value.shape[1] != len(joints):
            raise InputError(f"the start has shape {self.value.shape}; it must be (N, {len(joints)})")

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Joint targets of the coming control step.

        Args:
            actions: Actions of the policy. Shape (N, A).

        Returns:
            Targets [rad], in the order of the actions. Shape (N, A).
        """
        actions = _floats(actions).clip(self._low, self._high)
        position = self._lower + 0.5 * (actions + 1.0) * (self._upper - self._lower)
        position = self.value + self._share * (position - self.value)
        moved = self.value + self._gain * actions
        self.value = np.where(self._velocity, moved, position).clip(self._lower, self._upper)
        return self.value


def _floats(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=np.float32)
