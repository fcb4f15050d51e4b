"""The in-hand reorientation environment.

A hand is fixed with its palm up and turns an object to goal orientations. Reaching a goal pays a bonus and draws the
next goal; dropping the object ends the episode. Positions are in the environment frame [m], quaternions xyzw, joints in
the order of ``cfg.joint_names`` whatever order the physics engine uses.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import torch

from sapg_isaaclab.assets.tables import find_table
from sapg_isaaclab.tasks.base import TaskEnv
from sapg_isaaclab.tasks.curriculum import Curriculum, Way
from sapg_isaaclab.tasks.goal_marker import GoalMarker
from sapg_isaaclab.tasks.in_hand import goals, rewards
from sapg_isaaclab.tasks.in_hand.env_cfg import InHandReorientEnvCfg
from sapg_isaaclab.tasks.in_hand.interface import describe


class InHandReorientEnv(TaskEnv):
    """A dexterous hand reorients an object in its palm (official code, Allegro and Shadow hand tasks).

    With ``cfg.curriculum.enabled``, ``extras["true_objective"]``, shape (N,), is what a population of policies is
    ranked by: the successes of each environment's last finished episode and how far the curriculum is.
    """

    cfg: InHandReorientEnvCfg

    REWARD_WEIGHTS = (
        "position_reward_scale",
        "rotation_reward_scale",
        "action_reward_scale",
        "success_bonus",
        "fall_penalty",
    )

    def _prepare(self, cfg: InHandReorientEnvCfg) -> contextlib.AbstractContextManager[None]:
        if cfg.joint_force_obs not in ("zero", "measured"):
            raise ValueError(f"joint_force_obs={cfg.joint_force_obs!r} is unknown; use 'zero' or 'measured'")
        _check_curriculum(cfg)
        layouts = self.observation_layout(cfg), self.state_layout(cfg)
        if any("fingertip_wrench" in layout for layout in layouts) and getattr(cfg.scene, "joint_wrench", None) is None:
            raise ValueError(f"obs_type={cfg.obs_type!r} needs the sensor scene.joint_wrench; use obs_type='full'")
        cfg.observation_space, cfg.state_space = (sum(layout.values()) for layout in layouts)
        return contextlib.nullcontext()

    def _set_up(self) -> None:
        cfg = self.cfg
        self.hand, self.object = self.scene["robot"], self.scene["object"]
        self._resolve_names()

        nominal = torch.tensor(cfg.scene.object.init_state.pos, device=self.device)
        self._start_pos = nominal
        self._goal_pos = nominal + torch.tensor(cfg.goal_offset, device=self.device)
        self.goal_quat = torch.zeros(self.num_envs, 4, device=self.device)
        self.goal_quat[:, 3] = 1.0
        self.targets = torch.zeros(self.num_envs, len(self._actuated_ids), device=self.device)
        self.curriculum = self._make_curriculum()
        if cfg.curriculum.enabled:
            self.extras["true_objective"] = self.curriculum.true_objective(self._finished_successes)
        self._goal_marker: GoalMarker | None = None

    def _make_curriculum(self) -> Curriculum:
        """The way to the official task, or, where there is no curriculum, that task alone."""
        cfg, way = self.cfg, self.cfg.curriculum
        tolerance = way.initial_tolerance if way.enabled else cfg.success_tolerance
        angle = way.initial_angle if way.enabled else math.pi
        return Curriculum(
            {
                "tolerance": Way(initial=tolerance, final=cfg.success_tolerance, factor=way.tolerance_factor),
                "goal_angle": Way(initial=angle, final=math.pi, factor=way.angle_factor),
            },
            interval=way.interval,
            threshold=way.threshold,
            groups=cfg.num_blocks if way.enabled and way.gate == "block" else None,
            device=self.device,
        )

    def _resolve_names(self) -> None:
        """Turn names of joints and bodies into indices of the physics engine's tensors."""
        cfg, table = self.cfg, find_table(self.cfg.hand_asset)

        def index(values: Sequence[int]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.long, device=self.device)

        self._joint_ids = index(self.hand.find_joints(cfg.joint_names, preserve_order=True)[0])
        self._actuated_ids = index(self.hand.find_joints(cfg.actuated_joint_names, preserve_order=True)[0])
        self._drive_targets = self.hand.actuators.target_command.position.torch
        limits = self.hand.data.joint_limits.torch[0]
        self._joint_lower, self._joint_upper = limits[self._joint_ids].unbind(-1)
        self._actuated_lower, self._actuated_upper = limits[self._actuated_ids].unbind(-1)

        self._followers = index([cfg.joint_names.index(coupling.follower) for coupling in table.couplings])
        self._leaders = index([cfg.joint_names.index(coupling.leader) for coupling in table.couplings])
        self._coupling_ratios = torch.tensor([coupling.ratio for coupling in table.couplings], device=self.device)

        if cfg.fingertip_body_names:
            self._fingertip_ids = index(self.hand.find_bodies(cfg.fingertip_body_names, preserve_order=True)[0])
        self._wrench_sensor = self.scene.sensors.get("joint_wrench")
        if self._wrench_sensor is not None:
            # the sensor has a row per body: the wrench in the joint that moves it
            rows, child = self._wrench_sensor.body_names, {joint.name: joint.child for joint in table.joints}
            self._joint_rows = index([rows.index(child[name]) for name in cfg.joint_names])
            self._fingertip_rows = index([rows.index(name) for name in cfg.fingertip_body_names])

    # actions

    def _pre_physics_step(self, actions: torch.Tensor) -> None:
        self.actions = actions.clamp(-1.0, 1.0)
        span = self._actuated_upper - self._actuated_lower
        targets = self._actuated_lower + 0.5 * (self.actions + 1.0) * span
        targets = torch.lerp(self.targets, targets, self.cfg.action_smoothing)
        self.targets.copy_(targets.clamp(self._actuated_lower, self._actuated_upper))
        # in place: the engine takes these over in the next physics step, set_position_index would also do so here
        self._drive_targets.index_copy_(1, self._actuated_ids, self.targets)

    # dones, rewards

    def _judge(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self.cfg.curriculum.enabled:
            self._move_curriculum()
        self._position_error = torch.linalg.vector_norm(self.object_pos - self._goal_pos, dim=-1)
        self._rotation_error = rewards.rotation_error(self.object_quat, self.goal_quat)
        self._reached = self._rotation_error <= self.curriculum.of_environments("tolerance", self._rotation_error)
        self._fallen = self._position_error >= self.cfg.fall_distance
        timed_out = self.episode_length_buf >= self.max_episode_length - 1
        return self._fallen, timed_out

    def _pay(self) -> torch.Tensor:
        weights = self.reward_weights
        terms = {
            "position": rewards.position_term(self._position_error, scale=weights["position_reward_scale"]),
            "rotation": rewards.rotation_term(
                self._rotation_error, scale=weights["rotation_reward_scale"], eps=self.cfg.rotation_reward_eps
            ),
            "action": rewards.action_term(self.actions, scale=weights["action_reward_scale"]),
            "success": rewards.success_term(self._reached, bonus=weights["success_bonus"]),
            "fall": rewards.fall_term(self._fallen, penalty=weights["fall_penalty"]),
        }
        self.successes += self._reached
        # buffers are written in place: steps taken under torch.inference_mode must not leave inference tensors behind
        self._finished_successes.copy_(torch.where(self._finished(), self.successes, self._finished_successes))
        # the next goal is drawn here, so that the coming observation already shows it; drawing for all environments
        # and keeping some costs less than finding out on the host which ones need it
        next_goals = goals.official(self.num_envs, self.device)
        if self.cfg.curriculum.enabled:
            next_goals = self._ease(next_goals, self.object_quat, slice(None))
        self.goal_quat.copy_(torch.where(self._reached.unsqueeze(-1), next_goals, self.goal_quat))
        self._write_metrics(terms)
        return torch.stack(tuple(terms.values())).sum(0)

    # resets

    def _reset_idx(self, env_ids: Sequence[int] | torch.Tensor) -> None:
        super()._reset_idx(env_ids)
        count = len(env_ids)
        self.successes.index_fill_(0, torch.as_tensor(env_ids, dtype=torch.long, device=self.device), 0.0)
        self.goal_quat[env_ids] = goals.official(count, self.device)

        noise = torch.rand(count, len(self._joint_ids), device=self.device)
        span = self._joint_upper - self._joint_lower
        joint_pos = self.cfg.reset_joint_noise * (self._joint_lower + noise * span)
        # the share of a joint whose range does not contain 0 may lie below its limit (the Allegro thumb's first joint)
        joint_pos = joint_pos.clamp(self._joint_lower, self._joint_upper)
        joint_pos[:, self._followers] = self._coupling_ratios * joint_pos[:, self._leaders]
        self.hand.write_joint_position_to_sim_index(position=joint_pos, joint_ids=self._joint_ids, env_ids=env_ids)
        self.hand.write_joint_velocity_to_sim_index(
            velocity=torch.zeros_like(joint_pos), joint_ids=self._joint_ids, env_ids=env_ids
        )
        # the drives get their targets with the next action
        self.targets[env_ids] = self.joint_pos(self._actuated_ids)[env_ids]

        pose = torch.empty(count, 7, device=self.device)
        pose[:, :3] = self._start_pos + self.scene.env_origins[env_ids]
        pose[:, :3] += self.cfg.reset_position_noise * (2.0 * torch.rand(count, 3, device=self.device) - 1.0)
        pose[:, 3:] = goals.official(count, self.device)
        if self.cfg.curriculum.enabled:
            self.goal_quat[env_ids] = self._ease(self.goal_quat[env_ids], pose[:, 3:], env_ids)
        self.object.write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)
        self.object.write_root_velocity_to_sim_index(
            root_velocity=torch.zeros(count, 6, device=self.device), env_ids=env_ids
        )

    def _ease(
        self, official: torch.Tensor, object_quat: torch.Tensor, env_ids: Sequence[int] | torch.Tensor | slice
    ) -> torch.Tensor:
        """Goals as the curriculum has them: near the object until its angle has arrived, then the official ones.

        Args:
            official: Goals of the official distribution, shape (n, 4), xyzw.
            object_quat: Present orientations of the objects, shape (n, 4), xyzw.
            env_ids: Environments they belong to.

        Returns:
            Goals, shape (n, 4), xyzw.
        """
        angle = self.curriculum.of_environments("goal_angle", self.goal_quat)
        angle = angle.expand(self.num_envs)[env_ids]
        near = goals.near(object_quat, self.cfg.curriculum.min_angle, angle)
        return torch.where((angle < math.pi).unsqueeze(-1), near, official)

    # observations

    @staticmethod
    def observation_layout(cfg: InHandReorientEnvCfg) -> dict[str, int]:
        """Items of the policy's observation and their sizes, in order.

        Args:
            cfg: Configuration of the environment.

        Returns:
            Name -> size. Joint positions and targets are normalised to [-1, 1] by the limits, velocities and forces
            scaled by the configuration; poses are position [m] and quaternion. A fingertip's state is position,
            quaternion, linear [m/s] and angular velocity [rad/s], its wrench force and torque; fingertips come one
            after the other.

        Raises:
            ValueError: If ``cfg.obs_type`` is unknown.
        """
        return _sizes(cfg, "measured" if cfg.asymmetric else cfg.obs_type)

    @staticmethod
    def state_layout(cfg: InHandReorientEnvCfg) -> dict[str, int]:
        """Items of what the critic sees where that is something else, as :meth:`observation_layout` has them.

        Args:
            cfg: Configuration of the environment.

        Returns:
            Name -> size; empty unless ``cfg.asymmetric``.

        Raises:
            ValueError: If ``cfg.obs_type`` is unknown.
        """
        return _sizes(cfg, cfg.obs_type) if cfg.asymmetric else {}

    @staticmethod
    def interface(cfg: InHandReorientEnvCfg) -> dict[str, Any]:
        """What a robot must know to use a policy of this task.

        Args:
            cfg: Configuration of the environment.

        Returns:
            Plain values; see :mod:`sapg_isaaclab.tasks.interface`.
        """
        return describe(cfg, InHandReorientEnv.observation_layout(cfg))

    def _get_observations(self) -> dict[str, torch.Tensor]:
        cfg, pose = self.cfg, torch.cat((self.object_pos, self.object_quat), dim=-1)
        state = self._observation(cfg.obs_type, pose)
        if self.pose_estimate is None:
            return {"policy": state}
        seen = self.pose_estimate.look(pose, self.common_step_counter)
        return {"policy": self._observation("measured", seen), "critic": state}

    def _observation(self, layout: str, object_pose: torch.Tensor) -> torch.Tensor:
        """An observation, shape (N, O), of an object in the given pose, shape (N, 7)."""
        items = [self._observation_item(name, object_pose) for name in self.cfg.obs_layouts[layout]]
        return torch.cat(items, dim=-1).clamp(-self.cfg.obs_clip, self.cfg.obs_clip)

    def _observation_item(self, name: str, object_pose: torch.Tensor) -> torch.Tensor:
        """One item of the observation, shape (N, size)."""
        cfg, data = self.cfg, self.object.data
        match name:
            case "joint_pos":
                return _between(self.joint_pos(self._joint_ids), self._joint_lower, self._joint_upper)
            case "joint_targets":
                return _between(self.targets, self._actuated_lower, self._actuated_upper)
            case "joint_vel":
                return cfg.vel_obs_scale * self.hand.data.joint_vel.torch.index_select(1, self._joint_ids)
            case "joint_force":
                return self._joint_forces()
            case "object_pos":
                return object_pose[:, :3]
            case "object_quat":
                return object_pose[:, 3:]
            case "object_lin_vel":
                return data.root_lin_vel_w.torch
            case "object_ang_vel":
                return cfg.vel_obs_scale * data.root_ang_vel_w.torch
            case "goal_pos":
                return self._goal_pos.expand(self.num_envs, 3)
            case "goal_quat":
                return self.goal_quat
            case "goal_rotation":
                return rewards.relative_rotation(object_pose[:, 3:], self.goal_quat)
            case "fingertip_pos":
                return self.fingertip_pos.flatten(1)
            case "fingertip_state":
                hand = self.hand.data
                parts = (hand.body_link_quat_w, hand.body_com_lin_vel_w, hand.body_com_ang_vel_w)
                state = (self.fingertip_pos, *(part.torch.index_select(1, self._fingertip_ids) for part in parts))
                return torch.cat(state, dim=-1).flatten(1)
            case "fingertip_wrench":
                wrench = self._wrench_sensor.data
                parts = (part.torch.index_select(1, self._fingertip_rows) for part in (wrench.force, wrench.torque))
                return cfg.force_obs_scale * torch.cat(tuple(parts), dim=-1).flatten(1)
            case "actions":
                return self.actions
        raise ValueError(f"obs_layouts has an unknown item {name!r}")

    def _joint_forces(self) -> torch.Tensor:
        """Joint forces, scaled, shape (N, joints)."""
        if self.cfg.joint_force_obs == "zero":
            return torch.zeros(self.num_envs, len(self._joint_ids), device=self.device)
        if self._wrench_sensor is None:
            return self.cfg.force_obs_scale * self.hand.data.applied_torque.torch.index_select(1, self._joint_ids)
        torque = self._wrench_sensor.data.torque.torch[..., 2]
        return self.cfg.force_obs_scale * torque.index_select(1, self._joint_rows)

    # state, read live from the physics engine

    def joint_pos(self, joint_ids: torch.Tensor) -> torch.Tensor:
        """Joint positions [rad], shape (N, len(joint_ids))."""
        # index_select: indexing with [:, ids] would start all threads of torch, which here costs more than it does
        return self.hand.data.joint_pos.torch.index_select(1, joint_ids)

    @property
    def object_pos(self) -> torch.Tensor:
        """Object position in the environment frame [m], shape (N, 3)."""
        return self.object.data.root_pos_w.torch - self.scene.env_origins

    @property
    def fingertip_pos(self) -> torch.Tensor:
        """Origins of the fingertip bodies in the environment frame [m], shape (N, fingertips, 3)."""
        pos = self.hand.data.body_link_pos_w.torch.index_select(1, self._fingertip_ids)
        return pos - self.scene.env_origins.unsqueeze(1)

    @property
    def object_quat(self) -> torch.Tensor:
        """Object orientation, shape (N, 4), xyzw."""
        return self.object.data.root_quat_w.torch

    # metrics

    def _write_metrics(self, terms: dict[str, torch.Tensor]) -> None:
        log = self._common_metrics() | {
            "Metrics/success_tolerance": self.curriculum.values["tolerance"].mean(),
            "Metrics/goal_angle": self.curriculum.values["goal_angle"].mean(),
            "Metrics/rotation_error": self._rotation_error.mean(),
            "Metrics/position_error": self._position_error.mean(),
        }
        log |= {f"Reward/{name}": term.mean() for name, term in terms.items()}
        if self.cfg.curriculum.enabled:
            objective = self.curriculum.true_objective(self._finished_successes)
            log["Metrics/true_objective"] = objective.mean()
            self.extras["true_objective"] = objective
        self.extras["log"] = log

    # drawing

    def _set_debug_vis_impl(self, debug_vis: bool) -> None:
        if self._goal_marker is None:
            self._goal_marker = GoalMarker(find_table(self.cfg.goal_asset), self.num_envs, self.device)
        self._goal_marker.set_visibility(debug_vis)

    def _debug_vis_callback(self, event: object) -> None:
        offset = torch.tensor(self.cfg.goal_marker_offset, device=self.device)
        self._goal_marker.draw(self._goal_pos + offset + self.scene.env_origins, self.goal_quat)


def _between(joint_pos: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Joint positions [rad], shape (N, joints), as -1 at the lower limit and 1 at the upper one."""
    return (2.0 * joint_pos - upper - lower) / (upper - lower)


def _sizes(cfg: InHandReorientEnvCfg, name: str) -> dict[str, int]:
    """Items of an observation layout and their sizes, in order."""
    joints, actions, fingertips = (
        len(names) for names in (cfg.joint_names, cfg.actuated_joint_names, cfg.fingertip_body_names)
    )
    sizes = {"joint_pos": joints, "joint_targets": actions, "joint_vel": joints, "joint_force": joints}
    sizes |= {"object_pos": 3, "object_quat": 4, "object_lin_vel": 3, "object_ang_vel": 3}
    sizes |= {"goal_pos": 3, "goal_quat": 4, "goal_rotation": 4, "actions": actions}
    sizes |= {"fingertip_pos": 3 * fingertips, "fingertip_state": 13 * fingertips}
    sizes |= {"fingertip_wrench": 6 * fingertips}
    if name not in cfg.obs_layouts:
        *names, last = map(repr, cfg.obs_layouts)
        raise ValueError(f"obs_type={name!r} is unknown; use {', '.join(names)} or {last}")
    return {item: sizes[item] for item in cfg.obs_layouts[name]}


def _check_curriculum(cfg: InHandReorientEnvCfg) -> None:
    """Refuse a curriculum that leads nowhere; the ways of its numbers check themselves."""
    way = cfg.curriculum
    if way.gate not in ("all", "leader", "block"):
        raise ValueError(f"curriculum.gate={way.gate!r} is unknown; use 'all', 'leader' or 'block'")
    if not way.enabled:
        return
    if not way.initial_tolerance < way.min_angle < way.initial_angle <= math.pi:
        raise ValueError(
            f"curriculum.min_angle={way.min_angle} is not allowed; use one above curriculum.initial_tolerance"
            f" {way.initial_tolerance}, or goals are reached as they appear, and below curriculum.initial_angle"
            f" {way.initial_angle}, which is pi at most"
        )
