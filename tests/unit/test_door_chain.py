"""The study's environment of locked doors: its rules by hand, and the bounds by which it was accepted."""

import pytest
import torch

from no_stall import no_stall
from sapg_isaaclab.experiments import acceptance, references
from sapg_isaaclab.experiments.door_chain import PAY, DoorChain, OneDoor, keys

FIRST = slice(None, 6)


def still(env, room=0, joints=0.0):
    """Put every environment into the same state, at the beginning of an episode."""
    env.joints, env.room, env.age = torch.full_like(env.joints, joints), env.room.fill_(room), env.age.zero_()
    return env


def test_keys_are_at_right_angles():
    assert torch.equal(keys() @ keys().T, 16.0 * torch.eye(9)) and (keys().abs() == 1.0).all()
    # key 0 is row 1 of the matrix of 16 rows, whose sign is the parity of the column's last bit
    assert keys()[0].tolist() == [1.0, -1.0] * 8


def test_four_full_steps_along_a_key_open_its_door_by_hand():
    env = still(DoorChain(6))
    actions = env.keys[:6].clone()
    for step in range(3):
        _, rewards, terminated, _, _ = env.step(actions)
        # 0.05 a step on every joint, so the match is 0.05, 0.10, 0.15
        assert (env.joints * env.keys[:6]).mean(dim=1).tolist() == pytest.approx([0.05 * (step + 1)] * 6)
        assert not rewards.any() and not terminated.any() and not env.room.any()
    env.joints *= 1.001  # 0.2 is not a binary number
    observations, rewards, *_ = env.step(actions)
    assert env.room.tolist() == [1, 2, 3, 4, 6, 8] and rewards[:, 0].tolist() == [0.25] * 6
    # behind the door the joints are back at zero, and the room is seen
    assert not observations[:, :16].any() and torch.equal(observations[:, 16:], torch.eye(11)[env.room])


def test_steps_are_clamped_and_so_are_joints():
    env = still(DoorChain(2), joints=0.98)
    env.step(torch.tensor([[10.0] * 16, [-10.0] * 16]))
    assert env.joints[0].tolist() == [1.0] * 16 and env.joints[1].tolist() == pytest.approx([0.93] * 16)


def test_the_door_that_matches_best_opens_and_no_other():
    env = still(DoorChain(1))
    env.joints[0] = 0.25 * env.keys[3] + 0.3 * env.keys[2]  # matches 0.25 and 0.30
    env.step(torch.zeros(1, 16))
    assert env.room.item() == 3


def test_a_key_opens_nothing_where_its_door_is_not():
    env = still(DoorChain(9), room=5)
    for _ in range(30):
        env.step(env.keys.clone())
    assert env.room.tolist() == [5] * 9
    still(env, room=4)
    for _ in range(5):
        env.step(env.keys.clone())
    assert env.room.tolist() == [4, 4, 4, 4, 4, 4, 5, 4, 4]


def test_an_episode_in_the_best_room_is_a_success_and_begins_again():
    env = still(DoorChain(2), room=10)
    env.room[1] = 9
    env.age.fill_(127)
    observations, rewards, terminated, truncated, infos = env.step(torch.zeros(2, 16))
    assert rewards[:, 0].tolist() == [1.0, 0.5] and truncated.all() and not terminated.any()
    assert infos["successes"].tolist() == [1.0, 0.0] and infos["final_obs"]["policy"][0, 26] == 1.0
    assert not env.room.any() and env.age.tolist() == [0, 0]
    assert (observations[:, :16].abs() <= 0.08).all() and observations[:, :16].any()


def test_return_of_the_scripted_ways_by_hand():
    # the first door takes four steps, or five where the joints begin behind; the rest of 128 pays
    assert 0.25 * (128 - 4) <= references.measure("door_chain", "decoy", 500).mean <= 0.25 * (128 - 3)
    # three doors take 4 or 5 steps each and their rooms pay 0.25 and 0.5 meanwhile
    best = references.measure("door_chain", "optimal", 500)
    assert 128 - 15 + 4 * 0.75 <= best.mean <= 128 - 11 + 4 * 0.75 and best.successes == 1.0
    assert references.measure("one_door", "optimal", 500).mean == pytest.approx(best.mean, abs=0.1)
    assert torch.equal(OneDoor(1).behind[0, FIRST], torch.tensor([-1, -1, -1, -1, -1, 8]))
    assert max(PAY) == PAY[-1] and DoorChain.num_observations == 27


def test_a_step_does_not_wait_for_the_device(device):
    env = DoorChain(8, device=device)
    actions = torch.ones(8, 16, device=device)
    with no_stall(device):
        for _ in range(3):
            env.step(actions)


# -- the rules of docs/appendix/study.md, in which nothing that learns has a part -----------------------------------


def test_random_actions_earn_next_to_nothing_beyond_the_decoy():
    random, decoy, best = (references.measure("door_chain", name, 2_000) for name in references.BEHAVIOURS)
    assert random.mean < 0.1 * decoy.mean and random.successes == decoy.successes == 0.0
    assert best.mean > 3.0 * decoy.mean and best.successes == 1.0


def test_what_noise_rarely_does_a_policy_within_reach_does_always():
    env, generator = DoorChain(3_000), torch.Generator().manual_seed(1)
    noise = acceptance.first_doors(env, lambda _: torch.randn(3_000, 16, generator=generator), env.observe())
    assert (noise > 0.01).all() and (noise < 0.06).all()
    for key in (0, 3, 5):
        assert acceptance.tilted(key, 1_000)[key] > 0.95
    share = torch.exp(torch.tensor(-16 * acceptance.TILT**2)).item()
    # weights exp(d z - d^2 / 2) of samples z of the noise: 1 / E[w^2] = exp(-d^2)
    z = torch.randn(200_000, generator=generator)
    weights = torch.exp(4 * acceptance.TILT * z - 8 * acceptance.TILT**2)
    assert share == pytest.approx(1.0 / weights.square().mean().item(), abs=0.02) and share > 0.5


def test_untrained_policies_of_one_network_do_different_things_within_reach():
    found = [acceptance.untrained(seed, 100) for seed in (1, 2, 3, 5)]
    favourites = [each.doors.argmax(dim=1).unique().numel() for each in found]
    assert sum(favourites) / len(favourites) >= 3.0
    doors = torch.cat([each.doors for each in found])
    most = doors.amax(dim=1)
    assert (most / ((doors.sum(dim=1) - most) / 5).clamp(min=0.01)).median() > 3.0
    assert torch.cat([each.divergence for each in found]).median() < 0.5


def test_the_best_way_can_be_told_by_a_network_of_the_studys_size():
    assert acceptance.imitated(400, 256) > 0.9 * references.measure("door_chain", "optimal", 500).mean
