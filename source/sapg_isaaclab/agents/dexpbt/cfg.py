"""Every option of DexPBT, with the values of the paper's comparison. A preset is nothing but a set of these options."""

from __future__ import annotations

import dataclasses
from typing import Any

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.dexpbt.mutation import MUTATORS
from sapg_isaaclab.agents.options import check_types
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.sapg.cfg import SapgCfg

SAPG_ONLY = (
    "latent_dim",
    "initial_latent_std",
    "critic_latent",
    "aggregation",
    "off_policy_ratio",
    "subsample",
    "symmetric_pairing",
    "lambda_off",
    "importance_clip",
    "mu_max",
    "rnn_off_policy_values",
    "stratified_minibatch",
    "loss_reduction",
    "entropy_schedule",
    "kl_scope",
    "awac_scale",
    "awac_temperature",
    "awac_weight_max",
    "awac_in_means",
    "awac_in_moments",
    "leader_penalty",
    "adversarial_scale",
    "adversarial_hidden_sizes",
    "adversarial_learning_rate",
    "adversarial_labels",
    "adversarial_softmax",
    "evolution_interval",
    "evolution_start",
    "evolution_elites",
    "evolution_noise",
    "evolution_trigger",
    "evolution_log_std",
    "evolution_leader",
    "evolution_fitness",
    "evolution_judges",
    "evolution_latents",
    "evolution_timing",
)
"""Options about what policies share. Learners of a population share nothing, so these must stay as they are."""

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"interval": 10_000, "start_after": 20_000, "initial_delay": 40_000},
}
"""What every task offers by name: ``small`` has shorter times between selections, for a few hundred environments."""


@dataclasses.dataclass(kw_only=True)
class DexPbtCfg(SapgCfg):
    """Options of a population of PPO learners.

    ``num_blocks`` is the population's size P. Learner p is PPO in block p of N / P environments, and options that count
    rows, environments or steps are those of one learner. On W ranks each holds P / W learners, in N environments of
    its own.
    """

    num_blocks: int = 6
    """Number P of learners of all ranks together, at least 3."""

    shuffle: bool = False
    """Whether rows are shuffled once per update. The official PPO does not."""

    interval: int = 20_000_000
    """Environment steps of a learner between two comparisons of the population."""

    start_after: int = 50_000_000
    """Environment steps of a learner that leave it alone after each of its changes."""

    initial_delay: int = 200_000_000
    """Environment steps of a learner before any of them is changed."""

    replace_fraction_worst: float = 0.3
    """Share of the population, rounded up, that may be changed: its worst."""

    replace_fraction_best: float = 0.3
    """Share of the population, rounded up, that others are compared with and may be replaced by: its best."""

    threshold_std: float = 0.5
    """Weights are replaced only by those of a learner that is better by more than this many standard deviations of the
    population's objectives (without the worst fifth of them)."""

    threshold_absolute: float = 0.05
    """... and by more than this share of its own objective."""

    mutation_rate: float = 0.15
    """Probability with which each hyper-parameter mutates, at the start and with every change."""

    mutation_range: tuple[float, float] = (1.1, 1.5)
    """Range of the factor that a hyper-parameter is multiplied or divided by."""

    mutated: tuple[str, ...] = tuple(MUTATORS)
    """Options of the learners that mutate. The learning rate is not among them: it follows the measured divergence and
    comes with the weights of a replacement."""

    mutated_rewards: tuple[str, ...] = ()
    """Weights of the reward that mutate; none named means all that the environment offers. They never do in a task that
    has no true objective (the in-hand tasks, nor did they there in the official code), because then the learners are
    ranked by their rewards."""

    def __post_init__(self) -> None:
        """Accept lists from the command line where tuples are kept."""
        super().__post_init__()
        for name in ("mutation_range", "mutated", "mutated_rewards"):
            setattr(self, name, tuple(getattr(self, name)))

    def policy_names(self) -> list[str]:
        """What to call the policy of each block.

        Returns:
            Words, in the order of the blocks.
        """
        return [f"learner {block}" for block in range(self.num_blocks)]

    def check(self, num_envs: int | None) -> BlockLayout:
        """Check every option and their combination.

        Args:
            num_envs: Number of environments of this process; None for an agent that only acts.

        Returns:
            The block layout, one block per learner; where torch's process group has several ranks and there are
            environments, the learners are spread over them.

        Raises:
            ValueError: With one line that says what came, what is allowed and what to type.
        """
        check_types(self)
        if self.num_blocks < 3:
            raise ValueError(
                f"agent.num_blocks is {self.num_blocks}; a population needs at least 3 learners to compare"
                " (a single one: --algorithm ppo)"
            )
        if num_envs is None:
            layout = BlockLayout(self.num_blocks * max(self.mini_batches, 1), self.num_blocks)
        else:
            layout = BlockLayout(num_envs, self.num_blocks, spread=Ranks.current())
        self.learner_cfg().check(layout.block_size)
        self._check_population()
        return layout

    def _check_population(self) -> None:
        for field in dataclasses.fields(SapgCfg):
            value = getattr(self, field.name)
            if field.name in SAPG_ONLY and value != field.default:
                raise ValueError(
                    f"agent.{field.name} is {value}, but learners of a population share neither networks nor data;"
                    " remove the option"
                )
        if self.compile:
            # a compiled loss goes on with the coefficients it was compiled with
            raise ValueError(
                "agent.compile=true is incompatible with a population, whose options mutate; remove the option"
            )
        for name, lowest in (("interval", 1), ("start_after", 0), ("initial_delay", 0)):
            if getattr(self, name) < lowest:
                raise ValueError(f"agent.{name} is {getattr(self, name)}; it must be at least {lowest}")
        for name in ("replace_fraction_worst", "replace_fraction_best"):
            if not 0.0 < getattr(self, name) <= 0.5:
                raise ValueError(f"agent.{name} is {getattr(self, name)}; it must be above 0 and at most 0.5")
        for name in ("threshold_std", "threshold_absolute"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"agent.{name} is {getattr(self, name)}; it must not be negative")
        if not 0.0 <= self.mutation_rate <= 1.0:
            raise ValueError(f"agent.mutation_rate is {self.mutation_rate}; it must lie in [0, 1]")
        if len(self.mutation_range) != 2 or not 1.0 <= self.mutation_range[0] <= self.mutation_range[1]:
            raise ValueError(f"agent.mutation_range is {self.mutation_range}; it must be 1 <= lowest <= highest")
        unknown = [name for name in self.mutated if name not in MUTATORS]
        if unknown:
            raise ValueError(f"agent.mutated has {unknown[0]!r}; it must be a list of {', '.join(MUTATORS)}")

    def learner_cfg(self) -> SapgCfg:
        """Options of one learner, an object of its own.

        Returns:
            Options of PPO that writes no files of its own.
        """
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(SapgCfg)}
        silent = dataclasses.replace(self.experiment, write_interval=0, checkpoint_interval=0, wandb=False)
        return SapgCfg(**{**options, "num_blocks": 1, "experiment": silent})
