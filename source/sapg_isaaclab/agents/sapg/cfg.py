"""Every option of SAPG, with the official defaults."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from skrl.agents.torch import AgentCfg

from sapg_isaaclab.agents.blocks import BlockLayout, EntropySchedule
from sapg_isaaclab.agents.options import check_hidden_sizes, check_types, require
from sapg_isaaclab.agents.sapg import evolution
from sapg_isaaclab.agents.sapg.presets import PRESETS

__all__ = ["PRESETS", "SapgCfg"]  # where :mod:`~sapg_isaaclab.agents.algorithms` looks for both


@dataclasses.dataclass(kw_only=True)
class SapgCfg(AgentCfg):
    """Options of the SAPG agent. With ``num_blocks=1`` it is PPO."""

    seed: int = 42
    """Seed of the draws of follower blocks; training scripts set it to theirs."""

    # -- policies ------------------------------------------------------------------------------------------------------
    num_blocks: int = 6
    """Number M of policies; each acts in num_envs / M environments. Block 0 is the leader. 1 is plain PPO."""

    hidden_sizes: tuple[int, ...] = (512, 256, 128)
    """Units of the hidden layers."""

    activation: Literal["elu", "relu", "tanh"] = "elu"
    """Activation of the hidden layers."""

    latent_dim: int = 32
    """Size of the learned vector that tells a policy from the others (phi in the paper)."""

    separate: bool = False
    """Whether actor and critic have a trunk each (the paper's symbols) instead of one in common (official code)."""

    critic_input: Literal["observations", "states"] = "observations"
    """What the critic sees. ``states`` is the environment's privileged state and needs ``separate``."""

    critic_latent: bool = True
    """Whether a separate critic takes the latent too (the paper). The official code's privileged critic does not."""

    critic_hidden_sizes: tuple[int, ...] | None = None
    """Units of a separate critic's hidden layers; None for those of the policy."""

    critic_rnn_units: int | None = None
    """Units of a separate critic's LSTM, 0 for none; None for those of the policy."""

    std_mode: Literal["per_block", "shared", "state"] = "per_block"
    """Standard deviation: one learned vector for each policy, one for all, or a network output."""

    initial_log_std: float = 0.0
    """Logarithm of the standard deviation before training."""

    initial_latent_std: float = 1.0
    """Standard deviation of the latents before training: how far apart the policies begin."""

    rnn_units: int = 0
    """Units of an LSTM; 0 for feed-forward networks."""

    rnn_before_mlp: bool = True
    """Whether the LSTM comes before the other hidden layers (official code) or after them (the paper)."""

    rnn_layer_norm: bool = True
    """Whether a layer norm follows the LSTM."""

    # -- rollout and targets -------------------------------------------------------------------------------------------
    rollouts: int = 8
    """Steps T collected in every environment between updates."""

    discount_factor: float = 0.99
    """Discount gamma."""

    gae_lambda: float = 0.95
    """Trace decay of the generalised advantage estimator."""

    rewards_scale: float = 0.01
    """Factor on rewards before learning. Reported returns are unscaled."""

    on_policy_target: Literal["gae", "nstep"] = "gae"
    """Critic target of on-policy rows: GAE plus value (official code) or the n-step return of Eq. 5."""

    n_step: int = 3
    """Window of the n-step return."""

    timeout_bootstrap: Literal["none", "current_value", "final_obs"] = "current_value"
    """What follows a time-out: nothing, V of the state before the step (official code), or V of the true last state."""

    # -- aggregation ---------------------------------------------------------------------------------------------------
    aggregation: Literal["leader_follower", "symmetric", "none"] = "leader_follower"
    """Who learns from whose data: the leader from followers, everyone from everyone, or nobody."""

    off_policy_ratio: float = 1.0
    """Off-policy rows of a policy per on-policy row of it. M - 1 uses all data of all others."""

    subsample: Literal["block", "sequence", "transition"] = "block"
    """How off-policy rows are chosen: whole random blocks (official code), or transitions (the paper) or sequences of
    ``sequence_length`` steps from the union of all. An LSTM needs whole sequences."""

    symmetric_pairing: Literal["shift", "independent"] = "shift"
    """Sources in symmetric aggregation: one cyclic shift for all policies (official code) or drawn for each."""

    lambda_off: float = 1.0
    """Weight lambda of the off-policy loss, Eq. 4 and 9."""

    importance_clip: Literal["unit", "mu"] = "unit"
    """Trust region of off-policy rows: around 1 (official code) or around mu = pi_old / pi_behaviour (Eq. 3)."""

    mu_max: float = math.inf
    """Upper limit of the weight mu. The paper has none."""

    rnn_off_policy_values: Literal["stored", "reunroll"] = "stored"
    """Recurrent state behind the values of off-policy rows: the acting policy's at every step (official code), or that
    of the policy being updated, unrolled from the acting policy's state at the start of the rollout. Their
    probabilities always come from an unroll."""

    # -- coupling (CPO) ------------------------------------------------------------------------------------------------
    awac_scale: float = 0.0
    """Weight beta of the followers' loss -w log pi_i(a|s) on all of the leader's rows; 0 is SAPG."""

    awac_temperature: float = 0.2
    """lambda in w = exp(A / lambda), in units of the standardised advantage."""

    awac_weight_max: float = 100.0
    """Upper limit of w."""

    awac_in_means: bool = True
    """Whether these rows count in the means of all other losses (released default), which then weigh 7/12 as much with
    six blocks, or in the mean of their own loss only."""

    awac_in_moments: bool = False
    """Whether these rows enter the moments of observations and values (released code), half of which then are the
    leader's. The mean and deviation of the advantages always take them in."""

    leader_penalty: float = 0.0
    """Weight of log pi_i - log pi_leader that is taken off the standardised advantages of followers' own rows."""

    adversarial_scale: float = 0.0
    """Weight of the followers' reward log D(i|s,a) for being told apart by a discriminator; 0 is no discriminator."""

    adversarial_hidden_sizes: tuple[int, ...] = (1024, 1024, 512, 512)
    """Units of the discriminator's hidden layers."""

    adversarial_learning_rate: float | None = None
    """Constant step size of the discriminator's Adam; None for the policies' initial one."""

    adversarial_labels: Literal["policy", "time"] = "policy"
    """What the discriminator learns to tell: the policy, or by mistake nearly the time (released code)."""

    adversarial_softmax: Literal["once", "twice"] = "once"
    """Whether the cross-entropy takes the discriminator's outputs for logits, or probabilities (released code)."""

    # -- evolution of the latents (EPO) --------------------------------------------------------------------------------
    evolution_interval: int = 0
    """Environment steps of all policies between two genetic steps, in which the worst policy's latent may become the
    mean of those of the best; 0 for no evolution."""

    evolution_start: int = 200_000_000
    """Environment steps before the first genetic step."""

    evolution_elites: int = 2
    """Number of best policies that are never replaced, and from which the two parents come: the best two, or with more
    elites two that are drawn."""

    evolution_noise: float = 0.0
    """Standard deviation of what is added to every number of a child's latent (mutation)."""

    evolution_trigger: float | None = 0.0
    """Nothing is replaced unless max f - min f > gamma |median f|, f being the fitness of all policies; gamma = 0 asks
    for any difference, None for nothing."""

    evolution_log_std: bool = True
    """Whether a child takes over the mean of its parents' log standard deviations, too."""

    evolution_leader: bool = False
    """Whether the leader's latent may be replaced like any other (released code)."""

    evolution_fitness: Literal["own", "leader_slices"] = "own"
    """Episodes by which a policy is judged: those of its own environments since it last changed; or, as the released
    code does by mistake, those of an M-th of the leader's environments."""

    evolution_judges: Literal["newest", "best"] = "newest"
    """Whether fitness is the mean over these environments' newest episodes, or the highest that this mean has been
    since the last genetic step (released code)."""

    evolution_latents: Literal["learned", "frozen"] = "learned"
    """Whether latents are learned throughout, or leave the optimiser with the first genetic step (released code)."""

    evolution_timing: Literal["after_update", "before_update"] = "after_update"
    """Whether genetic steps follow an update, or precede it once its rows are prepared (released code), so that a
    changed policy learns from rows it did not act in."""

    # -- learning ------------------------------------------------------------------------------------------------------
    learning_epochs: int = 5
    """Passes over the batch."""

    mini_batches: int = 2
    """Minibatches that the on-policy rows alone would fill; off-policy rows are cut to the same size."""

    mini_batch_size: int = 0
    """Rows of a minibatch, instead of ``mini_batches``; 0 leaves it to that. A smaller rollout is one minibatch."""

    mini_batch_remainder: Literal["last", "even"] = "last"
    """Rows left over enlarge the last minibatch (official code) or are spread evenly. None is dropped."""

    stratified_minibatch: bool = False
    """Whether each minibatch holds every policy's rows and the off-policy rows in their exact proportion."""

    shuffle: bool = True
    """Whether rows are shuffled once per update. The official PPO baseline does not."""

    sequence_length: int = 4
    """Consecutive steps of one environment that stay together in the shuffle; an LSTM is unrolled over them."""

    loss_reduction: Literal["row_mean", "policy_sum"] = "row_mean"
    """Mean over all rows (official code) or sum of each policy's means (the paper)."""

    ratio_clip: float = 0.2
    """Half-width epsilon of the trust region of policy and value."""

    value_clip_mode: Literal["max", "none"] = "max"
    """Pessimistic clipped value loss (official code) or the plain squared error (the paper)."""

    value_loss_scale: float = 2.0
    """Weight of the value loss (official code: 0.5 times critic coefficient 4)."""

    bounds_loss_scale: float = 1e-4
    """Weight of the penalty on mean actions outside [-1.1, 1.1]."""

    entropy_loss_scale: float = 0.0
    """Scale sigma of the followers' entropy bonus; with one block, the entropy bonus of PPO."""

    entropy_schedule: EntropySchedule = "official"
    """How the bonus grows with the block: 0.5 sigma (i - 1) / (M - 1) or the paper's sigma (i - 1)."""

    learning_rate: float = 5e-4
    """Initial step size of Adam."""

    critic_learning_rate: float | None = None
    """Constant step size of the layers of a separate critic, whose gradient is then clipped by a norm of its own; None
    for that of the policy. Latents, which policy and critic share, follow the policy's."""

    learning_rate_schedule: Literal["kl", "fixed"] = "kl"
    """Whether the step size follows the measured divergence."""

    kl_threshold: float = 0.016
    """Divergence aimed at [nat]: above twice this the step size shrinks by 1.5, below half of it it grows by 1.5."""

    learning_rate_bounds: tuple[float, float] = (1e-6, 1e-2)
    """Smallest and largest step size."""

    kl_scope: Literal["all", "on_policy"] = "all"
    """Rows whose divergence steers the step size. ``all`` includes that of the leader from the followers."""

    grad_norm_clip: float = 1.0
    """Largest norm of the gradient over all parameters together; 0 turns clipping off."""

    normalize_observations: bool = True
    """Whether observations are standardised by running moments, shared by all policies."""

    observation_moments: Literal["minibatch", "update", "minibatch_twice"] = "minibatch"
    """When these moments take in a rollout: with every minibatch of the first epoch, just before it is learned from
    (official code), or all of it before the first epoch. ``minibatch_twice`` also takes in what the minibatch was
    standardised to, just after it was learned from: a fault of CPO's released code."""

    normalize_values: bool = True
    """Whether values are standardised by running moments, shared by all policies."""

    normalize_advantages: bool = True
    """Whether advantages are standardised, once over all rows of an update."""

    mixed_precision: bool = False
    """Whether updates compute in half precision (float16 on CUDA, bfloat16 on a CPU). Rollouts never do, nor does an
    LSTM's update on a CPU without AVX-512."""

    compile: bool = False
    """Whether networks and losses of the update are compiled by ``torch.compile``. The first update then takes about a
    minute longer and needs a C++ compiler; the numbers agree up to rounding."""

    def __post_init__(self) -> None:
        """Accept lists from the command line where tuples are kept."""
        self.hidden_sizes = tuple(self.hidden_sizes)
        self.adversarial_hidden_sizes = tuple(self.adversarial_hidden_sizes)
        if self.critic_hidden_sizes is not None:
            self.critic_hidden_sizes = tuple(self.critic_hidden_sizes)
        self.learning_rate_bounds = tuple(self.learning_rate_bounds)  # pyright: ignore  # check() looks at its length

    def policy_names(self) -> list[str]:
        """What to call the policy of each block.

        Returns:
            Words, in the order of the blocks.
        """
        followers = [f"follower {block}" for block in range(1, self.num_blocks)]
        return ["leader", *followers] if followers else ["policy"]

    def check(self, num_envs: int | None) -> BlockLayout:
        """Check every option and their combination.

        Args:
            num_envs: Number of environments of this process; None for an agent that only acts.

        Returns:
            The block layout.

        Raises:
            ValueError: With one line that says what came, what is allowed and what to type.
        """
        check_types(self)
        trains = num_envs is not None
        num_envs = self.num_blocks * max(self.mini_batches, 1) if num_envs is None else num_envs
        layout = BlockLayout(num_envs, self.num_blocks)
        positive = ("latent_dim", "rollouts", "n_step", "learning_epochs", "mini_batches", "sequence_length")
        require(self.rnn_units >= 0, f"agent.rnn_units is {self.rnn_units}; it must not be negative (0 is no LSTM)")
        for name in positive:
            require(getattr(self, name) >= 1, f"agent.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("discount_factor", "gae_lambda"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, f"agent.{name} is {value}; it must lie in [0, 1]")
        for name in ("ratio_clip", "learning_rate", "kl_threshold", "mu_max", "rewards_scale", "initial_latent_std"):
            require(getattr(self, name) > 0.0, f"agent.{name} is {getattr(self, name)}; it must be positive")
        scales = ("value_loss_scale", "bounds_loss_scale", "entropy_loss_scale", "grad_norm_clip", "lambda_off")
        for name in scales:
            require(getattr(self, name) >= 0.0, f"agent.{name} is {getattr(self, name)}; it must not be negative")
        low, high = self.learning_rate_bounds
        require(0.0 < low <= high, f"agent.learning_rate_bounds is {(low, high)}; it must be 0 < lowest <= highest")
        check_hidden_sizes(self.hidden_sizes)
        require(
            self.mini_batches <= self.rollouts * num_envs,
            f"agent.mini_batches is {self.mini_batches}, but a rollout has only {self.rollouts * num_envs} rows",
        )
        require(
            not (self.shuffle or self.rnn_units) or self.rollouts % self.sequence_length == 0,
            f"agent.rollouts is {self.rollouts}, not a multiple of agent.sequence_length {self.sequence_length};"
            f" add agent.sequence_length={math.gcd(self.rollouts, self.sequence_length)}",
        )
        self._check_critic()
        self._check_coupling()
        require(self.mini_batch_size >= 0, f"agent.mini_batch_size is {self.mini_batch_size}; it must not be negative")
        sequences = self.rollouts * num_envs // self.sequence_length
        require(
            not self.rnn_units or self.mini_batches <= sequences,
            f"agent.mini_batches is {self.mini_batches}, but a rollout has only {sequences} sequences",
        )
        if self.num_blocks > 1:
            self._check_aggregation(layout)
        evolution.check(self)
        if trains:
            evolution.check_slices(self, layout)
        return layout

    def _check_critic(self) -> None:
        changes = {
            "critic_input=states": self.critic_input != "observations",
            "critic_latent=false": not self.critic_latent,
            "critic_hidden_sizes": self.critic_hidden_sizes is not None,
            "critic_rnn_units": self.critic_rnn_units is not None,
            "critic_learning_rate": self.critic_learning_rate is not None,
        }
        for change, made in changes.items():
            require(
                self.separate or not made,
                f"agent.{change} is for a critic with layers of its own; add agent.separate=true",
            )
        if self.critic_hidden_sizes is not None:
            check_hidden_sizes(self.critic_hidden_sizes, "critic_hidden_sizes")
        if self.critic_rnn_units is not None:
            units = self.critic_rnn_units
            require(units >= 0, f"agent.critic_rnn_units is {units}; it must not be negative (0 is no LSTM)")
            require(
                not units or self.rnn_units > 0,
                f"agent.critic_rnn_units is {units}, but the policy has no LSTM; use agent.critic_rnn_units=0, or give"
                " it one by agent.rnn_units",
            )
        if self.critic_learning_rate is not None:
            rate = self.critic_learning_rate
            require(rate > 0.0, f"agent.critic_learning_rate is {rate}; it must be positive")

    def _check_coupling(self) -> None:
        for name in ("awac_scale", "leader_penalty", "adversarial_scale"):
            value = getattr(self, name)
            require(value >= 0.0, f"agent.{name} is {value}; it must not be negative")
            require(
                value == 0.0 or self.num_blocks > 1,
                f"agent.{name} is {value}, but a single policy has no followers; use agent.num_blocks=2 or more, or"
                f" agent.{name}=0",
            )
        for name in ("awac_temperature", "awac_weight_max", "adversarial_learning_rate"):
            value = getattr(self, name)
            require(value is None or value > 0.0, f"agent.{name} is {value}; it must be positive")
        check_hidden_sizes(self.adversarial_hidden_sizes, "adversarial_hidden_sizes")

    def _check_aggregation(self, layout: BlockLayout) -> None:
        most = layout.num_blocks - 1
        require(
            self.aggregation == "none" or 0.0 < self.off_policy_ratio <= most,
            f"agent.off_policy_ratio is {self.off_policy_ratio}; with {layout.num_blocks} blocks it must be above 0 and"
            f" at most {most} (no off-policy data: agent.aggregation=none)",
        )
        require(
            self.aggregation == "none" or self.subsample != "block" or self.off_policy_ratio >= 1.0,
            f"agent.off_policy_ratio is {self.off_policy_ratio}, less than one whole block;"
            " use 1 or more, or agent.subsample=transition",
        )
        require(
            not self.rnn_units or self.aggregation == "none" or self.subsample != "transition",
            "agent.subsample=transition is incompatible with an LSTM; use agent.subsample=sequence",
        )
        require(
            self.shuffle or not self.stratified_minibatch,
            "agent.stratified_minibatch=true is incompatible with agent.shuffle=false; drop one of them",
        )
