"""Export a policy for use outside of training: one ONNX or TorchScript file with its metadata.

Example::

    ./isaaclab.sh -p scripts/export.py
    ./isaaclab.sh -p scripts/export.py --checkpoint best --block 3 --format torchscript --output policy.pt
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from sapg_isaaclab.commands import cli, places, policy_choice
from sapg_isaaclab.errors import InputError

if TYPE_CHECKING:
    from sapg_isaaclab.commands.playing import Replay
    from sapg_isaaclab.deploy.export import Report
    from sapg_isaaclab.deploy.parity import Recording

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}
"""Endings of files by format."""

RECORDED_ENVS = 4
"""Environments that ``--record`` runs where no number is asked for."""


def main(argv: list[str] | None = None) -> int:
    """Export.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_export, argv)


def _export(argv: list[str] | None) -> int:
    parser = cli.parser("Write a policy to one file that runs without a simulator and without the training code.")
    add = parser.add_argument
    add("--checkpoint", default="latest", metavar="latest|best|pretrained|PATH", help="policy (default: %(default)s)")
    add("--block", type=int, help="whose policy (the leader's; DexPBT: that of the best learner)")
    add("--format", choices=SUFFIXES, help="kind of file (default: by the ending of --output, else onnx)")
    add(
        "--output",
        type=cli.path,
        metavar="FILE",
        help="file ending in .onnx or .pt (default: exported/ in the run folder)",
    )
    add("--record", type=int, metavar="STEPS", help="compare file and policy on STEPS steps of the environment")
    parser.set_defaults(actions="deterministic")
    args, tokens = cli.parse(parser, argv, _check)
    from sapg_isaaclab.commands import playing

    file_format = _format(args)
    job = playing.plan(args, tokens, num_envs=RECORDED_ENVS)
    path = _target(args.output, job, file_format)
    report = _write(job, args, path, file_format)
    print(_text(job, report))
    return 0


def _check(args: argparse.Namespace, tokens: list[str]) -> None:
    if args.checkpoint == "none":
        raise InputError("--checkpoint none is an untrained policy, which is not exported; use latest, best or a PATH")
    policy_choice.check(args, tokens)
    _format(args)
    if args.output is not None:
        from sapg_isaaclab.deploy.policy import sidecar

        path = pathlib.Path(args.output)
        for each in (path, sidecar(path)):
            places.check_new_file(each, "--output")


def _write(job: Replay, args: argparse.Namespace, path: pathlib.Path, file_format: Any) -> Report:
    from sapg_isaaclab.deploy.export import export_policy
    from sapg_isaaclab.deploy.restore import restore_agent

    agent = restore_agent(job.saved["agent"], job.agent_cfg, f"checkpoint {job.path}")
    interface = task_interface(job.task, job.env_cfg)
    recording = _record(job, args) if args.record is not None else None
    return export_policy(
        agent,
        path,
        block=job.block,
        file_format=file_format,
        interface=interface,
        training=_training(job),
        recording=recording,
    )


def _record(job: Replay, args: argparse.Namespace) -> Recording:
    from sapg_isaaclab.deploy import parity

    with cli.launched(job.env_cfg, args), contextlib.ExitStack() as cleanup:
        env, player = job.start()
        cleanup.callback(env.close)
        return parity.record(env, player, args.record)


def task_interface(task: str, env_cfg: Any) -> dict[str, Any]:
    """What a task says of itself, without a simulator.

    Args:
        task: Task id.
        env_cfg: Configuration of the environment.

    Returns:
        Plain values: ``task``, ``control_hz`` where the configuration has it, and what the environment's class says in
        a static method ``interface(cfg)``, if it has one.
    """
    described: dict[str, Any] = {"task": task}
    with contextlib.suppress(AttributeError, TypeError):
        described["control_hz"] = 1.0 / (env_cfg.sim.dt * env_cfg.decimation)
    entry_point = gym.spec(task).entry_point
    env_class = gym.envs.registration.load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    describe = getattr(env_class, "interface", None)
    return described | (describe(env_cfg) if callable(describe) else {})


def _training(job: Replay) -> dict[str, Any]:
    """Where the policy comes from."""
    saved, manifest = job.saved, job.run.manifest() if job.run else {}
    keys = ("algorithm", "iteration", "env_steps", "wall_time_s", "num_envs", "seed", "overrides")
    return {
        **{key: saved[key] for key in keys if key in saved},
        "checkpoint": str(job.path.relative_to(job.run.path.parent)) if job.run else job.path.name,
        "versions": saved.get("versions", {}),
        "git": manifest.get("git"),
    }


def _format(args: argparse.Namespace) -> str:
    if args.output is None:
        return args.format or "onnx"
    suffix = pathlib.Path(args.output).suffix
    by_suffix = {ending: name for name, ending in SUFFIXES.items()}
    if suffix not in by_suffix:
        raise InputError(f"--output {args.output} must end in .onnx or .pt (torchscript)")
    if args.format not in (None, by_suffix[suffix]):
        raise InputError(
            f"--output {args.output} and --format {args.format} contradict each other;"
            f" end the name in {SUFFIXES[args.format]}"
        )
    return by_suffix[suffix]


def _target(output: str | None, job: Replay, file_format: str) -> pathlib.Path:
    """The file to write, which does not exist."""
    from sapg_isaaclab.deploy import onnx
    from sapg_isaaclab.deploy.policy import sidecar

    if file_format == "onnx":
        onnx.require()
    if output is not None:
        return pathlib.Path(output)
    own = job.run is not None and os.access(job.run.path, os.W_OK)
    folder = job.run.path / "exported" if own else pathlib.Path("exported")
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InputError(f"cannot write in {folder}; name a file with --output FILE")
    stem = f"{job.path.stem}_block_{job.block}"
    names = (folder / f"{stem}{f'_{count}' if count else ''}{SUFFIXES[file_format]}" for count in range(10_000))
    return next(name for name in names if not name.exists() and not sidecar(name).exists())


def _text(job: Replay, report: Report) -> str:
    metadata, (steps, rows) = report.metadata, report.recording.begins.shape
    name, units = metadata["policy"]["name"], metadata["policy"]["rnn_units"]
    size = report.path.stat().st_size / 1e6
    sizes = f"{metadata['observations']['size']} observations to {metadata['actions']['size']} actions"
    return "\n".join(
        (
            f"{job.task}: {name} of {job.path}"
            f" (iteration {job.saved['iteration']}, {job.saved['env_steps']:,} env-steps)",
            f"  {sizes}{f', LSTM of {units} units' if units else ''}, {size:.2f} MB",
            f"  actions differ from the policy's by at most {report.difference:.1e}"
            f" ({steps} {report.recording.source} steps of {rows} robots)",
            f"  {report.actions_per_second:,.0f} actions per second of one core for one robot",
            f"written: {report.path} and {report.path.name}.json",
            f"use it: from sapg_isaaclab.deploy import load_policy; policy = load_policy({str(report.path)!r})",
        )
    )
