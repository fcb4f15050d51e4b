"""Train SAPG, or one of its baselines, on a task.

Example::

    ./isaaclab.sh -p scripts/train.py --task SAPG-Allegro-Reorient
    ./isaaclab.sh -p scripts/train.py --task SAPG-Allegro-Reorient --resume latest
"""

from __future__ import annotations

import argparse
import contextlib
import sys

import sapg_isaaclab  # noqa: F401  registers the tasks
from sapg_isaaclab.training import cli


def main(argv: list[str] | None = None) -> int:
    """Train.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_train, argv)


def _parse(argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    from sapg_isaaclab.training.job import DEFAULT_ITERATIONS
    from sapg_isaaclab.training.metrics import LOGGERS
    from sapg_isaaclab.training.task_config import ALGORITHMS

    parser = cli.parser("Train SAPG or a baseline on a task. Ctrl-C ends the iteration and leaves a checkpoint.")
    add = parser.add_argument
    add("--algorithm", choices=ALGORITHMS, help="sapg (default), ppo, dexpbt or pql")
    add("--max_iterations", type=int, help=f"total number of iterations, also after a resume ({DEFAULT_ITERATIONS})")
    add("--resume", metavar="latest|best|PATH", help="go on with a run, in its own folder, exactly where it was")
    add("--init_from", metavar="latest|best|PATH", help="start a new run from the policy of a checkpoint")
    add("--logger", choices=LOGGERS, help="where curves go besides metrics.jsonl; wandb is beside tensorboard")
    add("--checkpoint_interval", type=int, help="iterations between checkpoints (50)")
    add("--checkpoint_minutes", type=float, help="longest time without a checkpoint, in minutes (15)")
    add("--keep_checkpoints", type=int, help="number of newest checkpoints kept beside the best (5; 0 keeps all)")
    return cli.parse(parser, argv)


def _train(argv: list[str] | None) -> int:
    args, tokens = _parse(argv)
    from sapg_isaaclab.training import job as jobs

    job = jobs.plan(args, tokens)
    if job.resume is not None and job.resume["iteration"] >= job.trainer_cfg.max_iterations:
        print(
            f"nothing to do: the run has {job.resume['iteration']} iterations and --max_iterations"
            f" {job.trainer_cfg.max_iterations} is the total; ask for more to go on ({job.run.path})"
        )
        return 0
    with cli.launched(job.env_cfg, args), contextlib.ExitStack() as cleanup:
        return _run(job, cleanup)


def _run(job, cleanup: contextlib.ExitStack) -> int:
    from sapg_isaaclab.training import checkpoint, metrics, session
    from sapg_isaaclab.training.trainer import Trainer

    physics = type(job.env_cfg.sim.physics).__name__.removesuffix("Cfg")
    env = session.make_env(job.task, job.env_cfg, job.seed)
    cleanup.callback(env.close)
    agent = session.make_agent(env, job.agent_cfg)
    run = job.open_run()
    trainer = Trainer(env, agent, run, job.trainer_cfg, job.description)
    if job.init is not None:
        session.load_into(agent.load_policy, job.init["agent"], "--init_from")
    if job.resume is not None:
        session.load_into(trainer.restore, job.resume, "--resume")
        best = job.resume["best"]
        moved = checkpoint.rewind(run, trainer.iteration, best["iteration"] if best else None)
        dropped = metrics.rewind(run, trainer.iteration)
        print(f"resuming after iteration {trainer.iteration} ({trainer.env_steps:,} env-steps)")
        if moved or dropped:
            print(f"  set aside: {len(moved)} later checkpoints, {dropped} later rows of metrics.jsonl")
    rows = {
        "task": job.task,
        "algorithm": job.description["algorithm"],
        "physics": physics,
        "seed": job.description["seed"],
    }
    print(session.summary(env, agent, {**rows, "run folder": run.path}), flush=True)
    stopped_by = trainer.train()
    state = f"stopped by {stopped_by}" if stopped_by else "finished"
    print(f"{state} after iteration {trainer.iteration}; checkpoint: {checkpoint.latest(run)}")
    if stopped_by:
        print(f"go on with: --resume {run.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
