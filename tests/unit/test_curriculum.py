"""The tolerance curriculum, step by step."""

import pytest
import torch

from sapg_isaaclab.tasks.curriculum import ToleranceCurriculum

GOOD, BAD = torch.full((4,), 3.0), torch.tensor([3.0, 3.0, 3.0, 2.9])


def curriculum(**changes):
    return ToleranceCurriculum(**({"initial": 0.075, "final": 0.01} | changes))


def test_tightens_at_the_stated_step_and_not_before():
    c = curriculum()
    for step in (1, 2999):
        c.update(step, GOOD)
        assert c.tolerance.item() == pytest.approx(0.075)
    c.update(3000, BAD)
    assert c.tolerance.item() == pytest.approx(0.075)
    c.update(3001, GOOD)
    assert c.tolerance.item() == pytest.approx(0.0675)
    # the next interval counts from the change
    c.update(6000, GOOD)
    assert c.tolerance.item() == pytest.approx(0.0675)
    c.update(6001, GOOD)
    assert c.tolerance.item() == pytest.approx(0.06075)


def test_reaches_the_floor_in_twenty_changes_and_stays():
    c = curriculum()
    for change in range(1, 25):
        before = c.tolerance.item()
        c.update(3000 * change, GOOD)
        if change == 19:
            assert c.tolerance.item() > 0.01
        if change >= 20:
            assert c.tolerance.item() == pytest.approx(0.01)
        else:
            # 0.075 * 0.9^20 = 0.0091
            assert c.tolerance.item() == pytest.approx(0.9 * before)


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
    assert c.tolerance.item() == pytest.approx(0.075)
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
        assert resumed.tolerance == c.tolerance
    assert resumed.tolerance.item() == pytest.approx(0.06075)
    with pytest.raises(KeyError):
        resumed.load_state_dict({"tolerance": 0.05})


def test_buffers_survive_inference_mode():
    c = curriculum()
    with torch.inference_mode():
        c.update(3000, GOOD)
    c.update(6000, GOOD)
    assert c.tolerance.item() == pytest.approx(0.06075)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final": 0.1}, "use 0 < final <= initial"),
        ({"factor": 1.0}, "use a number between 0 and 1"),
        ({"interval": 0}, "use at least 1 step"),
    ],
)
def test_impossible_numbers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        curriculum(**changes)
