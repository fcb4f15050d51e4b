"""The folder of one training run: where it lies, what describes it, and how it is found again."""

from __future__ import annotations

import contextlib
import datetime
import glob
import importlib.metadata
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.code_version import code_version
from sapg_isaaclab.runs.files import try_folder, write_atomically

MANIFEST = "run.json"
MANIFEST_VERSION = 1
LIBRARY = "sapg"
_CHECKPOINT = re.compile(r"agent_(\d+)\.pt")
_PARAMS = ("params/env.yaml", "params/agent.yaml")
_PACKAGES = ("sapg_isaaclab", "isaaclab", "skrl", "torch", "tensordict", "gymnasium", "ovphysx", "newton", "warp-lang")


class RunFolder:
    """A run folder on disk.

    Content: ``run.json``, ``params/env.yaml``, ``params/agent.yaml``, ``metrics.jsonl``, TensorBoard events,
    ``checkpoints/agent_<iteration>.pt``, and the pointers ``latest`` and ``best``: one line naming a checkpoint.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Refer to an existing folder.

        Args:
            path: The folder.
        """
        self.path = pathlib.Path(path).resolve()

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_file(self) -> pathlib.Path:
        """One JSON object per iteration."""
        return self.path / "metrics.jsonl"

    def manifest(self) -> dict[str, Any]:
        """Content of ``run.json``.

        Returns:
            The description, or an empty dictionary if there is none that can be read.
        """
        try:
            content = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def papers(self) -> dict[str, bytes]:
        """What describes the run.

        Returns:
            Content by file name.
        """
        found = {}
        for name in (MANIFEST, *_PARAMS):
            with contextlib.suppress(OSError):
                found[name] = (self.path / name).read_bytes()
        return found

    def put_back(self, papers: dict[str, bytes]) -> None:
        """Make the folder again if it has vanished while training ran, so that its checkpoints are of use.

        Args:
            papers: What :meth:`papers` returned.

        Raises:
            OSError: If it cannot be made.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for name, content in papers.items():
            path = self.path / name
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                write_atomically(path, content)

    def holds_work(self) -> bool:
        """Whether anything beyond the description of the run was written.

        Returns:
            False if the run ended before its first iteration did.
        """
        written = (path for path in self.path.rglob("*") if path.is_file() and path.stat().st_size)
        return any(
            str(path.relative_to(self.path)) not in (MANIFEST, *_PARAMS) and not path.name.startswith("events.")
            for path in written
        )

    @contextlib.contextmanager
    def dropped_if_nothing_came_of_it(self) -> Iterator[None]:
        """Remove the folder again if what is inside fails before anything was written that is worth keeping."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if not self.holds_work():
                    _remove(self.path)
            raise

    @classmethod
    def create(
        cls,
        log_root: str | os.PathLike[str],
        experiment: str,
        manifest: dict[str, Any],
        params: dict[str, str],
        *,
        name: str = "",
    ) -> RunFolder:
        """Make a new run folder; an existing one is never reused.

        Args:
            log_root: Folder of all experiments.
            experiment: Name of the experiment, a folder below it.
            manifest: What ``run.json`` shall say beyond version, library, time, command, code and packages.
            params: YAML text by file name without ending: ``env`` and ``agent``.
            name: What the folder's name ends with, after the time.

        Returns:
            The new folder.

        Raises:
            InputError: If it cannot be written.
        """
        check_writable(log_root, experiment)  # otherwise a part of the way would be made
        parent = pathlib.Path(log_root).resolve() / experiment
        now = _after_all_runs(datetime.datetime.now(datetime.UTC), parent)
        stamp = now.astimezone().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{name}" if name else "")
        path = None
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _new_folder(parent, stamp)
            (path / "params").mkdir()
            (path / "checkpoints").mkdir()
            for name, text in params.items():
                write_atomically(path / "params" / f"{name}.yaml", text)
            description = {
                "version": MANIFEST_VERSION,
                "library": LIBRARY,
                "created_at": now.isoformat(),
                "command": shlex.join([pathlib.Path(sys.executable).name, *sys.argv]),
                "git": git_state(),
                "code": code_version(),
                "packages": package_versions(),
                **manifest,
            }
            write_atomically(path / MANIFEST, json.dumps(description, indent=2) + "\n")
        except OSError as error:
            if path is not None:
                _remove(path)
            raise InputError(_unwritable(parent, error)) from error
        return cls(path)


def _new_folder(parent: pathlib.Path, stamp: str) -> pathlib.Path:
    """A folder that was not there before, also where several runs start within one second."""
    for attempt in itertools.count():
        path = parent / (f"{stamp}_{attempt}" if attempt else stamp)
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("counting has no end")


def _after_all_runs(now: datetime.datetime, parent: pathlib.Path) -> datetime.datetime:
    """The time now or, where a clock was put back, just after the newest run: "latest" is the last that was started."""
    latest = now
    for run in _candidates(parent.parent, parent.name):
        with contextlib.suppress(TypeError, ValueError):
            created = datetime.datetime.fromisoformat(str(run.manifest().get("created_at")))
            latest = max(latest, created + datetime.timedelta(microseconds=1))
    return latest


def _remove(folder: pathlib.Path) -> None:
    """Remove a run folder, and the experiment's if it was the only run there."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def check_writable(log_root: str | os.PathLike[str], experiment: str) -> None:
    """Find out whether a run folder could be made; nothing of the attempt stays.

    Args:
        log_root: Folder of all experiments.
        experiment: Name of the experiment.

    Raises:
        InputError: If it could not.
    """
    target = pathlib.Path(log_root).resolve() / experiment
    try:
        try_folder(target)
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error


def find_runs(
    log_root: str | os.PathLike[str], experiment: str | None = None, *, task: str | None = None
) -> list[RunFolder]:
    """Runs that have at least one checkpoint, newest first.

    Args:
        log_root: Folder of all experiments.
        experiment: Only this experiment's runs. All by default.
        task: Only this task's runs, as their ``run.json`` says. All by default.

    Returns:
        The runs, by the time in their ``run.json``.
    """
    found = []
    for run in _candidates(pathlib.Path(log_root), experiment):
        manifest = run.manifest()
        if task is not None and manifest.get("task") != task:
            continue
        if manifest.get("library") == LIBRARY and any(run.checkpoints.glob("agent_*.pt")):
            found.append((str(manifest.get("created_at", "")), str(run.path), run))
    return [run for _, _, run in sorted(found, key=lambda item: item[:2], reverse=True)]


def numbered(run: RunFolder) -> dict[int, pathlib.Path]:
    """Checkpoints of a run.

    Args:
        run: The run folder.

    Returns:
        File by iteration, ascending.
    """
    matches = ((_CHECKPOINT.fullmatch(path.name), path) for path in run.checkpoints.glob("agent_*.pt"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def _candidates(log_root: pathlib.Path, experiment: str | None) -> Iterator[RunFolder]:
    pattern = f"*/{MANIFEST}" if experiment is not None else f"*/*/{MANIFEST}"
    folder = log_root / experiment if experiment is not None else log_root
    for manifest in glob.iglob(pattern, root_dir=folder, include_hidden=True):  # pathlib's raises where none can be
        yield RunFolder((folder / manifest).parent)


def experiment_name(task: str, agent_cfg: Any) -> str:
    """Name of the experiment: ``agent.experiment.directory``, by default made from the task.

    Args:
        task: Task id, such as ``SAPG-Allegro-Reorient``.
        agent_cfg: The agent's configuration.

    Returns:
        A folder name such as ``allegro_reorient``.
    """
    directory = getattr(getattr(agent_cfg, "experiment", None), "directory", "")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", task.split(":")[-1].removeprefix("SAPG-"))
    return directory or words.replace("-", "_").lower()


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide the result of a run.

    Returns:
        Version by package name; packages that are not installed are left out.
    """
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def git_state() -> dict[str, Any] | None:
    """Commit of this package's checkout.

    Returns:
        ``commit`` and ``dirty`` (whether files differ from it), or None outside a checkout.
    """
    folder = pathlib.Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            command = ["git", "-C", str(folder), *arguments]
            result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    # a checkout that merely contains the environment we are installed in is not ours
    commit = git("rev-parse", "HEAD") if git("ls-files", "--error-unmatch", pathlib.Path(__file__).name) else None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else None


def _unwritable(folder: pathlib.Path, error: OSError) -> str:
    place = f" ({error.filename})" if error.filename and error.filename != str(folder) else ""
    return f"cannot write the log folder {folder}: {error.strerror}{place}; choose another with --log_root FOLDER"
