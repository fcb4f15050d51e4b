"""What ``presets=randomized`` draws, read back from the engine and seen in the motion."""

import gymnasium as gym
import pytest
import torch
from isaaclab_tasks.utils import parse_env_cfg

import sapg_isaaclab  # noqa: F401
from sapg_isaaclab.tasks.randomization import ObjectGravity

torch.set_num_threads(1)

N, BLOCKS = 16, 2
RANGES = {
    "SAPG-Allegro-Reorient": {"mass": (0.4, 1.6), "friction": (0.7, 1.3), "stiffness": (0.3, 3.0)},
    "SAPG-AllegroKuka-Regrasp": {"mass": (0.2, 2.5), "friction": (0.5, 1.0), "stiffness": (0.5, 2.0)},
}


def make(task, seed=0, randomization_seed=7, presets="presets=randomized"):
    cfg = parse_env_cfg(task, device="cpu", num_envs=N, overrides=[presets] if presets else [])
    cfg.seed, cfg.num_blocks, cfg.randomization_seed = seed, BLOCKS, randomization_seed
    if hasattr(cfg, "max_shapes"):
        cfg.max_shapes = 1
    else:
        cfg.fall_distance = 10.0
    env = gym.make(task, cfg=cfg).unwrapped
    env.reset()
    return env


def drawn(env):
    """Numbers of every environment as the engine has them."""
    robot, cube = env.scene["robot"], env.scene["object"]
    numbers = {
        "mass": cube.data.body_mass.torch,
        "stiffness": robot.data.joint_stiffness.torch,
        "damping": robot.data.joint_damping.torch,
    }
    for name, asset in (("friction", cube), ("robot friction", robot)):
        term = env.event_manager.get_term_cfg(f"{'object' if asset is cube else 'robot'}_friction").func._impl
        import warp as wp

        numbers[name] = wp.to_torch(term._material_view.get_attribute(term._material_type))[..., 0]
    gravity = env.event_manager.get_term_cfg("gravity").func
    assert isinstance(gravity, ObjectGravity)
    numbers["gravity"] = gravity.acceleration
    return {name: value.reshape(N, -1).clone() for name, value in numbers.items()}


@pytest.fixture(scope="module", params=RANGES)
def randomized(request):
    plain = make(request.param, presets=None)
    nominal = {
        "mass": plain.scene["object"].data.body_mass.torch.clone(),
        "stiffness": plain.scene["robot"].data.joint_stiffness.torch.clone(),
    }
    plain.close()
    env = make(request.param)
    yield request.param, nominal, env, drawn(env)
    env.close()


def test_environments_differ_within_their_ranges_and_blocks_are_alike(randomized):
    task, nominal, _, numbers = randomized
    for name, values in numbers.items():
        first, second = values.view(BLOCKS, N // BLOCKS, -1)
        assert first.equal(second), name
        assert len(first.unique(dim=0)) == N // BLOCKS, name
    assert numbers["gravity"][:, :2].eq(0).all() and 0.1 < numbers["gravity"][:, 2].std() < 1.0
    for name, (low, high) in RANGES[task].items():
        factor = numbers[name] / nominal[name].reshape(N, -1) if name in nominal else numbers[name]
        assert low - 1e-5 <= factor.min() < factor.max() <= high + 1e-5, name


def test_objects_fall_as_their_own_gravity_says(randomized):
    """Free flight, far from everything: in every step the speed changes by g dt."""
    _, _, env, numbers = randomized
    rows = torch.arange(N, dtype=torch.int32)
    pose = torch.zeros(N, 7)
    pose[:, :3], pose[:, 6] = env.scene.env_origins + torch.tensor([0.0, -0.6, 2.5]), 1.0
    env.reset()
    env.object.write_root_pose_to_sim_index(root_pose=pose, env_ids=rows)
    env.object.write_root_velocity_to_sim_index(root_velocity=torch.zeros(N, 6), env_ids=rows)
    if hasattr(env, "pushes"):
        env.pushes.probability.zero_()
    speeds = [torch.zeros(N)]
    for _ in range(6):
        env.step(torch.zeros(N, env.cfg.action_space))
        speeds.append(env.object.data.root_lin_vel_w.torch[:, 2].clone())
    assert env.episode_length_buf.eq(6).all()
    expected = (numbers["gravity"][:, 2] - 9.81) * env.step_dt
    # for its first two steps after a body was put somewhere, PhysX leaves out the forces on it
    torch.testing.assert_close(torch.stack(speeds).diff(dim=0)[1:], expected.expand(5, N), atol=2e-4, rtol=0)


def test_another_start_of_a_run_draws_the_same_and_another_run_does_not(randomized):
    task, _, env, numbers = randomized
    env.close()
    for seed, randomization_seed, alike in ((5, 7, True), (0, 8, False)):
        again = make(task, seed, randomization_seed)
        assert all(value.equal(numbers[name]) == alike for name, value in drawn(again).items())
        again.close()
