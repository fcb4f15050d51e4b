"""EPO (Evolutionary Policy Optimization, arXiv 2503.19037): the mean of the best latents replaces the worst one.

Everything is decided on the device, by masks: the host knows when a genetic step is due, and reads what came of it
together with the other numbers of the update. On several ranks all decide alike, from the objectives of all.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.contract import Transition
from sapg_isaaclab.agents.objective import EpisodeObjectives
from sapg_isaaclab.agents.options import require
from sapg_isaaclab.agents.ranks import Ranks

if TYPE_CHECKING:
    from sapg_isaaclab.agents.sapg.cfg import SapgCfg
    from sapg_isaaclab.agents.sapg.learner import Learner


def check(cfg: SapgCfg) -> None:
    """Check the options of evolution.

    Args:
        cfg: Options of the agent.

    Raises:
        ValueError: With one line that says what came, what is allowed and what to type.
    """
    if cfg.evolution_interval == 0:
        for field in dataclasses.fields(cfg):
            name, value = field.name, getattr(cfg, field.name)
            require(
                not name.startswith("evolution_") or value == field.default,
                f"agent.{name} is {value}, but nothing evolves; use --algorithm epo, or add agent.evolution_interval",
            )
        return
    for name, lowest in (("evolution_interval", 0), ("evolution_start", 0), ("evolution_elites", 2)):
        value = getattr(cfg, name)
        require(value >= lowest, f"agent.{name} is {value}; it must be at least {lowest}")
    for name in ("evolution_noise", "evolution_trigger"):
        value = getattr(cfg, name)
        require(value is None or value >= 0.0, f"agent.{name} is {value}; it must not be negative")
    require(
        cfg.num_blocks > cfg.evolution_elites,
        f"agent.num_blocks is {cfg.num_blocks}; evolution with {cfg.evolution_elites} elites needs at least"
        f" {cfg.evolution_elites + 1} policies (none at all: agent.evolution_interval=0)",
    )


def check_slices(cfg: SapgCfg, layout: BlockLayout) -> None:
    """Check that the leader has an environment for every policy, where they are judged by its environments.

    Args:
        cfg: Options of the agent.
        layout: Blocks of a training run.

    Raises:
        ValueError: With one line that says what came, what is allowed and what to type.
    """
    blocks = layout.num_blocks
    require(
        cfg.evolution_fitness == "own" or layout.block_size >= blocks,
        f"agent.evolution_fitness=leader_slices judges {blocks} policies by the leader's {layout.block_size}"
        f" environments; use --num_envs {blocks * blocks} or more, or fewer policies (agent.num_blocks)",
    )


_NUMBERS = ("replaced", "parent_1", "parent_2", "lowest", "median", "highest", "known")
"""What a genetic step brings to the host, among the numbers of its update."""


class Choice(NamedTuple):
    """What a genetic step decides, on the device.

    Attributes:
        replaced: Whether the policy's latent is replaced: by none, or one of them. Boolean, shape (M,).
        parents: Two policies whose mean replaces it, integer. Shape (2,).
        fitness: Lowest, median and highest fitness of the policies whose fitness is known. Shape (3,).
        known: Number of these policies, scalar.
    """

    replaced: torch.Tensor
    parents: torch.Tensor
    fitness: torch.Tensor
    known: torch.Tensor


def choose(
    fitness: torch.Tensor,
    known: torch.Tensor,
    *,
    ranks: tuple[int, int] = (0, 1),
    elites: int = 2,
    trigger: float | None = None,
    protected: int | None = None,
) -> Choice:
    """Who is replaced by the mean of whom.

    The worst policy is replaced unless it is among the elites, or not more than half of the policies are known. Of
    policies that are equally fit, the one with the lower index comes first, as in the released code, which counts from
    the other end.

    Args:
        fitness: Fitness of every policy. Shape (M,).
        known: Whether it is known; others are neither parents nor replaced. Boolean, shape (M,).
        ranks: Places of the two parents among the elites, from 0, the best.
        elites: Number of best policies that are never replaced.
        trigger: Gamma: there is no replacement unless max f - min f > gamma |median f|; None for no such condition.
        protected: Policy that is never replaced, if any.

    Returns:
        The choice.
    """
    count, places = len(fitness), torch.arange(len(fitness), device=fitness.device)
    order = torch.where(known, fitness, -torch.inf).argsort(descending=True, stable=True)
    replaceable = known if protected is None else known & (places != protected)
    worst = torch.where(replaceable, fitness, torch.inf).argsort(descending=True, stable=True)[-1]
    number = known.sum()
    ascending = torch.where(known, fitness, torch.inf).sort().values
    middle = torch.stack((number - 1, number)).clamp(min=0) // 2
    median = ascending[middle].mean()
    lowest, highest = ascending[0], torch.where(known, fitness, -torch.inf).amax()
    enough = (number > max(elites, count // 2)) & ((order == worst) & (places >= elites)).any()
    if trigger is not None:
        enough = enough & (highest - lowest > trigger * median.abs())
    parents = torch.stack([order[rank] for rank in ranks])
    return Choice((places == worst) & enough, parents, torch.stack((lowest, median, highest)), number)


def crossover(rows: torch.Tensor, choice: Choice, noise: torch.Tensor | None = None) -> torch.Tensor:
    """Rows of a table in which the replaced policy has the mean of its parents.

    Args:
        rows: A row for every policy. Shape (M, columns).
        choice: Who is replaced by the mean of whom.
        noise: What is added to the mean (mutation). Shape (columns,).

    Returns:
        A table of the same shape; the other rows are the same.
    """
    child = rows[choice.parents].mean(dim=0)
    return torch.where(choice.replaced.unsqueeze(1), child if noise is None else child + noise, rows)


def own_fitness(objective: torch.Tensor, layout: BlockLayout) -> torch.Tensor:
    """Sum over each policy's own environments.

    Args:
        objective: A number of every environment. Shape (N,).
        layout: Blocks.

    Returns:
        Shape (M,).
    """
    return objective.view(layout.num_blocks, -1).sum(dim=1)


def leader_slices(objective: torch.Tensor, layout: BlockLayout) -> torch.Tensor:
    """Sum over a slice of the leader's environments for each policy (released code, by mistake).

    The released code keeps the leader's environments only and then takes the i-th M-th of them for policy i, as it
    counts policies. It has the leader last, so its policy i is policy M - 1 - i here.

    Args:
        objective: A number of every environment. Shape (N,).
        layout: Blocks, of at least M environments; a remainder is left out.

    Returns:
        Shape (M,).
    """
    blocks = layout.num_blocks
    size = layout.block_size // blocks
    mine = objective[layout.slice(layout.leader)][: size * blocks]
    return mine.view(blocks, size).sum(dim=1).flip(0)


class Evolution:
    """Judges the policies and takes the genetic steps.

    Args:
        learner: Networks, options and optimiser.
        ranks: Processes that train together.
        device: Where the environment's tensors are.
    """

    def __init__(self, learner: Learner, ranks: Ranks, device: torch.device | str) -> None:
        self.learner, self.cfg, self.layout, self.ranks = learner, learner.cfg, learner.layout, ranks
        self.objectives = EpisodeObjectives(self.layout.num_envs, device)
        # on the host and seeded alike everywhere, so that all ranks draw alike
        self.generator = torch.Generator().manual_seed(self.cfg.seed)
        self.env_steps = 0
        """Environment steps of all policies and ranks, so far."""
        self.decisions: list[dict[str, Any]] = []
        """What came of every genetic step."""
        blocks = self.layout.num_blocks
        self._best = torch.full((blocks,), -torch.inf, dtype=torch.float64, device=device)  # in this interval
        self._of_envs = own_fitness if self.cfg.evolution_fitness == "own" else leader_slices
        self._envs = self.layout.block_size // (1 if self.cfg.evolution_fitness == "own" else blocks)
        self._latents: Any = learner.model.latents  # several policies have them
        self.frozen = False
        """Whether the latents have left the optimiser."""

    def record(self, step: Transition) -> None:
        """Take in a step of all environments.

        Args:
            step: The step; ``true_objective``, ``broken`` and ``shortened`` of its infos are read where there are any.
        """
        infos: dict[str, Any] = dict(step.infos)
        masks = [infos[name] for name in ("broken", "shortened") if infos.get(name) is not None]
        left_out = torch.stack(masks).any(dim=0) if masks else None
        self.objectives.step(step.rewards.view(-1), step.done.view(-1), infos.get("true_objective"), left_out)

    def fitness(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean objective of every policy over its environments of all ranks, and whether it is known.

        It is once every one of them has finished an episode since the policy last changed.

        Returns:
            Fitness and whether it is known. Shape (M,) each.
        """
        columns = (self.objectives.last.double(), self.objectives.finished.double())
        sums = torch.stack([self._of_envs(column, self.layout) for column in columns])
        totals = torch.stack([own for (own,) in self.ranks.gather_tensors(sums)]).sum(dim=0)
        envs = self._envs * self.ranks.size
        known = totals[1] == envs
        if self.cfg.evolution_fitness == "leader_slices":
            known = known.all().expand_as(known)
        return totals[0] / envs, known

    @torch.no_grad()
    def update(self) -> dict[str, torch.Tensor]:
        """Count an update, and take a genetic step if one is due.

        Returns:
            What came of it by name, scalars on the device, for :meth:`note`; nothing if none was due.
        """
        cfg = self.cfg
        before, interval = self.env_steps - cfg.evolution_start, cfg.evolution_interval
        self.env_steps += cfg.rollouts * self.layout.num_envs * self.ranks.size
        now = self.env_steps - cfg.evolution_start
        due = now >= 0 and now // interval > before // interval
        best = cfg.evolution_judges == "best"
        if not (due or best):
            return {}
        fitness, known = self.fitness()
        if best:
            self._best.copy_(torch.where(known, torch.maximum(self._best, fitness), self._best))
            fitness = self._best.clone()
        if not due:
            return {}
        choice = choose(
            fitness,
            known,
            ranks=self._draw_parents(),
            elites=cfg.evolution_elites,
            trigger=cfg.evolution_trigger,
            protected=None if cfg.evolution_leader else self.layout.leader,
        )
        self._replace(choice)
        self._best.fill_(-torch.inf)
        replaced = torch.where(choice.replaced.any(), choice.replaced.long().argmax(), -1)
        numbers = (replaced, *choice.parents, *choice.fitness, choice.known)
        return dict(zip(_NUMBERS, numbers))

    def _draw_parents(self) -> tuple[int, int]:
        if self.cfg.evolution_elites == 2:
            return 0, 1
        first, second, *_ = torch.randperm(self.cfg.evolution_elites, generator=self.generator).tolist()
        return first, second

    def _replace(self, choice: Choice) -> None:
        """Write the child's latent and log-std in place, and let the optimiser forget what it knew of the row."""
        model, cfg, latents = self.learner.model, self.cfg, self._latents
        if cfg.evolution_latents == "frozen":
            self.learner.leave_out(latents)
            self.frozen = True
        tables = [(latents, self._noise(latents))]
        if cfg.evolution_log_std and cfg.std_mode == "per_block":
            tables.append((model.log_std, None))
        for table, noise in tables:
            table.copy_(crossover(table, choice, noise))
            self.learner.forget(table, choice.replaced)
        if cfg.evolution_fitness == "own":
            # of every environment, whether it is the replaced policy's
            where = choice.replaced.unsqueeze(1).expand(-1, self.layout.block_size).flatten()
            self.objectives.policy_changed(where)

    def _noise(self, latents: torch.Tensor) -> torch.Tensor | None:
        if self.cfg.evolution_noise == 0.0:
            return None
        noise = self.cfg.evolution_noise * torch.randn(latents.shape[1], generator=self.generator)
        if latents.device.type == "cuda":
            noise = noise.pin_memory()  # the host does not wait for the copy
        return noise.to(latents.device, non_blocking=True)

    def note(self, metrics: dict[str, float]) -> dict[str, float]:
        """Note what came of the update's genetic step, as read by the host.

        Args:
            metrics: Numbers of the update by tag, and what :meth:`update` returned.

        Returns:
            Numbers by tag, with ``Evolution/replacements``, the number of replacements so far.
        """
        metrics = dict(metrics)
        if "replaced" in metrics:
            replaced, first, second, lowest, median, highest, known = (metrics.pop(name) for name in _NUMBERS)
            decision: dict[str, Any] = {"env_steps": self.env_steps, "known": int(known), "replaced": None}
            if known:
                fitness = {"lowest": lowest, "median": median, "highest": highest}
                decision["fitness"] = fitness
                metrics |= {f"Evolution/fitness_{word}": value for word, value in fitness.items()}
            if replaced >= 0:
                decision |= {"replaced": int(replaced), "parents": [int(first), int(second)]}
                metrics["Evolution/replaced"] = replaced
            self.decisions.append(decision)
        metrics["Evolution/replacements"] = float(sum(each["replaced"] is not None for each in self.decisions))
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs and all ranks have in common; see :attr:`objectives` for the rest."""
        return {
            "env_steps": self.env_steps,
            "best": self._best,
            "generator": self.generator.get_state(),
            "decisions": list(self.decisions),
            "frozen": self.frozen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`. Before the optimiser does: latents that have left it leave it here, too.

        Args:
            state: What :meth:`state_dict` returned.
        """
        self.env_steps, self.decisions = state["env_steps"], list(state["decisions"])
        self._best.copy_(state["best"])
        self.generator.set_state(state["generator"].cpu())
        if state["frozen"] and not self.frozen:
            self.learner.leave_out(self._latents)
            self.frozen = True
