"""Measures a task under random actions: speed, memory, time to create, and where the time of a step goes.

    python scripts/benchmark.py --num_envs 256 1024 4096 --steps 200 env.scene.env_spacing=1.0

Each size runs in a process of its own. The speed is measured first, without timers inside the step; a second run with
timers gives the shares. ``physics`` is writing to the engine, stepping it and reading its state back.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import time
from collections import defaultdict
from pathlib import Path

from sapg_isaaclab.commands import apart, cli, places, task_config
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.files import write_atomically

PHASES = {
    "_pre_physics_step": "actions",
    "_apply_action": "actions",
    "_get_dones": "rewards",
    "_get_rewards": "rewards",
    "_reset_idx": "resets",
    "_get_observations": "observations",
}


def measure(args: argparse.Namespace, num_envs: int) -> dict:
    """Make the task and step it; returns the figures of one size."""
    import gymnasium as gym
    import torch

    task = task_config.check_task(args.task)
    started = time.perf_counter()
    cfg, _ = task_config.resolve_configs(task, args.tokens)
    cfg.scene.num_envs, cfg.seed, cfg.sim.device = num_envs, args.seed, args.device or cfg.sim.device
    env = gym.make(task, cfg=cfg).unwrapped
    env.reset()
    create_s = time.perf_counter() - started

    def synchronize() -> None:
        if "cuda" in env.device:
            torch.cuda.synchronize()

    def run(steps: int) -> tuple[float, float]:
        synchronize()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(steps):
            env.step(2.0 * torch.rand(env.action_space.shape, device=env.device) - 1.0)
        synchronize()
        return time.perf_counter() - wall, time.process_time() - cpu

    run(args.warmup)
    wall, cpu = run(args.steps)

    spent: dict[str, float] = defaultdict(float)
    within = [0.0]  # for each call under way, the time of the timed calls inside it

    def timed(owner: object, name: str, phase: str) -> None:
        inner = getattr(owner, name)

        def call(*values: object, **named: object) -> object:
            synchronize()
            begin = time.perf_counter()
            within.append(0.0)
            result = inner(*values, **named)
            synchronize()
            duration = time.perf_counter() - begin
            spent[phase] += duration - within.pop()
            within[-1] += duration
            return result

        setattr(owner, name, call)

    for owner, name in ((env.sim, "step"), (env.scene, "update"), (env.scene, "write_data_to_sim")):
        timed(owner, name, "physics")
    if "OvPhysx" in type(env.cfg.sim.physics).__name__:
        from ovphysx.api import TensorBinding

        # Isaac Lab reads most of the engine's state when it is first asked for, in the middle of other phases
        timed(TensorBinding, "read", "physics")
    for name, phase in PHASES.items():
        timed(env, name, phase)
    timed_wall, _ = run(args.steps)
    env.close()

    share = {phase: value / timed_wall for phase, value in spent.items()}
    share["host framework"] = 1.0 - sum(share.values())
    return {
        "num_envs": num_envs,
        "env_steps_per_s": num_envs * args.steps / wall,
        "env_steps_per_cpu_s": num_envs * args.steps / cpu,
        "torch_threads": torch.get_num_threads(),
        "create_s": create_s,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "outside_physics": 1.0 - share["physics"],
        "share": share,
        "load_average": os.getloadavg()[0],
    }


def main(argv: list[str] | None = None) -> int:
    """Parse, measure every size, print its figures.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_benchmark, argv)


def _benchmark(argv: list[str] | None) -> int:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="SAPG-Allegro-Reorient", help="task id (default: %(default)s)")
    parser.add_argument(
        "tokens", nargs="*", metavar="env.X=VALUE", help="options of the task, also physics=NAME and presets=NAME"
    )
    parser.add_argument("--num_envs", type=cli.positive, nargs="+", default=[256, 1024, 4096], metavar="N",
                        help="numbers of environments to measure (default: 256 1024 4096)")  # fmt: skip
    parser.add_argument(
        "--steps", type=cli.positive, default=200, help="steps of each of the two runs (default: %(default)s)"
    )
    parser.add_argument("--warmup", type=int, default=20, help="steps before them (default: %(default)s)")
    parser.add_argument("--device", help="cpu or cuda:0 (default: the GPU where there is one)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: %(default)s)")
    parser.add_argument("--json", type=cli.path, metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    for token in args.tokens:
        if not re.match(r"(env\.\w.*|physics|presets)=", token):
            raise InputError(f"{token!r} is not understood; allowed are env.X=VALUE, physics=NAME and presets=NAME")
    if args.json:
        places.check_file(Path(args.json), "--json")
    task = task_config.check_task(args.task)

    print(f"{' '.join([task, *args.tokens])}: {args.steps} steps, random actions")
    results = []
    for num_envs in args.num_envs:
        row = apart.call(measure, args, num_envs)
        results.append(row)
        phases = ", ".join(f"{phase} {value:.1%}" for phase, value in sorted(row["share"].items()))
        print(
            f"{num_envs} envs: {row['env_steps_per_s']:.0f} env-steps/s, {row['env_steps_per_cpu_s']:.0f} per"
            f" CPU-second, created in {row['create_s']:.1f} s, peak {row['peak_rss_gb']:.2f} GB,"
            f" {row['outside_physics']:.1%} of a step outside physics ({phases}), load {row['load_average']:.1f}",
            flush=True,
        )
    if args.json:
        write_atomically(Path(args.json), json.dumps(results, indent=2) + "\n")
    return 0
