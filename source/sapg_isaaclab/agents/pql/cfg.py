"""Options of PQL, defaults as in its official code."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from skrl.agents.torch import AgentCfg

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.options import check_hidden_sizes, check_types, is_number, require

PRESETS: dict[str, dict[str, Any]] = {
    "pql_d": {"critic": "distributional"},
    "small": {"hidden_sizes": (256, 128, 64), "replay_size": 200_000, "batch_size": 1024},
}
"""What every task offers by name. ``small`` suits a few hundred environments on a CPU."""


@dataclasses.dataclass(kw_only=True)
class PqlCfg(AgentCfg):
    """Options of the PQL agent. With ``critic=distributional`` it is PQL-D."""

    num_blocks: ClassVar[int] = 1
    """There is one policy, which acts in every environment."""

    seed: int = 42
    """Seed of exploration, target noise and replay draws; training scripts set it to theirs."""

    # -- networks ------------------------------------------------------------------------------------------------------
    hidden_sizes: tuple[int, ...] = (512, 256, 128)
    """Units of the hidden layers of the actor and of each critic."""

    activation: Literal["elu", "relu", "tanh"] = "elu"
    """Activation of the hidden layers."""

    critic: Literal["double", "distributional"] = "double"
    """Two values, or two distributions of the return over ``atoms`` numbers in ``value_range`` (PQL-D)."""

    atoms: int = 51
    """Numbers that a distributional critic spreads its probability over."""

    value_range: tuple[float, float] = (-10.0, 10.0)
    """Lowest and highest of these numbers, in units of the scaled reward. Returns outside are cut off."""

    # -- collecting ----------------------------------------------------------------------------------------------------
    rollouts: int = 8
    """Steps of all environments that one line of the logs stands for. Learning takes place after every step."""

    warmup_steps: int = 32
    """Steps of uniformly random actions at the very beginning. Learning starts with the first step after as many."""

    exploration_min: float = 0.05
    """Standard deviation of the first environment's exploration noise."""

    exploration_max: float = 0.8
    """Standard deviation of the last environment's exploration noise. Those between are evenly spaced."""

    normalize_observations: bool = True
    """Whether observations are standardised by running moments."""

    # -- replay and targets --------------------------------------------------------------------------------------------
    replay_size: int = 5_000_000
    """Transitions kept, of all environments of a rank together."""

    n_step: int = 3
    """Rewards in a critic's target before the value takes over."""

    discount_factor: float = 0.99
    """Discount gamma."""

    rewards_scale: float = 0.01
    """Factor on rewards before learning. Reported returns are unscaled."""

    timeout_bootstrap: Literal["none", "final_obs"] = "none"
    """What follows a time-out: nothing, as in effect in the official code, or the value of the true last state."""

    target_noise: float = 0.8
    """Standard deviation of the noise on the actions in a critic's target."""

    target_noise_clip: float = 0.2
    """Largest magnitude of that noise."""

    # -- learning ------------------------------------------------------------------------------------------------------
    batch_size: int = 8192
    """Transitions of a critic update and states of an actor update, drawn with replacement; as many on every rank."""

    updates_per_step: int = 8
    """Critic updates per step of all environments (1 : 8 in the official code)."""

    critic_updates_per_actor_update: int = 2
    """Critic updates for each actor update (1 : 2 in the official code)."""

    staleness: Literal[0, 1] = 1
    """1: within a step, critic updates see the actor of its beginning, and actor updates the critic (the official code,
    whose three processes exchange their networks about once per step). 0: each sees the other's newest state."""

    cuda_streams: bool = False
    """Whether critic and actor updates overlap on two CUDA streams; needs ``staleness=1``. It was not run on a GPU."""

    polyak: float = 0.05
    """Share of the critic that its target takes over after every critic update."""

    learning_rate: float = 5e-4
    """Step size of AdamW, of actor and critic."""

    weight_decay: float = 0.01
    """Weight decay of AdamW."""

    grad_norm_clip: float = 0.5
    """Largest norm of the gradient, of actor and of critic each; 0 turns clipping off."""

    # -- saving --------------------------------------------------------------------------------------------------------
    save_replay: bool = False
    """Whether checkpoints hold the replay, gigabytes at its default size. With it a resumed run is the uninterrupted
    one bit for bit; without it the policy refills the replay for ``warmup_steps`` steps before learning goes on."""

    def __post_init__(self) -> None:
        """Accept lists from the command line where tuples are kept."""
        self.hidden_sizes = tuple(self.hidden_sizes)
        self.value_range = tuple(self.value_range)  # type: ignore  # check() looks at its length

    def policy_names(self) -> list[str]:
        """What to call the policy of each block.

        Returns:
            One word: there is one policy.
        """
        return ["policy"]

    def check(self, num_envs: int | None) -> BlockLayout:
        """Check every option and their combination.

        Args:
            num_envs: Number of environments of this process; None for an agent that only acts.

        Returns:
            The block layout: one block.

        Raises:
            ValueError: With one line that says what came, what is allowed and what to type.
        """
        check_types(self)
        check_hidden_sizes(self.hidden_sizes)
        num_envs = 1 if num_envs is None else num_envs
        layout = BlockLayout(num_envs, self.num_blocks)
        at_least_one = ("rollouts", "n_step", "batch_size", "updates_per_step", "critic_updates_per_actor_update")
        for name in at_least_one:
            require(getattr(self, name) >= 1, f"agent.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "rewards_scale"):
            require(getattr(self, name) > 0.0, f"agent.{name} is {getattr(self, name)}; it must be positive")
        for name in ("exploration_min", "target_noise", "target_noise_clip", "weight_decay", "grad_norm_clip"):
            require(getattr(self, name) >= 0.0, f"agent.{name} is {getattr(self, name)}; it must not be negative")
        for name in ("discount_factor", "polyak"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, f"agent.{name} is {value}; it must lie in [0, 1]")
        require(
            self.exploration_min <= self.exploration_max,
            f"agent.exploration_max is {self.exploration_max}, below agent.exploration_min {self.exploration_min};"
            " swap them",
        )
        require(self.atoms >= 2, f"agent.atoms is {self.atoms}; it must be at least 2")
        require(
            len(self.value_range) == 2
            and all(is_number(value) for value in self.value_range)
            and self.value_range[0] < self.value_range[1],
            f"agent.value_range is {self.value_range}; it must be lowest and highest value such as [-10,10]",
        )
        require(
            self.replay_size >= num_envs,
            f"agent.replay_size is {self.replay_size}, but one step of {num_envs} environments must fit in;"
            f" use {num_envs} or more",
        )
        require(
            self.warmup_steps >= self.n_step,
            f"agent.warmup_steps is {self.warmup_steps}; use agent.n_step={self.n_step} or more, which the first"
            " transition needs",
        )
        require(
            self.staleness == 1 or not self.cuda_streams,
            "agent.cuda_streams=true is incompatible with agent.staleness=0; drop one of them",
        )
        return layout
