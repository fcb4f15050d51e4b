"""What a population decides: first hyper-parameters, comparisons, and the log of both. It knows no network.

Everything follows from objectives and one generator on the host. Where learners are spread over ranks, every rank holds
all of this and comes to the same decisions without a message.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from sapg_isaaclab.agents.dexpbt.cfg import DexPbtCfg
from sapg_isaaclab.agents.dexpbt.mutation import Hyperparameters, mutate, uniform
from sapg_isaaclab.agents.dexpbt.selection import Verdict, select


class Change(NamedTuple):
    """What becomes of a learner that is not kept as it is. Its hyper-parameters have mutated.

    Attributes:
        learner: The learner.
        donor: Whose weights it takes over; None to keep its own.
    """

    learner: int
    donor: int | None = None


class Population:
    """Hyper-parameters of all learners, and how they change.

    Args:
        cfg: Options.
    """

    def __init__(self, cfg: DexPbtCfg) -> None:
        self.cfg = cfg
        self.hyperparameters: list[Hyperparameters] = [{} for _ in range(cfg.num_blocks)]
        """What mutates, of every learner, as it is now."""
        self.frames = 0
        """Environment steps that each learner has taken."""
        self.changed_at = [0] * cfg.num_blocks
        """Environment steps that each learner had taken at its last change."""
        self.decisions: list[dict[str, Any]] = []
        """Every decision so far; see :class:`~.agent.DexPBT`."""
        self.generator = torch.Generator().manual_seed(cfg.seed)

    def begin(self, hyperparameters: list[Hyperparameters]) -> None:
        """Give every learner its first hyper-parameters.

        Args:
            hyperparameters: Those of the options, of every learner; they mutate at once.
        """
        self.hyperparameters = [dict(values) for values in hyperparameters]
        for learner, values in enumerate(hyperparameters):
            self.mutate(learner, values, Verdict("mutate", "first mutation"), action="initial")

    def compare(self, now: list[float | None], best: list[float | None]) -> list[Change]:
        """End an interval: decide about every learner by the same objectives.

        A learner that others may be replaced by is one of the best and never changed itself, so the order is no matter.

        Args:
            now: Objective of every learner, None where it is not known.
            best: Largest objective of every learner in the interval, None where none was known.

        Returns:
            What changes.
        """
        changes = []
        for learner in range(self.cfg.num_blocks):
            verdict = select(
                learner,
                now,
                best[learner],
                frames=self.frames,
                frames_since_start=self.frames - self.changed_at[learner],
                cfg=self.cfg,
                generator=self.generator,
            )
            if verdict.action == "keep" or verdict.donor is None:
                self._note(learner, verdict, now[learner])
                continue
            # in either case the donor's hyper-parameters are as good a start as the learner's own (official code)
            base = verdict.donor if uniform(self.generator) < 0.5 else learner
            self.mutate(learner, self.hyperparameters[base], verdict, now[learner])
            self.changed_at[learner] = self.frames
            changes.append(Change(learner, verdict.donor if verdict.action == "replace" else None))
        return changes

    def mutate(
        self,
        learner: int,
        base: Hyperparameters,
        verdict: Verdict,
        objective: float | None = None,
        action: str | None = None,
    ) -> None:
        """Give a learner mutated hyper-parameters and note what has changed.

        Args:
            learner: The learner.
            base: Hyper-parameters that mutate.
            verdict: What was decided about the learner, and why.
            objective: Its objective.
            action: What the log calls it; the verdict's own word by default.
        """
        old, cfg = self.hyperparameters[learner], self.cfg
        new = mutate(base, rate=cfg.mutation_rate, factors=cfg.mutation_range, generator=self.generator)
        self.hyperparameters[learner] = new
        changed = {name: [old[name], value] for name, value in new.items() if value != old[name]}
        self._note(learner, verdict, objective, changed, action)

    def _note(
        self,
        learner: int,
        verdict: Verdict,
        objective: float | None = None,
        changed: dict[str, list[float]] | None = None,
        action: str | None = None,
    ) -> None:
        decision = {
            "frames": self.frames,
            "learner": learner,
            "action": action or verdict.action,
            "reason": verdict.reason,
            "objective": objective,
            "donor": verdict.donor,
            "changed": changed or {},
        }
        self.decisions.append(decision)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs, the same on all ranks."""
        return {
            "hyperparameters": [dict(values) for values in self.hyperparameters],
            "frames": self.frames,
            "changed_at": list(self.changed_at),
            "decisions": list(self.decisions),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.
        """
        self.hyperparameters = [dict(values) for values in state["hyperparameters"]]
        self.frames, self.changed_at = state["frames"], list(state["changed_at"])
        self.decisions[:] = state["decisions"]
        self.generator.set_state(state["generator"].cpu())  # always of a CPU
