import numpy as np
import pytest

from sapg_isaaclab.experiments import diversity, drawing


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def plane(count, directions, size=6):
    """States that lie in so many directions of a larger space."""
    return normal(count, directions) @ normal(directions, size, seed=1)


def test_principal_components_by_hand():
    # centred: (-2, 0), (2, 0), (0, -1), (0, 1); squares 8 along the first axis, 2 along the second, of 4 x 2 elements
    states = np.array([[1.0, 3.0], [5.0, 3.0], [3.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(diversity.pca_errors(states), [10 / 8, 2 / 8, 0.0], atol=1e-15)


def test_principal_components_equal_a_reconstruction():
    states = normal(50, 6) * np.arange(1, 7)
    centred = states - states.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    for k in range(7):
        left = centred - centred @ directions[:k].T @ directions[:k]
        assert diversity.pca_errors(states)[k] == pytest.approx((left**2).mean(), rel=1e-12, abs=1e-15)
    assert len(diversity.pca_errors(states[:3])) == 7  # fewer states than dimensions


def test_all_sets_have_one_size_and_one_scale():
    sets = {"a": 5.0 + 3.0 * normal(200, 4), "b": 5.0 + normal(100, 4, seed=1)}
    for states in sets.values():
        states[:, 2] = 7.0  # says nothing
    scaled = diversity.on_one_scale(sets)
    assert scaled["a"].shape == scaled["b"].shape == (100, 3)
    pooled = np.concatenate(list(scaled.values()))
    np.testing.assert_allclose(pooled.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(pooled.std(axis=0), 1.0, rtol=1e-12)
    assert scaled["a"].std() / scaled["b"].std() == pytest.approx(3.0, rel=0.3)  # not each by its own
    with pytest.raises(ValueError, match="a set has 10 states"):
        diversity.on_one_scale(sets | {"c": sets["a"][:10]})


def test_autoencoders_find_as_many_directions_as_they_have_units():
    # of unit variance as a whole, or those of two directions would be smaller
    sets = {name: states / states.std() for name, states in (("two", plane(300, 2)), ("five", plane(300, 5)))}
    errors = diversity.autoencoder_errors(sets, (1, 4), inits=2, steps=600, learning_rate=0.01)
    assert errors["two"][1] < 0.1 < errors["two"][0]
    assert errors["five"][1] > 2 * errors["two"][1] and errors["five"][0] > errors["two"][0]
    again = diversity.autoencoder_errors(sets, (1, 4), inits=2, steps=600, learning_rate=0.01)
    assert all(np.array_equal(errors[name], again[name]) for name in sets)


def test_sets_are_of_the_second_half_and_know_the_leader(tmp_path):
    states = np.arange(3 * 4 * 2, dtype=np.float32).reshape(3, 4, 2)
    iterations = np.array([[1, 2, 3, 4]] * 3)
    np.savez(tmp_path / "states.npz", states=states, iterations=iterations, leader=1)
    sets = diversity.state_sets(tmp_path, "SAPG")
    assert {name: len(each) for name, each in sets.items()} == {
        "SAPG, all blocks": 6,
        "SAPG, leader": 2,
        "SAPG, follower 1": 2,
        "SAPG, follower 2": 2,
    }
    assert sets["SAPG, leader"].tolist() == states[1, 2:].tolist()
    assert sets["SAPG, follower 1"].tolist() == states[0, 2:].tolist()
    np.savez(tmp_path / "states.npz", states=states[:1], iterations=iterations[:1], leader=0)
    assert list(diversity.state_sets(tmp_path, "PPO")) == ["PPO"]


@pytest.mark.parametrize(("kind", "numbers"), [("pca", ["5", "2"]), ("autoencoder", None)])
def test_figure_and_table(tmp_path, kind, numbers):
    sets = {"SAPG, all blocks": normal(400, 5), "PPO": plane(400, 2, 5)}
    if kind == "autoencoder":
        lines = [{"set": name, "x": [1, 2, 4, 8, 16], "y": [0.9, 0.5, 0.3, 0.25, 0.1], "states": 9} for name in sets]
        numbers = ["0.25", "0.25"]
    else:
        lines = diversity.measure(kind, sets)
    data = {"kind": kind, "title": "States", "scale": "smoke", "suite": "figure7", "tasks": {"T": "Hand"}, "runs": []}
    data |= {"numbers": {"T": "return"}, "lines": {}, "diversity": [{"task": "T", "seed": 1} | line for line in lines]}
    table = drawing.table(data)
    assert [row[1] for row in table.rows] == numbers and table.rows[1][0] == "PPO"
    assert len(drawing.draw(data, tmp_path / "figure")) == 2
