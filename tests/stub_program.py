"""Stands in for ``python -m sapg_isaaclab``: its ``train`` takes a fraction of a second and can be told to misbehave.

``stub_program.py train --task T --algorithm A --num_envs N --seed S ... --max_iterations K --log_root ROOT`` makes ten
iterations a second with a checkpoint each, whose "return" is a function of task, seed and iteration alone.
"""

import json
import os
import pathlib
import sys
import time

from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training.signals import StopFlag

ROLLOUTS = 8


def value(seed: int, iteration: int) -> float:
    return float(100 * seed + iteration)


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def train() -> int:
    total = int(option("--max_iterations"))
    if "--resume" in sys.argv:
        run = RunFolder(option("--resume"))
        first = len(run.metrics_file.read_text().splitlines())
    else:
        manifest = {
            "task": option("--task"),
            "algorithm": option("--algorithm"),
            "num_envs": int(option("--num_envs")),
            "ranks": int(os.environ.get("WORLD_SIZE", "1")),
            "seed": int(option("--seed")),
            "overrides": [word for word in sys.argv if "=" in word],
            "trainer": {"max_iterations": total},
            "init_from": None,
        }
        run, first = RunFolder.create(option("--log_root"), "stub", manifest, {}), 0
    manifest = run.manifest()
    with StopFlag() as stop, open(run.metrics_file, "a") as file:
        for iteration in range(first + 1, total + 1):
            if stop.requested:
                return 0
            row = {"iteration": iteration, "env_steps": iteration * ROLLOUTS * manifest["num_envs"] * manifest["ranks"],
                   "Leader/return": value(manifest["seed"], iteration), "Perf/env_steps_per_s": 500.0}  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()
            (run.checkpoints / f"agent_{iteration}.pt").touch()
            time.sleep(float(os.environ.get("STUB_STEP_S", "0")))
    return int(manifest["seed"]) if manifest["seed"] == 13 else 0  # the unlucky one fails at its end


def evaluate() -> int:
    mean = 1000.0 + int(option("--seed"))
    figures = {"return": {"mean": mean, "standard_error": 0.5}, "num_episodes": int(option("--episodes"))}
    pathlib.Path(option("--output")).write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    with open(os.environ["STUB_CALLS"], "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\n")
    sys.exit({"train": train, "evaluate": evaluate}[sys.argv[1]]())
