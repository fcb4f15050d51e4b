"""Training the toy task in a process of its own, with the frame of the training command around it.

A process that has imported everything forks one for each start, so that a start takes milliseconds.
"""

import multiprocessing
import os
import pathlib
import random
import time

import numpy
import torch

from sapg_isaaclab import streams
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.saving import load_into
from sapg_isaaclab.commands import cli
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs
from sapg_isaaclab.training import session
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv


class SlowToyEnv(ToyEnv):
    """Steps take a given time, so that there is a moment for whatever shall happen."""

    pause_s = 0.0

    def step(self, actions):
        time.sleep(self.pause_s)
        return super().step(actions)


def train(root, iterations, pause_s=0.0, **options):
    """A run of the toy task, or the rest of it where there is a checkpoint already."""
    torch.set_num_threads(1)
    torch.manual_seed(0), numpy.random.seed(0), random.seed(0)
    env = SlowToyEnv(12, seed=0, episode_length=6)
    env.pause_s = pause_s
    cfg = SapgCfg(num_blocks=3, rollouts=4, hidden_sizes=(16, 16), latent_dim=4, learning_epochs=1)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    earlier = find_runs(root)
    run = earlier[0] if earlier else RunFolder.create(root, "toy", {"task": "Toy"}, {"env": "{}\n", "agent": "{}\n"})
    with run.dropped_if_nothing_came_of_it():
        trainer = Trainer(env, agent, run, TrainerCfg(max_iterations=iterations, **options), {"task": "Toy"})
        if earlier:
            saved = checkpoint.load(checkpoint.latest(run))
            load_into(trainer.restore, saved, "--resume")
            session.rewind(run, saved)
        started = pathlib.Path(root) / f"started.{os.getpid()}"
        (pathlib.Path(root) / "new").write_text(str(trainer.iteration))
        (pathlib.Path(root) / "new").rename(started)
        stopped_by = trainer.train()
    print(f"stopped by {stopped_by}" if stopped_by else "finished", flush=True)
    return 0


def main(root, iterations, prepare=None, **options):
    """What a process does: redirect its output to files in ``root``, do what the test wants, train, and exit."""
    os.makedirs(root, exist_ok=True)
    for descriptor, name in ((1, "out.txt"), (2, "err.txt")):
        file = os.open(os.path.join(root, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    if prepare is not None:
        prepare()
    code = cli.run_command(lambda _: train(root, iterations, **options), [], needs_reader=False)
    streams.flush()
    os._exit(code)


def start(root, iterations, prepare=None, **options):
    """Start training in a process of its own."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    process = server.Process(target=main, args=(str(root), iterations, prepare), kwargs=options)
    process.start()
    return process


def finish(process, timeout_s=180):
    """Wait for the end; the exit code."""
    process.join(timeout_s)
    assert process.exitcode is not None, "still running"
    return process.exitcode


def printed(root, name="out.txt"):
    """What a process wrote."""
    return (pathlib.Path(root) / name).read_text()


def wait_for(condition, process=None, timeout_s=180.0):
    """Wait until something is the case."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        assert process is None or process.is_alive(), "the process has ended"
        time.sleep(0.005)


def wait_for_rows(root, process, rows):
    """Wait until a process that was just started has made so many iterations."""
    started = pathlib.Path(root) / f"started.{process.pid}"
    wait_for(started.exists, process)
    (file,) = pathlib.Path(root).glob("*/*/metrics.jsonl")
    before = int(started.read_text())
    wait_for(lambda: file.read_bytes().count(b"\n") >= before + rows, process)
