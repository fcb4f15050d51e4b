import math
import subprocess
import sys

import pytest
import torch

from sapg_isaaclab.experiments import references
from sapg_isaaclab.experiments.point_envs import ENVS, KeyDoor, TwoGoals, TwoHills
from sapg_isaaclab.experiments.study_envs import ENVS as ALL


def place(env, position, velocity=(0.0, 0.0), age=0, flag=False):
    """Put every point of an environment into the same state."""
    env.position = torch.tensor([position] * env.num_envs)
    env.velocity = torch.tensor([velocity] * env.num_envs)
    env.age.fill_(age)
    env.flag.fill_(flag)
    return env


class OnePoint:
    """The rules of all environments for one point in plain numbers, without resets."""

    def __init__(self, env, index):
        (self.x, self.y), (self.vx, self.vy) = env.position[index].tolist(), env.velocity[index].tolist()
        self.age, self.flag = int(env.age[index]), bool(env.flag[index])
        self.two_goals, self.two_hills = isinstance(env, TwoGoals), isinstance(env, TwoHills)

    def step(self, ax, ay):
        self.vx = 0.8 * self.vx + 0.03 * min(1.0, max(-1.0, ax))
        self.vy = 0.8 * self.vy + 0.03 * min(1.0, max(-1.0, ay))
        old_x, old_y, x, y = self.x, self.y, self.x + self.vx, self.y + self.vy
        if abs(x) > 1.0:
            x, self.vx = math.copysign(1.0, x), 0.0
        if abs(y) > 1.0:
            y, self.vy = math.copysign(1.0, y), 0.0
        if self.two_goals and (old_x > 0.3) != (x > 0.3):
            crossing = old_y + (0.3 - old_x) / (x - old_x) * (y - old_y)
            if not 0.35 <= crossing <= 0.85:
                x, self.vx = old_x, 0.0
        self.x, self.y, self.age = x, y, self.age + 1
        if self.two_goals:
            at_goal = math.hypot(x - 0.7, y + 0.6) < 0.25
            self.flag |= at_goal
            reward = 1.0 if at_goal else 0.25 * math.exp(-((x + 0.5) ** 2 + (y + 0.6) ** 2) / 0.32)
            return reward, False, self.age >= 64
        if self.two_hills:
            to_decoy, to_goal = math.hypot(x + 0.5, y + 0.5), math.hypot(x - 0.75, y - 0.75)
            self.flag |= to_goal < 0.25
            reward = 0.25 * math.exp(-(to_decoy**2) / 0.045) + math.exp(-(to_goal**2) / 0.045)
            return reward, False, self.age >= 64
        self.flag |= math.hypot(x + 0.7, y + 0.7) < 0.2
        to_door = math.hypot(x - 0.7, y - 0.7)
        opens = self.flag and to_door < 0.2
        return 0.05 * math.exp(-(to_door**2)) + 20.0 * opens, opens, self.age >= 128 and not opens


@pytest.mark.parametrize("name", ENVS)
def test_vectorised_step_equals_one_point_in_plain_numbers(name):
    torch.manual_seed(0)
    env = ENVS[name](300, seed=3)
    env.position = 2.0 * torch.rand(300, 2) - 1.0
    env.velocity = 0.2 * torch.randn(300, 2)
    seen = set()
    for _ in range(12):
        points = [OnePoint(env, index) for index in range(300)]
        actions = 2.0 * torch.randn(300, 2)
        _, rewards, terminated, truncated, infos = env.step(actions)
        for index, point in enumerate(points):
            reward, ends, times_out = point.step(*actions[index].tolist())
            assert rewards[index].item() == pytest.approx(reward, abs=1e-5)
            assert (bool(terminated[index]), bool(truncated[index])) == (ends, times_out)
            state = (
                point.x,
                point.y,
                10.0 * point.vx,
                10.0 * point.vy,
                *([float(point.flag)] if env.shows_flag else []),
            )
            assert infos["final_obs"]["policy"][index].tolist() == pytest.approx(state, abs=1e-5)
            seen |= {("flag", point.flag), ("x stopped", point.vx == 0.0), ("ends", ends or times_out)}
    assert len(seen) == 6  # both outcomes of all three were compared


@pytest.mark.parametrize("name", ENVS)
def test_references_are_in_order_and_as_drawn(name):
    random, decoy, optimal = (references.measure(name, behaviour, 2000) for behaviour in references.BEHAVIOURS)
    assert random.mean < 0.4 * decoy.mean < 0.2 * optimal.mean
    assert (decoy.successes, optimal.successes) == (0.0, 1.0)
    assert 0.08 < random.successes < 0.13 if name == "two_hills" else random.successes < 0.01


def test_random_actions_earn_twice_as_much_at_the_goal_of_the_mild_trap_as_at_its_decoy():
    env, generator, at_goal, at_decoy = TwoHills(4000), torch.Generator().manual_seed(0), 0.0, 0.0
    for step in range(128):
        rewards = env.step(torch.randn(4000, 2, generator=generator))[1].view(-1)
        rewards *= step >= 64  # by then every episode began at the start
        nearer_to_goal = env._distance(env.goal_place) < env._distance(env.decoy_place)
        at_goal += (rewards * nearer_to_goal).sum().item()
        at_decoy += (rewards * ~nearer_to_goal).sum().item()
    assert 1.7 < at_goal / at_decoy < 2.4


def test_return_of_the_controllers_by_hand():
    # waiting on the hill's top pays 16; the way there, 0.6 in about six steps, costs at most four of 64 steps
    assert 15.0 < references.measure("two_goals", "decoy", 500).mean < 16.0
    # 0.8 across to the gap and 0.7 down behind it, at 0.15 per step at most, take 9 steps or more; the rest pays 1 each
    assert 40.0 < references.measure("two_goals", "optimal", 500).mean < 64 - 9 + 9 * 0.25
    # the door pays 20 once, besides at most 0.05 per step
    assert 20.0 < references.measure("key_door", "optimal", 500).mean < 20.0 + 40 * 0.05
    assert references.measure("key_door", "decoy", 500).mean < 128 * 0.05


def test_wall_stops_beside_the_gap_and_only_there():
    env = place(TwoGoals(1), (0.25, 0.2), (0.1, 0.0))
    env.step(torch.zeros(1, 2))
    assert env.position[0].tolist() == pytest.approx([0.25, 0.2]) and env.velocity[0, 0] == 0.0
    place(env, (0.25, 0.6), (0.1, 0.0))
    env.step(torch.zeros(1, 2))
    assert env.position[0].tolist() == pytest.approx([0.33, 0.6])


def test_episode_ends_by_time_and_begins_again_at_the_start():
    env = place(TwoGoals(3), (0.7, -0.6), age=62)
    _, rewards, terminated, truncated, _ = env.step(torch.zeros(3, 2))
    assert rewards.tolist() == [[1.0]] * 3 and not terminated.any() and not truncated.any()
    observations, _, terminated, truncated, infos = env.step(torch.zeros(3, 2))
    assert truncated.all() and not terminated.any() and infos["successes"].tolist() == [1.0] * 3
    assert infos["final_obs"]["policy"][:, :2].tolist() == [pytest.approx([0.7, -0.6])] * 3
    assert ((observations[:, :2] - torch.tensor([-0.5, 0.0])).abs() <= 0.1).all()
    assert env.age.tolist() == [0, 0, 0] and not env.flag.any() and not observations[:, 2:].any()


def test_door_opens_only_with_the_key():
    env = place(KeyDoor(2), (0.7, 0.7))
    env.flag[1] = True
    _, rewards, terminated, truncated, infos = env.step(torch.zeros(2, 2))
    assert rewards[:, 0].tolist() == pytest.approx([0.05, 20.05])
    assert terminated[:, 0].tolist() == [False, True] and not truncated.any()
    assert infos["successes"].tolist() == [0.0, 1.0] and env.flag.tolist() == [False, False]


def test_key_is_seen_once_it_is_had():
    env = place(KeyDoor(1), (-0.7, -0.7))
    assert env.observe()[0, 4] == 0.0
    assert env.step(torch.zeros(1, 2))[0][0, 4] == 1.0


@pytest.mark.parametrize("name", ALL)
def test_restored_environment_goes_on_bit_by_bit(name):
    first, second = ALL[name](50, seed=1), ALL[name](50, seed=2)
    actions = torch.randn(200, 50, first.num_actions)
    for step in range(70):
        first.step(actions[step])
    saved = first.state_dict()
    expected = [first.step(actions[step]) for step in range(70, 200)]
    assert torch.equal(second.load_state_dict(saved), first.load_state_dict(saved))
    for step, before in zip(range(70, 200), expected):
        after = second.step(actions[step])
        assert all(torch.equal(a, b) for a, b in zip(before[:4], after[:4]))
        assert torch.equal(before[4]["successes"], after[4]["successes"])
    assert any(before[3].any() for before in expected)  # a reset, which draws, was among them


@pytest.mark.parametrize("name", ALL)
def test_one_seed_gives_the_same_episodes_and_another_gives_others(name):
    starts = [ALL[name](20, seed=seed).reset()[0] for seed in (5, 5, 6)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


def test_study_needs_no_isaac_lab():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('isaaclab', 'isaaclab_rl', 'isaaclab_tasks')))\n"
        "import sapg_isaaclab.experiments.scaling, sapg_isaaclab.experiments.bars"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # None in sys.modules makes an import fail
