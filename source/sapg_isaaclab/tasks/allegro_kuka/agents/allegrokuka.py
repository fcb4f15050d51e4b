"""Agents on the AllegroKuka tasks: the hyper-parameters of the paper's Table 2, as the official code runs them."""

from typing import Any

_OPTIONS = {
    "rnn_units": 768,
    "hidden_sizes": (768, 512, 256),
    "rollouts": 16,
    "sequence_length": 16,
    "learning_epochs": 2,
    "mini_batches": 4,  # 4 N rows each
    "learning_rate": 1e-4,
    "ratio_clip": 0.1,
    "timeout_bootstrap": "none",  # the official code treats a time-out of these tasks as an end
    "mixed_precision": True,
}

_PAPER = {"latent_dim": 32, "rnn_before_mlp": False, "subsample": "sequence"}

_SMALL = {"hidden_sizes": (256, 128, 64), "rnn_units": 0, "mixed_precision": False}

_NETWORKS = {
    "mlp": {"rnn_units": 0},  # no recurrent layer
    "small": _SMALL,  # feed-forward, trained by a CPU in less time than the simulation takes
    "small_recurrent": {**_SMALL, "rnn_units": 128},  # the same with an LSTM
}

# SimToolReal (arXiv 2602.16863), which trains SAPG on tool use with this arm and hand
_SIMTOOLREAL = {
    "rnn_units": 1024,
    "hidden_sizes": (1024, 1024, 512, 512),
    "separate": True,
    "critic_input": "states",
    "critic_hidden_sizes": (1024, 1024, 512, 512),
    "critic_rnn_units": 0,
    "critic_learning_rate": 1e-4,
    "entropy_loss_scale": 0.005,
}


# as many optimiser steps as CPO: eight minibatches an epoch, where twice the number would make nine
_DOUBLE = {"mini_batches": 7}


def _agents(
    paper: dict[str, Any] | None = None, cpo: dict[str, Any] | None = None, **sapg: Any
) -> dict[str, dict[str, dict[str, Any]]]:
    """Options of every algorithm, by preset.

    Args:
        paper: What the task differs in from the others by ``presets=paper``.
        cpo: The same for CPO.
        **sapg: The same for SAPG, in every preset.
    """
    return {
        "sapg": {
            "default": {**_OPTIONS, **sapg},
            "paper": {**_PAPER, **(paper or {})},
            **_NETWORKS,
            "simtoolreal": _SIMTOOLREAL,
            "cpo": cpo or {},
            "cpo_released": cpo or {},
            "sapg_double_minibatches": _DOUBLE,
        },
        "dexpbt": {"default": _OPTIONS, **_NETWORKS},
        # it has no recurrence and sees the whole state anyway
        "pql": {"default": {"rewards_scale": 1.0}},
    }


ALLEGROKUKA_REGRASP = _agents()
ALLEGROKUKA_THROW = _agents(cpo={"awac_temperature": 0.1})  # published by the authors of CPO
# the best of {0, 0.003, 0.005} on this task
ALLEGROKUKA_REORIENT = _agents(paper={"std_mode": "per_block"}, entropy_loss_scale=0.005)

# the official launch: six processes of 4104 environments
ALLEGROKUKATWOARMS_REGRASP = _agents(entropy_loss_scale=0.002)
ALLEGROKUKATWOARMS_REORIENT = _agents(entropy_loss_scale=0.002)
