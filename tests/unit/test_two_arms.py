"""The AllegroKuka tasks with two arms, without a simulator: actions, rewards, what stands where in observations."""

import math
from types import SimpleNamespace

import pytest
import torch

from sapg_isaaclab.assets.tables.kuka_allegro import KUKA_ALLEGRO
from sapg_isaaclab.commands.export import task_interface
from sapg_isaaclab.commands.task_config import resolve_configs
from sapg_isaaclab.tasks.allegro_kuka import observations
from sapg_isaaclab.tasks.allegro_kuka.actions import joint_targets
from sapg_isaaclab.tasks.allegro_kuka.checks import check
from sapg_isaaclab.tasks.allegro_kuka.keypoints import rotate
from sapg_isaaclab.tasks.allegro_kuka.measurements import Measurements
from sapg_isaaclab.tasks.allegro_kuka.rewards import fingertip_term
from sapg_isaaclab.tasks.allegro_kuka.starts import Starts

TASK = "SAPG-AllegroKukaTwoArms-{}"


def config(task, *overrides):
    return resolve_configs(TASK.format(task), ["env.max_shapes=1", *overrides])[0]


def columns(start, *shape):
    """Numbers that say in which column of the observation they belong, for one environment."""
    count = math.prod(shape)
    return torch.arange(start, start + count, dtype=torch.float32).view(1, *shape)


def env_of(cfg, k):
    """What observations are made of, as numbers that are columns of the official layout."""
    points = 152 + 2 * 3 * k  # the first column after the keypoints from the palms
    measured = object.__new__(Measurements)
    measured._bodies = [None, None]
    measured.palm_pos = columns(92, 2, 3)
    measured.palm_quat = torch.stack((columns(98, 4), columns(108, 4)), 1)
    palm_vel = torch.stack((columns(102, 6), columns(112, 6)), 1)
    # the keypoints themselves: those of arm 0 must come out at its columns
    measured.keypoints = columns(152, k, 3) + measured.palm_pos[:, 0].unsqueeze(1)
    measured.keypoints_from_goal = columns(points, k, 3)
    measured.tips = (columns(128, 2, 4, 3) + measured.palm_pos.unsqueeze(2)).flatten(1, 2)
    measured.keypoint_distance = torch.tensor([-5.0])
    last = points + 3 * k
    object_data = SimpleNamespace(
        root_lin_vel_w=SimpleNamespace(torch=columns(122, 3)), root_ang_vel_w=SimpleNamespace(torch=columns(125, 3))
    )

    class Velocities(Measurements):
        palm_vel = property(lambda self: palm_vel)

    measured.__class__ = Velocities
    return SimpleNamespace(
        cfg=cfg,
        measured=measured,
        arms=SimpleNamespace(lower=-torch.ones(46), upper=torch.ones(46)),
        joint_pos=columns(0, 46),
        joint_vel=columns(46, 46),
        object=SimpleNamespace(data=object_data),
        object_quat=columns(118, 4),
        object_scale=columns(last, 3),
        shown_keypoint=columns(last + 3, 1)[:, 0],
        shown_lifted=columns(last + 4, 1)[:, 0],
        # logarithms are taken of these
        episode_length_buf=10.0 * columns(last + 5, 1)[:, 0].double().expm1(),
        successes=columns(last + 6, 1)[:, 0].double().expm1(),
        last_reward=100.0 * columns(last + 7, 1)[:, 0],
    )


@pytest.mark.parametrize(("task", "k", "size"), [("Regrasp", 1, 169), ("Reorient", 4, 196)])
def test_official_observation_column_by_column(task, k, size):
    cfg = config(task)
    items = observations.items(env_of(cfg, k))
    layout = observations.layout(cfg)
    assert {name: value.shape[1] for name, value in items.items()} == layout and sum(layout.values()) == size
    assert list(items) == list(layout)
    observation = torch.cat([value.float() for value in items.values()], -1)[0]
    expected = torch.arange(size, dtype=torch.float32)
    # the second palm is 3 m further on each axis, and has the same keypoints
    second = slice(152 + 3 * k, 152 + 6 * k)
    expected[second] = expected[152 : 152 + 3 * k] - 3.0
    torch.testing.assert_close(observation, expected, rtol=1e-5, atol=1e-4)


def test_items_that_are_seen_arm_after_arm():
    layout = observations.layout(config("Reorient"))
    palms = ["palm_quat", "palm_lin_vel", "palm_ang_vel"]
    assert list(layout)[2:10] == ["palm_pos", *(f"arm{i}_{name}" for i in (0, 1) for name in palms), "object_quat"]
    assert "closest_tip" not in layout


@pytest.mark.parametrize(("task", "size"), [("Regrasp", 192), ("Reorient", 219)])
def test_what_a_robot_knows_of_both_arms(task, size):
    cfg = config(task, "env.asymmetric=true")
    layout = observations.layout(cfg)
    assert sum(layout.values()) == size and sum(observations.state_layout(cfg).values()) == {192: 169, 219: 196}[size]
    assert list(layout)[:5] == ["joint_pos", "joint_targets", "palm_pos", "arm0_palm_quat", "arm1_palm_quat"]
    assert layout["actions"] == layout["joint_targets"] == 46
    cfg.policy_items = ["arm1_palm_quat", "joint_vel"]
    assert observations.layout(cfg) == {"arm1_palm_quat": 4, "joint_vel": 46}
    cfg.policy_items = ["arm2_palm_quat"]
    with pytest.raises(ValueError, match=r"policy_items=\['arm2_palm_quat'\] is not allowed; use some of joint_pos"):
        observations.layout(cfg)


def test_keypoints_that_a_policy_estimates_are_those_of_both_palms():
    cfg = config("Regrasp", "env.asymmetric=true")
    cfg.policy_items = ["palm_quat", "keypoints_from_palm", "keypoints_from_goal", "actions"]
    env = env_of(cfg, 1)
    env.measured.offsets = torch.tensor([[[0.0, 0.0, 0.5]]])
    env.goal_pos, env.goal_quat = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    env.targets, env.actions = torch.zeros(1, 46), columns(0, 46)
    pose = torch.tensor([[100.0, 100.0, 100.0, 1.0, 0.0, 0.0, 0.0]])  # half a turn about x
    seen = torch.cat(observations.policy_items(env, observations.items(env), pose), -1)[0]
    assert rotate(pose[:, 3:], env.measured.offsets[0]).tolist() == [[0.0, 0.0, -0.5]]
    palms = [98, 99, 100, 101, 108, 109, 110, 111]
    points = [100 - 92, 100 - 93, 99.5 - 94, 100 - 95, 100 - 96, 99.5 - 97, 100.0, 99.0, 99.0]
    assert seen.tolist() == [*palms, *points, *range(46)]


def test_actions_of_two_arms_are_targets_between_the_limits():
    lower, upper = torch.tensor([[-2.0, 0.0], [-2.0, 0.0]]), torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    actions = torch.tensor([[[-1.0, 0.5], [1.0, -0.5]]])
    previous = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    given = joint_targets(previous, actions, lower, upper, num_moved=0, step=0.0, smoothing=1.0)
    assert given.tolist() == [[[-2.0, 0.75], [2.0, 0.25]]]
    # three quarters of the way: 1 - 0.75 * 3, 1 - 0.75 * 0.25; 1 + 0.75, 0.75 * 0.25
    given = joint_targets(previous, actions, lower, upper, num_moved=0, step=0.0, smoothing=0.75)
    assert given.tolist() == [[[-1.25, 0.8125], [1.75, 0.1875]]]
    # and where the first joint of each arm moves: 1 - 0.4; 1 + 0.4
    moved = joint_targets(previous, actions, lower, upper, num_moved=1, step=0.4, smoothing=1.0)
    torch.testing.assert_close(moved, torch.tensor([[[0.6, 0.75], [1.4, 0.25]]]))
    moved = joint_targets(previous, actions, lower, upper, num_moved=1, step=3.5, smoothing=1.0)
    assert moved[0, :, 0].tolist() == [-2.0, 2.0]  # -2.5 and 4.5, kept within the limits


def test_fingertips_are_paid_after_the_lift_only_where_said():
    gains, lifted = torch.tensor([[0.1] * 8, [0.2] * 8]), torch.tensor([False, True])
    assert fingertip_term(gains, lifted, scale=50.0).tolist() == pytest.approx([40.0, 0.0])
    assert fingertip_term(gains, lifted, scale=50.0, after_lift=True).tolist() == pytest.approx([40.0, 80.0])


def test_objects_start_on_either_side():
    torch.manual_seed(0)
    starts = Starts((0.0, 0.0, 0.63), side=0.35, noise=(0.1, 0.1, 0.02), device="cpu")
    pos = starts.sample(torch.tensor([[100.0, 0.0, 0.0]]).expand(20000, 3))[:, :3]
    x = pos[:, 0] - 100.0
    assert x.abs().min() >= 0.25 - 1e-4 and x.abs().max() <= 0.45 + 1e-4
    assert (x > 0).float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert x.abs().mean().item() == pytest.approx(0.35, abs=0.002)
    assert pos[:, 1].abs().max() <= 0.1 and (pos[:, 2] - 0.63).abs().max() <= 0.02 + 1e-6


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("arms", ("arm0", "arm2"), "arms=('arm0', 'arm2') is not allowed; use some of the scene's: arm0, arm1"),
        ("arms", ("arm0", "arm0"), "arms=('arm0', 'arm0') is not allowed; use some of the scene's: arm0, arm1"),
        ("arms", ("arm0",), "action_space=46 is not allowed; this scene's arms have 23 joints"),
        ("arm_mode", "torque", "arm_mode='torque' is unknown; use 'velocity' or 'position'"),
        ("reset_side", -0.1, "reset_side=-0.1 is not allowed; use 0 or more"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(field, value, message):
    cfg = config("Reorient")
    setattr(cfg, field, value)
    with pytest.raises(ValueError) as error:
        check(cfg)
    assert str(error.value) == message


def test_description_tells_the_arms_apart():
    cfg = config("Regrasp", "env.action_smoothing=0.5")
    cfg.scene.arm1.actuators["hand"].stiffness = 9.0
    described = task_interface(TASK.format("Regrasp"), cfg)
    joints, names = described["actions"]["joints"], [joint.name for joint in KUKA_ALLEGRO.joints]
    assert [joint["name"] for joint in joints] == [f"arm{arm}_{name}" for arm in (0, 1) for name in names]
    assert [joint["stiffness"] for joint in joints] == [40.0] * 30 + [9.0] * 16
    assert all(joint["mode"] == "position" and joint["smoothing"] == 0.5 for joint in joints)
    items = {item["name"]: item for item in described["observations"]["items"]}
    assert items["joint_vel"]["elements"] == [joint["name"] for joint in joints]
    assert items["tips_from_palm"]["elements"][3:5] == ["arm0_thumb", "arm1_index"]
    assert (items["arm1_palm_quat"]["start"], items["arm1_palm_quat"]["stop"]) == (108, 112)
    half = math.sqrt(0.5)
    for arm, sign in (("arm0", -1.0), ("arm1", 1.0)):
        base = described["frames"]["environment"][f"{arm}_base"]
        assert base["pos"] == pytest.approx([1.1 * sign, 0.0, 0.0])
        assert base["quat"] == pytest.approx([0.0, 0.0, -half * sign, half])
    # arms may be moved as where there is one
    cfg = config("Regrasp", "env.arm_mode=velocity", "env.arm_speed=3.0")
    joints = task_interface(TASK.format("Regrasp"), cfg)["actions"]["joints"]
    assert [joint.get("speed") for joint in joints] == ([3.0] * 7 + [None] * 16) * 2
    # and one arm be given targets
    one = "SAPG-AllegroKuka-Regrasp"
    joints = task_interface(one, resolve_configs(one, ["env.arm_mode=position"])[0])["actions"]["joints"]
    assert {joint["mode"] for joint in joints} == {"position"}


def test_agents_are_those_of_the_official_launch():
    for task in ("Regrasp", "Reorient"):
        agent = resolve_configs(TASK.format(task), [])[1]
        assert (agent.num_blocks, agent.entropy_loss_scale, agent.rnn_units) == (6, 0.002, 768)
        assert agent.hidden_sizes == (768, 512, 256) and (agent.rollouts, agent.learning_epochs) == (16, 2)
        # six processes of 4104 environments: minibatches of 16416 rows
        assert agent.rollouts * 4104 / agent.mini_batches == 16416
        assert resolve_configs(TASK.format(task), ["presets=small"])[1].rnn_units == 0
