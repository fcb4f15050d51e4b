"""Runs the same scripted motion on two physics engines and prints how far joints and objects drift apart.

    python scripts/compare_engines.py --task SAPG-Allegro-Reorient

Both start from the same random states (same seed) and get the same smooth actions: joints swing gently about where they
start, without pushes on the object. Each engine runs in a process of its own. Environments whose episode ended on
either engine are left out from then on.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from sapg_isaaclab.commands import apart, cli, places, task_config
from sapg_isaaclab.runs.files import write_atomically

AMPLITUDE = 0.2
"""Amplitude of the hand's actions about the one that holds the first pose."""

ARM_AMPLITUDE = 0.05
"""Amplitude of an arm's actions: 0.5 rad/s where they are velocities, 0.15 rad where they are targets."""


def roll_out(args: argparse.Namespace, physics: str) -> tuple[float, np.ndarray]:
    """Move on one engine.

    Args:
        args: Parsed arguments.
        physics: The engine.

    Returns:
        Length of a step [s] and the states, shape (steps + 1, N, J + 8): joint positions [rad], position [m] and
        orientation (xyzw) of the object, and whether the episode goes on.
    """
    import gymnasium as gym
    import torch
    from isaaclab_tasks.utils import parse_env_cfg

    torch.set_num_threads(1)
    task = task_config.check_task(args.task)
    cfg = parse_env_cfg(task, device="cpu", num_envs=args.num_envs, overrides=[f"physics={physics}"])
    cfg.seed = args.seed
    if hasattr(cfg, "force_scale"):
        cfg.force_scale = 0.0
    env = gym.make(task, cfg=cfg).unwrapped
    env.reset()
    body, robots = env.scene["object"].data, [env.scene[name] for name in getattr(cfg, "arms", ("robot",))]

    def of_robots(quantity: str, joints: list[str]) -> torch.Tensor:
        """Columns of all robots, one robot after the other."""
        columns = [[robot.joint_names.index(name) for name in joints] for robot in robots]
        parts = [getattr(robot.data, quantity).torch[:, own] for robot, own in zip(robots, columns)]
        return torch.cat(parts, dim=1)

    driven = getattr(cfg, "actuated_joint_names", cfg.joint_names)
    lower, upper = of_robots("joint_limits", driven).unbind(-1)
    hold = (2.0 * of_robots("joint_pos", driven) - lower - upper) / (upper - lower)
    amplitude = torch.full((cfg.action_space,), AMPLITUDE)
    arm = slice(getattr(cfg, "num_arm_joints", 0))
    amplitude.view(len(robots), -1)[:, arm] = ARM_AMPLITUDE
    if getattr(cfg, "arm_mode", None) == "velocity":
        hold[:, arm] = 0.0
    phase = 2.4 * torch.arange(cfg.action_space)  # the golden angle: no two joints move alike
    alive = torch.ones(args.num_envs, dtype=torch.bool)
    states = []
    for step in range(round(args.seconds / env.step_dt) + 1):
        if step > 0:
            angle = 2.0 * math.pi * step * env.step_dt + phase
            _, _, terminated, truncated, _ = env.step(hold + amplitude * (angle.sin() - phase.sin()))
            alive &= ~(terminated | truncated)
        pos = body.root_pos_w.torch - env.scene.env_origins
        parts = (of_robots("joint_pos", cfg.joint_names), pos, body.root_quat_w.torch, alive.unsqueeze(-1))
        states.append(torch.cat([part.float() for part in parts], dim=-1))
    result = env.step_dt, torch.stack(states).numpy()
    env.close()
    return result


def difference(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How far two states are apart.

    Args:
        first: Of shape (N, J + 8), as :func:`roll_out` returns them.
        second: The same on another engine.

    Returns:
        Figures by name, over the environments whose episode goes on in both.
    """
    both = (first[:, -1] > 0) & (second[:, -1] > 0)
    ended = {"ended_first": int((first[:, -1] == 0).sum()), "ended_second": int((second[:, -1] == 0).sum())}
    first, second = first[both], second[both]
    joints = np.abs(first[:, :-8] - second[:, :-8])
    positions = np.linalg.norm(first[:, -8:-5] - second[:, -8:-5], axis=-1)
    dot = np.abs((first[:, -5:-1] * second[:, -5:-1]).sum(-1)).clip(max=1.0)
    if not both.any():
        return ended
    return {
        **ended,
        "joints_mean_rad": float(joints.mean()),
        "joints_max_rad": float(joints.max()),
        "object_median_m": float(np.median(positions)),
        "object_max_m": float(positions.max()),
        "rotation_median_rad": float(np.median(2.0 * np.arccos(dot))),
    }


def main(argv: list[str] | None = None) -> int:
    """Parse, run both engines, print the differences.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_compare, argv)


def _compare(argv: list[str] | None) -> int:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="SAPG-Allegro-Reorient", help="task id")
    parser.add_argument("--physics", nargs=2, default=["ovphysx", "newton_mjwarp"], help="the two engines")
    parser.add_argument("--num_envs", type=cli.positive, default=4)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of the motion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=cli.path, metavar="FILE", help="also write the figures here")
    args = parser.parse_args(argv)
    task = task_config.check_task(args.task)
    figures = Path(args.json) if args.json else None
    if figures is not None:
        places.check_file(figures, "--json")

    (step_dt, first), (_, second) = (apart.call(roll_out, args, physics) for physics in args.physics)
    print(f"{task}, {args.physics[0]} against {args.physics[1]}, {args.num_envs} environments")
    rows = {}
    for time in (0.0, 0.25 * args.seconds, 0.5 * args.seconds, args.seconds):
        step = round(time / step_dt)
        rows[f"{time:g}"] = row = difference(first[step], second[step])
        print(f"{time:5.2f} s: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
    if figures is not None:
        write_atomically(figures, json.dumps(rows, indent=2) + "\n")
    return 0
