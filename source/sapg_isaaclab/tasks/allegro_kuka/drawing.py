"""Draws objects with coloured faces and their goals."""

from __future__ import annotations

import isaaclab.sim as sim_utils
import torch
from isaaclab.markers import VisualizationMarkers, VisualizationMarkersCfg

from sapg_isaaclab.assets.tables.objects import EDGE_COLOR, FACE_COLORS
from sapg_isaaclab.tasks.allegro_kuka.keypoints import rotate
from sapg_isaaclab.tasks.rendering import screen_color

GOAL_COLOR = (0.05, 0.60, 0.10)
"""Colour of a goal position."""

PLATE = 0.0006
"""Thickness of a face [m]."""


class ColoredCuboids:
    """Cuboids with six differently coloured faces, one per environment, that collide with nothing.

    Drawn over the objects, whose own shapes are plain, and at their goals.
    """

    def __init__(self, name: str, edges: torch.Tensor, margin: float = 0.0):
        """Make the markers.

        Args:
            name: Name of the markers, unique in the scene.
            edges: Edges of the cuboids [m], shape (N, 3).
            margin: How much longer the drawn edges are [m].
        """
        edges = edges + margin
        colors, offsets, scales = {"core": EDGE_COLOR, **FACE_COLORS}, [torch.zeros_like(edges)], [edges]
        for face in FACE_COLORS:
            axis, sign = "xyz".index(face[1]), 1.0 if face[0] == "+" else -1.0
            offset, size = torch.zeros_like(edges), 0.9 * edges
            offset[:, axis], size[:, axis] = sign * edges[:, axis] / 2.0, PLATE
            offsets.append(offset)
            scales.append(size)
        # viewers that show some of the environments only expect the boxes of one environment next to each other
        self._offsets, self._scales = torch.stack(offsets, 1).flatten(0, 1), torch.stack(scales, 1).flatten(0, 1)
        self._count = len(colors)
        self._indices = torch.arange(self._count, device=edges.device).repeat(len(edges))
        markers = {
            f"box_{index}": sim_utils.CuboidCfg(
                size=(1.0, 1.0, 1.0), visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=screen_color(color))
            )
            for index, color in enumerate(colors.values())
        }
        self._markers = VisualizationMarkers(VisualizationMarkersCfg(prim_path=f"/Visuals/{name}", markers=markers))

    def set_visibility(self, visible: bool) -> None:
        """Show or hide the cuboids."""
        self._markers.set_visibility(visible)

    def draw(self, pos_w: torch.Tensor, quat_w: torch.Tensor) -> None:
        """Move the cuboids.

        Args:
            pos_w: Positions in the world [m], shape (N, 3).
            quat_w: Orientations in the world, shape (N, 4), xyzw.
        """
        pos, quat = pos_w.repeat_interleave(self._count, 0), quat_w.repeat_interleave(self._count, 0)
        self._markers.visualize(
            pos + rotate(quat, self._offsets), quat, scales=self._scales, marker_indices=self._indices
        )


class GoalBalls:
    """A small ball at each goal position."""

    def __init__(self, name: str, radius: float = 0.02):
        """Make the markers.

        Args:
            name: Name of the markers, unique in the scene.
            radius: Radius of the balls [m].
        """
        ball = sim_utils.SphereCfg(radius=radius, visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=GOAL_COLOR))
        self._markers = VisualizationMarkers(
            VisualizationMarkersCfg(prim_path=f"/Visuals/{name}", markers={"ball": ball})
        )

    def set_visibility(self, visible: bool) -> None:
        """Show or hide the balls."""
        self._markers.set_visibility(visible)

    def draw(self, pos_w: torch.Tensor, quat_w: torch.Tensor) -> None:
        """Move the balls.

        Args:
            pos_w: Positions in the world [m], shape (N, 3).
            quat_w: Not used.
        """
        self._markers.visualize(pos_w)
