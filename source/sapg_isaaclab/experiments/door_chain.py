"""Rooms behind locked doors whose keys are postures of sixteen joints: what matters is which way to go, not how far."""

from __future__ import annotations

import torch

from sapg_isaaclab.experiments.trap_env import TrapEnv

JOINTS = 16
"""Joints A, each in [-1, 1]."""

STRIDE = 0.05
"""What a full action moves a joint in a step."""

MATCH = 0.2
"""How far a posture must go along a key to open its door; 1 is all the way."""

PAY = (0.0, 0.25, 0.25, 0.25, 0.25, 0.5, 0.25, 0.5, 0.25, 0.5, 1.0)
"""Reward of a step in each room."""

DOORS = ((0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 6), (0, 5, 8), (4, 6, 5), (6, 7, 7), (8, 8, 9), (9, 6, 10))
"""Doors: the room, the key, the room behind."""


def keys() -> torch.Tensor:
    """Postures that open doors: rows of a Hadamard matrix, so that to move along one is not to move along another.

    Returns:
        Nine vectors of +1 and -1, at right angles. Shape (9, 16).
    """
    rows = [[(-1.0) ** (row & column).bit_count() for column in range(JOINTS)] for row in range(1, 10)]
    return torch.tensor(rows)


class DoorChain(TrapEnv):
    """Six doors lead out of the first room, and nothing tells them apart. Three are dead ends, one is the way to most.

    ::

        first room --key 0--> 0.25                                      pay per step in the room behind
                   --key 1--> 0.25
                   --key 2--> 0.25
                   --key 3--> 0.25 --key 6--> 0.5
                   --key 4--> 0.25 --key 7--> 0.5
                   --key 5--> 0.25 --key 8--> 0.5 --key 6--> 1

    A step is q = q + 0.05 a for the sixteen joints q in [-1, 1], with actions a clamped to [-1, 1]. The match of a
    posture with a key k is q k / 16, and a door opens at a match of 0.2, which takes four steps of full actions. Of
    several doors, the one that matches best opens. Behind a door the joints are back at zero. No door leads back.

    Observation (27,): four times the joints (16), and which room it is (11). An episode has 128 steps, begins in the
    first room with joints within 0.02 of zero, and ends by time. A success is one that ends in the best room.
    """

    episode_length = 128
    num_observations, num_actions = JOINTS + len(PAY), JOINTS

    doors: tuple[tuple[int, int, int], ...] = DOORS
    """Its doors."""

    decoy_keys, best_keys = {0: 0}, {0: 5, 8: 8, 9: 6}
    """Rooms, and the key that a scripted policy uses there."""

    joints: torch.Tensor
    """Shape (N, 16)."""

    room: torch.Tensor
    """Which of the eleven rooms. Shape (N,)."""

    def __init__(self, num_envs: int, seed: int = 0, device: str = "cpu") -> None:
        rooms, locks = len(PAY), len(keys())
        behind = torch.full((rooms, locks), -1)
        for room, key, after in self.doors:
            behind[room, key] = after
        self.keys = keys().to(device)
        self.rooms = torch.eye(rooms, device=device)
        self.behind = behind.to(device)
        self.pays = torch.tensor(PAY, device=device)
        self.to_decoy, self.to_best = self._script(self.decoy_keys), self._script(self.best_keys)
        super().__init__(num_envs, seed, device)

    def starts(self) -> dict[str, torch.Tensor]:
        """Joints near zero, in the first room.

        Returns:
            Joints (N, 16) and rooms (N,).
        """
        draw = torch.rand(self.num_envs, JOINTS, generator=self.generator, device=self.device)
        return {
            "joints": 0.04 * draw - 0.02,
            "room": torch.zeros(self.num_envs, dtype=torch.long, device=self.device),
        }

    def advance(self, actions: torch.Tensor) -> None:
        """Move the joints, and go through the door that opens.

        Args:
            actions: Velocities of the joints. Shape (N, 16).
        """
        joints = (self.joints + STRIDE * actions.clamp(-1.0, 1.0)).clamp(-1.0, 1.0)
        behind = self.behind[self.room]
        match, key = torch.where(behind >= 0, joints @ self.keys.T / JOINTS, -1.0).max(dim=1)
        opens = match >= MATCH
        self.joints = torch.where(opens[:, None], 0.0, joints)
        self.room = torch.where(opens, behind.gather(1, key[:, None])[:, 0], self.room)

    def pay(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pay for the room.

        Returns:
            Rewards and False. Shape (N,) each.
        """
        return self.pays[self.room], torch.zeros_like(self.room, dtype=torch.bool)

    def observe(self) -> torch.Tensor:
        """Joints and room. Shape (N, 27)."""
        return torch.cat((4.0 * self.joints, self.rooms[self.room]), dim=1)

    def succeeded(self, terminated: torch.Tensor) -> torch.Tensor:
        """Whether it is the best room.

        Args:
            terminated: Not read.

        Returns:
            Shape (N,), bool.
        """
        return self.room == len(PAY) - 1

    def decoy(self) -> torch.Tensor:
        """Actions of a controller that opens a dead end and stays. Shape (N, 16)."""
        return self.to_decoy[self.room]

    def optimal(self) -> torch.Tensor:
        """Actions of a controller that opens the three doors to the best room. Shape (N, 16)."""
        return self.to_best[self.room]

    def _script(self, used: dict[int, int]) -> torch.Tensor:
        """Full actions along the key used in each room, and none elsewhere. Shape (rooms, 16)."""
        actions = torch.zeros(len(PAY), JOINTS, device=self.keys.device)
        for room, key in used.items():
            actions[room] = self.keys[key]
        return actions


class OneDoor(DoorChain):
    """The same with the one way to the best room and no other door, so that there is no wrong way: a control.

    What is not learned here cannot be learned in :class:`DoorChain` either, whatever the exploration.
    """

    doors = ((0, 5, 8), (8, 8, 9), (9, 6, 10))
    decoy_keys = {0: 5}  # noqa: RUF012  # read only
