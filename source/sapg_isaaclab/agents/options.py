"""Checks that all agents share, each answered in one line: what came, what is allowed."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any, Literal, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from skrl.utils.spaces.torch import flatten_tensorized_space


def require(condition: bool, message: str) -> None:
    """Refuse what does not hold.

    Args:
        condition: What must hold.
        message: One line that says what came, what is allowed and what to type.

    Raises:
        ValueError: If it does not.
    """
    if not condition:
        raise ValueError(message)


def is_number(value: Any) -> bool:
    """Whether a value is a real number, infinite ones included.

    Args:
        value: Anything.

    Returns:
        False for booleans and NaN, too.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def check_types(cfg: Any) -> None:
    """Check the choices, numbers and switches of an agent's configuration against their annotations.

    Args:
        cfg: Dataclass instance.

    Raises:
        ValueError: If a value is of another type, or not one of the choices.
    """
    hints = typing.get_type_hints(type(cfg))
    for field in dataclasses.fields(cfg):
        value, hint = getattr(cfg, field.name), hints[field.name]
        others = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if len(others) == 1 and len(typing.get_args(hint)) == 2:  # a type, or None
            if value is None:
                continue
            hint = others[0]
        if typing.get_origin(hint) is Literal:
            allowed = typing.get_args(hint)
            known = any(type(value) is type(choice) and value == choice for choice in allowed)
            require(known, f"agent.{field.name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
        elif hint is float:
            require(is_number(value), f"agent.{field.name} is {value!r}; it must be a number")
        elif hint is int:
            require(
                isinstance(value, int) and not isinstance(value, bool),
                f"agent.{field.name} is {value!r}; it must be a whole number",
            )
        elif hint is bool:
            require(isinstance(value, bool), f"agent.{field.name} is {value!r}; it must be true or false")


def check_hidden_sizes(sizes: tuple[int, ...], name: str = "hidden_sizes") -> None:
    """Check the units of hidden layers.

    Args:
        sizes: Units of each layer.
        name: The option, for the message.

    Raises:
        ValueError: If there is no layer, or one without units.
    """
    require(
        bool(sizes) and all(isinstance(size, int) and size > 0 for size in sizes),
        f"agent.{name} is {sizes}; it must be a list of positive numbers such as [512,256,128]",
    )


def flat_spaces(env: Any) -> dict[str, Any]:
    """Spaces of an environment, each as a vector of numbers.

    A dictionary of vectors becomes one vector, as skrl's wrappers make one of its observations: in the order of the
    sorted keys, and of dictionaries in it likewise.

    Args:
        env: Environment in skrl's wrapper.

    Returns:
        ``observation_space``, ``state_space`` (None if there is none) and ``action_space``, flat Boxes.

    Raises:
        ValueError: If one is no vector.
    """
    flat = {}
    for name in ("observation_space", "state_space", "action_space"):
        space = getattr(env, name)
        # actions are not told apart again for the environment
        boxes = [space] if name == "action_space" else _leaves(space)
        vectors = all(isinstance(box, Box) and len(box.shape) == 1 for box in boxes)
        allowed = "a flat Box (one vector of numbers)"
        if name != "action_space":
            allowed += " or a Dict of flat Boxes"
        require(
            (bool(boxes) and vectors) or (name == "state_space" and space is None),
            f"the environment's {name} is {space}; it must be {allowed}",
        )
        flat[name] = space if space is None or space is boxes[0] else _concatenate(boxes)
    return flat


def flatten(values: Any) -> torch.Tensor:
    """Observations as an environment gives them, in the layout of :func:`flat_spaces`.

    Args:
        values: Tensor of shape (N, D), or a dictionary of such, which may be nested.

    Returns:
        Tensor of shape (N, D).
    """
    return values if isinstance(values, torch.Tensor) else cast(torch.Tensor, flatten_tensorized_space(values))


def _leaves(space: Any) -> list[Any]:
    if isinstance(space, Dict):
        return [leaf for key in sorted(space.spaces) for leaf in _leaves(space.spaces[key])]
    return [space]


def _concatenate(boxes: list[Box]) -> Box:
    low, high = (np.concatenate([getattr(box, bound) for box in boxes]) for bound in ("low", "high"))
    return Box(low, high, dtype=np.result_type(*(box.dtype for box in boxes)).type)
