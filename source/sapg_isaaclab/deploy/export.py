"""Writing a policy to a file: bake, write, read again, compare, and only then put it in its place."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any, Literal, cast

import torch

from sapg_isaaclab.agents.dexpbt.agent import DexPBT
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.pql.agent import PQL
from sapg_isaaclab.agents.sapg.agent import SAPG
from sapg_isaaclab.deploy import onnx, parity, torchscript
from sapg_isaaclab.deploy.metadata import describe
from sapg_isaaclab.deploy.module import PolicyModule, RecurrentPolicy, policy_module
from sapg_isaaclab.deploy.policy import load_policy, sha256, sidecar
from sapg_isaaclab.errors import ExportError
from sapg_isaaclab.runs.files import write_atomically

Format = Literal["onnx", "torchscript"]

CHECK_STEPS = 3
"""Observations that the file brings along to be tried on."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was written."""

    path: pathlib.Path
    """The file; its metadata lies beside it."""

    metadata: dict[str, Any]
    """What the file says of itself."""

    difference: float
    """Largest difference of its actions from the policy's."""

    recording: parity.Recording
    """What both saw."""

    actions_per_second: float
    """Steps of one robot per second of one core."""


def export_policy(
    agent: SAPG | DexPBT | PQL,
    path: str | os.PathLike[str],
    *,
    block: int | None = None,
    file_format: Format = "onnx",
    interface: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    recording: parity.Recording | None = None,
) -> Report:
    """Export one policy. Files of the same names are replaced.

    Args:
        agent: The agent, trained or not.
        path: The file; a JSON of the same name with ``.json`` appended is written beside it. Its folder is made.
        block: Whose policy; the leader's by default.
        file_format: ``onnx`` or ``torchscript``.
        interface: What the task says of itself; see ``interface`` of the task's environment class.
        training: Where the policy comes from; plain values.
        recording: Observations to compare file and policy on; drawn from the moments by default.

    Returns:
        What was written.

    Raises:
        ExportError: If the file acts otherwise than the policy, or cannot be written. Nothing is left behind.
        InputError: If a package is missing, or the task describes another observation than the policy's.
        ValueError: If there is no such block.
    """
    path = pathlib.Path(path)
    if file_format == "onnx":
        onnx.require()
    block = agent.leader if block is None else block
    module = policy_module(agent, block)
    if recording is None:
        recording = parity.drawn(observation_moments(agent, block))
    num_observations = recording.observations.shape[-1]
    reference = _actions(agent, block, recording)
    metadata = describe(
        agent,
        block,
        (num_observations, reference.shape[-1], _units(module)),
        interface or {},
        training or {},
    )
    first = recording.observations[:CHECK_STEPS, :1]
    begin = parity.Recording(first, torch.zeros(first.shape[:2], dtype=torch.bool), "check")
    actions = _actions(agent, block, begin)
    metadata["check"] = {"observations": first[:, 0].tolist(), "actions": actions[:, 0].tolist()}

    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    new_folder = not path.parent.exists()
    try:
        path.parent.mkdir(exist_ok=True)
        if file_format == "onnx":
            onnx.write(module, num_observations, temporary, metadata)
        else:
            torchscript.write(module, temporary, metadata)
        policy = load_policy(temporary)
        difference = parity.largest_difference(policy, reference, recording)
        if not difference <= parity.TOLERANCE:
            raise ExportError(
                f"the file's actions differ from the policy's by {difference:.2g}, allowed are {parity.TOLERANCE:g};"
                " nothing was written"
            )
        speed = parity.actions_per_second(policy, recording)
        text = json.dumps({"file": path.name, "sha256": sha256(temporary), **metadata}, indent=2)
        write_atomically(sidecar(path), f"{text}\n")
        os.replace(temporary, path)  # last: where the file is, its metadata is
    except OSError as error:
        if not path.is_file():
            sidecar(path).unlink(missing_ok=True)
        raise ExportError(f"cannot write {path}: {error.strerror or error}; nothing was written") from error
    finally:
        temporary.unlink(missing_ok=True)
        if new_folder:
            with contextlib.suppress(OSError):  # not empty: the file is in it
                path.parent.rmdir()
    return Report(path, metadata, difference, recording, speed)


def observation_moments(agent: SAPG | DexPBT | PQL, block: int) -> RunningMoments:
    """Moments of the observations that a policy was trained on.

    Args:
        agent: The agent.
        block: Whose policy.

    Returns:
        The moments; untouched ones (mean 0, variance 1) if the agent does not standardise.
    """
    if isinstance(agent, PQL):
        return agent.scaler
    owner = agent.learners[block] if isinstance(agent, DexPBT) else agent
    return cast(RunningMoments, owner.policies.scalers["observations"])


def _actions(agent: SAPG | DexPBT | PQL, block: int, recording: parity.Recording) -> torch.Tensor:
    return parity.actions_of(agent.player(block, deterministic=True), recording, agent.device)


def _units(module: PolicyModule) -> int:
    return module.cell.hidden_size if isinstance(module, RecurrentPolicy) else 0
