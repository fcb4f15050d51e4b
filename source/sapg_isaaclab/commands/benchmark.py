"""Measures a task under random actions: speed, memory, time to create, and where the time of a step goes.

    python scripts/benchmark.py --num_envs 256 1024 4096 --steps 200

Each size runs in a process of its own. The speed is measured first, without timers inside the step; a second run with
timers gives the shares. ``physics`` is writing to the engine, stepping it and reading its state back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import time
from collections import defaultdict
from pathlib import Path

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

    import sapg_isaaclab  # noqa: F401
    from sapg_isaaclab.tasks.make import resolve_env_cfg

    if args.torch_threads:
        torch.set_num_threads(args.torch_threads)
    started = time.perf_counter()
    entry_point = gym.spec(args.task).kwargs["env_cfg_entry_point"]
    choices = {"device": args.device, "physics": args.physics, "seed": args.seed}
    cfg = resolve_env_cfg(None, entry_point, num_envs=num_envs, **choices)
    cfg.physx_threads = args.physx_threads
    env = gym.make(args.task, cfg=cfg).unwrapped
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


def measure_into(args: argparse.Namespace, num_envs: int, queue: multiprocessing.Queue) -> None:
    """Body of a process: measure one size and send the figures."""
    queue.put(measure(args, num_envs))


def main(argv: list[str] | None = None) -> int:
    """Parse, measure every size, print its figures.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="SAPG-Allegro-Reorient", help="task id")
    parser.add_argument("--num_envs", type=int, nargs="+", default=[256, 1024, 4096], help="sizes to measure")
    parser.add_argument("--steps", type=int, default=200, help="environment steps of each of the two runs")
    parser.add_argument("--warmup", type=int, default=20, help="environment steps before them")
    parser.add_argument("--device", default=None, help="cpu or cuda:0; default the GPU where there is one")
    parser.add_argument("--physics", default=None, help="physics preset; default ovphysx")
    parser.add_argument("--physx_threads", type=int, default=None, help="threads of ovphysx; default one for each core")
    parser.add_argument("--torch_threads", type=int, default=None, help="threads of torch; default torch's own choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    args = parser.parse_args(argv)

    print(f"{args.task}, physics {args.physics or 'ovphysx'}, {args.steps} steps, random actions")
    context, results = multiprocessing.get_context("spawn"), []
    for num_envs in args.num_envs:
        queue = context.Queue()
        process = context.Process(target=measure_into, args=(args, num_envs, queue))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"measuring {num_envs} environments failed; see above")
        row = queue.get()
        results.append(row)
        phases = ", ".join(f"{phase} {value:.1%}" for phase, value in sorted(row["share"].items()))
        print(
            f"{num_envs} envs: {row['env_steps_per_s']:.0f} env-steps/s, {row['env_steps_per_cpu_s']:.0f} per"
            f" CPU-second, created in {row['create_s']:.1f} s, peak {row['peak_rss_gb']:.2f} GB,"
            f" {row['outside_physics']:.1%} of a step outside physics ({phases}), load {row['load_average']:.1f}",
            flush=True,
        )
    if args.json:
        write_atomically(args.json, json.dumps(results, indent=2) + "\n")
    return 0
