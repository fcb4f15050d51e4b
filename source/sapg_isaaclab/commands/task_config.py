"""From a task id and overrides to checked configurations. Everything here happens before a simulator is launched."""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import difflib
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import random
import re
import sys
from typing import Any

import gymnasium as gym

from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.commands.overrides import apply_override, get_option
from sapg_isaaclab.errors import InputError, one_line, warn

SELECTORS = ("physics", "renderer", "presets")

_VERSION = re.compile(r"-v\d+$")


def check_task(task: str | None) -> str:
    """Find a task.

    Args:
        task: What the user typed; ``module:ID`` imports the module first, also one in the working folder.

    Returns:
        The task id.

    Raises:
        InputError: If it is missing, unknown, or not a task of Isaac Lab.
    """
    ours = ", ".join(sapg_tasks())
    if not task:
        raise InputError(f"--task is missing; use one of {ours}")
    module, name = split_task(task)
    if module:
        see_working_folder()
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(f"--task {task}: package {module!r} cannot be imported ({one_line(error)})") from error
    if name not in gym.registry:
        see_installed_packages()
    if name not in gym.registry:
        near = nearest_tasks(name)
        hint = f"did you mean {' or '.join(near)}?" if near else f"use one of {ours}"
        raise InputError(f"--task {task} is unknown; {hint}")
    if "env_cfg_entry_point" not in gym.spec(name).kwargs:
        raise InputError(f"--task {task} is not a task of Isaac Lab (no env_cfg_entry_point); use one of {ours}")
    return name


def split_task(task: str) -> tuple[str, str]:
    """Module and id in what the user typed.

    Args:
        task: ``module:ID`` or ``ID``.

    Returns:
        Module, empty if none is named, and task id.
    """
    module, _, name = task.rpartition(":")
    return module, name


def task_module(task: str | None) -> dict[str, str] | None:
    """What a run keeps of the module that registers its task, so that nobody has to name it again.

    Args:
        task: What the user typed; its module has been imported.

    Returns:
        ``name`` and the ``folder`` it is imported from; None if no module was named, or it is this package.
    """
    name, _ = split_task(task or "")
    if not name or name.split(".")[0] == "sapg_isaaclab":
        return None
    top = sys.modules[name.split(".")[0]]
    places = [top.__file__] if getattr(top, "__file__", None) else list(getattr(top, "__path__", []))
    file = pathlib.Path(places[0]).resolve() if places else pathlib.Path.cwd() / "module.py"
    return {
        "name": name,
        "folder": str(file.parents[1] if hasattr(top, "__path__") and file.is_file() else file.parent),
    }


def saved_task(saved: dict[str, Any]) -> str:
    """Find the task of a run, importing the module that registers it.

    Args:
        saved: Checkpoint.

    Returns:
        The task id.

    Raises:
        InputError: If it cannot be found any more.
    """
    module = saved.get("task_module")
    if not module or saved["task"] in gym.registry:
        return check_task(saved["task"])
    see_working_folder()
    top = module["name"].split(".")[0]
    if importlib.util.find_spec(top) is None:
        sys.path.append(module["folder"])
        importlib.invalidate_caches()
        if importlib.util.find_spec(top) is None:
            raise InputError(
                f"the run's task {saved['task']} comes from module {module['name']!r}, which was in {module['folder']}"
                " and is not there any more; add its folder to PYTHONPATH"
            )
    return check_task(f"{module['name']}:{saved['task']}")


def see_working_folder() -> None:
    """Let modules in the working folder be imported, as ``python -m`` does; a script only sees its own folder."""
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def see_installed_packages() -> None:
    """Register Isaac Lab's tasks and those of all packages that name a module in the group ``isaaclab.tasks``."""
    importlib.import_module("isaaclab_tasks")
    for entry_point in importlib.metadata.entry_points(group="isaaclab.tasks"):
        try:
            entry_point.load()
        except Exception as error:  # somebody else's, and perhaps not the one that is meant
            warn(f"the tasks of package {entry_point.value!r} cannot be imported ({one_line(error)})")


def nearest_tasks(name: str) -> list[str]:
    """Tasks whose id is nearly the one that was typed.

    Args:
        name: What was typed.

    Returns:
        At most two ids: those that differ by a version (``-v0``) only, else similar ones, of this package first.
    """
    known = {key.lower(): key for key, spec in gym.registry.items() if "env_cfg_entry_point" in spec.kwargs}
    bare = _VERSION.sub("", name.lower())
    same = [key for lower, key in known.items() if _VERSION.sub("", lower) == bare]
    if same:
        return sorted(same)[:2]
    ours = {key.lower() for key in sapg_tasks()}
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.7)
    near = near or difflib.get_close_matches(name.lower(), ours, n=2, cutoff=0.5)
    return [known[match] for match in sorted(near, key=lambda match: match not in ours)]


def agent_entry_point(task: str, algorithm: str) -> str:
    """Under which name a task's registration keeps its options for an algorithm.

    Args:
        task: Task id.
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.

    Returns:
        Such as ``sapg_cfg_entry_point``. Where a task names none, it is what :mod:`~.agent_presets` makes.

    Raises:
        InputError: If nothing has registered the algorithm, as when a checkpoint is of somebody else's.
    """
    if algorithm not in ALGORITHMS:
        raise InputError(
            f"algorithm {algorithm!r} is not known here, which has {', '.join(ALGORITHMS)}; name the module that adds"
            " it with the task: --task module:ID"
        )
    kind = ALGORITHMS[algorithm].kind
    made = f"sapg_isaaclab.commands.agent_presets:{task}.{kind}"
    gym.spec(task).kwargs.setdefault(f"{kind}_cfg_entry_point", made)
    return f"{kind}_cfg_entry_point"


def sapg_tasks(keyword: str = "") -> list[str]:
    """Registered tasks that bring options for SAPG.

    Args:
        keyword: Only those whose id contains it, in upper or lower case.

    Returns:
        Task ids in alphabetical order.
    """
    names = sorted(name for name, spec in gym.registry.items() if "sapg_cfg_entry_point" in spec.kwargs)
    return [name for name in names if keyword.lower() in name.lower()]


def describe_task(task: str) -> tuple[str, str, str, str, str]:
    """A task in a table.

    Args:
        task: Task id.

    Returns:
        Id, default number of environments, steps of an episode, physics engines, presets of environment and agent.
    """
    from isaaclab_tasks.utils.preset_target import PresetTarget

    env_cfg, _ = resolve_configs(task, [])
    declared = declared_presets(task, "sapg")
    named = [(name, value) for group in declared.values() for name, value in group.items() if name != "default"]
    physics = {name for name, value in named if PresetTarget.PHYSICS.matches(value)}
    others = {name for name, value in named} - physics
    steps = round(env_cfg.episode_length_s / (env_cfg.sim.dt * env_cfg.decimation))
    return task, str(env_cfg.scene.num_envs), str(steps), ", ".join(sorted(physics)), ", ".join(sorted(others))


def declared_presets(task: str, algorithm: str) -> dict[str, dict[str, Any]]:
    """Every preset group of a task.

    Args:
        task: Task id.
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.

    Returns:
        Choices by name, by path of the group (``env.sim.physics``, ``agent``).
    """
    from isaaclab_tasks.utils.hydra import collect_presets
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    return {
        path: fields
        for section, key in (("env", "env_cfg_entry_point"), ("agent", agent_entry_point(task, algorithm)))
        for path, fields in collect_presets(load_cfg_from_registry(task, key), section).items()
    }


def resolve_configs(task: str, tokens: list[str], algorithm: str = "sapg") -> tuple[Any, Any]:
    """Configurations of a task with presets and overrides applied.

    Args:
        task: Task id.
        tokens: ``physics=NAME``, ``presets=A,B``, ``env.X=VALUE``, ``agent.X=VALUE``.
        algorithm: One of :data:`~sapg_isaaclab.agents.algorithms.ALGORITHMS`.

    Returns:
        Configurations of environment and agent.

    Raises:
        InputError: If a preset or an option does not exist, or a value is not allowed.
    """
    from isaaclab_tasks.utils import resolve_task_config

    repeated = [token.split("=", 1)[0] for token in tokens]
    for name in repeated:
        if repeated.count(name) > 1:
            raise InputError(f"{name} is given more than once; keep one")
    declared = declared_presets(task, algorithm)
    _check_selectors(task, [token for token in tokens if token.split("=", 1)[0] in SELECTORS], declared)
    # a path that names a preset group, such as env.sim.physics=newton_mjwarp, is a choice and not a value
    choices = [token for token in tokens if _is_choice(token, declared)]
    try:
        env_cfg, agent_cfg = resolve_task_config(task, agent_entry_point(task, algorithm), overrides=choices)
    except ValueError as error:
        raise InputError(one_line(error)) from error
    # presets hand out objects that belong to a class: changing them would change the next run in this process
    configs = {"env": copy.deepcopy(env_cfg), "agent": copy.deepcopy(agent_cfg)}
    for token in tokens:
        if token not in choices:
            apply_override(configs, token)
    return configs["env"], configs["agent"]


def _is_choice(token: str, declared: dict[str, Any]) -> bool:
    path, value = token.split("=", 1)
    return path in SELECTORS or (path in declared and value in declared[path])


def _check_selectors(task: str, tokens: list[str], declared: dict[str, dict[str, Any]]) -> None:
    from isaaclab_tasks.utils.preset_target import PresetTarget

    typed = {target.value: target for target in PresetTarget if target.base_classes}
    for token in tokens:
        selector, names = token.split("=", 1)
        fields = [(name, value) for group in declared.values() for name, value in group.items() if name != "default"]
        if selector in typed:
            known = sorted({name for name, value in fields if typed[selector].matches(value)})
        else:
            known = sorted({name for name, _ in fields})
        for name in (part.strip() for part in names.split(",")):
            if name not in known:
                allowed = f"use one of {', '.join(known)}" if known else "the task has none to choose from"
                near = difflib.get_close_matches(name, known, n=1)
                allowed = f"did you mean {near[0]}? Otherwise {allowed}" if near else allowed
                raise InputError(f"{selector}={name} is unknown for {task}; {allowed}")


def check_launch(env_cfg: Any, args: argparse.Namespace) -> None:
    """Check that the simulator can be started here with this configuration.

    Args:
        env_cfg: Resolved configuration of the environment; ``sim.device`` is what will be used.
        args: Parsed arguments.

    Raises:
        InputError: If the device does not exist, Isaac Sim is needed but not installed, or the launcher refuses.
    """
    import torch
    from isaaclab.app import validate_launch
    from isaaclab.utils import validate

    kind, _, index = str(env_cfg.sim.device).partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise InputError(f"--device {env_cfg.sim.device} is unknown; use cpu or cuda:0")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        asked = f"--device {env_cfg.sim.device}" if args.device else f"{env_cfg.sim.device}, the task's own device,"
        raise InputError(
            f"{asked} does not exist here: torch sees {found} CUDA device(s);"
            f" use --device {f'cuda:0 to cuda:{found - 1} or ' if found else ''}cpu"
        )
    for path in ("sim.dt", "decimation", "episode_length_s"):
        with contextlib.suppress(KeyError):
            if not get_option(env_cfg, path) > 0:
                raise InputError(f"env.{path} is {get_option(env_cfg, path)}; it must be above 0")
    try:
        validate(env_cfg)
        _, kit_sources = validate_launch(env_cfg, {**vars(args), "device": env_cfg.sim.device})
    except (ValueError, TypeError) as error:
        raise InputError(one_line(error)) from error
    if kit_sources and importlib.util.find_spec("isaacsim") is None:
        raise InputError(
            "this needs Isaac Sim, which is not installed here; use physics=ovphysx or physics=newton_mjwarp"
            " and no --viz kit"
        )


def check_seed(seed: int) -> int:
    """Check a seed.

    Args:
        seed: What was asked for; -1 draws one.

    Returns:
        The seed, at least 0.

    Raises:
        InputError: If the generators do not accept it.
    """
    if not -1 <= seed < 2**32:
        raise InputError(f"--seed {seed} is not allowed; use 0 to {2**32 - 1}, or -1 for a random one")
    return random.SystemRandom().randrange(2**31) if seed == -1 else seed


def plain(config: Any) -> dict[str, Any]:
    """An agent's configuration as a dictionary of plain values, for files.

    Args:
        config: Dataclass.

    Returns:
        Numbers, text, None, lists and dictionaries.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): convert(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [convert(item) for item in value]
        return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)

    return convert(dataclasses.asdict(config))


def refuse_contradictions(args: argparse.Namespace, tokens: list[str]) -> None:
    """Refuse an option that is given as a flag and as an override with another value.

    Args:
        args: Parsed arguments.
        tokens: Overrides.

    Raises:
        InputError: If there is such an option.
    """
    given = dict(token.split("=", 1) for token in tokens)
    pairs = (
        ("num_envs", "env.scene.num_envs"),
        ("seed", "agent.seed"),
        ("device", "env.sim.device"),
    )
    for flag, path in pairs:
        value = getattr(args, flag, None)
        if value is not None and path in given and str(value) != given[path]:
            raise InputError(f"--{flag} {value} and {path}={given[path]} contradict each other; drop one of them")
    for path, way in (("env.seed", "--seed"), ("env.num_blocks", "agent.num_blocks")):
        if path in given:
            raise InputError(f"{path} follows from {way}; use {way}")
    if getattr(args, "algorithm", None) == "ppo" and given.get("agent.num_blocks", "1") != "1":
        raise InputError(
            f"--algorithm ppo has one policy, but agent.num_blocks={given['agent.num_blocks']}; drop one of them"
        )


def check_resume(args: argparse.Namespace, tokens: list[str], saved: dict[str, Any]) -> None:
    """A resumed run goes on with its own configuration: refuse options that ask for another.

    Args:
        args: Parsed arguments.
        tokens: Overrides.
        saved: The checkpoint.

    Raises:
        InputError: If an option differs from the run's.
    """
    way_out = "drop it, or start a new run from these weights with --init_from"
    for flag in ("task", "algorithm", "num_envs", "seed"):
        value = getattr(args, flag)
        if flag == "task" and value is not None:
            value = split_task(value)[1]
        if value is not None and value != saved[flag]:
            raise InputError(f"--{flag} {value} differs from the run to resume, which has {saved[flag]}; {way_out}")
    begun = saved["trainer"].get("initial_steps", "zero")
    if args.initial_steps not in (None, begun):
        raise InputError(
            f"--initial_steps {args.initial_steps} is of the start of a run, and the run to resume began with {begun};"
            f" {way_out}"
        )
    for token in tokens:
        path, value = token.split("=", 1)
        now = dict(override.split("=", 1) for override in saved["overrides"]).get(path, "the task's default")
        if path.startswith("agent."):
            with contextlib.suppress(KeyError):
                now = str(get_option(saved["agent_cfg"], path.removeprefix("agent.")))
        if path == "agent.num_blocks" and now != value:
            raise InputError(f"{token}, but the run to resume has {now} policies, which cannot change; drop it")
        if now != value and token not in saved["overrides"]:
            raise InputError(f"{token} differs from the run to resume, which has {now}; {way_out}")
