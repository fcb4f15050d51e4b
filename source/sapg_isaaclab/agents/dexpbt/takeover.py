"""How one learner takes over from another: networks, optimiser with its step size, moments, curriculum."""

from __future__ import annotations

import copy
from typing import Any

from sapg_isaaclab.agents.sapg.agent import SAPG


def give(learner: SAPG, curriculum: Any | None, group: int) -> dict[str, Any]:
    """What a better learner gives. Views, nothing is copied yet.

    Args:
        learner: The better learner.
        curriculum: Curriculum with a group for each learner of this rank, if there is one.
        group: The learner's group.

    Returns:
        Tensors and plain values by name.
    """
    state = {"policies": learner.policies.state_dict(), "learner": learner.learner.state_dict()}
    return state if curriculum is None else {**state, "curriculum": curriculum.group_state(group)}


def take(learner: SAPG, curriculum: Any | None, group: int, state: dict[str, Any]) -> None:
    """Overwrite a learner by what another gave, which keeps all of it. Hyper-parameters stay.

    Args:
        learner: The learner that is replaced.
        curriculum: Curriculum with a group for each learner of this rank, if there is one.
        group: The learner's group.
        state: What :func:`give` returned, here or on another rank.
    """
    learner.load_policy({"policies": state["policies"]})
    # an optimiser keeps the very tensors it is given
    learner.learner.load_state_dict(copy.deepcopy(state["learner"]))
    learner.restart_episodes()
    if curriculum is not None:
        curriculum.load_group(group, state["curriculum"])
