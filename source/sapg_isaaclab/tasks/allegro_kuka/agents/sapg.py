"""SAPG on the AllegroKuka tasks: the hyper-parameters of the paper's Table 2, with a feed-forward network.

The official runs have a recurrent layer of 768 units besides these hidden layers.
"""

from __future__ import annotations

from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from sapg_isaaclab.agents.sapg.cfg import PAPER, SapgCfg

_ALLEGRO_KUKA = {
    "hidden_sizes": (768, 512, 256),
    "rollouts": 16,
    "learning_epochs": 2,
    "mini_batches": 4,  # 4 N rows each
    "sequence_length": 16,
    "learning_rate": 1e-4,
    "ratio_clip": 0.1,
    "timeout_bootstrap": "none",  # the official code treats a time-out of these tasks as an end
}

_PAPER = {**PAPER, "latent_dim": 32}

_SMALL = {"hidden_sizes": (256, 128, 64)}
"""A network that a CPU trains in less time than the simulation takes."""


def _allegro_kuka(task: str, **changes) -> SapgCfg:
    cfg = SapgCfg(**{**_ALLEGRO_KUKA, **changes})
    cfg.experiment.directory = f"allegro_kuka_{task}"
    return cfg


@configclass
class AllegroKukaRegraspSapgCfg(PresetCfg):
    """``default`` is the official code, ``paper`` the text of the paper, ``small`` for a machine without GPU."""

    default: SapgCfg = _allegro_kuka("regrasp")
    paper: SapgCfg = _allegro_kuka("regrasp", **_PAPER)
    small: SapgCfg = _allegro_kuka("regrasp", **_SMALL)


@configclass
class AllegroKukaThrowSapgCfg(PresetCfg):
    """``default`` is the official code, ``paper`` the text of the paper, ``small`` for a machine without GPU."""

    default: SapgCfg = _allegro_kuka("throw")
    paper: SapgCfg = _allegro_kuka("throw", **_PAPER)
    small: SapgCfg = _allegro_kuka("throw", **_SMALL)


@configclass
class AllegroKukaReorientSapgCfg(PresetCfg):
    """``default`` is the official code, ``paper`` the text of the paper, ``small`` for a machine without GPU.

    The entropy bonus of the followers is the best of {0, 0.003, 0.005} on this task.
    """

    default: SapgCfg = _allegro_kuka("reorient", entropy_loss_scale=0.005)
    paper: SapgCfg = _allegro_kuka("reorient", entropy_loss_scale=0.005, **_PAPER)
    small: SapgCfg = _allegro_kuka("reorient", entropy_loss_scale=0.005, **_SMALL)
