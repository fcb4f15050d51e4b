"""One training run of a suite: what decides it, how it is started, and how a run that lies on disk is recognised."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.code_version import code_version
from sapg_isaaclab.runs.run_folder import LIBRARY, MANIFEST, RunFolder, numbered, package_versions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """Everything that decides a run, beside the code."""

    task: str
    """Task id, or name of a point environment."""

    algorithm: str
    """Argument of ``--algorithm``."""

    num_envs: int
    """Number of environments N, of all processes together."""

    seed: int
    """Seed of everything random."""

    iterations: int
    """Number of iterations, each of T steps and an update."""

    rollouts: int
    """Steps T of an iteration."""

    options: tuple[str, ...] = ()
    """Presets and overrides."""

    dump_states: int = 0
    """Visited states that are kept of each policy."""

    ranks: int = 1
    """Number of processes that train together, each with as many environments as any other."""

    point: bool = False
    """Whether the task is a point environment, which needs no simulator."""

    @property
    def env_steps(self) -> int:
        """Environment steps of the whole run."""
        return self.iterations * self.rollouts * self.num_envs

    def __str__(self) -> str:
        """What the run is called on the screen."""
        words = [self.task, self.algorithm, *self.options, f"{self.num_envs} environments", f"seed {self.seed}"]
        words += [f"{self.ranks} ranks"] if self.ranks > 1 else []
        return " ".join(words[:2]) + "".join(f", {word}" for word in words[2:])

    def key(self, *, any_code: bool = False) -> str:
        """What two runs have in common if and only if they are the same experiment.

        Args:
            any_code: Leave out the versions of this code and of its packages.

        Returns:
            Hexadecimal digits.
        """
        described = {
            "task": self.task,
            "algorithm": self.algorithm,
            "num_envs": self.num_envs // self.ranks,
            "ranks": self.ranks,
            "seed": self.seed,
            "overrides": list(self.options),
            "trainer": {"max_iterations": self.iterations, "dump_states": self.dump_states},
            "code": code_version(),
            "packages": package_versions(),
        }
        return _key(described, any_code)

    def train(self, log_root: pathlib.Path, run: RunFolder | None, device: str) -> list[str]:
        """Arguments that train, behind ``python -m sapg_isaaclab`` or, with several ranks, behind torchrun.

        Args:
            log_root: Folder for a new run's.
            run: A run to go on with; None for a new one.
            device: Where to compute.

        Returns:
            The arguments.
        """
        if self.point:
            start = ["study", "train", "--output", str(log_root)]
            if run is not None:
                return [*start, "--resume", str(run.path)]
            sizes = ["--num_envs", str(self.num_envs), "--iterations", str(self.iterations), "--seed", str(self.seed)]
            kept = ["--dump_states", str(self.dump_states)]
            return [*start, "--env", self.task, "--algorithm", self.algorithm, *sizes, *kept, *self.options]
        end = ["--max_iterations", str(self.iterations), "--device", self.device(device)]
        end += ["--distributed"] if self.ranks > 1 else []
        if run is not None:
            return ["train", "--resume", str(run.path), *end]
        return ["train", "--task", self.task, *self.task_options(), *end, "--log_root", str(log_root)]

    def device(self, device: str) -> str:
        """Where to train: on several ranks each takes the GPU of its number.

        Args:
            device: Where a single process would compute.

        Returns:
            Argument of ``--device``.
        """
        return device if self.ranks == 1 else device.partition(":")[0]

    def task_options(self) -> list[str]:
        """Options of ``train`` for a new run, beside the task, its length, the device and the folder.

        Returns:
            The arguments.
        """
        sizes = ["--num_envs", str(self.num_envs // self.ranks), "--seed", str(self.seed)]
        name = ["--run_name", f"{self.algorithm}_seed{self.seed}"]
        kept = ["--dump_states", str(self.dump_states)]
        return ["--algorithm", self.algorithm, *sizes, *name, *kept, *self.options]

    def evaluate(self, run: RunFolder, episodes: int, device: str) -> list[str]:
        """Arguments that evaluate the leader's sampled actions on fresh episodes.

        Args:
            run: The finished run.
            episodes: Number of episodes.
            device: Where to compute.

        Returns:
            The arguments.
        """
        file, seed = str(self.evaluation_file(run, episodes)), str(10_000 + self.seed)
        common = ["--episodes", str(episodes), "--seed", seed, "--output", file]
        if self.point:
            return ["study", "evaluate", "--run", str(run.path), *common]
        checkpoint = str(run.checkpoints / f"agent_{self.iterations}.pt")
        num_envs = str(min(episodes, 100 if device == "cpu" else 1000))
        return [
            "evaluate", "--checkpoint", checkpoint, "--actions", "stochastic", "--num_envs", num_envs,
            "--device", device, *common,
        ]  # fmt: skip

    def evaluation_file(self, run: RunFolder, episodes: int) -> pathlib.Path:
        """Where the evaluation of a run is kept.

        Args:
            run: The run.
            episodes: Number of episodes.

        Returns:
            The file, in the run folder.
        """
        return run.path / f"evaluation_{self.iterations}_{episodes}_episodes.json"


class Found(NamedTuple):
    """What there is of a trial."""

    run: RunFolder | None
    """Its run; None if none was started, or none that left a checkpoint."""

    iteration: int
    """Iteration of its newest checkpoint; 0 without one."""


class Shelf:
    """The runs below some folders, by what decided them."""

    def __init__(self, roots: Iterable[pathlib.Path], *, any_code: bool = False) -> None:
        """Look through the folders once.

        Args:
            roots: Folders of runs; run folders may lie up to four levels below.
            any_code: Take runs of other versions of this code and of its packages for the same.
        """
        self._any_code = any_code
        self._runs: dict[str, list[Found]] = {}
        self._kinds: dict[tuple[Any, ...], list[RunFolder]] = {}
        for path in dict.fromkeys(path for root in roots for path in _manifests(root)):
            run = RunFolder(path.parent)
            manifest, iteration = run.manifest(), newest_iteration(run)
            if iteration:
                self._runs.setdefault(_key(manifest, any_code), []).append(Found(run, iteration))
                ranks = manifest.get("ranks", 1)
                kind = manifest.get("task"), manifest.get("algorithm"), manifest.get("num_envs", 0) * ranks, ranks
                self._kinds.setdefault(kind, []).append(run)

    def find(self, trial: Trial) -> Found:
        """The run of a trial that has come farthest.

        Args:
            trial: The trial.

        Returns:
            The run, if there is one.
        """
        found = self._runs.get(trial.key(any_code=self._any_code), [])
        found = [each for each in found if each.run is not None and _has_all(each.run, trial)]
        return max(found, key=lambda each: each.iteration, default=Found(None, 0))

    def alike(self, task: str, algorithm: str, num_envs: int, ranks: int = 1) -> list[RunFolder]:
        """Runs whose speed is that of a trial, whatever their seed, options and length.

        Args:
            task: Task of the trial.
            algorithm: Its algorithm.
            num_envs: Its number of environments.
            ranks: Its number of processes.

        Returns:
            The runs.
        """
        return self._kinds.get((task, algorithm, num_envs, ranks), [])


def newest_iteration(run: RunFolder) -> int:
    """Iteration of a run's newest checkpoint.

    Args:
        run: The run.

    Returns:
        The number; 0 without a checkpoint.
    """
    return max(numbered(run), default=0)


def expand_seeds(texts: list[str]) -> list[int]:
    """Seeds as they are typed.

    Args:
        texts: Numbers, and ranges such as ``1..5``.

    Returns:
        The numbers.

    Raises:
        InputError: If one is neither.
    """
    seeds = []
    for text in texts:
        first, dots, last = text.partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()) or (dots and int(last) < int(first)):
            raise InputError(f"--seeds {text} is not allowed; use numbers or a range, such as 1 2 3 or 1..5")
        seeds += range(int(first), int(last if dots else first) + 1)
    return seeds


def _manifests(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for depth in range(5) for path in root.glob(f"{'*/' * depth}{MANIFEST}"))


def _key(described: dict[str, Any], any_code: bool) -> str:
    names = ("task", "algorithm", "num_envs", "seed", *(() if any_code else ("code", "packages")))
    content = {name: described.get(name) for name in names}
    content["ranks"] = described.get("ranks", 1)
    content["overrides"] = sorted(described.get("overrides") or [])
    trainer = described.get("trainer") or {}
    content["iterations"], content["dump_states"] = trainer.get("max_iterations"), trainer.get("dump_states") or 0
    content["initial_steps"] = trainer.get("initial_steps", "zero")
    content["init_from"] = described.get("init_from")
    content["library"] = described.get("library", LIBRARY)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _has_all(run: RunFolder, trial: Trial) -> bool:
    """Whether a run has the trial's number of environments in all: its manifest has that of each rank."""
    try:
        with open(run.metrics_file, encoding="utf-8") as file:
            row = json.loads(file.readline())
        return row["env_steps"] == row["iteration"] * trial.rollouts * trial.num_envs
    except (OSError, ValueError, KeyError):
        return False
