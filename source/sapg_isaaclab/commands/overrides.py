"""Overrides such as ``env.sim.dt=0.01`` and ``agent.num_blocks=4``, checked before they are applied.

Isaac Lab sets whatever path it is given, so a misspelt option changes nothing and nobody is told. Here a path must
exist and a value must be of the option's type.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from sapg_isaaclab.errors import InputError

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse_value(text: str) -> Any:
    """Read a value as Isaac Lab does: true, none, numbers, lists; anything else is text.

    Args:
        text: What follows the equals sign.

    Returns:
        The value.
    """
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def apply_override(configs: dict[str, Any], token: str) -> None:
    """Set one option.

    Args:
        configs: Configuration by first word of the path: ``env`` and ``agent``.
        token: ``path=value``.

    Raises:
        InputError: If there is no such option or the value is not of its type.
    """
    path, text = token.split("=", 1)
    section, *names = path.split(".")
    if section not in configs or not names or not all(names):
        raise InputError(f"{token!r} is not understood; options are set as env.NAME=VALUE or agent.NAME=VALUE")
    owner = configs[section]
    for depth, name in enumerate(names[:-1]):
        owner = _child(owner, name, ".".join([section, *names[:depth]]), configs[section])
    parent = ".".join([section, *names[:-1]])
    current = _child(owner, names[-1], parent, configs[section])
    value = _converted(owner, names[-1], current, text, path)
    if isinstance(owner, list):
        owner[int(names[-1])] = value
    elif isinstance(owner, dict):
        owner[names[-1]] = value
    else:
        setattr(owner, names[-1], value)


def get_option(config: Any, path: str) -> Any:
    """Read an option of a configuration, or of the dictionary made from one.

    Args:
        config: The configuration.
        path: Names joined by dots, without the leading ``env`` or ``agent``.

    Returns:
        The value.

    Raises:
        KeyError: If there is no such option.
    """
    for name in path.split("."):
        children = _children(config)
        if name not in children:
            raise KeyError(path)
        config = children[name]
    return config


def _children(owner: Any) -> dict[str, Any]:
    if isinstance(owner, Mapping):
        return {str(key): value for key, value in owner.items()}
    if isinstance(owner, list):
        return {str(index): value for index, value in enumerate(owner)}
    if dataclasses.is_dataclass(owner):
        names = {field.name for field in dataclasses.fields(owner)} | set(vars(owner))
        return {name: getattr(owner, name) for name in names if not name.startswith("_")}
    return {}


def _child(owner: Any, name: str, parent: str, root: Any) -> Any:
    children = _children(owner)
    if name in children:
        return children[name]
    # first the right name at the wrong depth, then a misspelt one
    near = [path for path in _leaves(root, parent.split(".")[0]) if path.rsplit(".", 1)[-1] == name][:2]
    near += [f"{parent}.{match}" for match in difflib.get_close_matches(name, children, n=2, cutoff=0.6)]
    if not children:
        raise InputError(f"{parent} is a single value and has no option {name!r}; set {parent}=VALUE")
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {_listing(children)}"
    raise InputError(f"there is no option {parent}.{name}; {hint}")


def _leaves(owner: Any, prefix: str, depth: int = 0) -> list[str]:
    found = []
    for name, value in _children(owner).items() if depth < 8 else ():
        path = f"{prefix}.{name}"
        found += _leaves(value, path, depth + 1) if _children(value) else [path]
    return found


def _listing(names: Mapping[str, Any], limit: int = 12) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _converted(owner: Any, name: str, current: Any, text: str, path: str) -> Any:
    if dataclasses.is_dataclass(current) and not isinstance(current, type):
        example = next(iter(sorted(_children(current))), "NAME")
        raise InputError(f"{path} is a group of options; set one of them, such as {path}.{example}=VALUE")
    hint = _hint(owner, name)
    if hint is None or hint is Any or (isinstance(hint, type) and not isinstance(current, hint)):
        # no annotation, or that of a preset group which has been resolved to a value
        hint = type(current) if current is not None else Any
    return convert(hint, text, path, current)


def convert(hint: Any, text: str, path: str, current: Any = None) -> Any:
    """Read a value as a type asks for it.

    Args:
        hint: The type, as in an annotation.
        text: What follows the equals sign.
        path: What precedes it, for the message.
        current: The present value, if it is known.

    Returns:
        The value.

    Raises:
        InputError: If it is not of the type.
    """
    value = parse_value(text)
    for accepted in _alternatives(hint):
        converted = _as(accepted, value, text, current)
        if converted is not _REFUSED:
            return converted
    now = f" (now {current!r})" if current is not None else ""
    raise InputError(f"{path}={text} is not allowed: it must be {_described(hint)}{now}")


_REFUSED = object()


def _as(kind: Any, value: Any, text: str, current: Any) -> Any:
    """The value as the kind asks for it, or ``_REFUSED``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return next((choice for choice in arguments if value == choice or text == choice), _REFUSED)
    kind = origin or kind
    if kind is Any:
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float:
        return float(value) if number else _infinite(text)
    if kind is int:
        return value if number and isinstance(value, int) else _REFUSED
    if kind is str:
        return text if value is not None else _REFUSED
    if kind in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return _REFUSED
        items = [argument for argument in arguments if argument is not Ellipsis]
        if kind is tuple and Ellipsis not in arguments and items and len(value) != len(items):
            return _REFUSED
        if isinstance(current, tuple) and not arguments and len(value) != len(current):
            return _REFUSED
        return kind(value)
    if callable(current) and isinstance(value, str) and not isinstance(current, type):
        return value
    return value if isinstance(kind, type) and isinstance(value, kind) else _REFUSED


def _infinite(text: str) -> Any:
    return float(text) if text.lower() in ("inf", "-inf") else _REFUSED


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _described(hint: Any) -> str:
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "none"}
    texts = []
    for kind in _alternatives(hint):
        if typing.get_origin(kind) is typing.Literal:
            texts.append(f"one of {', '.join(map(str, typing.get_args(kind)))}")
        else:
            kind_name = str(kind) if typing.get_origin(kind) else getattr(kind, "__name__", str(kind))
            texts.append(words.get(kind, f"a {kind_name}"))
    return " or ".join(texts)


def _hint(owner: Any, name: str) -> Any:
    if not dataclasses.is_dataclass(owner):
        return None
    try:
        hint = typing.get_type_hints(type(owner)).get(name)
    except Exception:  # a name that is imported only for type checkers: the current value tells the type
        return None
    return None if hint is dataclasses.MISSING or isinstance(hint, typing.TypeVar) else hint
