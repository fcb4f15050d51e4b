"""Where objects start."""

from __future__ import annotations

import torch

from sapg_isaaclab.tasks.allegro_kuka.goals import to_either_side, uniform_rotation


class Starts:
    """Draws poses on the table: about a nominal start or, with two of them, about either with equal probability."""

    def __init__(self, pos: tuple[float, float, float], *, side: float, noise: tuple[float, float, float], device: str):
        """Keep the numbers.

        Args:
            pos: Nominal start in the environment frame [m].
            side: Distance along x of the two nominal starts from there, to either side [m]; 0 for the one.
            noise: Largest distance from the nominal start on each axis [m].
            device: Device of the tensors.
        """
        self._pos, self._noise = torch.tensor(pos, device=device), torch.tensor(noise, device=device)
        self._side = torch.tensor((side, 0.0, 0.0), device=device) if side > 0.0 else None

    def sample(self, origins: torch.Tensor) -> torch.Tensor:
        """Draw poses.

        Args:
            origins: Origins of n environments in the world [m], shape (n, 3).

        Returns:
            Poses in the world, positions [m] and orientations uniform over SO(3), xyzw, shape (n, 7).
        """
        count, device = len(origins), origins.device
        noise = 2.0 * torch.rand(count, 3, device=device) - 1.0
        start = self._pos
        if self._side is not None:
            start = start + to_either_side(self._side.expand(count, 3))
        pos = origins + start + self._noise * noise
        return torch.cat((pos, uniform_rotation(count, device)), dim=-1)
