"""What to train: the checked sum of command line, task and, for a resumed run, checkpoint. Creates nothing on disk."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import yaml

from sapg_isaaclab.agents.algorithms import ALGORITHMS
from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.commands import agent_options, compiler, experiment, filming, task_config
from sapg_isaaclab.commands.early import DEFAULT_ITERATIONS
from sapg_isaaclab.errors import InputError, one_line
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder, check_writable, experiment_name
from sapg_isaaclab.training import distributed, session
from sapg_isaaclab.training.trainer import TrainerCfg


@dataclasses.dataclass(kw_only=True)
class Job:
    """One call of ``train``, ready to launch."""

    task: str
    """Task id."""

    env_cfg: Any
    """Configuration of the environment."""

    agent_cfg: Any
    """Configuration of the agent."""

    layout: BlockLayout
    """Which environment of this process belongs to which policy."""

    trainer_cfg: TrainerCfg
    """Options of the training loop."""

    seed: int
    """Seed of everything random."""

    log_root: str
    """Folder of all experiments."""

    description: dict[str, Any]
    """What run.json and every checkpoint say about the run."""

    run_name: str = ""
    """What the name of a new run's folder ends with."""

    resume: dict[str, Any] | None = None
    """Checkpoint to go on from."""

    init: dict[str, Any] | None = None
    """Checkpoint whose policy to start from."""

    run: RunFolder | None = None
    """Folder of the run to go on with; None for a new run."""

    def shared(self) -> dict[str, Any]:
        """What must be the same on all ranks.

        Returns:
            Plain values by name.
        """
        names = ("task", "algorithm", "num_envs", "seed", "overrides", "init_from")
        return {
            **{name: self.description[name] for name in names},
            **self.description["trainer"],
            **{f"agent.{name}": value for name, value in self.description["agent_cfg"].items()},
            "device": self.env_cfg.sim.device.partition(":")[0],
            "iteration": self.resume["iteration"] if self.resume else 0,
        }

    def open_run(self) -> RunFolder:
        """Folder of the run, created now if the run is new.

        Returns:
            The folder.

        Raises:
            InputError: If it cannot be written.
        """
        if self.run is None:
            manifest = {key: value for key, value in self.description.items() if key not in ("params", "agent_cfg")}
            folder = experiment_name(self.task, self.agent_cfg)
            manifest["precision"] = session.precision()
            params = self.description["params"]
            self.run = RunFolder.create(self.log_root, folder, manifest, params, name=self.run_name)
        return self.run


def plan(args: argparse.Namespace, tokens: list[str], ranks: Ranks = ALONE) -> Job:
    """Check the command line of ``train`` and load what it refers to.

    Args:
        args: Parsed arguments.
        tokens: Presets and overrides.
        ranks: This process among all that train together.

    Returns:
        The job.

    Raises:
        InputError: If something cannot be done as asked.
    """
    distributed.check(args, ranks)
    tokens = experiment.take(args, tokens)
    task_config.refuse_contradictions(args, tokens)
    if args.resume and args.init_from:
        raise InputError("--resume goes on with a run, --init_from starts a new one; drop one of them")
    job = _resumed(args, tokens, ranks) if args.resume else _new(args, tokens, ranks)
    filming.check(args, job.trainer_cfg, job.agent_cfg, job.layout)
    if args.distributed:
        algorithm = job.description["algorithm"]
        if not ALGORITHMS[algorithm].several_ranks:
            able = " or ".join(name for name, other in ALGORITHMS.items() if other.several_ranks)
            raise InputError(
                f"--algorithm {algorithm} trains in one process; drop --distributed, or use --algorithm {able}"
            )
        given = args.device or dict(token.split("=", 1) for token in tokens).get("env.sim.device")
        job.env_cfg.sim.device = distributed.device(job.env_cfg.sim.device, given)
    job.env_cfg.seed = job.seed
    if getattr(job.env_cfg, "randomization_seed", 0) is None:
        # the run's, also where it goes on: what was drawn once stays
        job.env_cfg.randomization_seed = ranks.seed(job.description["seed"])
    if getattr(job.agent_cfg, "compile", False):
        compiler.check(str(job.env_cfg.sim.device))
    task_config.check_launch(job.env_cfg, args)
    return job


def _new(args: argparse.Namespace, tokens: list[str], ranks: Ranks) -> Job:
    task = task_config.check_task(args.task)
    algorithm = args.algorithm or "sapg"
    env_cfg, agent_cfg = task_config.resolve_configs(task, tokens, algorithm)
    given = _given(tokens)
    one_block = algorithm == "ppo" and agent_cfg.num_blocks == 1  # presets with one block are PPO already
    if not one_block and not agent_options.chosen_variant(algorithm, tokens):
        for name, value in agent_options.options_of_algorithm(task, algorithm).items():
            if f"agent.{name}" not in given:
                setattr(agent_cfg, name, value)
    agent_cfg.seed = task_config.check_seed(args.seed if args.seed is not None else agent_cfg.seed)
    env_cfg.seed = agent_cfg.seed
    chosen = args.num_envs is not None or "env.scene.num_envs" in given
    _complete(env_cfg, agent_cfg, args.num_envs, args.device, given)
    blocks = agent_cfg.num_blocks
    if not chosen and blocks > 0:
        # the task's own number need not suit every number of blocks; what the user asks for is never changed
        env_cfg.scene.num_envs -= env_cfg.scene.num_envs % blocks
    layout = _divide(env_cfg, agent_cfg, env_cfg.scene.num_envs)
    init = None
    if args.init_from:
        shipped = experiment_name(task, agent_cfg) if args.init_from == "pretrained" else None
        path = checkpoint.resolve(args.init_from, args.log_root, shipped, task=task)
        init = checkpoint.load(path, num_blocks=blocks)
        trained_by = init["algorithm"]
        if trained_by not in ALGORITHMS:
            raise InputError(
                f"--init_from {path} was trained by {trained_by}, which is not among {', '.join(ALGORITHMS)}; name the"
                " module that registers it, as in --task module:ID"
            )
        if ALGORITHMS[trained_by].kind != ALGORITHMS[algorithm].kind:
            raise InputError(f"--init_from {path} was trained by {trained_by}; add --algorithm {trained_by}")
    check_writable(args.log_root, experiment_name(task, agent_cfg))
    trainer_cfg = _trainer_cfg(args, {})
    return Job(
        task=task,
        env_cfg=env_cfg,
        agent_cfg=agent_cfg,
        layout=layout,
        trainer_cfg=trainer_cfg,
        seed=agent_cfg.seed,
        log_root=args.log_root,
        run_name=args.run_name or "",
        init=init,
        description={
            "task": task,
            "task_module": task_config.task_module(args.task),
            "algorithm": algorithm,
            "num_envs": env_cfg.scene.num_envs,
            "ranks": ranks.size,
            "seed": agent_cfg.seed,
            "overrides": tokens,
            "trainer": dataclasses.asdict(trainer_cfg),
            "init_from": str(path) if args.init_from else None,
            "agent_cfg": task_config.plain(agent_cfg),
            "params": {
                "env": _env_yaml(env_cfg),
                "agent": yaml.safe_dump(task_config.plain(agent_cfg), sort_keys=False),
            },
        },
    )


def _resumed(args: argparse.Namespace, tokens: list[str], ranks: Ranks) -> Job:
    if args.run_name:
        raise InputError(
            f"--run_name {args.run_name} names a new run, --resume goes on with an old one; drop --run_name"
        )
    task = task_config.split_task(args.task)[1] if args.task is not None else None
    path = checkpoint.resolve(args.resume, args.log_root, task=task)
    saved = checkpoint.load(path)
    run = checkpoint.run_of(path)
    if run is None:
        raise InputError(f"checkpoint {path} lies in no run folder, so no run can go on; use --init_from {path}")
    task_config.check_resume(args, tokens, saved)
    distributed.check_resume(path, saved, ranks)
    task, env_cfg, agent_cfg = saved_configs(saved)
    _complete(env_cfg, agent_cfg, saved["num_envs"], args.device, _given(saved["overrides"]))
    layout = _divide(env_cfg, agent_cfg, saved["num_envs"])
    check_writable(run.path.parent, run.path.name)
    trainer_cfg = _trainer_cfg(args, saved["trainer"])
    keys = ("algorithm", "num_envs", "seed", "overrides", "init_from", "agent_cfg", "params")
    module = saved.get("task_module")
    return Job(
        task=task,
        env_cfg=env_cfg,
        agent_cfg=agent_cfg,
        layout=layout,
        trainer_cfg=trainer_cfg,
        # other random numbers for the reset than those of the first start; the saved generators follow afterwards
        seed=(saved["seed"] + saved["iteration"]) % 2**32,
        log_root=args.log_root,
        resume=saved,
        run=run,
        description={
            "task": task,
            "task_module": module,
            "ranks": ranks.size,
            **{key: saved[key] for key in keys},
            "trainer": dataclasses.asdict(trainer_cfg),
        },
    )


def saved_configs(saved: dict[str, Any], tokens: list[str] | None = None) -> tuple[str, Any, Any]:
    """Configurations of the run that wrote a checkpoint.

    Args:
        saved: The checkpoint.
        tokens: Further presets and overrides for the environment; they replace those of the run.

    Returns:
        Task id, configuration of the environment and configuration of the agent.

    Raises:
        InputError: If this version of the package lacks the task or an option of the run.
    """
    tokens = tokens or []
    task = task_config.saved_task(saved)
    replaced = _given(tokens)
    kept = [token for token in saved["overrides"] if token.split("=", 1)[0] not in replaced]
    env_cfg, agent_cfg = task_config.resolve_configs(task, kept + tokens, saved["algorithm"])
    fields = {field.name for field in dataclasses.fields(agent_cfg)}
    unknown = sorted(set(saved["agent_cfg"]) - fields)
    if unknown:
        raise InputError(
            f"the checkpoint has options that this version does not know ({', '.join(unknown)}); use the version of"
            " sapg_isaaclab that wrote it (see run.json)"
        )
    group = agent_cfg.experiment
    agent_cfg = type(agent_cfg)(**{**saved["agent_cfg"], "experiment": group})
    group.directory = saved["agent_cfg"]["experiment"]["directory"]
    return task, env_cfg, agent_cfg


def _divide(env_cfg: Any, agent_cfg: Any, num_envs: int) -> BlockLayout:
    """Check the agent's options and let the environment know which of its policies act in it."""
    layout = check_agent(agent_cfg, num_envs)
    if layout.spread.size > 1 and hasattr(env_cfg, "num_blocks"):
        env_cfg.num_blocks, env_cfg.first_block = len(layout.held), layout.held.start
    return layout


def check_agent(agent_cfg: Any, num_envs: int | None) -> BlockLayout:
    """Check an agent's options.

    Args:
        agent_cfg: The options.
        num_envs: Number of environments; None for an agent that only acts.

    Returns:
        Which environment belongs to which policy.

    Raises:
        InputError: If an option is wrong.
    """
    try:
        return agent_cfg.check(num_envs)
    except ValueError as error:
        raise InputError(one_line(error)) from error


def _given(tokens: list[str]) -> set[str]:
    """Names of the options that presets and overrides set."""
    return {token.split("=", 1)[0] for token in tokens}


def _complete(env_cfg: Any, agent_cfg: Any, num_envs: int | None, device: str | None, given: set[str]) -> None:
    env_cfg.scene.num_envs = num_envs if num_envs is not None else env_cfg.scene.num_envs
    env_cfg.sim.device = device if device is not None else env_cfg.sim.device
    if env_cfg.scene.num_envs < 1:
        raise InputError(f"--num_envs {env_cfg.scene.num_envs} is not allowed; it must be at least 1")
    if hasattr(env_cfg, "num_blocks"):
        env_cfg.num_blocks = agent_cfg.num_blocks
    wanted = agent_cfg.timeout_bootstrap == "final_obs"
    if "env.compute_final_obs" not in given and (wanted or hasattr(env_cfg, "compute_final_obs")):
        env_cfg.compute_final_obs = wanted  # nobody else reads them
    if isinstance(agent_cfg, DexPbtCfg) and hasattr(env_cfg, "curriculum") and "env.curriculum.gate" not in given:
        env_cfg.curriculum.gate = "block"  # each learner has a curriculum of its own
    _give_state(env_cfg, agent_cfg, given)
    # skrl's agents would open writers of their own beside ours
    agent_cfg.experiment.write_interval = agent_cfg.experiment.checkpoint_interval = 0
    agent_cfg.experiment.wandb = False


def _give_state(env_cfg: Any, agent_cfg: Any, given: set[str]) -> None:
    """Let the critic see the state of an environment that has one for it (``env.asymmetric``)."""
    asymmetric = getattr(env_cfg, "asymmetric", None)
    if asymmetric:
        if not hasattr(agent_cfg, "critic_input"):
            able = ", ".join(name for name, kind in ALGORITHMS.items() if hasattr(kind.cfg_class(), "critic_input"))
            raise InputError(
                "env.asymmetric=true: this algorithm has no critic that sees more than its policy; drop the option, or"
                f" use --algorithm {able}"
            )
        for name, value in (("critic_input", "states"), ("separate", True)):
            if f"agent.{name}" not in given:
                setattr(agent_cfg, name, value)
    elif asymmetric is False and getattr(agent_cfg, "critic_input", "observations") == "states":
        raise InputError("agent.critic_input=states, but this task gives no state; add env.asymmetric=true")


def _trainer_cfg(args: argparse.Namespace, saved: dict[str, Any]) -> TrainerCfg:
    names = [field.name for field in dataclasses.fields(TrainerCfg)]
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    return TrainerCfg(**{"max_iterations": DEFAULT_ITERATIONS, **saved, **given})


def _env_yaml(env_cfg: Any) -> str:
    from isaaclab.utils import to_dict

    return yaml.dump(to_dict(env_cfg), default_flow_style=False, sort_keys=False)
