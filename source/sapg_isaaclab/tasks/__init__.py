"""The tasks. Importing this module imports neither torch nor Isaac Lab; see :func:`register_tasks`."""

from __future__ import annotations

import gymnasium as gym


def register_tasks() -> None:
    """Register the tasks with Gymnasium, once, by import paths only."""
    _register("SAPG-Allegro-Reorient", family="in_hand", env="InHandReorientEnv", robot="Allegro", task="Reorient")
    _register(
        "SAPG-Shadow-Reorient",
        family="in_hand",
        env="InHandReorientEnv",
        robot="Shadow",
        task="Reorient",
        skrl="shadow_skrl_ppo_cfg.yaml",
    )
    for task in ("Regrasp", "Throw", "Reorient"):
        _register(
            f"SAPG-AllegroKuka-{task}",
            family="allegro_kuka",
            env="AllegroKukaEnv",
            robot="AllegroKuka",
            task=task,
        )
    for task in ("Regrasp", "Reorient"):
        _register(
            f"SAPG-AllegroKukaTwoArms-{task}",
            family="allegro_kuka",
            env="AllegroKukaEnv",
            robot="AllegroKukaTwoArms",
            task=task,
            agents="allegrokuka",
        )


def _register(
    task_id: str,
    *,
    family: str,
    env: str,
    robot: str,
    task: str,
    agents: str | None = None,
    skrl: str = "skrl_ppo_cfg.yaml",
) -> None:
    if task_id in gym.registry:
        return
    package = f"{__name__}.{family}"
    gym.register(
        id=task_id,
        entry_point=f"{package}.env:{env}",
        disable_env_checker=True,
        kwargs={
            "env_cfg_entry_point": f"{package}.env_cfg:{robot}{task}EnvCfg",
            "agent_options_entry_point": f"{package}.agents.{agents or robot.lower()}:{robot.upper()}_{task.upper()}",
            **{
                f"{name}_cfg_entry_point": f"sapg_isaaclab.commands.agent_presets:{task_id}.{name}"
                for name in ("sapg", "dexpbt", "pql")
            },
            "skrl_cfg_entry_point": f"{package}:agents/{skrl}",
            "default_agent": "skrl",
        },
    )
