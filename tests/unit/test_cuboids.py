"""The sets of cuboids and how environments share them."""

import numpy as np
import pytest

from sapg_isaaclab.assets.tables.cuboids import CUBOID_SETS, cuboid_set, edges, mass, object_scales

ALL = ["default", "small", "big", "sticks"]


@pytest.mark.parametrize(("name", "count"), [("default", 1), ("small", 654), ("big", 248), ("sticks", 45)])
def test_sets_have_the_official_sizes(name, count):
    scales = cuboid_set(name)
    assert len(scales) == count
    assert len(set(scales)) == count


@pytest.mark.parametrize(("name", "shapes"), [("small", 131), ("big", 55), ("sticks", 10)])
def test_sets_hold_every_order_of_a_shape(name, shapes):
    scales = cuboid_set(name)
    assert len({tuple(sorted(scale)) for scale in scales}) == shapes
    assert {scale[::-1] for scale in scales} == set(scales)


@pytest.mark.parametrize(
    ("name", "lightest", "heaviest", "shortest", "longest"),
    [
        # 400 kg/m^3 * (0.05 m)^3 = 0.05 kg for each base volume
        ("default", 0.05, 0.05, 0.05, 0.05),
        ("small", 0.05, 0.125, 0.025, 0.15),
        ("big", 0.125, 0.75, 0.05, 0.175),
        ("sticks", 0.125, 0.30, 0.025, 0.30),
    ],
)
def test_masses_and_edges(name, lightest, heaviest, shortest, longest):
    masses = [mass(scale) for scale in cuboid_set(name)]
    lengths = [edge for scale in cuboid_set(name) for edge in edges(scale)]
    assert (min(masses), max(masses)) == pytest.approx((lightest, heaviest))
    assert (min(lengths), max(lengths)) == pytest.approx((shortest, longest))


def test_sticks_are_the_ten_of_the_rule():
    shapes = {tuple(sorted(scale)) for scale in cuboid_set("sticks")}
    assert shapes == {
        (50, 100, 500),
        (50, 100, 600),
        (75, 75, 500),
        (75, 75, 600),
        (75, 100, 400),
        (75, 100, 500),
        (75, 100, 600),
        (100, 100, 400),
        (100, 100, 500),
        (100, 100, 600),
    }


def test_thin_plates_are_dropped():
    # 3 * 100 <= 300: a plate of 5 x 15 x 15 cm is out
    assert not CUBOID_SETS["big"].keeps((100, 300, 300))
    assert CUBOID_SETS["big"].keeps((100, 250, 300))


def test_objects_of_the_tasks():
    everything, light = object_scales(ALL), object_scales(["default", "small"])
    assert len(everything) == 947
    assert len(set(everything)) == 938  # nine shapes are both small and big
    assert len(light) == 654
    masses = np.array([mass(scale) for scale in everything])
    assert masses.mean() == pytest.approx(0.159, abs=5e-4)
    assert np.mean([mass(scale) for scale in light]) == pytest.approx(0.084, abs=5e-4)
    ordered = np.sort([edges(scale) for scale in everything], axis=1).mean(0)
    np.testing.assert_allclose(ordered, (0.044, 0.067, 0.120), atol=5e-4)


def test_order_depends_on_the_seed_only():
    assert object_scales(ALL) == object_scales(ALL)
    assert object_scales(ALL, seed=1) != object_scales(ALL)
    assert sorted(object_scales(ALL, seed=1)) == sorted(object_scales(ALL))
    assert object_scales(["default"]) == [(100, 100, 100)]


def test_unknown_sets_are_refused():
    with pytest.raises(ValueError, match="object set 'tiny' is unknown; use some of default, small, big, sticks"):
        object_scales(["tiny"])
    with pytest.raises(ValueError, match="no object set was given"):
        object_scales([])


def test_every_block_gets_the_same_mix():
    from sapg_isaaclab.tasks.allegro_kuka.objects import assign_objects

    blocks = assign_objects(24576, 6, 947).reshape(6, 4096)
    assert (blocks == blocks[0]).all()
    # 4096 = 4 * 947 + 308
    counts = np.bincount(blocks[0], minlength=947)
    assert counts.min() == 4 and counts.max() == 5 and (counts == 5).sum() == 308
    assert assign_objects(12, 2, 4).tolist() == [0, 1, 2, 3, 0, 1] * 2
    assert assign_objects(4, 1, 1).tolist() == [0, 0, 0, 0]
