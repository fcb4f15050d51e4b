"""Environments with an exploration trap: a point on a plane, thousands at once on one core, no simulator.

All were designed by the same rules, not by what an algorithm makes of them:

- A *decoy* pays a little and is found first. A *goal* pays several times as much, also with discount 0.99, but nothing
  points to it.
- What the decoy asks for leads away from the goal, so that a policy that has settled there no longer explores it.
- In the two hard ones the decoy is felt at the start, and random actions reach the goal in one or two of a thousand
  episodes: now and then with a few hundred environments, in every update with tens of thousands. In the mild one
  neither is felt at the start, random actions reach the goal in a tenth of the episodes and earn twice as much there as
  at the decoy, which is only nearer. Whether a method can use that is what is measured.

==============  ===========================  ====================================================  ===================
name            trap                         decoy                                                 goal
==============  ===========================  ====================================================  ===================
``two_hills``   reward with two modes, mild  a low narrow hill                                     a high one, farther
``two_goals``   reward with two modes        a wide hill of reward next to the start               through a gap, away
``key_door``    long horizon, sparse reward  waiting at a door that pays a little for being close  fetch the key first
==============  ===========================  ====================================================  ===================
"""

from __future__ import annotations

import torch

from sapg_isaaclab.experiments.trap_env import TrapEnv

KEPT_SPEED = 0.8
"""Share of the velocity that is left after a step."""

THRUST = 0.03
"""Velocity [lengths per step] that a full action adds in a step."""

STOPPING = KEPT_SPEED / (1.0 - KEPT_SPEED)
"""Steps' worth of the present velocity that the point still drifts without thrust."""


class PointEnv(TrapEnv):
    """A point with momentum in the room [-1, 1] x [-1, 1], N of them.

    Action (2,): thrust, clamped to [-1, 1]. A step is v = 0.8 v + 0.03 a, then p = p + v; full thrust tends to 0.15
    lengths per step on each axis. The room's edge stops the motion across it.

    Observation (4,) or (5,): position (2), ten times the velocity (2), and the flag if the subclass shows it. An
    episode begins at rest within 0.1 of the start on each axis.
    """

    num_observations, num_actions = 4, 2

    start: tuple[float, float]
    """Centre of the square in which episodes begin."""

    shows_flag = False
    """Whether the flag is part of the observation."""

    position: torch.Tensor
    """Shape (N, 2)."""

    velocity: torch.Tensor
    """Lengths per step. Shape (N, 2)."""

    flag: torch.Tensor
    """Whether the point has earned it, which a subclass's :meth:`pay` decides. Shape (N,), bool."""

    def move(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the points are and how fast after a step at the present velocity.

        Returns:
            Position and velocity. Shape (N, 2) each.
        """
        after = self.position + self.velocity
        inside = after.abs() <= 1.0
        return after.clamp(-1.0, 1.0), self.velocity * inside

    def succeeded(self, terminated: torch.Tensor) -> torch.Tensor:
        """Whether an episode that ends now is a success: if the flag was raised, unless the subclass says otherwise.

        Args:
            terminated: Whether it terminates. Shape (N,).

        Returns:
            Shape (N,), bool.
        """
        return self.flag

    def starts(self) -> dict[str, torch.Tensor]:
        """At rest in a square around the start, without the flag.

        Returns:
            Position and velocity (N, 2), flag (N,).
        """
        draw = torch.rand(self.num_envs, 2, generator=self.generator, device=self.device)
        return {
            "position": torch.tensor(self.start, device=self.device) + 0.2 * draw - 0.1,
            "velocity": torch.zeros(self.num_envs, 2, device=self.device),
            "flag": torch.zeros(self.num_envs, dtype=torch.bool, device=self.device),
        }

    def advance(self, actions: torch.Tensor) -> None:
        """Change velocity and position.

        Args:
            actions: Thrust. Shape (N, 2).
        """
        self.velocity = KEPT_SPEED * self.velocity + THRUST * actions.clamp(-1.0, 1.0)
        self.position, self.velocity = self.move()

    def observe(self) -> torch.Tensor:
        """Position, velocity and perhaps the flag. Shape (N, 4) or (N, 5)."""
        parts = [self.position, 10.0 * self.velocity]
        return torch.cat([*parts, self.flag[:, None].float()] if self.shows_flag else parts, dim=1)

    def steer(self, x: torch.Tensor | float, y: torch.Tensor | float) -> torch.Tensor:
        """Actions that bring every point to rest at a target in the fewest steps, one axis apart from the other.

        Without thrust a point comes to rest 4 v further on, and a full action moves that place by 0.15.

        Args:
            x: First coordinate of the targets, one for all or of shape (N,).
            y: Second coordinate, likewise.

        Returns:
            Actions in [-1, 1]. Shape (N, 2).
        """
        rest = self.position + STOPPING * self.velocity
        target = torch.stack([torch.as_tensor(c, device=self.device).expand(self.num_envs) for c in (x, y)], dim=1)
        return ((target - rest) * (1.0 - KEPT_SPEED) / THRUST).clamp(-1.0, 1.0)

    def _distance(self, place: tuple[float, float]) -> torch.Tensor:
        return (self.position - torch.tensor(place, device=self.device)).norm(dim=1)


class TwoHills(PointEnv):
    """A reward with two modes, and nothing between them. The far one pays four times as much as the near one.

    ::

         +1 +-----------------+
            |              G  |     S  start, at (0, 0)
            |                 |     D  decoy, at (-0.5, -0.5): pays 0.25 exp(-d^2 / 0.045) per step
            |        S        |     G  goal, at (0.75, 0.75): pays exp(-d^2 / 0.045) per step
            |                 |
            |    D            |
         -1 +-----------------+
           -1               +1

    Neither hill is felt at the start. An episode has 64 steps and only ends by time. A success is an episode that came
    within 0.25 of the goal.
    """

    episode_length = 64
    start = (0.0, 0.0)
    decoy_place, goal_place, goal_radius = (-0.5, -0.5), (0.75, 0.75), 0.25

    def pay(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pay for closeness to either top; the flag is raised near the goal.

        Returns:
            Rewards and False. Shape (N,) each.
        """
        to_decoy, to_goal = self._distance(self.decoy_place), self._distance(self.goal_place)
        self.flag = self.flag | (to_goal < self.goal_radius)
        hills = 0.25 * torch.exp(-to_decoy.square() / 0.045) + torch.exp(-to_goal.square() / 0.045)
        return hills, torch.zeros_like(self.flag)

    def decoy(self) -> torch.Tensor:
        """Actions of a controller that goes to the decoy's top and stays. Shape (N, 2)."""
        return self.steer(*self.decoy_place)

    def optimal(self) -> torch.Tensor:
        """Actions of a controller that goes to the goal's top and stays. Shape (N, 2)."""
        return self.steer(*self.goal_place)


class TwoGoals(PointEnv):
    """A reward with two modes. The far one, behind a wall with a gap, pays four times as much as the near one.

    ::

         +1 +-----------+-----+
            |           |     |     S  start, at (-0.5, 0)
            |                 |     D  decoy, at (-0.5, -0.6): pays 0.25 exp(-d^2 / 0.32) per step
            |  S        |     |     G  goal, at (0.7, -0.6): pays 1 per step within 0.25
            |           |     |        wall at x = 0.3, open from y = 0.35 to y = 0.85
            |  D        |  G  |
         -1 +-----------+-----+
           -1               +1

    The decoy's hill is felt at the start; the way to the gap goes up, the way to the decoy down. An episode has 64
    steps and only ends by time. A success is an episode in which the goal was reached.
    """

    episode_length = 64
    start = (-0.5, 0.0)
    decoy_place, goal_place, goal_radius = (-0.5, -0.6), (0.7, -0.6), 0.25
    wall_x, gap_y, gap_half_width = 0.3, 0.6, 0.25

    def move(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the points are and how fast after a step; the wall stops motion along x, as the edges do.

        Returns:
            Position and velocity. Shape (N, 2) each.
        """
        before, (after, velocity) = self.position, super().move()
        side_before, side_after = before[:, 0] - self.wall_x, after[:, 0] - self.wall_x
        crosses = (side_before > 0) != (side_after > 0)
        # a point that crosses moves along x, so that the denominator is not 0 where the share is used
        share = side_before / torch.where(crosses, side_before - side_after, 1.0)
        y = before[:, 1] + share * (after[:, 1] - before[:, 1])
        stopped = crosses & ((y - self.gap_y).abs() > self.gap_half_width)
        x = torch.where(stopped, before[:, 0], after[:, 0])
        return torch.stack((x, after[:, 1]), dim=1), torch.stack((velocity[:, 0] * ~stopped, velocity[:, 1]), dim=1)

    def pay(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pay for closeness to the decoy and for being at the goal; the flag is raised there.

        Returns:
            Rewards and False. Shape (N,) each.
        """
        at_goal = self._distance(self.goal_place) < self.goal_radius
        self.flag = self.flag | at_goal
        hill = 0.25 * torch.exp(-self._distance(self.decoy_place).square() / 0.32)
        return torch.where(at_goal, 1.0, hill), torch.zeros_like(at_goal)

    def decoy(self) -> torch.Tensor:
        """Actions of a controller that goes to the hill's top and stays. Shape (N, 2)."""
        return self.steer(*self.decoy_place)

    def optimal(self) -> torch.Tensor:
        """Actions of a controller that goes through the gap and stays at the goal. Shape (N, 2)."""
        behind = self.position[:, 0] > self.wall_x
        x, y = self.goal_place
        return self.steer(x, torch.where(behind, y, self.gap_y))


class KeyDoor(PointEnv):
    """A long horizon and a sparse reward: the door pays when one comes with the key, and the key alone pays nothing.

    ::

         +1 +-----------------+
            |             D   |     S  start, at (0, 0)
            |                 |     K  key, at (-0.7, -0.7): picked up within 0.2, and then seen
            |        S        |     D  door, at (0.7, 0.7): with the key it pays 20 within 0.2 and ends the episode;
            |                 |        it always pays 0.05 exp(-d^2 / 1) per step for being close
            |   K             |
         -1 +-----------------+
           -1               +1

    Coming closer to the door pays from the first step on, and the key lies on the other side. An episode has 128 steps.
    A success is an episode in which the door was opened.
    """

    episode_length = 128
    start = (0.0, 0.0)
    num_observations, shows_flag = 5, True
    key_place, door_place, reach = (-0.7, -0.7), (0.7, 0.7), 0.2

    def pay(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pay for closeness to the door and for opening it; the flag is raised at the key.

        Returns:
            Rewards and whether the door opens. Shape (N,) each.
        """
        self.flag = self.flag | (self._distance(self.key_place) < self.reach)
        to_door = self._distance(self.door_place)
        opens = self.flag & (to_door < self.reach)
        return 0.05 * torch.exp(-to_door.square()) + 20.0 * opens, opens

    def succeeded(self, terminated: torch.Tensor) -> torch.Tensor:
        """Whether the door was opened.

        Args:
            terminated: Whether the episode terminates. Shape (N,).

        Returns:
            Shape (N,), bool.
        """
        return terminated

    def decoy(self) -> torch.Tensor:
        """Actions of a controller that waits at the door without the key. Shape (N, 2)."""
        return self.steer(*self.door_place)

    def optimal(self) -> torch.Tensor:
        """Actions of a controller that fetches the key and goes to the door. Shape (N, 2)."""
        key, door = self.key_place, self.door_place
        return self.steer(*(torch.where(self.flag, d, k) for k, d in zip(key, door)))


ENVS: dict[str, type[PointEnv]] = {"two_hills": TwoHills, "two_goals": TwoGoals, "key_door": KeyDoor}
"""Environments by name."""
