"""Randomised bodies, drives and gravity: drawn once for each environment, and alike in every policy block.

Terms of Isaac Lab's event manager that have the mode :data:`PER_BLOCK` are applied when the environment is made: to one
block of environments after the other, each with the same random numbers. So environment i of a block has the friction,
masses, gains and gravity of environment i of every other block, and policies are not compared on luck. The numbers come
from a seed of their own, which is the same after a resume.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from isaaclab.envs import mdp
from isaaclab.managers import EventTermCfg, ManagerTermBase, SceneEntityCfg
from isaaclab.utils.noise import GaussianNoiseCfg, NoiseModelWithAdditiveBiasCfg

if TYPE_CHECKING:  # configurations import this module, and need no environment yet
    from isaaclab.envs import DirectRLEnv

PER_BLOCK = "per_block"
"""Mode of event terms that are applied here."""


def randomize(env: DirectRLEnv) -> None:
    """Apply the terms of mode :data:`PER_BLOCK`; other random numbers are left as they are.

    Args:
        env: The environment, whose engine runs already.
    """
    terms = _terms(env, PER_BLOCK)
    if not terms:
        return
    block_size = env.num_envs // env.cfg.num_blocks
    cuda = [torch.device(env.device)] if torch.device(env.device).type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed_of(env.cfg))
        for term in terms:
            # made anew: some draw already when they are made, which was before
            kind = type(term.func) if isinstance(term.func, ManagerTermBase) else term.func
            term.func = kind(cfg=term, env=env)
        state, states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in cuda]
        for begin in range(0, env.num_envs, block_size):
            torch.set_rng_state(state)
            for device, own in zip(cuda, states):
                torch.cuda.set_rng_state(own, device)
            rows = torch.arange(begin, begin + block_size, dtype=torch.int32, device=env.device)
            env.event_manager.apply(PER_BLOCK, env_ids=rows)


def renew(cfg: Any) -> None:
    """Give a configuration terms of its own, as they were before any environment was made with them.

    Args:
        cfg: Configuration of the environment.
    """
    for term in vars(cfg.events).values() if cfg.events is not None else ():
        if isinstance(getattr(term, "func", None), ManagerTermBase):
            term.func = type(term.func)  # the event manager has put an object that belongs to its environment there
    cfg.events = copy.deepcopy(cfg.events)


def seed_of(cfg: Any) -> int:
    """Seed of what is drawn once.

    Args:
        cfg: Configuration of the environment.

    Returns:
        ``randomization_seed``; without one that of the environment, and 0 if it has none either.
    """
    return cfg.randomization_seed if cfg.randomization_seed is not None else cfg.seed or 0


def steady_force(env: DirectRLEnv) -> torch.Tensor | None:
    """What :class:`ObjectGravity` adds to the forces on the object, for a task that sets forces itself.

    Args:
        env: The environment, randomised.

    Returns:
        Forces in the world [N], shape (N, 1, 3); None if gravity is the same everywhere.
    """
    terms = (term.func for term in _terms(env, "reset"))
    return next((term.force for term in terms if isinstance(term, ObjectGravity)), None)


def _terms(env: DirectRLEnv, mode: str) -> list[EventTermCfg]:
    """Event terms of a mode; none where the configuration has no events."""
    manager = getattr(env, "event_manager", None)
    names = manager.active_terms.get(mode, []) if manager is not None else []
    return [manager.get_term_cfg(name) for name in names]


class ObjectGravity(ManagerTermBase):
    """Gravity of its own for the object of every environment, beside that of the scene, which is one for all.

    It is a constant force on the object alone: robots of these tasks feel no gravity. An event term of mode ``reset``,
    because a reset clears forces.
    """

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        """Draw an acceleration for each environment of a block.

        Args:
            cfg: The term, with ``asset_cfg`` and ``std``.
            env: The environment.
        """
        super().__init__(cfg, env)
        self._object = env.scene[cfg.params["asset_cfg"].name]
        generator = torch.Generator().manual_seed(seed_of(env.cfg))
        own = torch.zeros(env.num_envs // env.cfg.num_blocks, 3)
        own[:, 2] = cfg.params["std"] * torch.randn(len(own), generator=generator)
        self.acceleration = own.repeat(env.cfg.num_blocks, 1).to(env.device)
        """What is added to the scene's gravity [m/s^2], shape (N, 3)."""

    @property
    def force(self) -> torch.Tensor:
        """The same as a force on the object as heavy as it is [N], shape (N, 1, 3)."""
        mass = self._object.data.body_mass.torch.to(self.acceleration.device)
        return (mass * self.acceleration).unsqueeze(1)

    def __call__(self, env: Any, env_ids: torch.Tensor | slice, asset_cfg: SceneEntityCfg, std: float) -> None:
        """Set the force.

        Args:
            env: The environment.
            env_ids: Environments that are reset.
            asset_cfg: The object.
            std: Standard deviation of the vertical acceleration [m/s^2].
        """
        self._object.permanent_wrench_composer.set_forces_and_torques_index(
            forces=self.force[env_ids], env_ids=env_ids, is_global=True
        )


# -- terms -------------------------------------------------------------------------------------------------------------


def friction(asset: str, low: float, high: float) -> EventTermCfg:
    """Friction of every shape of an asset, static and dynamic, uniform.

    Args:
        asset: Its name in the scene.
        low: Smallest coefficient.
        high: Largest coefficient.

    Returns:
        The term.
    """
    params = {"asset_cfg": SceneEntityCfg(asset), "restitution_range": (0.0, 0.0), "num_buckets": 250}
    params |= {"static_friction_range": (low, high), "dynamic_friction_range": (low, high), "make_consistent": True}
    return EventTermCfg(func=mdp.randomize_rigid_body_material, mode=PER_BLOCK, params=params)


def masses(asset: str, low: float, high: float) -> EventTermCfg:
    """Factor of the mass and inertia of every body of an asset, uniform.

    Args:
        asset: Its name in the scene.
        low: Smallest factor.
        high: Largest factor.

    Returns:
        The term.
    """
    params = {"asset_cfg": SceneEntityCfg(asset), "mass_distribution_params": (low, high), "operation": "scale"}
    return EventTermCfg(func=mdp.randomize_rigid_body_mass, mode=PER_BLOCK, params=params)


def gains(
    stiffness: tuple[float, float], damping: tuple[float, float], distribution: str, asset: str = "robot"
) -> EventTermCfg:
    """Factors of stiffness and damping of every drive of a robot.

    Args:
        stiffness: Smallest and largest factor of the stiffness.
        damping: The same of the damping.
        distribution: ``uniform`` or ``log_uniform``.
        asset: Name of the robot in the scene.

    Returns:
        The term.
    """
    params = {"asset_cfg": SceneEntityCfg(asset), "operation": "scale", "distribution": distribution}
    params |= {"stiffness_distribution_params": stiffness, "damping_distribution_params": damping}
    return EventTermCfg(func=mdp.randomize_actuator_gains, mode=PER_BLOCK, params=params)


def gravity(std: float) -> EventTermCfg:
    """Gravity of the object.

    Args:
        std: Standard deviation of the vertical acceleration that is added [m/s^2].

    Returns:
        The term.
    """
    return EventTermCfg(func=ObjectGravity, mode="reset", params={"asset_cfg": SceneEntityCfg("object"), "std": std})


def pushes(speed: float, interval_s: tuple[float, float]) -> EventTermCfg:
    """Pushes that change the velocity of the object at random times.

    Args:
        speed: Largest change on each axis [m/s].
        interval_s: Shortest and longest time between two [s].

    Returns:
        The term.
    """
    params = {"asset_cfg": SceneEntityCfg("object"), "velocity_range": {axis: (-speed, speed) for axis in "xyz"}}
    return EventTermCfg(func=mdp.push_by_setting_velocity, mode="interval", interval_range_s=interval_s, params=params)


def noise(std: float, bias_std: float) -> NoiseModelWithAdditiveBiasCfg:
    """Gaussian noise in every step, and a bias that is drawn for each episode.

    Args:
        std: Standard deviation of the noise.
        bias_std: Standard deviation of the bias.

    Returns:
        Noise model of observations or actions, in their units.
    """
    return NoiseModelWithAdditiveBiasCfg(
        noise_cfg=GaussianNoiseCfg(mean=0.0, std=std, operation="add"),
        bias_noise_cfg=GaussianNoiseCfg(mean=0.0, std=bias_std, operation="abs"),
    )


ACTION_NOISE = noise(0.05, 0.015)
OBSERVATION_NOISE = noise(0.002, 0.0001)
"""What Isaac Lab's version of OpenAI's task with the Shadow hand has (``ShadowHandOpenAIEnvCfg``, Isaac Lab 3.0)."""
