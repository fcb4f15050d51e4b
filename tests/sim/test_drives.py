"""Drives' commands written once a control step move everything as commands written in every physics step do."""

import contextlib
import itertools

import gymnasium as gym
import pytest
import torch
from isaaclab.actuators import IdealPDActuatorCfg
from isaaclab_tasks.utils import parse_env_cfg

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.tasks.drives import HeldDrives, commands_hold

torch.set_num_threads(1)

TASKS = ("SAPG-Allegro-Reorient", "SAPG-Shadow-Reorient", "SAPG-AllegroKuka-Regrasp")


def make(task, physics="ovphysx", num_envs=6, change=lambda cfg: None):
    cfg = parse_env_cfg(task, device="cpu", num_envs=num_envs, overrides=[f"physics={physics}"])
    cfg.seed = 3
    if hasattr(cfg, "force_probability"):
        cfg.force_probability = (0.3, 0.3)  # pushes in most steps
    change(cfg)
    return gym.make(task, cfg=cfg).unwrapped


def write_always(env):
    """The plain loop: everything is written in every physics step."""
    env.drives.hold = contextlib.nullcontext


def disturb(env, step):
    """Now and then give the drives a velocity target and an effort, by both ways of writing one."""
    robot = env.scene["robot"]
    command, shape = robot.actuators.target_command, (env.num_envs, robot.num_joints)
    if step == 10:
        command.velocity.torch.fill_(0.3)
    if step == 15:
        command.set_effort_index(value=torch.full(shape, 0.05))
    if step == 20:
        command.set_velocity_index(value=torch.full(shape, -0.2))
    if step == 30:
        command.velocity.torch.zero_()
        command.effort.torch.zero_()


def rollout(env, steps, disturbed):
    generator = torch.Generator().manual_seed(0)
    trace = [env.reset()[0]["policy"].clone()]
    for step in range(steps):
        if disturbed:
            disturb(env, step)
        obs, reward, *_ = env.step(2.0 * torch.rand(env.action_space.shape, generator=generator) - 1.0)
        trace += [obs["policy"].clone(), reward.clone(), env.scene["robot"].data.applied_torque.torch.clone()]
    return trace


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "physics", "disturbed"),
    [*itertools.product(TASKS, ["ovphysx"], [False, True]), ("SAPG-Allegro-Reorient", "newton_mjwarp", True)],
)
def test_motion_is_the_same_to_the_last_bit(task, physics, disturbed):
    traces = []
    for plain in (True, False):
        env = make(task, physics, num_envs=6 if physics == "ovphysx" else 2)
        if plain:
            write_always(env)
        traces.append(rollout(env, 45 if physics == "ovphysx" else 35, disturbed))
        env.close()
    for index, (plain, held) in enumerate(zip(*traces, strict=True)):
        assert torch.equal(plain, held), f"entry {index}: largest difference {(plain - held).abs().max()}"


def counted(articulation):
    """Calls that reach the engine, by what they write."""
    calls, inner = [], articulation._root_view.set_attribute

    def call(name, *args, **kwargs):
        calls.append(getattr(name, "name", str(name)))
        return inner(name, *args, **kwargs)

    articulation._root_view.set_attribute = call
    return calls


def test_what_is_written():
    env = make("SAPG-Allegro-Reorient")
    env.reset()
    actions = torch.zeros(env.action_space.shape)
    env.step(actions)
    calls = counted(env.hand)
    env.step(actions)
    assert sum("POSITION_TARGET" in call for call in calls) == 1
    assert not any("VELOCITY_TARGET" in call or "FORCE" in call for call in calls)
    calls.clear()
    env.hand.actuators.target_command.velocity.torch.fill_(0.1)
    env.step(actions)
    assert sum("VELOCITY_TARGET" in call for call in calls) == 1
    calls.clear()
    env.scene.write_data_to_sim()  # what a user does by hand is done
    assert sum("VELOCITY_TARGET" in call for call in calls) == sum("POSITION_TARGET" in call for call in calls) == 1
    env.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_explicit_actuators_act_in_every_physics_step():
    def explicit(cfg):
        cfg.scene.robot.actuators = {
            "all": IdealPDActuatorCfg(joint_names_expr=[".*"], stiffness=3.0, damping=0.1, effort_limit=0.5)
        }

    env = make("SAPG-Allegro-Reorient", change=explicit)
    assert not commands_hold(env.hand)
    env.reset()
    calls = counted(env.hand)
    env.step(torch.zeros(env.action_space.shape))
    assert sum("FORCE" in call for call in calls) == env.cfg.decimation
    env.close()


class Articulation:
    """Counts hand-overs."""

    class Actuators(dict):
        handed_over = 0

        def submit_commands(self):
            self.handed_over += 1

    device = "cuda:0"

    def __init__(self):
        self.actuators = self.Actuators()
        self.actuators.target_command = None


def test_holding_ends_with_the_step():
    articulation = Articulation()
    drives = HeldDrives([articulation])
    with pytest.raises(RuntimeError), drives.hold():
        for _ in range(4):
            articulation.actuators.submit_commands()
        raise RuntimeError
    assert articulation.actuators.handed_over == 1
    articulation.actuators.submit_commands()
    articulation.actuators.submit_commands()
    assert articulation.actuators.handed_over == 3
