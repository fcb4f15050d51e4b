"""Writes a table as a USD stage that PhysX and Newton both read.

Bodies are siblings below the root prim, posed as at zero joint angles. The articulation root is the root prim and the
base is held by a fixed joint to the world. USD gives angular gains per degree and limits in degrees.
"""

from __future__ import annotations

import math

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

from sapg_isaaclab.assets import kinematics
from sapg_isaaclab.assets.description import Body, Box, Capsule, Coupling, Cylinder, Ground, RigidObject, Robot, Shape
from sapg_isaaclab.assets.kinematics import Pose

Z_AXIS = np.array([0.0, 0.0, 1.0])


def write(asset: Robot | RigidObject | Ground) -> str:
    """Write a table as USD.

    Args:
        asset: The table.

    Returns:
        Text of the ``.usda`` layer.
    """
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, f"/{asset.name}").GetPrim()
    stage.SetDefaultPrim(root)
    _bind_material(stage, root, asset.friction)
    if isinstance(asset, Robot):
        _write_robot(stage, root, asset)
    elif isinstance(asset, RigidObject):
        _write_body(root, asset.body, {})
    else:
        plane = UsdGeom.Plane.Define(stage, root.GetPath().AppendChild("plane"))
        plane.CreateAxisAttr(UsdGeom.Tokens.z)
        plane.CreateWidthAttr(asset.size)
        plane.CreateLengthAttr(asset.size)
        plane.CreateDisplayColorAttr([Gf.Vec3f(*asset.color)])
        UsdPhysics.CollisionAPI.Apply(plane.GetPrim())
    return stage.GetRootLayer().ExportToString()


def _bind_material(stage: Usd.Stage, root: Usd.Prim, friction: float) -> None:
    material = UsdShade.Material.Define(stage, root.GetPath().AppendChild("physics_material"))
    api = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    api.CreateStaticFrictionAttr(friction)
    api.CreateDynamicFrictionAttr(friction)
    api.CreateRestitutionAttr(0.0)
    UsdShade.MaterialBindingAPI.Apply(root).Bind(
        material, bindingStrength=UsdShade.Tokens.weakerThanDescendants, materialPurpose="physics"
    )


def _write_robot(stage: Usd.Stage, root: Usd.Prim, robot: Robot) -> None:
    UsdPhysics.ArticulationRootAPI.Apply(root)
    poses = kinematics.forward_kinematics(robot)
    path = {body.name: root.GetPath().AppendChild(body.name) for body in robot.bodies}
    for body in robot.bodies:
        prim = UsdGeom.Xform.Define(stage, path[body.name]).GetPrim()
        _set_pose(prim, poses[body.name])
        offsets = {frame.name: kinematics.attachment(robot, frame.name)[1] for frame in robot.frames}
        _write_body(prim, body, offsets)
    for first, second in robot.filtered_pairs:
        pairs = UsdPhysics.FilteredPairsAPI.Apply(stage.GetPrimAtPath(root.GetPath().AppendPath(first)))
        pairs.CreateFilteredPairsRel().AddTarget(root.GetPath().AppendPath(second))

    joints = UsdGeom.Scope.Define(stage, root.GetPath().AppendChild("joints")).GetPath()
    base = UsdPhysics.FixedJoint.Define(stage, joints.AppendChild("root_joint"))
    base.CreateBody1Rel().SetTargets([path[robot.bodies[0].name]])
    for row in robot.joints:
        joint = UsdPhysics.RevoluteJoint.Define(stage, joints.AppendChild(row.name))
        parent, offset = kinematics.attachment(robot, row.parent)
        origin = kinematics.compose(offset, (np.asarray(row.xyz, dtype=float), kinematics.quat_from_rpy(row.rpy)))
        # USD joints turn about a coordinate axis: let z of the joint frame be the table's axis
        align = (np.zeros(3), kinematics.quat_between(Z_AXIS, np.asarray(row.axis)))
        position, rotation = kinematics.compose(origin, align)
        joint.CreateBody0Rel().SetTargets([path[parent]])
        joint.CreateBody1Rel().SetTargets([path[row.child]])
        joint.CreateAxisAttr(UsdPhysics.Tokens.z)
        joint.CreateLocalPos0Attr(_vec(position))
        joint.CreateLocalRot0Attr(_quat(rotation))
        joint.CreateLocalPos1Attr(Gf.Vec3f(0.0))
        joint.CreateLocalRot1Attr(_quat(align[1]))
        joint.CreateLowerLimitAttr(math.degrees(row.lower))
        joint.CreateUpperLimitAttr(math.degrees(row.upper))
        _write_drive(joint.GetPrim(), row.drive)
    for coupling in robot.couplings:
        _write_coupling(stage.GetPrimAtPath(joints.AppendChild(coupling.follower)), coupling)


def _write_drive(prim: Usd.Prim, drive) -> None:
    # an "acceleration" drive would hide the link's inertia, and PhysX applies no gains where no drive is authored
    api = UsdPhysics.DriveAPI.Apply(prim, "angular")
    api.CreateTypeAttr("force")
    api.CreateStiffnessAttr(drive.stiffness * math.pi / 180.0)
    api.CreateDampingAttr(drive.damping * math.pi / 180.0)
    api.CreateMaxForceAttr(drive.effort)
    # PhysX's own joint schema is not part of plain USD, its name and attributes are
    prim.AddAppliedSchema("PhysxJointAPI")
    for name, value in (
        ("armature", drive.armature),
        ("jointFriction", drive.friction),
        ("maxJointVelocity", math.degrees(drive.velocity)),
    ):
        prim.CreateAttribute(f"physxJoint:{name}", Sdf.ValueTypeNames.Float, custom=False).Set(value)


def _write_coupling(prim: Usd.Prim, coupling: Coupling) -> None:
    # a mimic joint in PhysX's schema, which Newton reads too: follower + gearing * leader + offset = 0, without play
    prim.AddAppliedSchema("PhysxMimicJointAPI:rotZ")
    name = "physxMimicJoint:rotZ"
    prim.CreateRelationship(f"{name}:referenceJoint", custom=False).SetTargets(
        [prim.GetPath().ReplaceName(coupling.leader)]
    )
    prim.CreateAttribute(
        f"{name}:referenceJointAxis", Sdf.ValueTypeNames.Token, custom=False, variability=Sdf.VariabilityUniform
    ).Set("rotZ")
    for attribute, value in (("gearing", -coupling.ratio), ("offset", 0.0)):
        prim.CreateAttribute(f"{name}:{attribute}", Sdf.ValueTypeNames.Float, custom=False).Set(value)


def _write_body(prim: Usd.Prim, body: Body, offsets: dict[str, Pose]) -> None:
    UsdPhysics.RigidBodyAPI.Apply(prim)
    mass = UsdPhysics.MassAPI.Apply(prim)
    mass.CreateMassAttr(body.mass)
    mass.CreateCenterOfMassAttr(Gf.Vec3f(*body.com))
    mass.CreateDiagonalInertiaAttr(Gf.Vec3f(*body.inertia))
    mass.CreatePrincipalAxesAttr(_quat(np.asarray(body.principal_axes)))
    for index, shape in enumerate(body.shapes):
        _write_shape(prim, index, shape, offsets.get(shape.frame))


def _write_shape(body: Usd.Prim, index: int, shape: Shape, offset: Pose | None) -> None:
    stage = body.GetStage()
    kind = "collision" if shape.collides else "visual"
    path = body.GetPath().AppendChild(f"{kind}_{index}")
    rotation, scale = np.array([0.0, 0.0, 0.0, 1.0]), None
    if isinstance(shape, Box):
        geom = UsdGeom.Cube.Define(stage, path)
        geom.CreateSizeAttr(2.0)
        geom.CreateExtentAttr([Gf.Vec3f(-1.0), Gf.Vec3f(1.0)])
        center, rotation, scale = np.asarray(shape.center), kinematics.quat_from_rpy(shape.rpy), shape.half
    elif isinstance(shape, Capsule):
        geom = UsdGeom.Capsule.Define(stage, path)
        start, end = np.asarray(shape.start), np.asarray(shape.end)
        length = float(np.linalg.norm(end - start))
        center, rotation = (start + end) / 2.0, kinematics.quat_between(Z_AXIS, end - start)
        _set_round(geom, shape.radius, length, length / 2.0 + shape.radius)
    elif isinstance(shape, Cylinder):
        geom = UsdGeom.Cylinder.Define(stage, path)
        center = np.asarray(shape.center)
        _set_round(geom, shape.radius, 2.0 * shape.half_length, shape.half_length)
    else:
        raise TypeError(f"unknown shape {shape!r}; a table knows Box, Capsule and Cylinder")
    pose = (np.asarray(center, dtype=float), rotation)
    _set_pose(geom.GetPrim(), pose if offset is None else kinematics.compose(offset, pose), scale)
    geom.CreateDisplayColorAttr([Gf.Vec3f(*shape.color)])
    if shape.collides:
        UsdPhysics.CollisionAPI.Apply(geom.GetPrim())


def _set_round(geom: UsdGeom.Capsule | UsdGeom.Cylinder, radius: float, height: float, reach: float) -> None:
    geom.CreateAxisAttr(UsdGeom.Tokens.z)
    geom.CreateRadiusAttr(radius)
    geom.CreateHeightAttr(height)
    geom.CreateExtentAttr([Gf.Vec3f(-radius, -radius, -reach), Gf.Vec3f(radius, radius, reach)])


def _set_pose(prim: Usd.Prim, pose: Pose, scale: tuple[float, float, float] | None = None) -> None:
    xform = UsdGeom.Xformable(prim)
    xform.AddTranslateOp().Set(Gf.Vec3d(*(float(value) for value in pose[0])))
    xform.AddOrientOp().Set(_quat(pose[1]))
    xform.AddScaleOp().Set(Gf.Vec3f(*(scale or (1.0, 1.0, 1.0))))


def _vec(values: np.ndarray) -> Gf.Vec3f:
    return Gf.Vec3f(*(float(value) for value in values))


def _quat(xyzw: np.ndarray) -> Gf.Quatf:
    x, y, z, w = (float(value) for value in xyzw)
    return Gf.Quatf(w, x, y, z)
