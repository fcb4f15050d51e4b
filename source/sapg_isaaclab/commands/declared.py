"""Which options and presets the package declares, read from its sources: importing them takes torch and seconds."""

from __future__ import annotations

import ast
import functools
import math
import pathlib
import re
import typing
from typing import Any

import gymnasium as gym

import sapg_isaaclab
from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.commands.agent_options import agent_options

_PACKAGE = pathlib.Path(sapg_isaaclab.__file__).parent
_SAFE_NAMES = {name: getattr(typing, name) for name in ("Literal", "Any")} | {"math": math}


@functools.cache
def options(algorithm: str) -> dict[str, Any]:
    """Options of an algorithm.

    Args:
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.

    Returns:
        Type by name; ``Any`` where the sources alone do not tell it.
    """
    known = {(each.package, each.cfg): _class(each.package, each.cfg) for each in ALGORITHMS.values()}
    classes = {name: node for (_, name), node in known.items() if node is not None}
    result: dict[str, Any] = {"experiment": Any}
    pending = [ALGORITHMS[algorithm].cfg]
    while pending:
        node = classes.get(pending.pop())
        if node is None:
            continue
        pending += [base.id for base in node.bases if isinstance(base, ast.Name)]
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                text = ast.unparse(item.annotation)
                if not text.startswith("ClassVar"):
                    result.setdefault(item.target.id, _type(text))
    return result


@functools.cache
def presets() -> frozenset[str]:
    """Names of presets, of any task and algorithm.

    Returns:
        The names, those of physics engines included.
    """
    found: set[str] = set()
    for path in _PACKAGE.glob("tasks/**/*.py"):
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.ClassDef) and any("PresetCfg" in ast.unparse(base) for base in node.bases):
                found |= _attributes(node)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "preset":
                found |= {word.arg for word in node.keywords if word.arg}
    for task in gym.registry:
        for presets_of_algorithm in agent_options(task).values():
            found |= set(presets_of_algorithm)
    for path in _option_files():
        dicts = {ast.unparse(node.target): node.value for node in _parsed(path).body if isinstance(node, ast.AnnAssign)}
        pending = [dicts["PRESETS"]] if "PRESETS" in dicts else []
        for node in pending:
            for key, value in zip(node.keys, node.values):
                if key is None:  # ** of another such dictionary
                    pending += [dicts[ast.unparse(value)]] if ast.unparse(value) in dicts else []
                else:
                    found.add(ast.literal_eval(key))
    return frozenset(found - {"default"})


@functools.cache
def engines() -> tuple[str, ...]:
    """Names of the physics engines.

    Returns:
        In alphabetical order.
    """
    path = _PACKAGE / "tasks" / "physics.py"
    nodes = [node for node in _parsed(path).body if isinstance(node, ast.ClassDef) and node.name == "PhysicsPresets"]
    return tuple(sorted(set().union(*map(_attributes, nodes)) - {"default"}))


@functools.cache
def mentioned(word: str) -> bool:
    """Whether a word stands anywhere in the sources of tasks and options: one that does not names no preset.

    Args:
        word: The word.

    Returns:
        Whether it does.
    """
    pattern = re.compile(rf"\b{re.escape(word)}\b")
    sources = [*_PACKAGE.glob("tasks/**/*.py"), *_option_files()]
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in sources)


def _option_files() -> list[pathlib.Path]:
    return [*_PACKAGE.glob("agents/*/cfg.py"), *_PACKAGE.glob("agents/*/presets.py")]


def _class(package: str, name: str) -> ast.ClassDef | None:
    path = _PACKAGE.joinpath(*package.split(".")[1:], "cfg.py")
    return next((node for node in _parsed(path).body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _attributes(node: ast.ClassDef) -> set[str]:
    """Names that the body of a class gives values to."""
    targets = [target for item in node.body for target in getattr(item, "targets", [getattr(item, "target", None)])]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@functools.cache
def _parsed(path: pathlib.Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except OSError:
        return ast.Module(body=[], type_ignores=[])


def _type(annotation: str) -> Any:
    try:
        return eval(annotation, dict(_SAFE_NAMES))  # the package's own source, never a user's text
    except Exception:
        return Any
