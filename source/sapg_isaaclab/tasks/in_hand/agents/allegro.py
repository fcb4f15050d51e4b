"""Agents on the Allegro hand: the hyper-parameters of the paper's Table 4, as the official code runs them."""

_PPO = {
    "hidden_sizes": (512, 256, 128),
    "rollouts": 8,
    "learning_epochs": 5,
    "mini_batches": 2,  # 4 N rows each
    "learning_rate": 5e-4,
    "ratio_clip": 0.2,
    "timeout_bootstrap": "current_value",
}

# what learns most in an hour on a CPU (docs/appendix/small_preset.md): a network that is trained in less time than the
# simulation takes, little noise, and steps whose size data of other policies do not decide
_SMALL_PPO = {"hidden_sizes": (256, 128, 64), "initial_log_std": -1.0, "mini_batches": 4}
_SMALL = {**_SMALL_PPO, "kl_scope": "on_policy"}

# published by the authors of CPO
_CPO = {"awac_scale": 0.0005, "awac_temperature": 0.1, "adversarial_scale": 0.001}

ALLEGRO_REORIENT = {
    "sapg": {
        "default": {
            **_PPO,
            "sequence_length": 4,
            "entropy_loss_scale": 0.0,  # the best of {0, 0.003, 0.005} on this task
        },
        "small": _SMALL,
        "cpo": _CPO,
        "cpo_released": _CPO,
    },
    "dexpbt": {"default": _PPO, "small": _SMALL_PPO},
    "pql": {"default": {"rewards_scale": 0.01}},
}
"""Options of every algorithm, by preset."""
