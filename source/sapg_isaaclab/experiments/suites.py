"""The paper's tables and figures as data: which runs, which number of them, and how it is shown.

Everything is a plain value here. To add a suite, a line of one, a task or a scale is to add an entry.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.experiments.trials import Trial


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A task that suites are run on."""

    label: str
    """What a table calls it."""

    number: Literal["return", "successes"]
    """What its paper reports of an episode of the leader."""

    rollouts: int = 8
    """Steps T of an iteration of SAPG, PPO and DexPBT."""

    small_envs: int = 384
    """Environments N at laptop scale."""


TASKS = {
    "SAPG-Allegro-Reorient": Task(label="Allegro hand", number="return"),
    "SAPG-Shadow-Reorient": Task(label="Shadow hand", number="return"),
    "SAPG-AllegroKuka-Regrasp": Task(label="Regrasp", number="successes", rollouts=16, small_envs=192),
    "SAPG-AllegroKuka-Throw": Task(label="Throw", number="successes", rollouts=16, small_envs=192),
    "SAPG-AllegroKuka-Reorient": Task(label="Reorient", number="successes", rollouts=16, small_envs=192),
    "two_hills": Task(label="two_hills", number="return"),
    "two_goals": Task(label="two_goals", number="return"),
    "key_door": Task(label="key_door", number="return"),
    "door_chain": Task(label="door_chain", number="return"),
    "one_door": Task(label="one_door", number="return"),
}
"""The paper's five one-arm tasks, and the environments of ``experiments/study_envs.py``, which need no simulator."""

LEARNERS = 6
"""Learners of DexPBT, its default."""

POINT_TASKS = ("two_hills", "two_goals", "key_door", "door_chain", "one_door")
"""Tasks whose runs are those of ``scripts/study.py``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a table or a figure: how something learns."""

    label: str
    """What a table calls it."""

    algorithm: str = "sapg"
    """Argument of ``--algorithm``."""

    options: tuple[str, ...] = ()
    """Options of the agent, on top of the task's; ``{minibatch}`` stands for that of the scale."""

    share: float = 1.0
    """Part of the scale's samples that is enough."""

    num_blocks: int = 6
    """What the number of environments must be a multiple of; other sizes of a suite are left out."""


LINES = {
    "ppo": Line(label="PPO", algorithm="ppo", num_blocks=1),
    "ppo_fixed_minibatch": Line(
        label="PPO, fixed minibatches",
        algorithm="ppo",
        options=("agent.mini_batch_size={minibatch}", "agent.shuffle=true"),
        num_blocks=1,
    ),
    "dexpbt": Line(label="PBT (DexPBT)", algorithm="dexpbt"),
    "pql": Line(label="PQL", algorithm="pql", num_blocks=1),
    "cpo": Line(label="CPO", algorithm="cpo"),
    "epo": Line(label="EPO", algorithm="epo", num_blocks=64),
    "sapg": Line(label="SAPG"),
    "sapg_entropy_000": Line(label="SAPG, entropy 0", options=("agent.entropy_loss_scale=0.0",)),
    "sapg_entropy_003": Line(label="SAPG, entropy 0.003", options=("agent.entropy_loss_scale=0.003",)),
    "sapg_entropy_005": Line(label="SAPG, entropy 0.005", options=("agent.entropy_loss_scale=0.005",)),
    "sapg_high_off_policy": Line(label="SAPG, high off-policy ratio", options=("agent.off_policy_ratio=5.0",)),
    "sapg_symmetric": Line(label="SAPG, symmetric", options=("agent.aggregation=symmetric",)),
    "sapg_no_off_policy": Line(label="SAPG, without off-policy data", options=("agent.aggregation=none",)),
    "blocks_2": Line(label="SAPG, M = 2", options=("agent.num_blocks=2",), num_blocks=2),
    "blocks_16": Line(label="SAPG, M = 16", options=("agent.num_blocks=16",), num_blocks=16),
    "blocks_64": Line(label="SAPG, M = 64", options=("agent.num_blocks=64",), num_blocks=64),
    "latents_small": Line(label="SAPG, latents begin at 0.1", options=("agent.initial_latent_std=0.1",)),
    "latents_large": Line(label="SAPG, latents begin at 3", options=("agent.initial_latent_std=3.0",)),
    "random": Line(
        label="random policy",
        algorithm="ppo",
        options=("agent.learning_rate_schedule=fixed", "agent.learning_rate=1e-12"),
        share=0.05,
        num_blocks=1,
    ),
}
"""All lines by name. Any of them may be asked of any suite. ``random`` is a policy that stays as it was made."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a suite is run."""

    samples: float
    """Environment steps of a run, all environments and policies together."""

    num_envs: int | None
    """Environments N of a run; None for the task's ``small_envs``."""

    sizes: tuple[int, ...]
    """Numbers of environments of a figure against that number."""

    seeds: tuple[int, ...]
    """Seeds."""

    options: tuple[str, ...] = ()
    """Presets and overrides of every run on a simulator."""

    minibatch: int
    """Rows of a fixed minibatch."""

    episodes: int
    """Episodes of the fresh evaluation of each run."""

    dump_states: int
    """Visited states that every run keeps of each policy, for Figures 7 and 8."""

    device: str
    """Where runs compute."""

    hours: float | None = None
    """Duration of a run [h] that somebody has published; None if it has to be measured."""


SCALES = {
    "paper": Scale(
        samples=2e10,
        num_envs=24_576,
        sizes=(384, 1_536, 6_144, 24_576),
        seeds=(1, 2, 3, 4, 5),
        minibatch=32_768,
        episodes=1_000,
        dump_states=2_048,
        device="cuda:0",
        hours=54.0,  # "48 to 60 hours" on one GPU
    ),
    "laptop": Scale(
        samples=1e6,
        num_envs=None,
        sizes=(96, 384, 1_536),
        seeds=(1, 2, 3),
        options=("presets=small",),
        minibatch=1_536,
        episodes=200,
        dump_states=1_024,
        device="cpu",
    ),
    "study": Scale(
        samples=160 * 8 * 1_536,
        num_envs=1_536,
        sizes=(384, 1_536, 6_144, 24_576),
        seeds=tuple(range(1, 11)),
        options=("presets=small",),
        minibatch=1_536,
        episodes=0,
        dump_states=0,
        device="cpu",
    ),
    "smoke": Scale(
        samples=3e4,
        num_envs=96,
        sizes=(48, 96),
        seeds=(1,),
        options=("presets=small",),
        minibatch=384,
        episodes=24,
        dump_states=256,
        device="cpu",
    ),
}
"""``paper`` is section 5.2 and Appendix B. ``smoke`` shows that everything runs; nothing is learned in it. ``study`` is
for environments without a simulator: 160 updates of 1,536 environments."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """A table or a figure."""

    title: str
    """What it shows."""

    kind: Literal["table", "curves", "sizes", "pca", "autoencoder"]
    """Numbers at the end, numbers over time, numbers at the end against the number of environments, or how different
    the visited states are."""

    lines: tuple[str, ...]
    """Its lines."""

    tasks: tuple[str, ...] = tuple(task for task in TASKS if task not in POINT_TASKS)
    """Its tasks."""

    only_largest: tuple[str, ...] = ()
    """Lines that are run with the largest number of environments only."""

    equal: Literal["samples", "updates"] = "samples"
    """What runs with different numbers of environments have in common. Updates are those which the scale's samples
    give its ``num_envs``."""


_TWO_TASKS = ("SAPG-Allegro-Reorient", "SAPG-AllegroKuka-Reorient")
"""Where the paper does not say which tasks it shows."""

_TABLE1 = ("ppo", "dexpbt", "pql", "sapg_entropy_000", "sapg_entropy_005")

SUITES = {
    "table1": Suite(title="Performance after training", kind="table", lines=_TABLE1),
    "figure2": Suite(
        title="Performance against the number of environments",
        kind="sizes",
        lines=("ppo", "sapg"),
        tasks=_TWO_TASKS,
        only_largest=("sapg",),
    ),
    "equal_samples": Suite(
        title="Return against the number of environments, equal samples",
        kind="sizes",
        lines=("ppo", "sapg"),
        tasks=("door_chain",),
    ),
    "equal_updates": Suite(
        title="Return against the number of environments, equal updates",
        kind="sizes",
        lines=("ppo", "sapg"),
        tasks=("door_chain",),
        equal="updates",
    ),
    "figure5": Suite(title="Performance against samples", kind="curves", lines=_TABLE1),
    "figure6": Suite(
        title="Ablations",
        kind="curves",
        lines=(
            "sapg_entropy_000",
            "sapg_entropy_003",
            "sapg_entropy_005",
            "sapg_high_off_policy",
            "sapg_symmetric",
            "sapg_no_off_policy",
        ),
    ),
    "figure7": Suite(
        title="What principal components leave of the visited states",
        kind="pca",
        lines=("sapg", "ppo", "random"),
        tasks=_TWO_TASKS,
    ),
    "figure8": Suite(
        title="What an autoencoder leaves of the visited states",
        kind="autoencoder",
        lines=("sapg", "ppo", "random"),
        tasks=_TWO_TASKS,
    ),
}
"""The suites, by the paper's names, and two on how methods use a larger number of environments."""

PUBLISHED = {
    "ppo": ("1.01e4 ± 6.31e2", "1.07e4 ± 4.90e2", "1.25 ± 1.15", "16.8 ± 0.48", "2.85 ± 0.05"),
    "dexpbt": ("7.28e3 ± 1.24e3", "1.01e4 ± 1.80e2", "31.9 ± 2.26", "19.2 ± 1.07", "23.2 ± 4.86"),
    "pql": ("1.01e4 ± 5.28e2", "1.28e4 ± 1.25e2", "2.73 ± 0.02", "2.62 ± 0.08", "1.66 ± 0.11"),
    "sapg_entropy_000": ("1.23e4 ± 3.29e2", "1.17e4 ± 2.64e2", "35.7 ± 1.46", "23.7 ± 0.74", "33.2 ± 4.20"),
    "sapg_entropy_005": ("9.14e3 ± 8.38e2", "1.28e4 ± 2.80e2", "33.4 ± 2.25", "18.7 ± 0.43", "38.6 ± 0.63"),
}
"""Table 1 of the paper: mean and standard error of five seeds after 2e10 samples, by line, in order of the tasks."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the number of a run belongs."""

    task: str
    """Name of the task."""

    line: str
    """Name of the line."""

    num_envs: int
    """Number of environments."""

    seed: int
    """Seed."""


def plan(
    suite: str,
    scale: str,
    *,
    tasks: list[str] | None = None,
    lines: list[str] | None = None,
    seeds: list[int] | None = None,
    sizes: list[int] | None = None,
    ranks: int = 1,
) -> dict[Place, Trial]:
    """All runs of a suite.

    Args:
        suite: One of :data:`SUITES`.
        scale: One of :data:`SCALES`.
        tasks: Names of tasks; the suite's by default.
        lines: Names of lines; the suite's by default.
        seeds: Seeds; the scale's by default.
        sizes: Numbers of environments; the suite's by default.
        ranks: Processes that share the environments of each run.

    Returns:
        What to train, seed by seed, so that whoever stops early has something of every line. Places may share a run.

    Raises:
        InputError: If there is no such task or line, a number of environments is given that does not suit, or the
            processes cannot share a run.
    """
    chosen, size = SUITES[suite], SCALES[scale]
    tasks, lines = list(tasks or chosen.tasks), list(lines or chosen.lines)
    for option, names, known in (("tasks", tasks, TASKS), ("algorithms", lines, LINES)):
        for name in names:
            if name not in known:
                raise InputError(f"--{option} {name} is unknown to suites; use one of {', '.join(known)}")
    if sizes and chosen.kind != "sizes":
        suitable = [name for name, each in SUITES.items() if each.kind == "sizes"]
        raise InputError(f"--num_envs is not for {suite}; it is for {', '.join(suitable)}")
    for num_envs in sizes or ():
        for line in lines:
            if num_envs % LINES[line].num_blocks:
                raise InputError(
                    f"--num_envs {num_envs} does not suit {line}; use multiples of {LINES[line].num_blocks}"
                )
    found = {}
    for seed in dict.fromkeys(seeds or size.seeds):
        for task in dict.fromkeys(tasks):
            for line in dict.fromkeys(lines):
                for num_envs in sizes or _sizes(chosen, size, task, line):
                    place = Place(task, line, num_envs, seed)
                    found[place] = dataclasses.replace(_trial(chosen, size, task, line, num_envs, seed), ranks=ranks)
                    _check_ranks(found[place], line)
    return found


def _sizes(suite: Suite, scale: Scale, task: str, line: str) -> tuple[int, ...]:
    if suite.kind != "sizes":
        sizes = (scale.num_envs or TASKS[task].small_envs,)
    else:
        sizes = scale.sizes[-1:] if line in suite.only_largest else scale.sizes
    return tuple(size for size in sizes if size % LINES[line].num_blocks == 0)


def _trial(suite: Suite, scale: Scale, task: str, line: str, num_envs: int, seed: int) -> Trial:
    how, point = LINES[line], task in POINT_TASKS
    rollouts = Task.rollouts if how.algorithm == "pql" else TASKS[task].rollouts
    given = (scale.num_envs or TASKS[task].small_envs) if suite.equal == "updates" else num_envs
    return Trial(
        task=task,
        algorithm=how.algorithm,
        num_envs=num_envs,
        seed=seed,
        iterations=max(1, round(how.share * scale.samples / (given * rollouts))),
        rollouts=rollouts,
        options=(*(() if point else scale.options), *(text.format(minibatch=scale.minibatch) for text in how.options)),
        dump_states=scale.dump_states,
        point=point,
    )


def _check_ranks(trial: Trial, line: str) -> None:
    ranks = trial.ranks
    if ranks > 1 and trial.point:
        raise InputError(f"--ranks {ranks}: {trial.task} needs no simulator and trains in one process; drop --ranks")
    if trial.num_envs % ranks:
        raise InputError(
            f"--ranks {ranks} cannot share the {trial.num_envs} environments of a run; use a divisor of it"
        )
    if trial.algorithm == "dexpbt" and LEARNERS % ranks:
        raise InputError(f"--ranks {ranks} cannot share the {LEARNERS} learners of {line}; use 2, 3 or 6")
