"""Free objects and the ground."""

from dataclasses import replace

from sapg_isaaclab.assets.description import Body, Box, Ground, RigidObject, Vec3

# display colours are linear light, as USD has them: darker numbers than a screen colour's
FACE_COLORS: dict[str, Vec3] = {
    "+x": (0.50, 0.02, 0.02),
    "-x": (0.65, 0.17, 0.01),
    "+y": (0.01, 0.22, 0.05),
    "-y": (0.60, 0.60, 0.58),
    "+z": (0.01, 0.07, 0.45),
    "-z": (0.70, 0.45, 0.01),
}
"""Colour of each face, so that a person can read the orientation."""

EDGE_COLOR: Vec3 = (0.01, 0.01, 0.012)


def coloured_cube(name: str, edge: float, density: float) -> RigidObject:
    """Cube of uniform density with six differently coloured faces.

    Args:
        name: Name of the object.
        edge: Length of an edge [m].
        density: Density [kg/m^3].

    Returns:
        The table. The collision shape is the exact cube; the coloured faces are drawn 0.3 mm above it.
    """
    mass = density * edge**3
    moment = mass * edge**2 / 6.0
    core = Box((0.0, 0.0, 0.0), (edge / 2.0,) * 3, EDGE_COLOR)
    # a viewer draws only the visual shapes of a body that has some
    shapes = [core, replace(core, collides=False)]
    for face, color in FACE_COLORS.items():
        axis, sign = "xyz".index(face[1]), 1.0 if face[0] == "+" else -1.0
        center, half = [0.0] * 3, [0.43 * edge] * 3
        center[axis], half[axis] = sign * edge / 2.0, 0.0003
        shapes.append(Box(tuple(center), tuple(half), color, collides=False))
    return RigidObject(name, Body(name, mass, (0.0, 0.0, 0.0), (moment,) * 3, tuple(shapes)))


ALLEGRO_CUBE = coloured_cube("cube_65mm", edge=0.065, density=400.0)
"""The cube of the Allegro reorientation task, 0.10985 kg (official code)."""

SHADOW_CUBE = coloured_cube("cube_50mm", edge=0.05, density=567.0)
"""The cube of the Shadow hand reorientation task, 0.070875 kg (official code)."""

GROUND = Ground("ground", color=(0.16, 0.18, 0.20))
"""Horizontal plane at z = 0."""
