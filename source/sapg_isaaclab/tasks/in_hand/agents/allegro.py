"""SAPG on the Allegro hand: the hyper-parameters of the paper's Table 4, as the official code runs them."""

from __future__ import annotations

from isaaclab.utils import configclass
from isaaclab_tasks.utils import PresetCfg

from sapg_isaaclab.agents.sapg.cfg import PAPER, SapgCfg

_ALLEGRO = {
    "hidden_sizes": (512, 256, 128),
    "rollouts": 8,
    "learning_epochs": 5,
    "mini_batches": 2,  # 4 N rows each
    "sequence_length": 4,
    "learning_rate": 5e-4,
    "ratio_clip": 0.2,
    "timeout_bootstrap": "current_value",
    "entropy_loss_scale": 0.0,  # the best of {0, 0.003, 0.005} on this task
}


def _allegro(**changes) -> SapgCfg:
    cfg = SapgCfg(**{**_ALLEGRO, **changes})
    cfg.experiment.directory = "allegro_reorient"
    return cfg


@configclass
class AllegroReorientSapgCfg(PresetCfg):
    """``default`` is the official code, ``presets=paper`` the text of the paper taken literally."""

    default: SapgCfg = _allegro()
    paper: SapgCfg = _allegro(**PAPER)
