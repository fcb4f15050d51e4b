"""Draws a copy of an object at its goal pose."""

from __future__ import annotations

import isaaclab.sim as sim_utils
import torch
from isaaclab.markers import VisualizationMarkers, VisualizationMarkersCfg
from isaaclab.utils.math import quat_apply

from sapg_isaaclab.assets.description import RigidObject
from sapg_isaaclab.tasks.rendering import screen_color


class GoalMarker:
    """A copy of an object that collides with nothing, drawn once per environment by every viewer.

    Viewers draw simple shapes, not USD files, so the copy is made of the object's boxes.
    """

    def __init__(self, table: RigidObject, num_envs: int, device: str):
        """Make the marker.

        Args:
            table: Table of the object, made of boxes only.
            num_envs: Number of environments.
            device: Device of the poses.
        """
        boxes = [shape for shape in table.body.shapes if not shape.collides] or list(table.body.shapes)
        markers = {
            f"box_{index}": sim_utils.CuboidCfg(
                size=tuple(2.0 * half for half in box.half),
                visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=screen_color(box.color)),
            )
            for index, box in enumerate(boxes)
        }
        self._markers = VisualizationMarkers(VisualizationMarkersCfg(prim_path="/Visuals/goal", markers=markers))
        self._offsets = torch.tensor([box.center for box in boxes], device=device).repeat(num_envs, 1)
        self._indices = torch.arange(len(boxes), device=device).repeat(num_envs)
        self._num_boxes = len(boxes)

    def set_visibility(self, visible: bool) -> None:
        """Show or hide the marker."""
        self._markers.set_visibility(visible)

    def draw(self, pos_w: torch.Tensor, quat_w: torch.Tensor) -> None:
        """Move the copies.

        Args:
            pos_w: Positions in the world [m], shape (N, 3).
            quat_w: Orientations in the world, shape (N, 4), xyzw.
        """
        quat = quat_w.repeat_interleave(self._num_boxes, 0)
        pos = pos_w.repeat_interleave(self._num_boxes, 0) + quat_apply(quat, self._offsets)
        self._markers.visualize(pos, quat, marker_indices=self._indices)
