"""Checkpoints: complete, atomic on disk, and read without running code from the file."""

from __future__ import annotations

import itertools
import os
import pathlib
import pickle
import random
import zipfile
from typing import Any

import numpy as np
import torch

from sapg_isaaclab.errors import InputError, TrainingError
from sapg_isaaclab.runs.files import remove_leftovers, write_atomically
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs, numbered

FORMAT = 1
"""Version of the layout of a checkpoint file."""

PRETRAINED = pathlib.Path(__file__).parents[1] / "pretrained"
"""Folder of the policies that come with the package, ``<experiment>.pt`` each with a card ``<experiment>.md``."""

_REQUIRED = ("iteration", "env_steps", "task", "blocks", "agent", "agent_cfg")


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a checkpoint. A reader, or a crash, finds the whole file or none.

    Args:
        path: The file, ``.../checkpoints/agent_<iteration>.pt``.
        state: Tensors, numbers, strings, None, and dictionaries, lists or tuples of them.

    Raises:
        TrainingError: If the file cannot be written.
    """
    path = pathlib.Path(path)
    try:
        write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise TrainingError(f"cannot write checkpoint {path}: {error}; earlier checkpoints are intact") from error


def load(
    path: str | os.PathLike[str], *, num_blocks: int | None = None, map_location: str | torch.device = "cpu"
) -> dict[str, Any]:
    """Read a checkpoint. Only tensors and plain values are accepted, so a file cannot run code.

    Args:
        path: The file.
        num_blocks: Number of policies M that the caller needs; not checked by default.
        map_location: Device for the tensors.

    Returns:
        What :func:`save` was given, and ``format``.

    Raises:
        InputError: If the file is missing, truncated, not a checkpoint, would run code, or has another M.
    """
    path = pathlib.Path(path)
    if path.is_dir() or not path.exists():
        raise InputError(f"checkpoint {path} does not exist; give a .pt file, a run folder, latest or best")
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many kinds for a bad file: whatever it is, the file is at fault
        raise InputError(f"checkpoint {path} {_why_unreadable(path, start, error)}") from error
    if not isinstance(state, dict) or "format" not in state or any(key not in state for key in _REQUIRED):
        raise InputError(f"checkpoint {path} was not written by scripts/train.py; only its own checkpoints can be read")
    if state["format"] != FORMAT:
        raise InputError(
            f"checkpoint {path} has format {state['format']}, this version reads format {FORMAT};"
            " use the version of sapg_isaaclab that wrote it (see run.json)"
        )
    saved_blocks = state["blocks"]["num_blocks"]
    if num_blocks is not None and saved_blocks != num_blocks:
        raise InputError(
            f"checkpoint {path} holds {saved_blocks} policies, but agent.num_blocks is {num_blocks};"
            f" drop agent.num_blocks or set agent.num_blocks={saved_blocks}"
        )
    return state


def _why_unreadable(path: pathlib.Path, start: bytes, error: Exception) -> str:
    # a checkpoint is a zip archive whose table of contents comes last: what was cut off starts like one, but is none
    refused = isinstance(error, pickle.UnpicklingError)
    if start[:1] == b"\x80" or (refused and zipfile.is_zipfile(path)):
        return "holds Python objects that could run code; nothing was loaded. Use a file written by scripts/train.py"
    if start[:2] == b"PK":
        return "is truncated or damaged; use an older one from the same folder"
    return "is not a checkpoint; give a .pt file written by scripts/train.py"


# -- choosing a checkpoint ---------------------------------------------------------------------------------------------


def latest(run: RunFolder) -> pathlib.Path:
    """Newest checkpoint of a run.

    Args:
        run: The run folder.

    Returns:
        The file.

    Raises:
        InputError: If the run has none.
    """
    pointed = _follow(run, "latest")
    if pointed is not None:
        return pointed
    files = numbered(run)
    if not files:
        raise InputError(f"run folder {run.path} has no checkpoint; it ended before the first was written")
    return files[max(files)]


def best(run: RunFolder) -> pathlib.Path:
    """Checkpoint with the leader's most successes (in tenths), then highest return; the newest until there is a best.

    Args:
        run: The run folder.

    Returns:
        The file.

    Raises:
        InputError: If the run has no checkpoint.
    """
    return _follow(run, "best") or latest(run)


def point(run: RunFolder, name: str, target: pathlib.Path) -> None:
    """Let ``latest`` or ``best`` name a checkpoint.

    Args:
        run: The run folder.
        name: ``latest`` or ``best``.
        target: The checkpoint, inside the run folder.
    """
    write_atomically(run.path / name, f"{target.relative_to(run.path)}\n")


def _follow(run: RunFolder, name: str) -> pathlib.Path | None:
    try:
        target = run.path / (run.path / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return target if target.is_file() else None


def prune(run: RunFolder, keep: int) -> None:
    """Delete all but the newest checkpoints and the best one.

    Args:
        run: The run folder.
        keep: Number of newest checkpoints that stay; 0 keeps all.
    """
    if keep < 1:
        return
    pinned = {_follow(run, "best"), _follow(run, "latest")}
    for path in list(numbered(run).values())[:-keep]:
        if path not in pinned:
            path.unlink(missing_ok=True)


def resolve(
    selector: str, log_root: str | os.PathLike[str], experiment: str | None = None, *, task: str | None = None
) -> pathlib.Path:
    """Find the checkpoint that the user means. Nothing is created.

    Args:
        selector: ``latest`` or ``best`` (of the newest run), ``pretrained`` (the task's that comes with the package), a
            checkpoint file, a run folder, or the ``latest`` or ``best`` file inside one.
        log_root: Folder of all experiments.
        experiment: Experiment in whose folder ``latest`` and ``best`` search, all by default, and whose policy is
            ``pretrained``.
        task: Task among whose runs ``latest`` and ``best`` search. All by default.

    Returns:
        The checkpoint file.

    Raises:
        InputError: If there is none.
    """
    if selector in ("latest", "best"):
        runs = find_runs(log_root, experiment, task=task)
        if not runs:
            of, where = f" of {task}" if task else "", pathlib.Path(log_root) / (experiment or "")
            raise InputError(f"no run{of} with a checkpoint in {where}; train first, or give the path of a checkpoint")
        return latest(runs[0]) if selector == "latest" else best(runs[0])
    if selector == "pretrained":
        return _pretrained(experiment)
    path = pathlib.Path(selector).expanduser().resolve()
    if path.is_dir():
        return latest(RunFolder(path.parent if path.name == "checkpoints" else path))
    if path.is_file() and path.name in ("latest", "best"):
        return latest(RunFolder(path.parent)) if path.name == "latest" else best(RunFolder(path.parent))
    if not path.is_file():
        known = ", ".join(str(run.path) for run in find_runs(log_root, task=task)[:3]) or "none"
        raise InputError(f"checkpoint {selector} does not exist; runs found in {log_root}: {known}")
    return path


def _pretrained(experiment: str | None) -> pathlib.Path:
    if experiment is None:
        raise InputError("pretrained is a policy for each task; add --task")
    path = PRETRAINED / f"{experiment}.pt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PRETRAINED.glob("*.pt"))) or "none"
        raise InputError(f"no pretrained policy comes with the package for {experiment} (there is: {known}); train one")
    return path


def run_of(path: pathlib.Path) -> RunFolder | None:
    """Run folder that a checkpoint lies in.

    Args:
        path: The checkpoint file.

    Returns:
        The folder, or None for a file that was moved elsewhere.
    """
    run = RunFolder(path.parent.parent)
    return run if path.parent.name == "checkpoints" and run.manifest() else None


def rewind(run: RunFolder, iteration: int, best_iteration: int | None) -> list[pathlib.Path]:
    """Prepare a run folder for going on from one of its earlier checkpoints.

    Later checkpoints are moved to ``checkpoints/discarded``, never deleted, and the pointers name what is left.

    Args:
        run: The run folder.
        iteration: Iteration of the checkpoint that training goes on from.
        best_iteration: Iteration of the best checkpoint up to then, if there was one.

    Returns:
        The files that were moved, at their new place.
    """
    remove_leftovers(run.path)
    remove_leftovers(run.checkpoints)
    moved = []
    for number, path in numbered(run).items():
        if number > iteration:
            folder = run.checkpoints / "discarded"
            folder.mkdir(exist_ok=True)
            names = (f"{path.stem}{f'_{count}' if count else ''}.pt" for count in itertools.count())
            target = next(folder / name for name in names if not (folder / name).exists())
            os.replace(path, target)
            moved.append(target)
    files = numbered(run)
    if iteration in files:
        point(run, "latest", files[iteration])
    if best_iteration in files:
        point(run, "best", files[best_iteration])
    else:
        (run.path / "best").unlink(missing_ok=True)
    return moved


# -- random numbers ----------------------------------------------------------------------------------------------------


def rng_state() -> dict[str, Any]:
    """States of the random number generators of torch (CPU and CUDA), numpy and Python.

    Returns:
        Plain values and tensors.
    """
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss_next],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put random number generators back to a saved state.

    CUDA generators are restored only on a machine with as many CUDA devices as the one that saved them.

    Args:
        state: What :func:`rng_state` returned.
    """
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
