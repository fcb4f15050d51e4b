"""Running an exported policy, with numpy and the runtime of its file: onnxruntime or torch."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sapg_isaaclab.deploy import onnx, torchscript
from sapg_isaaclab.deploy.interface import JointTargets, ObservationMap
from sapg_isaaclab.deploy.metadata import CHECK_TOLERANCE, FORMAT, relative_difference
from sapg_isaaclab.errors import InputError


class Policy:
    """A policy from a file: observations (N, D) to mean actions (N, A). See :func:`load_policy`.

    Args:
        runner: Runs the network for a step.
        metadata: What the file says of itself.
    """

    def __init__(self, runner: onnx.Runner | torchscript.Runner, metadata: dict[str, Any]) -> None:
        self._run, self.metadata = runner, metadata
        self._units = metadata["policy"]["rnn_units"]
        self._state: list[np.ndarray] | None = None
        self._observe: ObservationMap | None = None

    @property
    def num_observations(self) -> int:
        """Observation columns D."""
        return self.metadata["observations"]["size"]

    @property
    def num_actions(self) -> int:
        """Action columns A."""
        return self.metadata["actions"]["size"]

    @property
    def control_hz(self) -> float:
        """Steps per second that the policy was trained at; NaN if its task did not say."""
        return self.metadata.get("control_hz") or float("nan")

    @property
    def joint_names(self) -> list[str]:
        """Joints that actions move, in their order; empty if the task did not say."""
        return [joint["name"] for joint in self.metadata["actions"].get("joints", [])]

    def __call__(self, observations: Any) -> Any:
        """Act. With an LSTM the state goes on from the last call.

        Args:
            observations: Observations (N, D), numpy or torch, as the environment gives them.

        Returns:
            Mean actions (N, A), not clamped, in the kind and on the device of the observations.

        Raises:
            InputError: If the shape is another one, a number is not finite, or N changed between two resets.
        """
        from_torch = hasattr(observations, "detach")
        rows = observations.detach().cpu().numpy() if from_torch else observations
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.num_observations:
            raise InputError(f"observations have shape {rows.shape}; this policy takes (N, {self.num_observations})")
        if not np.isfinite(rows).all():
            raise InputError(f"observations hold a number that is not finite, column {_first_not_finite(rows)}")
        if self._units and self._state is None:
            self._state = [np.zeros((len(rows), self._units), dtype=np.float32) for _ in range(2)]
        if self._units and len(self._state[0]) != len(rows):
            raise InputError(f"{len(rows)} rows came after {len(self._state[0])}; call reset() before N changes")
        actions, *state = self._run([rows, *(self._state or [])])
        self._state = state or None
        return observations.new_tensor(actions) if from_torch else actions

    def reset(self, done: Any = None) -> None:
        """Forget the recurrent state where an episode ended. Without an LSTM there is nothing to forget.

        Args:
            done: Whether it did, boolean (N,) or (N, 1), numpy or torch; everywhere by default.

        Raises:
            InputError: If it has another number of rows than the last observations.
        """
        if done is None or self._state is None:
            self._state = None
            return
        done = np.asarray(done.cpu() if hasattr(done, "cpu") else done, dtype=bool).reshape(-1, 1)
        if len(done) != len(self._state[0]):
            raise InputError(f"done has {len(done)} rows, the last observations had {len(self._state[0])}")
        self._state = [np.where(done, np.float32(0.0), part) for part in self._state]

    def observe(self, values: Mapping[str, Any]) -> np.ndarray:
        """Observations from items in SI units. See :class:`~sapg_isaaclab.deploy.interface.ObservationMap`.

        Args:
            values: Item by name, shape (N, size) or (size,).

        Returns:
            Observations (N, D).

        Raises:
            InputError: If an item is missing, unknown or of another size, or the task described none.
        """
        if self._observe is None:
            self._observe = ObservationMap(self.metadata["observations"])
        return self._observe(values)

    def joint_targets(self, start: Any) -> JointTargets:
        """What turns actions into joint targets. See :class:`~sapg_isaaclab.deploy.interface.JointTargets`.

        Args:
            start: Joint targets before the first step [rad]. Shape (N, A) or (A,).

        Returns:
            A function from actions (N, A) to targets (N, A), which remembers the last ones.

        Raises:
            InputError: If the task did not describe its actions, or ``start`` has another size.
        """
        return JointTargets(self.metadata["actions"], self.control_hz, start)


def load_policy(path: str | os.PathLike[str], *, threads: int = 1) -> Policy:
    """Load what the export command wrote. Imports neither Isaac Lab nor skrl; for ONNX not even torch.

    The file brings a few observations with the actions that belong to them, and is tried on them. If its JSON lies
    beside it, the file has to be the one that the JSON describes.

    Args:
        path: The ``.onnx`` or ``.pt`` file.
        threads: Threads of onnxruntime; one is fastest for a few robots. Torch's are ``torch.set_num_threads``.

    Returns:
        The policy.

    Raises:
        InputError: If the file is missing, damaged, of another program or version, or the runtime is not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; python -m sapg_isaaclab export makes such files")
    _check_sum(path)
    with open(path, "rb") as file:
        archive = file.read(2) == b"PK"
    runner = torchscript.Runner(path) if archive else onnx.Runner(path, threads)
    if runner.text is None:
        raise InputError(f"{path} was not written by the export command of sapg_isaaclab; it has no metadata")
    metadata = json.loads(runner.text)
    if metadata["format"] != FORMAT:
        raise InputError(f"{path} has format {metadata['format']}, this version reads {FORMAT}; export it again")
    policy = Policy(runner, metadata)
    _try_out(policy, path)
    return policy


def sidecar(path: pathlib.Path) -> pathlib.Path:
    """The JSON beside a file.

    Args:
        path: The policy's file.

    Returns:
        The same name with ``.json`` appended.
    """
    return path.with_name(f"{path.name}.json")


def sha256(path: pathlib.Path) -> str:
    """Digest of a file's content.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_sum(path: pathlib.Path) -> None:
    beside = sidecar(path)
    if not beside.is_file():
        return
    try:
        expected = json.loads(beside.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{beside} cannot be read; export the policy again, or remove it") from error
    if sha256(path) != expected:
        raise InputError(f"{path} is not the file that {beside.name} describes (another SHA-256); export it again")


def _try_out(policy: Policy, path: pathlib.Path) -> None:
    check = policy.metadata["check"]
    actions = [policy(np.array([row], dtype=np.float32))[0] for row in check["observations"]]
    policy.reset()
    difference = relative_difference(np.array(actions), np.array(check["actions"]))
    if not difference <= CHECK_TOLERANCE:
        raise InputError(
            f"{path} gives other actions than it was exported with (by {difference:.1g}): it is damaged or was changed,"
            " or its runtime computes wrongly here; export it again"
        )


def _first_not_finite(rows: np.ndarray) -> int:
    return int(np.argwhere(~np.isfinite(rows))[0, 1])
