"""One training run of the study: from algorithm, environment, size and seed to a run folder with a return."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import yaml
from skrl.utils import set_seed

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.agents.sapg.presets import ABLATIONS, CPO
from sapg_isaaclab.errors import one_line
from sapg_isaaclab.experiments.references import whole_episodes
from sapg_isaaclab.experiments.study_envs import ENVS
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs
from sapg_isaaclab.runs.statistics import summary
from sapg_isaaclab.training import session
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg

MINI_BATCH_SIZE = 1536
"""Rows of the fixed minibatches: what the growing ones, 4 N, have at the smallest size of the study, N = 384."""

_SHARED = {"hidden_sizes": (32, 32), "rewards_scale": 0.1}
_REPLAY = {"batch_size": 512, "replay_size": 200_000, "learning_rate": 2e-3}
_small = functools.partial(SapgCfg, **_SHARED)
_DISCRIMINATOR = {"adversarial_scale": 1e-3, "adversarial_hidden_sizes": (32, 32)}

ALGORITHMS: dict[str, Callable[..., Any]] = {
    "sapg": _small,
    "sapg_no_off_policy": functools.partial(_small, **ABLATIONS["no_off_policy"]),
    "sapg_separate": functools.partial(_small, separate=True),
    "sapg_fixed_minibatch": functools.partial(_small, mini_batch_size=MINI_BATCH_SIZE),
    "sapg_double_minibatches": functools.partial(_small, **CPO["sapg_double_minibatches"]),
    "cpo": functools.partial(_small, **CPO["cpo"], **_DISCRIMINATOR),
    "ppo": functools.partial(_small, **ABLATIONS["ppo"]),
    "ppo_fixed_minibatch": functools.partial(_small, num_blocks=1, mini_batch_size=MINI_BATCH_SIZE),
    "epo": functools.partial(
        _small, num_blocks=16, evolution_interval=24_576, evolution_start=49_152, evolution_noise=0.1
    ),
    "dexpbt": functools.partial(
        DexPbtCfg, **_SHARED, interval=8_192, start_after=8_192, initial_delay=16_384, mutation_rate=0.3
    ),
    "pql": functools.partial(PqlCfg, **_SHARED, **_REPLAY),
    "pql_d": functools.partial(PqlCfg, **_SHARED, **_REPLAY, critic="distributional", value_range=(-1.0, 4.0)),
}
"""Makers of an agent's configuration by name: the algorithm's defaults with networks, rewards, intervals and replay of
a size that suits a few hundred environments and ten thousands of steps."""


def typed(options: Iterable[str]) -> dict[str, Any]:
    """Options of an agent as they are typed.

    Args:
        options: ``agent.NAME=VALUE``.

    Returns:
        Values by name: numbers, lists, true, false and null as they are, anything else as text.

    Raises:
        ValueError: If one is of another form.
    """
    changes = {}
    for text in options:
        name, equals, value = text.removeprefix("agent.").partition("=")
        if not text.startswith("agent.") or not equals:
            raise ValueError(f"{text} is not understood; options are agent.NAME=VALUE")
        changes[name] = value
        with contextlib.suppress(ValueError):
            changes[name] = json.loads(value)
    return changes


@dataclasses.dataclass(frozen=True)
class Setting:
    """What decides a run."""

    env: str
    """Name of the environment."""

    algorithm: str
    """Name of the algorithm."""

    num_envs: int
    """Number of environments N."""

    seed: int
    """Seed of everything random."""

    iterations: int
    """Number of updates, each after T steps of all environments."""

    options: tuple[str, ...] = ()
    """Options of the agent as they are typed: ``agent.NAME=VALUE``."""

    dump_states: int = 0
    """Visited states that are kept of each policy."""

    def agent_cfg(self) -> Any:
        """Configuration of the agent.

        Returns:
            A new one.

        Raises:
            ValueError: If there is no such option, or one does not suit the others or the number of environments.
        """
        changes = typed(self.options)
        try:
            cfg = ALGORITHMS[self.algorithm](**changes, seed=self.seed)
        except TypeError as error:
            raise ValueError(f"{self.algorithm} has no such option: {one_line(error)}") from error
        cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
        cfg.check(self.num_envs)
        return cfg

    def description(self) -> dict[str, Any]:
        """Everything by which a finished run is known again, as plain values."""
        content = {**dataclasses.asdict(self), "agent": dataclasses.asdict(self.agent_cfg())}
        return json.loads(json.dumps(content, default=str))


def finished(setting: Setting, log_root: pathlib.Path) -> RunFolder | None:
    """Look for a run that has been done already.

    Args:
        setting: What to look for.
        log_root: Folder of all runs.

    Returns:
        Its folder, or None if there is none that was trained to the end with the same options.
    """
    for run in find_runs(log_root, _experiment(setting)):
        same = run.manifest().get("study") == setting.description()
        if same and metrics.read(run)[-1]["iteration"] == setting.iterations:
            return run
    return None


def train(setting: Setting, log_root: pathlib.Path, resume: RunFolder | None = None) -> RunFolder:
    """Train once, on one thread.

    The means of ``metrics.jsonl`` run over the newest episodes, as many of full length as end in a tenth of the
    training, so that the last row speaks of its last tenth at every size.

    Args:
        setting: What to train.
        log_root: Folder of all runs.
        resume: A stopped run of this setting to go on with; a new one by default.

    Returns:
        The run folder; what training prints is in its ``log.txt``.

    Raises:
        KeyboardInterrupt: If the run was told to stop; it can go on from where it was.
    """
    torch.set_num_threads(1)
    set_seed(setting.seed)
    env = ENVS[setting.env](setting.num_envs, seed=setting.seed)
    cfg = setting.agent_cfg()
    agent = build_agent(env, cfg)
    run = resume or _new_run(setting, log_root)
    loop = TrainerCfg(
        max_iterations=setting.iterations,
        checkpoint_interval=setting.iterations,
        dump_states=setting.dump_states,
    )
    description = {
        "task": setting.env,
        "algorithm": setting.algorithm,
        "num_envs": setting.num_envs,
        "seed": setting.seed,
        "study": setting.description(),
    }
    trainer = Trainer(env, agent, run, loop, description)
    last_tenth = max(1, setting.iterations // 10) * cfg.rollouts
    trainer.episodes.window = max(1, agent.layout.block_size * last_tenth // env.episode_length)
    if resume is not None:
        saved = checkpoint.load(checkpoint.latest(resume))
        trainer.restore(saved)
        session.rewind(run, saved)
    with open(run.path / "log.txt", "a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        stopped = trainer.train()
    if stopped:
        raise KeyboardInterrupt(stopped)
    return run


def _new_run(setting: Setting, log_root: pathlib.Path) -> RunFolder:
    description = setting.description()
    params = {"env": {"name": setting.env, "num_envs": setting.num_envs, "seed": setting.seed}}
    params["agent"] = description["agent"]
    manifest = {
        "task": setting.env,
        "algorithm": setting.algorithm,
        "num_envs": setting.num_envs,
        "seed": setting.seed,
        "overrides": list(setting.options),
        "trainer": {"max_iterations": setting.iterations, "dump_states": setting.dump_states},
        "study": description,
    }
    texts = {key: yaml.safe_dump(value) for key, value in params.items()}
    return RunFolder.create(log_root, _experiment(setting), manifest, texts)


def setting_of(run: RunFolder) -> Setting:
    """What decided a run.

    Args:
        run: Its folder.

    Returns:
        The setting.

    Raises:
        ValueError: If it is no run of a point environment.
    """
    names = [field.name for field in dataclasses.fields(Setting)]
    study = run.manifest().get("study")
    if not isinstance(study, dict) or any(name not in study for name in names):
        raise ValueError(f"{run.path} is no run of this version's scripts/study.py")
    return Setting(**{**{name: study[name] for name in names}, "options": tuple(study["options"])})


def evaluate(run: RunFolder, episodes: int, seed: int) -> dict[str, Any]:
    """Play the leader of a run, with sampled actions, on fresh episodes.

    Args:
        run: The run folder.
        episodes: Number of episodes, one in each of as many environments.
        seed: Seed of the environments and the actions.

    Returns:
        Plain values: statistics of ``return`` and ``successes``, every episode in ``episodes``, and whose they are.

    Raises:
        ValueError: If it is no run of a point environment, or its checkpoint cannot be read.
    """
    setting, saved = setting_of(run), checkpoint.load(checkpoint.latest(run))
    torch.set_num_threads(1)
    set_seed(seed)
    env = ENVS[setting.env](episodes, seed=seed)
    agent = build_agent(env, setting.agent_cfg(), with_memory=False)
    agent.init()
    agent.load_policy(saved["agent"])
    agent.enable_training_mode(False)
    player = agent.player(saved["blocks"]["leader"], deterministic=False)
    returns, successes = whole_episodes(env, player, env.reset()[0])
    figures = {"return": returns.tolist(), "successes": successes.tolist()}
    return {
        "task": setting.env,
        "iteration": saved["iteration"],
        "env_steps": saved["env_steps"],
        "block": saved["blocks"]["leader"],
        "actions": "stochastic",
        "num_episodes": episodes,
        "seed": seed,
        **{name: summary(values) for name, values in figures.items()},
        "episodes": figures,
    }


def train_all(
    settings: list[Setting], log_root: pathlib.Path, jobs: int = 1
) -> Iterator[tuple[Setting, RunFolder, bool]]:
    """Train whatever has not been trained yet.

    Args:
        settings: What to train.
        log_root: Folder of all runs.
        jobs: Number of processes at a time.

    Yields:
        Setting, run folder and whether it had been there before, in the order in which they are done.

    Raises:
        KeyboardInterrupt: If it was told to stop; what is finished stays.
    """
    missing = []
    for setting in settings:
        run = finished(setting, log_root)
        if run is None:
            missing.append(setting)
        else:
            yield setting, run, True
    if jobs == 1:
        for setting in missing:
            yield setting, train(setting, log_root), False
        return
    pool = concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        futures = {pool.submit(train, setting, log_root): setting for setting in missing}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result(), False
    finally:
        pool.shutdown(cancel_futures=True)


def outcome(run: RunFolder) -> dict[str, Any]:
    """What a finished run has come to.

    Args:
        run: The run folder.

    Returns:
        Over the last tenth of training, with sampled actions: ``return`` and ``successes`` (share of episodes) of the
        leader, ``block_returns`` of all policies (of more than 16 the lowest, the median and the highest). Besides
        ``peak_successes``, the leader's highest at any time, which tells a goal that was never found from one that was
        lost again, ``env_steps`` and ``wall_time_s``.
    """
    rows = metrics.read(run)
    row = rows[-1]
    blocks = [value for tag, value in row.items() if re.fullmatch(r"Block_\d+/return|Blocks/return_\w+", tag)]
    return {
        "return": row["Leader/return"],
        "successes": row["Leader/successes"],
        "peak_successes": max(past.get("Leader/successes", 0.0) for past in rows),
        "block_returns": blocks or [row["Leader/return"]],
        "env_steps": row["env_steps"],
        "wall_time_s": row["Perf/wall_time_s"],
    }


def _experiment(setting: Setting) -> str:
    return f"{setting.env}_{setting.algorithm}_{setting.num_envs}_seed{setting.seed}"
