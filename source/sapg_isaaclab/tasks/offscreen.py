"""Newton's OpenGL viewer as a maker of pictures. Importing this module loads OpenGL."""

from __future__ import annotations

from typing import Any

from isaaclab_visualizers.newton.newton_visualizer import NewtonGLVisualizer

SAMPLES = 4
"""Samples of a pixel: with one, edges are stairs."""

SHADOW_EXTENT = 4.0
"""Half the edge of the square around the camera in which things cast shadows [m]: the smaller, the sharper."""


GLOSS = 0.3
"""Share of the reflected light: with all of it, a face turned towards the light looks white, whatever its colour."""


class OffscreenViewer(NewtonGLVisualizer):
    """Draws on request, with smooth edges, whichever environment is asked for."""

    def initialize(self, scene_data_provider: Any) -> None:
        """Make the viewer for a scene that is ready.

        Args:
            scene_data_provider: Isaac Lab's access to the scene.
        """
        super().initialize(scene_data_provider)
        renderer = self._viewer.renderer
        renderer.shadow_extents = SHADOW_EXTENT
        renderer.specular_scale = GLOSS
        # Newton asks the window for samples, and a hidden one has none to give; the buffer it draws into has
        renderer.msaa_samples = SAMPLES
        renderer.resize(self.cfg.window_width, self.cfg.window_height)

    def show(self, env_index: int) -> None:
        """Draw another environment from now on.

        Args:
            env_index: The environment; it alone is drawn.
        """
        if self.cfg.visible_env_indices != [env_index]:
            self.cfg.visible_env_indices = self._resolved_visible_env_ids = [env_index]
            self._viewer.set_visible_worlds([env_index])
