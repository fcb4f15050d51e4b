"""Agents on the AllegroKuka tasks: the hyper-parameters of the paper's Table 2, as the official code runs them."""

from typing import Any

from sapg_isaaclab.tasks.agent_presets import dexpbt_presets, pql_presets, sapg_presets

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


def _presets(task: str, paper: dict[str, Any] | None = None, **changes: Any):
    """Presets of one task.

    Besides those of every task: ``mlp`` has no recurrent layer, ``small`` is a feed-forward network that a CPU trains
    in less time than the simulation takes, ``small_recurrent`` the same with an LSTM.
    """
    return sapg_presets(
        f"allegro_kuka_{task}",
        {**_OPTIONS, **changes},
        paper={**_PAPER, **(paper or {})},
        mlp={"rnn_units": 0},
        small=_SMALL,
        small_recurrent={**_SMALL, "rnn_units": 128},
    )


AllegroKukaRegraspSapgCfg = _presets("regrasp")
AllegroKukaThrowSapgCfg = _presets("throw")
# the best of {0, 0.003, 0.005} on this task
AllegroKukaReorientSapgCfg = _presets("reorient", paper={"std_mode": "per_block"}, entropy_loss_scale=0.005)


def _baselines(task: str):
    """DexPBT with the same networks, and PQL, which has no recurrence and sees the whole state anyway."""
    population = dexpbt_presets(
        f"allegro_kuka_{task}",
        _OPTIONS,
        mlp={"rnn_units": 0},
        small=_SMALL,
        small_recurrent={**_SMALL, "rnn_units": 128},
    )
    return population, pql_presets(f"allegro_kuka_{task}", {"rewards_scale": 1.0})


AllegroKukaRegraspDexPbtCfg, AllegroKukaRegraspPqlCfg = _baselines("regrasp")
AllegroKukaThrowDexPbtCfg, AllegroKukaThrowPqlCfg = _baselines("throw")
AllegroKukaReorientDexPbtCfg, AllegroKukaReorientPqlCfg = _baselines("reorient")
