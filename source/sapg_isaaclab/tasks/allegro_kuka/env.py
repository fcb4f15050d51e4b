"""The AllegroKuka environment: one arm with a hand or several, a table, a cuboid, and one of three goals.

Positions are in the environment frame [m], quaternions xyzw. Joints are in the order of ``cfg.joint_names`` whatever
order the physics engine uses, fingers in the order index, middle, ring, thumb, arm after arm in that of ``cfg.arms``.
Shapes: N environments, A arms of J joints each.

A control step, in the order of :class:`DirectRLEnv`: targets and pushes; physics; ``_judge`` keeps joints within
their limits, measures, counts and decides; ``_pay`` pays, logs and draws the next goals; episodes that ended
start anew; ``_get_observations`` shows the state as it then is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
import warp as wp

from sapg_isaaclab.assets.tables.cuboids import BASE_EDGE, edges, mass, object_scales
from sapg_isaaclab.tasks.allegro_kuka import observations, rewards
from sapg_isaaclab.tasks.allegro_kuka.actions import joint_targets
from sapg_isaaclab.tasks.allegro_kuka.arms import Arms
from sapg_isaaclab.tasks.allegro_kuka.checks import check
from sapg_isaaclab.tasks.allegro_kuka.drawing import ColoredCuboids, GoalBalls
from sapg_isaaclab.tasks.allegro_kuka.env_cfg import AllegroKukaEnvCfg
from sapg_isaaclab.tasks.allegro_kuka.goals import GOALS, Goal, Reorient, Throw
from sapg_isaaclab.tasks.allegro_kuka.interface import describe
from sapg_isaaclab.tasks.allegro_kuka.joint_stops import JointStops
from sapg_isaaclab.tasks.allegro_kuka.keypoints import keypoint_offsets
from sapg_isaaclab.tasks.allegro_kuka.measurements import Measurements
from sapg_isaaclab.tasks.allegro_kuka.objects import assign_objects, objects_in
from sapg_isaaclab.tasks.allegro_kuka.pushes import Pushes
from sapg_isaaclab.tasks.allegro_kuka.starts import Starts
from sapg_isaaclab.tasks.base import TaskEnv
from sapg_isaaclab.tasks.curriculum import Curriculum, Way
from sapg_isaaclab.tasks.physics import contact_buffers, fit_newton_buffers
from sapg_isaaclab.tasks.randomization import steady_force

TERMS = ("fingertip", "lifting", "lift_bonus", "keypoint", "goal_bonus", "arm_velocity", "hand_velocity")
"""Reward terms in the order in which they are summed."""

MAX_FINGERTIP_IMPROVEMENT = 10.0
MAX_KEYPOINT_IMPROVEMENT = 100.0
"""Largest improvements that are paid [m]; never reached, kept from the official code."""

UNSET = -1.0
"""Value of a closest distance that has not been measured yet."""


class AllegroKukaEnv(TaskEnv):
    """Arms with hands pick up a cuboid and bring it to goals (paper, Section 5; official code).

    ``extras["true_objective"]``, shape (N,), is what a population of policies is ranked by: the successes of each
    environment's last finished episode and the tolerance in force.
    """

    cfg: AllegroKukaEnvCfg

    REWARD_WEIGHTS = (
        "fingertip_reward_scale",
        "lifting_reward_scale",
        "lift_bonus",
        "lift_threshold",
        "keypoint_reward_scale",
        "goal_bonus",
        "arm_velocity_reward_scale",
        "hand_velocity_reward_scale",
    )

    def _prepare(self, cfg: AllegroKukaEnvCfg) -> contextlib.AbstractContextManager[None]:
        check(cfg)
        _fit_contact_buffers(cfg)
        scales = object_scales(cfg.object_sets, cfg.object_seed)[: cfg.max_shapes]
        self._scales = scales[: cfg.scene.num_envs // cfg.num_blocks]
        self._assignment = assign_objects(cfg.scene.num_envs, cfg.num_blocks, len(self._scales))
        self.goal: Goal = GOALS[type(cfg.goal)](**vars(cfg.goal))
        cfg.observation_space = sum(observations.layout(cfg).values())
        cfg.state_space = sum(observations.state_layout(cfg).values())
        return objects_in(cfg.scene, self._scales, self._assignment)

    def _set_up(self) -> None:
        cfg, scales = self.cfg, self._scales
        self.object = self.scene["object"]
        self.bucket = self.scene["bucket"] if isinstance(self.goal, Throw) else None
        self.arms = Arms([self.scene[name] for name in cfg.arms], cfg.joint_names, self.device)
        """The arms with their hands."""
        self.stops = JointStops(self.arms, cfg.joint_limit_tolerance)
        """What keeps joints within their limits."""
        self._default_joint_pos = torch.tensor(cfg.default_joint_pos * len(self.arms), device=self.device)

        shapes = torch.as_tensor(self._assignment, device=self.device)
        self.object_edges = torch.tensor([edges(scale) for scale in scales], device=self.device)[shapes]
        """Edges of the objects [m], shape (N, 3)."""
        self.object_scale = self.object_edges / BASE_EDGE
        self.object_mass = torch.tensor([mass(scale) for scale in scales], device=self.device)[shapes]
        """Masses of the objects [kg], shape (N,)."""
        offsets = keypoint_offsets(self.goal.corners, self.object_edges, cfg.keypoint_scale)
        self.measured = Measurements(self.arms, self.scene.env_origins, offsets)
        """Where palms, fingertips and keypoints are."""
        self.starts = Starts(
            cfg.scene.object.init_state.pos, side=cfg.reset_side, noise=cfg.reset_position_noise, device=self.device
        )
        """Where objects start."""
        own = cfg.force_mass == "per_object"
        force_mass = self.object_mass if own else torch.full_like(self.object_mass, cfg.force_env0_mass)
        self.pushes = Pushes(
            self.object,
            cfg.force_scale * force_mass.unsqueeze(-1),
            probability=cfg.force_probability,
            decay=cfg.force_decay ** (self.step_dt / cfg.force_decay_interval),
            device=self.device,
        )
        """Random forces on the objects."""
        self.pushes.steady = steady_force(self)

        curriculum = cfg.curriculum
        self.curriculum = Curriculum(
            {"tolerance": Way(initial=curriculum.initial, final=curriculum.final, factor=curriculum.factor)},
            interval=curriculum.interval,
            threshold=curriculum.threshold,
            groups=cfg.num_blocks if curriculum.gate == "block" else None,
            device=self.device,
        )
        self.host_knows = self.device == "cpu"
        """Whether asking for a value of a tensor costs nothing."""
        self._allocate()
        self.extras["true_objective"] = self.curriculum.true_objective(self._finished_successes)

        self._markers: list[ColoredCuboids | GoalBalls] = []

    def _allocate(self) -> None:
        """Make the buffers that outlive a step. They are only ever written in place."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(self.num_envs, *shape, dtype=dtype, device=self.device)

        num_arms, num_joints = len(self.arms), self.arms.num_joints
        self.targets = zeros(num_arms * num_joints)
        self.goal_pos = zeros(3)
        self.goal_quat = zeros(4)
        self.goal_quat[:, 3] = 1.0
        self.lifted = zeros(dtype=torch.bool)
        self.near_steps = zeros(dtype=torch.long)
        self.closest_tip = zeros(4 * num_arms)
        self.closest_keypoint = zeros()
        # what observations show: the values before the last step's update
        self.shown_lifted = zeros(dtype=torch.bool)
        self.shown_tip = zeros(4 * num_arms)
        self.shown_keypoint = zeros()
        self.last_reward = zeros()
        self._episode_terms = zeros(len(TERMS))
        self._finished_terms = zeros(len(TERMS))

    # actions

    def _pre_physics_step(self, actions: torch.Tensor) -> None:
        cfg, arms = self.cfg, self.arms
        self.actions = actions.clamp(-1.0, 1.0)
        previous, actions, lower, upper = (
            values.unflatten(-1, (len(arms), arms.num_joints))
            for values in (self.targets, self.actions, arms.lower, arms.upper)
        )
        # arms' targets are integrated once per control step
        targets = joint_targets(
            previous,
            actions,
            lower,
            upper,
            num_moved=cfg.num_arm_joints if cfg.arm_mode == "velocity" else 0,
            step=cfg.arm_speed * self.step_dt,
            smoothing=cfg.action_smoothing,
        )
        self.targets.copy_(targets.flatten(1))
        arms.drive(self.targets)
        if cfg.force_scale > 0.0:
            self.pushes.step()

    # dones, rewards

    def _judge(self) -> tuple[torch.Tensor, torch.Tensor]:
        cfg = self.cfg
        self._move_curriculum()
        self.stops.hold(self.joint_pos, self.joint_vel)
        self._measure()
        tip, keypoint = self.measured.tip_distance, self.measured.keypoint_distance
        closest_tip = torch.where(self.closest_tip < 0.0, tip, self.closest_tip)
        closest_keypoint = torch.where(self.closest_keypoint < 0.0, keypoint, self.closest_keypoint)
        self.shown_tip.copy_(closest_tip)
        self.shown_keypoint.copy_(closest_keypoint)
        self.shown_lifted.copy_(self.lifted)

        self._tip_improvement = rewards.improvement(closest_tip, tip, MAX_FINGERTIP_IMPROVEMENT)
        self._keypoint_improvement = rewards.improvement(closest_keypoint, keypoint, MAX_KEYPOINT_IMPROVEMENT)
        torch.minimum(closest_tip, tip, out=self.closest_tip)
        torch.minimum(closest_keypoint, keypoint, out=self.closest_keypoint)

        object_z = self.object_pos[:, 2]
        self._height = rewards.lift_height(object_z, start_z=cfg.scene.object.init_state.pos[2], offset=cfg.lift_offset)
        self._just_lifted = (self._height > self.reward_weights["lift_threshold"]) & ~self.lifted
        self.lifted |= self._just_lifted

        self._near = keypoint <= cfg.success_radius_scale * self.curriculum.of_environments("tolerance", keypoint)
        self.near_steps.copy_(rewards.count_near(self.near_steps, self._near, consecutive=cfg.hold == "consecutive"))
        self._reached = self.near_steps >= cfg.hold_steps
        self.successes += self._reached
        # a success buys the time for another goal
        self.episode_length_buf.masked_fill_(self._reached, 0)

        terminated = (object_z < cfg.drop_height) | (self.successes >= cfg.max_successes) | self.goal.hand_lost(tip)
        timed_out = self.episode_length_buf >= self.max_episode_length - 1
        return terminated, timed_out & ~terminated

    def _pay(self) -> torch.Tensor:
        cfg, lifted, weights = self.cfg, self.lifted, self.reward_weights
        joint_vel = self.joint_vel.unflatten(-1, (len(self.arms), self.arms.num_joints))
        arm_vel, hand_vel = joint_vel.split((cfg.num_arm_joints, self.arms.num_joints - cfg.num_arm_joints), dim=-1)
        terms = torch.stack(
            (
                rewards.fingertip_term(
                    self._tip_improvement,
                    lifted,
                    scale=weights["fingertip_reward_scale"],
                    after_lift=cfg.fingertip_after_lift,
                ),
                rewards.lifting_term(
                    self._height, lifted, scale=weights["lifting_reward_scale"], limit=cfg.lifting_limit
                ),
                rewards.lift_bonus_term(self._just_lifted, bonus=weights["lift_bonus"]),
                rewards.keypoint_term(self._keypoint_improvement, lifted, scale=weights["keypoint_reward_scale"]),
                rewards.goal_bonus_term(self._near, bonus=weights["goal_bonus"], hold_steps=cfg.hold_steps),
                rewards.velocity_term(arm_vel.flatten(1), scale=weights["arm_velocity_reward_scale"]),
                rewards.velocity_term(hand_vel.flatten(1), scale=weights["hand_velocity_reward_scale"]),
            ),
            dim=-1,
        )
        reward = terms.sum(-1)
        self.last_reward.copy_(reward)
        self._episode_terms += terms
        done = self._finished()
        self._finished_successes.copy_(torch.where(done, self.successes, self._finished_successes))
        self._finished_terms.copy_(torch.where(done.unsqueeze(-1), self._episode_terms, self._finished_terms))
        self._write_metrics(terms)
        # the next goal is drawn here, so that the coming observation already shows it
        self._draw_next_goals(self._reached & ~self.reset_buf)
        return reward

    def _draw_next_goals(self, reached: torch.Tensor) -> None:
        """Give the environments of a mask, bool (N,), their next goal.

        Drawing for all environments and keeping some costs less than finding out on the host which ones need it; on a
        CPU, where the host knows, nothing is drawn when no goal was reached.
        """
        if self.host_knows and not reached.any():
            return
        self.measured.aimed = True
        pos, quat = self.goal.sample(self.num_envs, self.device)
        chosen = reached.unsqueeze(-1)
        self.goal_pos.copy_(torch.where(chosen, pos, self.goal_pos))
        self.goal_quat.copy_(torch.where(chosen, quat, self.goal_quat))
        self.near_steps.masked_fill_(reached, 0)
        for buffer in (self.closest_keypoint, self.shown_keypoint):
            buffer.masked_fill_(reached, UNSET)
        if not self.goal.replaces_object:
            return
        self.measured.moved = True
        for buffer in (self.closest_tip, self.shown_tip):
            buffer.masked_fill_(chosen, UNSET)
        for buffer in (self.lifted, self.shown_lifted):
            buffer.masked_fill_(reached, False)
        mask = wp.from_torch(reached, dtype=wp.bool)
        self.object.write_root_pose_to_sim_mask(root_pose=self.starts.sample(self.scene.env_origins), env_mask=mask)
        self.object.write_root_velocity_to_sim_mask(
            root_velocity=torch.zeros(self.num_envs, 6, device=self.device), env_mask=mask
        )
        if self.bucket is not None:
            self.bucket.write_root_pose_to_sim_mask(
                root_pose=self._bucket_pose(self.goal_pos, self.scene.env_origins), env_mask=mask
            )

    # resets

    def _reset_idx(self, env_ids: Sequence[int] | torch.Tensor) -> None:
        super()._reset_idx(env_ids)
        self.measured.moved = True
        cfg, count = self.cfg, len(env_ids)
        rows = torch.as_tensor(env_ids, dtype=torch.long, device=self.device)
        origins = self.scene.env_origins.index_select(0, rows)
        for buffer in (self.lifted, self.shown_lifted):
            buffer.index_fill_(0, rows, False)
        for buffer in (self.closest_tip, self.closest_keypoint, self.shown_tip, self.shown_keypoint):
            buffer.index_fill_(0, rows, UNSET)
        for buffer in (self.near_steps, self.successes, self.last_reward, self._episode_terms):
            buffer.index_fill_(0, rows, 0)
        self.pushes.restart(rows)

        lower, upper = self.arms.lower, self.arms.upper
        sample = lower + torch.rand(count, len(lower), device=self.device) * (upper - lower)
        joint_pos = torch.lerp(self._default_joint_pos.expand_as(sample), sample, cfg.reset_joint_noise)
        # the default of the thumb's first joint lies below its limit
        joint_pos = joint_pos.clamp(lower, upper)
        joint_vel = cfg.reset_joint_vel * (2.0 * torch.rand_like(joint_pos) - 1.0)
        self.arms.put(joint_pos, joint_vel, env_ids)
        # the drives get their targets with the next action
        self.targets.index_copy_(0, rows, joint_pos)

        self.object.write_root_pose_to_sim_index(root_pose=self.starts.sample(origins), env_ids=env_ids)
        self.object.write_root_velocity_to_sim_index(
            root_velocity=torch.zeros(count, 6, device=self.device), env_ids=env_ids
        )
        pos, quat = self.goal.sample(count, self.device)
        self.goal_pos.index_copy_(0, rows, pos)
        self.goal_quat.index_copy_(0, rows, quat)
        if self.bucket is not None:
            self.bucket.write_root_pose_to_sim_index(root_pose=self._bucket_pose(pos, origins), env_ids=env_ids)

    def _bucket_pose(self, goal_pos: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
        """Poses of buckets, in the world, shape (n, 7), for goals (n, 3) and environments at ``origins`` (n, 3)."""
        pose = torch.zeros(len(goal_pos), 7, device=self.device)
        pose[:, :3] = origins + self.goal.bucket_pos(goal_pos)
        pose[:, 6].fill_(1.0)
        return pose

    # observations

    @staticmethod
    def observation_layout(cfg: AllegroKukaEnvCfg) -> dict[str, int]:
        """Items of the policy's observation and their sizes, in order; see :func:`~.observations.layout`."""
        return observations.layout(cfg)

    @staticmethod
    def interface(cfg: AllegroKukaEnvCfg) -> dict[str, Any]:
        """What a robot must know to use a policy of this task.

        Args:
            cfg: Configuration of the environment.

        Returns:
            Plain values; see :mod:`sapg_isaaclab.tasks.interface`.
        """
        return describe(cfg, observations.layout(cfg))

    def _get_observations(self) -> dict[str, torch.Tensor]:
        self._catch_up()
        official, clip = observations.items(self), self.cfg.obs_clip
        state = torch.cat(tuple(official.values()), dim=-1).clamp(-clip, clip)
        if self.pose_estimate is None:
            return {"policy": state}
        pose = torch.cat((self.object_pos, self.object_quat), dim=-1)
        seen = observations.policy_items(self, official, self.pose_estimate.look(pose, self.common_step_counter))
        return {"policy": torch.cat(seen, dim=-1).clamp(-clip, clip), "critic": state}

    # state, read live from the physics engine

    def _measure(self) -> None:
        """Measure everything anew, as after physics."""
        self.measured.moved = True
        self._catch_up()

    def _catch_up(self) -> None:
        """Measure what has changed since."""
        self.measured.take(self.object_pos, self.object_quat, self.goal_pos, self.goal_quat)

    @property
    def joint_pos(self) -> torch.Tensor:
        """Joint positions [rad], shape (N, A J)."""
        return self.arms.joint_pos

    @property
    def joint_vel(self) -> torch.Tensor:
        """Joint velocities [rad/s], shape (N, A J)."""
        return self.arms.joint_vel

    @property
    def object_pos(self) -> torch.Tensor:
        """Object position in the environment frame [m], shape (N, 3)."""
        return self.object.data.root_pos_w.torch - self.scene.env_origins

    @property
    def object_quat(self) -> torch.Tensor:
        """Object orientation, shape (N, 4), xyzw."""
        return self.object.data.root_quat_w.torch

    # metrics

    def _write_metrics(self, terms: torch.Tensor) -> None:
        objective = self.curriculum.true_objective(self._finished_successes)
        log = self._common_metrics() | {
            "Metrics/success_tolerance": self.curriculum.values["tolerance"].mean(),
            "Metrics/true_objective": objective.mean(),
            "Metrics/keypoint_distance": self.measured.keypoint_distance.mean(),
            "Metrics/lifted": self.lifted.float().mean(),
        }
        # mean reward of a step now, and mean sum over the last finished episodes
        for name, step, episode in zip(TERMS, terms.mean(0).unbind(), self._finished_terms.mean(0).unbind()):
            log[f"Reward/{name}"] = step
            log[f"Episode/{name}"] = episode
        self.extras["log"] = log
        self.extras["true_objective"] = objective

    # checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Like :meth:`TaskEnv.state_dict`, with the reward terms of each environment's last finished episode."""
        return {**super().state_dict(), "finished_terms": self._finished_terms.cpu().clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Like :meth:`TaskEnv.load_state_dict`, with the reward terms of each environment's last finished episode.

        Args:
            state: The saved numbers.

        Raises:
            KeyError: If one is missing.
        """
        super().load_state_dict(state)
        self._finished_terms.copy_(state["finished_terms"])

    # drawing

    def _set_debug_vis_impl(self, debug_vis: bool) -> None:
        if not self._markers:
            self._markers = [ColoredCuboids("object", self.object_edges, margin=0.001)]
            if isinstance(self.goal, Reorient):
                self._markers.append(ColoredCuboids("goal", self.object_edges))
            else:
                self._markers.append(GoalBalls("goal"))
        for marker in self._markers:
            marker.set_visibility(debug_vis)

    def _debug_vis_callback(self, event: object) -> None:
        self._markers[0].draw(self.object_pos + self.scene.env_origins, self.object_quat)
        self._markers[1].draw(self.goal_pos + self.scene.env_origins, self.goal_quat)


def _fit_contact_buffers(cfg: AllegroKukaEnvCfg) -> None:
    """Enlarge the buffers for touching pairs: arm and hand have twice the shapes of a hand alone, a bucket has 13."""
    sizes, physics = contact_buffers(4 * len(cfg.arms) * cfg.scene.num_envs), cfg.sim.physics
    for name in ("gpu_max_rigid_patch_count", "gpu_found_lost_pairs_capacity"):
        if hasattr(physics, name):
            setattr(physics, name, max(getattr(physics, name), sizes[name]))
    fit_newton_buffers(physics, len(cfg.arms))
