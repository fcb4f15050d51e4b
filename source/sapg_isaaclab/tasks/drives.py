"""Hands the drives' commands to the physics engine once a control step.

Isaac Lab hands them over before every physics step, although a task's commands hold for the whole control step; on a
CPU that is a fifth of a step. The engine keeps targets and efforts until others come, so the motion is the same to the
last bit. Wrenches on bodies do not last, and go on being written in every physics step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from isaaclab.actuators import ImplicitActuator

WRITE_FLAGS = {"velocity": "_can_write_vel_target", "effort": "_can_write_effort"}
"""What an articulation of Isaac Lab's ovphysx engine writes a command by."""


class HeldDrives:
    """The drives of a scene whose commands may be held.

    Held are the commands of articulations whose actuators are all drives of the engine. Models that Isaac Lab or Newton
    computes from the joints' state, explicit actuators, are computed and written in every physics step as before.
    """

    def __init__(self, articulations: Iterable[Any]):
        """Take over the hand-over of commands; outside of :meth:`hold` it is as it was.

        Args:
            articulations: The scene's articulations.
        """
        self._holding = False
        self._written: set[int] = set()
        for articulation in articulations:
            if commands_hold(articulation):
                self._take_over(articulation)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """While this is open, only the first hand-over of each articulation is done."""
        self._holding = True
        self._written.clear()
        try:
            yield
        finally:
            self._holding = False

    def _take_over(self, articulation: Any) -> None:
        submit = articulation.actuators.submit_commands
        changed = _ChangedOnly(articulation)

        def submit_once() -> None:
            if self._holding:
                if id(articulation) in self._written:
                    return
                self._written.add(id(articulation))
                with changed.writing():
                    submit()
            else:
                changed.forget()
                submit()

        articulation.actuators.submit_commands = submit_once


class _ChangedOnly:
    """Leaves out velocity targets and efforts that are what was written last.

    Only for PhysX without Isaac Sim on a CPU: there a write goes joint by joint, elsewhere it is one copy and comparing
    would cost more.
    """

    def __init__(self, articulation: Any):
        self._articulation = articulation
        here = "cpu" in articulation.device and all(hasattr(articulation, flag) for flag in WRITE_FLAGS.values())
        command = articulation.actuators.target_command
        self._values = {flag: getattr(command, name).torch for name, flag in WRITE_FLAGS.items()} if here else {}
        self._written: dict[str, torch.Tensor] = {}

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While this is open, the articulation skips what did not change."""
        articulation, skipped = self._articulation, []
        for flag, value in self._values.items():
            if not getattr(articulation, flag):
                continue
            if flag in self._written and torch.equal(value, self._written[flag]):
                setattr(articulation, flag, False)
                skipped.append(flag)
            else:
                self._written[flag] = value.clone()
        try:
            yield
        finally:
            for flag in skipped:
                setattr(articulation, flag, True)

    def forget(self) -> None:
        """Let the next hand-over be a whole one."""
        self._written.clear()


def commands_hold(articulation: Any) -> bool:
    """Whether an articulation's commands mean the same in every physics step of a control step.

    Args:
        articulation: An articulation of the scene.

    Returns:
        True where the engine's own drives follow all of them; False with any explicit actuator.
    """
    return all(type(actuator) is ImplicitActuator for actuator in articulation.actuators.values())
