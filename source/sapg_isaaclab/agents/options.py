"""Checks that all agents share, each answered in one line: what came, what is allowed."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any, Literal

import gymnasium


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


def check_hidden_sizes(sizes: tuple[int, ...]) -> None:
    """Check the units of hidden layers.

    Args:
        sizes: Units of each layer.

    Raises:
        ValueError: If there is no layer, or one without units.
    """
    require(
        bool(sizes) and all(isinstance(size, int) and size > 0 for size in sizes),
        f"agent.hidden_sizes is {sizes}; it must be a list of positive numbers such as [512,256,128]",
    )


def flat_spaces(env: Any, algorithm: str) -> dict[str, Any]:
    """Spaces of an environment, each a vector of numbers.

    Args:
        env: Environment in skrl's wrapper.
        algorithm: Who asks, for the message.

    Returns:
        ``observation_space``, ``state_space`` (None if there is none) and ``action_space``.

    Raises:
        ValueError: If one is not a flat Box.
    """
    names = ("observation_space", "state_space", "action_space")
    spaces = {name: getattr(env, name) for name in names}
    for name, space in spaces.items():
        flat = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
        require(
            flat or (name == "state_space" and space is None),
            f"the environment's {name} is {space}; {algorithm} needs a flat Box (one vector of numbers)",
        )
    return spaces
