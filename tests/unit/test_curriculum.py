"""The curriculum, step by step."""

import pytest
import torch

from sapg_isaaclab.tasks.curriculum import Curriculum, Way

GOOD, BAD = torch.full((4,), 3.0), torch.tensor([3.0, 3.0, 3.0, 2.9])


def curriculum(*, initial=0.075, final=0.01, factor=0.9, **changes):
    return Curriculum({"tolerance": Way(initial=initial, final=final, factor=factor)}, **changes)


def two_numbers(**changes):
    ways = {
        "tolerance": Way(initial=0.2, final=0.1, factor=0.5),
        "goal_angle": Way(initial=1.0, final=3.0, factor=2.0),
    }
    return Curriculum(ways, interval=10, **changes)


def test_tightens_at_the_stated_step_and_not_before():
    c = curriculum()
    for step in (1, 2999):
        c.update(step, GOOD)
        assert c.values["tolerance"].item() == pytest.approx(0.075)
    c.update(3000, BAD)
    assert c.values["tolerance"].item() == pytest.approx(0.075)
    c.update(3001, GOOD)
    assert c.values["tolerance"].item() == pytest.approx(0.0675)
    # the next interval counts from the change
    c.update(6000, GOOD)
    assert c.values["tolerance"].item() == pytest.approx(0.0675)
    c.update(6001, GOOD)
    assert c.values["tolerance"].item() == pytest.approx(0.06075)


def test_reaches_the_floor_in_twenty_changes_and_stays():
    c = curriculum()
    for change in range(1, 25):
        before = c.values["tolerance"].item()
        c.update(3000 * change, GOOD)
        if change == 19:
            assert c.values["tolerance"].item() > 0.01
        if change >= 20:
            assert c.values["tolerance"].item() == pytest.approx(0.01)
        else:
            # 0.075 * 0.9^20 = 0.0091
            assert c.values["tolerance"].item() == pytest.approx(0.9 * before)


def test_true_objective():
    c = curriculum()
    successes = torch.tensor([0.0, 10.0])
    # no way yet: 0.01 * successes
    assert c.true_objective(successes).tolist() == pytest.approx([0.0, 0.1])
    c.update(3000, GOOD)
    # (0.075 - 0.0675) / 0.065 = 0.115385
    assert c.true_objective(successes).tolist() == pytest.approx([0.115385, 0.215385], rel=1e-5)
    for change in range(2, 22):
        c.update(3000 * change, GOOD)
    assert c.true_objective(successes).tolist() == pytest.approx([1.0, 11.0])


def test_without_a_way_there_is_no_change():
    c = curriculum(final=0.075)
    c.update(10000, GOOD)
    assert c.values["tolerance"].item() == pytest.approx(0.075)
    assert c.true_objective(torch.tensor([4.0])).tolist() == [5.0]


def test_state_continues_where_it_was():
    c = curriculum()
    c.update(3500, GOOD)
    resumed = curriculum()
    assert resumed.load_state_dict(c.state_dict()) is None
    assert resumed.state_dict() == c.state_dict()
    for step in (6499, 6500):
        c.update(step, GOOD)
        resumed.update(step, GOOD)
        assert resumed.values["tolerance"] == c.values["tolerance"]
    assert resumed.values["tolerance"].item() == pytest.approx(0.06075)
    with pytest.raises(KeyError):
        resumed.load_state_dict({"tolerance": 0.05})


def test_buffers_survive_inference_mode():
    c = curriculum()
    with torch.inference_mode():
        c.update(3000, GOOD)
    c.update(6000, GOOD)
    assert c.values["tolerance"].item() == pytest.approx(0.06075)


def test_each_group_has_its_own_tolerance():
    c = curriculum(groups=2)
    c.update(3000, torch.tensor([3.0, 3.0, 9.0, -4.0]))  # 3 and 2.5 on average
    assert c.values["tolerance"].tolist() == pytest.approx([0.0675, 0.075])
    assert c.of_environments("tolerance", torch.zeros(4)).tolist() == pytest.approx([0.0675, 0.0675, 0.075, 0.075])
    # (0.075 - 0.0675) / 0.065 = 0.115385 for the first group alone
    assert c.true_objective(torch.tensor([0.0, 10.0, 0.0, 10.0])).tolist() == pytest.approx(
        [0.115385, 0.215385, 0.0, 0.1], rel=1e-5
    )
    # an interval of its own, too
    c.update(5999, GOOD)
    assert c.values["tolerance"].tolist() == pytest.approx([0.0675, 0.0675])
    c.update(6000, GOOD)
    assert c.values["tolerance"].tolist() == pytest.approx([0.06075, 0.0675])


def test_a_group_takes_over_another_and_is_saved():
    c = curriculum(groups=3)
    c.update(3000, torch.tensor([0.0, 3.0, 0.0]))
    c.load_group(2, c.group_state(1))
    assert c.values["tolerance"].tolist() == pytest.approx([0.075, 0.0675, 0.0675])
    c.update(5999, torch.full((3,), 3.0))
    assert c.values["tolerance"].tolist() == pytest.approx([0.0675, 0.0675, 0.0675])
    resumed = curriculum(groups=3)
    resumed.load_state_dict(c.state_dict())
    assert resumed.state_dict() == c.state_dict()
    for group in (c, resumed):
        group.update(6000, torch.full((3,), 3.0))
    assert torch.equal(resumed.values["tolerance"], c.values["tolerance"])
    assert c.values["tolerance"].tolist() == pytest.approx([0.0675, 0.06075, 0.06075])


def test_one_group_is_the_curriculum_without_groups():
    one, none = curriculum(groups=1), curriculum()
    generator = torch.Generator().manual_seed(0)
    for step in range(1000, 60000, 1000):
        successes = 6.5 * torch.rand(7, generator=generator)
        one.update(step, successes)
        none.update(step, successes)
        assert torch.equal(one.values["tolerance"][0], none.values["tolerance"])
        torch.testing.assert_close(one.true_objective(successes), none.true_objective(successes))
    assert none.state_dict()["tolerance"] == one.state_dict()["tolerance"][0] < 0.02


def test_two_numbers_move_together_and_one_waits_for_the_other():
    c = two_numbers()
    assert c.progress().item() == 0.0
    assert c.true_objective(torch.tensor([5.0])).item() == pytest.approx(0.05)
    c.update(9, GOOD)
    assert (c.values["tolerance"].item(), c.values["goal_angle"].item()) == pytest.approx((0.2, 1.0))
    c.update(10, GOOD)
    assert (c.values["tolerance"].item(), c.values["goal_angle"].item()) == pytest.approx((0.1, 2.0))
    assert (c.arrived("tolerance").item(), c.arrived("goal_angle").item(), c.arrived().item()) == (True, False, False)
    # the tolerance has done all of its way, the angle 1 of 2
    assert c.progress().item() == pytest.approx(0.75)
    assert c.true_objective(torch.tensor([5.0])).item() == pytest.approx(0.8)
    c.update(20, BAD)
    assert c.values["goal_angle"].item() == 2.0
    c.update(21, GOOD)
    # 4 would be beyond the end
    assert (c.values["tolerance"].item(), c.values["goal_angle"].item()) == pytest.approx((0.1, 3.0))
    assert c.arrived().item() and c.progress().item() == 1.0
    assert c.true_objective(torch.tensor([5.0])).item() == pytest.approx(6.0)


def test_two_numbers_of_groups_are_copied_and_saved():
    c = two_numbers(groups=2)
    c.update(10, torch.tensor([0.0, 5.0, 3.0, 3.0]))
    assert c.values["goal_angle"].tolist() == [1.0, 2.0]
    assert c.of_environments("goal_angle", torch.zeros(4)).tolist() == [1.0, 1.0, 2.0, 2.0]
    assert c.state_dict() == {
        "tolerance": pytest.approx([0.2, 0.1]),
        "goal_angle": [1.0, 2.0],
        "last_change": [0, 10],
    }
    resumed = two_numbers(groups=2)
    resumed.load_state_dict(c.state_dict())
    assert resumed.state_dict() == c.state_dict()
    c.load_group(0, c.group_state(1))
    assert c.values["goal_angle"].tolist() == [2.0, 2.0]
    assert c.values["tolerance"].tolist() == pytest.approx([0.1, 0.1])
    with pytest.raises(KeyError):
        resumed.load_state_dict({"tolerance": [0.1, 0.1], "last_change": [0, 0]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final": 0.1}, "cannot be reached with factor 0.9"),
        ({"final": 0.05, "factor": 1.1}, "cannot be reached with factor 1.1"),
        ({"final": 0.0}, "use numbers above 0"),
        ({"factor": 1.0}, "use one above 0 that is not 1"),
        ({"factor": -0.5}, "use one above 0 that is not 1"),
        ({"interval": 0}, "use at least 1 step"),
    ],
)
def test_impossible_numbers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        curriculum(**changes)
