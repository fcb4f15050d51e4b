"""Sets of options by name: the paper, its ablations, and what came after it. A preset is nothing but such a set."""

from __future__ import annotations

from typing import Any

PAPER: dict[str, Any] = {
    "importance_clip": "mu",
    "on_policy_target": "nstep",
    "value_clip_mode": "none",
    "subsample": "transition",
    "stratified_minibatch": True,
    "loss_reduction": "policy_sum",
    "entropy_schedule": "paper",
    "std_mode": "shared",
    "latent_dim": 16,
    "separate": True,
    "timeout_bootstrap": "final_obs",
}
"""The text of the paper taken literally, where it differs from the official code (the defaults of ``SapgCfg``).

``latent_dim`` is that of the two in-hand tasks, ``std_mode`` that of tasks without an entropy bonus (Appendix B). The
paper is silent on ``timeout_bootstrap``; the correct one is used.
"""

ABLATIONS: dict[str, dict[str, Any]] = {
    "symmetric": {"aggregation": "symmetric"},
    "high_off_policy": {"off_policy_ratio": 5.0},
    "no_off_policy": {"aggregation": "none"},
    "entropy_000": {"entropy_loss_scale": 0.0},
    "entropy_003": {"entropy_loss_scale": 0.003},
    "entropy_005": {"entropy_loss_scale": 0.005},
    "mu_clip": {"importance_clip": "mu"},
    "ppo": {"num_blocks": 1, "shuffle": False, "entropy_loss_scale": 0.0},
    "ppo_fixed_minibatch": {"num_blocks": 1, "entropy_loss_scale": 0.0, "mini_batch_size": 32768},
}
"""Presets of every task: the lines of Figure 6 (six blocks), Eq. 3, and PPO with either rule for its minibatches.

``ppo`` is the paper's baseline, whose minibatches grow with the number of environments and are fixed groups of them; it
has no entropy bonus on any task.
``ppo_fixed_minibatch`` has more minibatches instead of larger ones.
"""

CPO: dict[str, dict[str, Any]] = {
    "cpo": {"awac_scale": 0.001, "awac_temperature": 0.2},
    "cpo_released": {
        "awac_scale": 0.001,
        "awac_temperature": 0.2,
        "awac_in_moments": True,
        "observation_moments": "minibatch_twice",
        "adversarial_labels": "time",
        "adversarial_softmax": "twice",
    },
    "sapg_double_minibatches": {"mini_batches": 4},
}
"""Presets of every task: Coupled Policy Optimization as it is meant, as its authors' released code does it, faults
included, and SAPG with as many optimiser steps as CPO takes. Tasks give the published scale, temperature and reward.
"""

EPO: dict[str, Any] = {"num_blocks": 64, "evolution_interval": 20_000_000}
"""EPO (arXiv 2503.19037): many policies, whose latents evolve."""

EPO_RELEASED: dict[str, Any] = {
    **EPO,
    "evolution_fitness": "leader_slices",
    "evolution_judges": "best",
    "evolution_trigger": None,
    "evolution_leader": True,
    "evolution_log_std": False,
    "evolution_latents": "frozen",
    "evolution_timing": "before_update",
}
"""The released code of EPO with its faults, where they change what is learned."""

PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, **CPO, "epo": EPO, "epo_released": EPO_RELEASED, **ABLATIONS}
"""What every task offers by name, on top of its default."""
