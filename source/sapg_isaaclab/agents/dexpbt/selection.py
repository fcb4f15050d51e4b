"""Who of a population is replaced by whom. One pure function, the rule of the official code of DexPBT."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch

from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg

WORST_LEFT_OUT = 0.2
"""Share of the population, its worst, that the spread of objectives leaves out."""


class Verdict(NamedTuple):
    """What becomes of a learner.

    Attributes:
        action: ``keep`` everything; ``mutate`` hyper-parameters; or ``replace`` weights and mutate.
        reason: Why, in words.
        donor: The better learner it was compared with; None with ``keep``.
    """

    action: Literal["keep", "mutate", "replace"]
    reason: str
    donor: int | None = None


def select(
    learner: int,
    objectives: list[float | None],
    best: float | None,
    *,
    frames: int,
    frames_since_start: int,
    cfg: DexPbtCfg,
    generator: torch.Generator,
) -> Verdict:
    """Decide about one learner at the end of an interval.

    Args:
        learner: The learner.
        objectives: Objective of every learner now, None where it is not known.
        best: Largest objective the learner had in this interval.
        frames: Environment steps each learner has taken.
        frames_since_start: Environment steps the learner has taken since its start or its last change.
        cfg: Options.
        generator: Host generator, for the choice among better learners.

    Returns:
        The verdict.
    """
    own, size = objectives[learner], len(objectives)
    if own is None or best is None:
        return Verdict("keep", "its objective is not known yet")
    if frames_since_start < cfg.start_after:
        return Verdict("keep", f"changed {frames_since_start} steps ago, start_after is {cfg.start_after}")
    if frames < cfg.initial_delay:
        return Verdict("keep", f"only {frames} steps taken, initial_delay is {cfg.initial_delay}")

    standing = [-math.inf if value is None else value for value in objectives]
    order = sorted(range(size), key=lambda index: -standing[index])
    worst = order[size - math.ceil(cfg.replace_fraction_worst * size) :]
    leading = order[: math.ceil(cfg.replace_fraction_best * size)]
    if learner not in worst:
        return Verdict("keep", f"not among the worst {len(worst)}")
    known = sorted((value for value in objectives if value is not None), reverse=True)
    enough = max(2, size // 2)
    if len(known) <= enough:
        return Verdict("keep", f"only {len(known)} objectives are known, more than {enough} are needed")
    # more than half are known and at most half lead, so those of the leading ones are
    bar = standing[leading[-1]]
    if best >= bar:
        return Verdict("keep", f"reached {best:.6g} in this interval, as good as the best {len(leading)} ({bar:.6g})")

    donor = leading[int(torch.randint(len(leading), (), generator=generator))]
    gap = standing[donor] - own
    spread = float(np.std(known[: len(known) - int(WORST_LEFT_OUT * len(known))]))
    for limit, name in (
        (cfg.threshold_std * spread, "threshold_std times the spread"),
        (cfg.threshold_absolute * abs(standing[donor]), "threshold_absolute times its objective"),
    ):
        if gap <= limit:
            return Verdict("mutate", f"{gap:.6g} behind learner {donor}, not more than {limit:.6g}, {name}", donor)
    return Verdict("replace", f"{gap:.6g} behind learner {donor}", donor)
