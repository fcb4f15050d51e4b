"""Points fixed to a cuboid, which turn a pose error into distances."""

from __future__ import annotations

import torch


def rotate(quat: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Rotate vectors.

    Args:
        quat: Unit quaternions, shape (..., 4), xyzw.
        vectors: Vectors, shape (..., 3), of the same leading shape or one that broadcasts with it.

    Returns:
        Rotated vectors, shape (..., 3).
    """
    axis, w = quat[..., :3], quat[..., 3:]
    axis, vectors = torch.broadcast_tensors(axis, vectors)
    turned = 2.0 * torch.linalg.cross(axis, vectors)
    return torch.addcmul(vectors, w, turned) + torch.linalg.cross(axis, turned)


def keypoint_offsets(
    corners: tuple[tuple[float, float, float], ...], edges: torch.Tensor, scale: float
) -> torch.Tensor:
    """Keypoints in the frame of their cuboid.

    Args:
        corners: Corners in half edges, (1, 1, 1) is the corner at positive x, y, z; (0, 0, 0) the centre.
        edges: Edges of the cuboids [m], shape (N, 3).
        scale: How far outside the points lie; 1 is on the corners, the official code has 1.5.

    Returns:
        Offsets [m], shape (N, k, 3).
    """
    return edges.new_tensor(corners) * (0.5 * scale * edges.unsqueeze(1))


def keypoints(pos: torch.Tensor, quat: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Keypoints of posed cuboids.

    Args:
        pos: Positions [m], shape (N, 3).
        quat: Orientations, shape (N, 4), xyzw.
        offsets: Keypoints in the cuboids' frames [m], shape (N, k, 3).

    Returns:
        Keypoints in the frame of ``pos`` [m], shape (N, k, 3).
    """
    return pos.unsqueeze(1) + rotate(quat.unsqueeze(1), offsets)
