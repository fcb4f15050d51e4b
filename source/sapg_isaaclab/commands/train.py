"""Train SAPG, or one of its baselines, on a task.

Example::

    ./isaaclab.sh -p scripts/train.py --task SAPG-Allegro-Reorient
    ./isaaclab.sh -p scripts/train.py --task SAPG-Allegro-Reorient --resume latest
    torchrun --standalone --nproc_per_node=2 scripts/train.py --task SAPG-Allegro-Reorient --distributed
"""

from __future__ import annotations

import argparse
import contextlib
import shlex

from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.commands import cli, experiment, filming, task_config
from sapg_isaaclab.commands.early import DEFAULT_ITERATIONS
from sapg_isaaclab.runs.metrics import LOGGERS


def main(argv: list[str] | None = None) -> int:
    """Train.

    Args:
        argv: Arguments without the program's name. Those of the process by default.

    Returns:
        Exit code.
    """
    return cli.run_command(_train, argv, needs_reader=False)


def _parser() -> cli.Parser:
    parser = cli.parser("Train SAPG or a baseline on a task. Ctrl-C ends the iteration and leaves a checkpoint.")
    add = parser.add_argument
    add("--algorithm", choices=ALGORITHMS, help="how to learn (sapg)")
    add("--max_iterations", type=int, help=f"total number of iterations, also after a resume ({DEFAULT_ITERATIONS})")
    add("--resume", metavar="latest|best|PATH", help="go on with a run, in its own folder, exactly where it was")
    add("--init_from", metavar="latest|best|pretrained|PATH", help="start a new run from the policy of a checkpoint")
    add("--distributed", action="store_true", help="train on all processes that torchrun started (docs/cluster.md)")
    add("--logger", choices=LOGGERS, help="where curves go besides metrics.jsonl; wandb is beside tensorboard")
    add("--checkpoint_interval", type=int, help="iterations between checkpoints (50)")
    add("--checkpoint_minutes", type=float, help="longest time without a checkpoint, in minutes (15)")
    add("--keep_checkpoints", type=int, help="number of newest checkpoints kept beside the best (5; 0 keeps all)")
    add("--initial_steps", choices=("zero", "random", "blocks"),
        help="where in their first episodes environments begin: 0, random, or alike in every block (zero)")  # fmt: skip
    add("--dump_states", type=int, nargs="?", const=2048, metavar="K",
        help="keep K (2048) random visited states of each policy in states.npz; 0 keeps none")  # fmt: skip
    filming.add_arguments(parser)
    experiment.add_arguments(parser)
    return parser


def _check(args: argparse.Namespace, tokens: list[str]) -> None:
    filming.check_early(args)
    if not args.resume and not args.task:
        task_config.check_task(None)
    experiment.take(argparse.Namespace(**vars(args)), tokens)


def _train(argv: list[str] | None) -> int:
    cli.check_early(_parser(), argv, _check)
    from sapg_isaaclab.training import distributed

    with distributed.joined() as ranks:
        with distributed.all_or_none(ranks):
            args, tokens = cli.parse(_parser(), argv, _check)
            from sapg_isaaclab.commands import job as jobs

            job = jobs.plan(args, tokens, ranks)
            is_filmed = job.trainer_cfg.video and ranks.is_main
            if is_filmed:
                filming.prepare(job.env_cfg)
        distributed.require_same(ranks, job.shared())
        say = print if ranks.is_main else lambda *_, **__: None
        if job.resume is not None and job.resume["iteration"] >= job.trainer_cfg.max_iterations:
            say(
                f"nothing to do: the run has {job.resume['iteration']} iterations and --max_iterations"
                f" {job.trainer_cfg.max_iterations} is the total; ask for more to go on ({job.run.path})"
            )
            return 0
        with cli.launched(job.env_cfg, args), contextlib.ExitStack() as cleanup:
            return _run(job, ranks, say, cleanup, is_filmed)


def _run(job, ranks, say, cleanup: contextlib.ExitStack, is_filmed: bool) -> int:
    from sapg_isaaclab.agents.saving import load_into
    from sapg_isaaclab.runs import checkpoint
    from sapg_isaaclab.training import distributed, session
    from sapg_isaaclab.training.trainer import Trainer

    physics = type(job.env_cfg.sim.physics).__name__.removesuffix("Cfg")
    with distributed.all_or_none(ranks):
        env = session.make_env(job.task, job.env_cfg, ranks.seed(job.seed))
        cleanup.callback(env.close)
        if is_filmed:
            filming.check_drawing(env)
        agent = session.make_agent(env, job.agent_cfg)
        run = job.open_run() if ranks.is_main else None
        if run is not None:
            cleanup.enter_context(run.dropped_if_nothing_came_of_it())
        if job.init is not None:
            load_into(agent.load_policy, job.init["agent"], "--init_from")
    clips = filming.clips(env, agent, run, job.trainer_cfg) if is_filmed else None
    trainer = Trainer(env, agent, run, job.trainer_cfg, job.description, clips)
    with distributed.all_or_none(ranks):
        if job.resume is not None:
            instead = "start a new run from its policy with --init_from"
            load_into(trainer.restore, job.resume, "--resume", instead=instead)
            say(f"resuming after iteration {trainer.iteration} ({trainer.env_steps:,} env-steps)")
        if job.resume is not None and ranks.is_main:
            moved, dropped = session.rewind(run, job.resume)
            if moved or dropped:
                print(f"  set aside: {moved} later checkpoints, {dropped} later rows of metrics.jsonl")
    rows = {
        "task": job.task,
        "algorithm": job.description["algorithm"],
        "physics": physics,
        "seed": job.description["seed"],
    }
    if ranks.size > 1:
        rows |= {"ranks": distributed.places(ranks, env.device), "in all": f"{ranks.size * env.num_envs} environments"}
    say(session.summary(env, agent, {**rows, "run folder": run and run.path}), flush=True)
    stopped_by = trainer.train()
    state = f"stopped by {stopped_by}" if stopped_by else "finished"
    if ranks.is_main:
        print(f"{state} after iteration {trainer.iteration}; checkpoint: {checkpoint.latest(run)}")
        if stopped_by:
            print(f"go on with: {cli.sibling('train')} --resume {shlex.quote(str(run.path))}")
        else:
            print(f"next: {cli.sibling('play')} --checkpoint {shlex.quote(str(run.path))}")
    return 0
