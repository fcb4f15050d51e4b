"""What the tasks say of their observations and actions, and what is made of it."""

import json

import numpy as np
import pytest

from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO
from sapg_isaaclab.commands.export import task_interface
from sapg_isaaclab.commands.task_config import resolve_configs, sapg_tasks
from sapg_isaaclab.deploy.interface import JointTargets, ObservationMap
from sapg_isaaclab.errors import InputError

HALF = {
    "size": 5,
    "clip": 2.0,
    "items": [
        {"name": "angle", "start": 0, "stop": 2, "offset": [1.0, -1.0], "scale": [2.0, 0.5]},
        {"name": "speed", "start": 2, "stop": 4, "scale": 0.1},
        {"name": "height", "start": 4, "stop": 5, "constant": [0.25]},
    ],
}

MIXED = {
    "size": 2,
    "clamp": [-1.0, 1.0],
    "joints": [
        {"name": "arm", "lower": -1.0, "upper": 1.0, "mode": "velocity", "speed": 6.0},
        {"name": "finger", "lower": 0.0, "upper": 2.0, "mode": "position", "smoothing": 0.5},
    ],
}


def test_observation_by_hand():
    observe = ObservationMap(HALF)
    observation = observe({"speed": [3.0, -50.0], "angle": [[1.5, -1.0], [0.0, 1.0]]})
    # (1.5 - 1) * 2 = 1, (-1 + 1) / 2 = 0; -50 / 10 is clipped to -2; one speed serves both rows
    expected = [[1.0, 0.0, 0.3, -2.0, 0.25], [-2.0, 1.0, 0.3, -2.0, 0.25]]
    np.testing.assert_allclose(observation, expected, rtol=1e-6)
    assert observation.dtype == np.float32
    assert observe({"speed": [0, 0], "angle": [1, 1], "height": [1]})[0, 4] == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"angle": [0, 0]}, "items angle, speed, height; speed missing"),
        ({"angle": [0, 0], "speed": [0, 0], "colour": [1]}, "colour unknown"),
        ({"angle": [0, 0, 0], "speed": [0, 0]}, r"angle has shape \(1, 3\); it must be \(N, 2\)"),
        ({"angle": np.zeros((2, 2)), "speed": np.zeros((3, 2))}, r"the items have \[1, 2, 3\] rows"),
    ],
)
def test_wrong_items_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        ObservationMap(HALF)(values)


def test_joint_targets_by_hand():
    targets = JointTargets(MIXED, control_hz=60.0, start=[0.85, 1.0])
    # arm: 0.85 + 6 / 60 * 1; finger: half of the way from 1 to 0 + (1 + 0.2) / 2 * 2 = 1.2
    np.testing.assert_allclose(targets(np.array([[7.0, 0.2]])), [[0.95, 1.1]], rtol=1e-6)
    # arm: 1.05, but the limit is 1; finger: half of the way from 1.1 to 0
    np.testing.assert_allclose(targets(np.array([[1.0, -3.0]])), [[1.0, 0.55]], rtol=1e-6)
    np.testing.assert_allclose(targets.value, [[1.0, 0.55]], rtol=1e-6)
    with pytest.raises(InputError, match=r"the start has shape \(1, 3\); it must be \(N, 2\)"):
        JointTargets(MIXED, 60.0, [0, 0, 0])


def test_a_task_that_says_nothing_is_named():
    with pytest.raises(InputError, match="did not describe its observation"):
        ObservationMap({"size": 3})
    with pytest.raises(InputError, match="did not describe its actions"):
        JointTargets({"size": 3}, 60.0, [0, 0, 0])


@pytest.mark.parametrize("task", sapg_tasks("SAPG-"))
def test_every_task_describes_every_column(task):
    for obs_type in getattr(resolve_configs(task, [])[0], "obs_layouts", [None]):
        check_description(task, resolve_configs(task, [f"env.obs_type={obs_type}"] if obs_type else [])[0])


def check_description(task, env_cfg):
    described = task_interface(task, env_cfg)
    assert json.loads(json.dumps(described)) == described
    assert described["task"] == task and described["control_hz"] == pytest.approx(
        1 / env_cfg.sim.dt / env_cfg.decimation
    )
    observations, actions = described["observations"], described["actions"]
    assert [item["start"] for item in observations["items"]] == [0, *(i["stop"] for i in observations["items"][:-1])]
    assert observations["items"][-1]["stop"] == observations["size"]
    for item in observations["items"]:
        size, elements = item["stop"] - item["start"], item.get("elements", [None])
        assert item["meaning"] and item["unit"] and size % len(elements) == 0, item
        for key in ("offset", "scale", "constant"):
            assert not isinstance(item.get(key), list) or len(item[key]) == size, item
    assert len(actions["joints"]) == actions["size"] == env_cfg.action_space
    for joint in actions["joints"]:
        assert joint["lower"] < joint["upper"] and joint["stiffness"] > 0.0 and joint["effort_limit"] > 0.0
        assert ("speed" in joint) == (joint["mode"] == "velocity") != ("smoothing" in joint)


def test_overrides_reach_the_description():
    env_cfg, _ = resolve_configs("SAPG-AllegroKuka-Regrasp", ["env.arm_speed=3.0", "env.obs_clip=7.0"])
    env_cfg.scene.robot.actuators["hand"].stiffness = {"thumb_.*": 9.0, "(index|middle|ring)_.*": 8.0}
    described = task_interface("SAPG-AllegroKuka-Regrasp", env_cfg)
    joints = described["actions"]["joints"]
    assert [joint["name"] for joint in joints] == [joint.name for joint in KUKA_ALLEGRO.joints]
    assert [joint.get("speed") for joint in joints] == [3.0] * 7 + [None] * 16
    assert [joint["stiffness"] for joint in joints] == [40.0] * 7 + [8.0] * 12 + [9.0] * 4
    assert described["observations"]["clip"] == 7.0
    assert described["frames"]["environment"]["robot_base"]["pos"] == [0.0, 0.8, 0.0]
