"""Learning curves equal those of the authors' code: ten seeds on the point environments, by two-sample tests."""

import json
import pathlib

import numpy as np
import pytest

from sapg_isaaclab.experiments.point_runs import Setting, train_all
from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.statistics import mann_whitney, welch

THEIRS = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "learning.json").read_text())["runs"]
CELLS = sorted({(run["env"], run["algorithm"]) for run in THEIRS})
SEEDS = range(1, 11)
UPDATES = (16, 32, 80)
"""When the curves are compared: while returns rise, and at the end."""

WINDOW = 8
"""Updates before, whose episodes count: a tenth of a run, as in the runs' own means."""

LEVEL = 0.001
"""Below it two samples differ: of about 40 tests, all is well in 96 of 100 calls if there is no difference."""


def theirs(env, algorithm, who, update):
    curves = [run[who] for run in THEIRS if (run["env"], run["algorithm"]) == (env, algorithm)]
    parts = [[value for value in curve[update - WINDOW : update] if value is not None] for curve in curves]
    return [float(np.mean(part)) for part in parts if part]


def ours(rows, who, update):
    row = rows[update - 1]
    if who == "leader":
        return row["Leader/return"]
    return float(np.mean([row[f"Block_{block}/return"] for block in range(1, 6)]))


def p_values(first, second):
    return {test.__name__: test(first, second).p_value for test in (welch, mann_whitney)}


@pytest.mark.parametrize(("env", "algorithm"), CELLS)
def test_a_difference_of_a_fifth_of_the_decoy_would_be_found(env, algorithm):
    sample = theirs(env, algorithm, "leader", 80)
    assert len(sample) >= 10 and np.isfinite(sample).all()
    decoy = {"two_goals": 15.3, "key_door": 6.3}[env]
    assert min(p_values(sample, [value - 0.2 * decoy for value in sample[:10]]).values()) < LEVEL
    assert min(p_values(sample[::2], sample[1::2]).values()) > LEVEL


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize(("env", "algorithm"), CELLS)
def test_curves_are_those_of_the_authors_code(env, algorithm, tmp_path, capsys):
    settings = [Setting(env, algorithm, 384, seed, 80) for seed in SEEDS]
    curves = [metrics.read(run) for _, run, _ in train_all(settings, tmp_path)]
    found = {}
    for who in ("leader", "followers") if algorithm == "sapg" else ("leader",):
        for update in UPDATES:
            first, second = [ours(rows, who, update) for rows in curves], theirs(env, algorithm, who, update)
            found[who, update] = (float(np.mean(first)), float(np.mean(second)), p_values(first, second))
    with capsys.disabled():
        for (who, update), (mean, other, tests) in found.items():
            values = ", ".join(f"{name} p {value:.3f}" for name, value in tests.items())
            print(f"\n{env} {algorithm} {who}, update {update}: {mean:.2f}, authors' {other:.2f}; {values}", end="")
    assert all(value > LEVEL for _, _, tests in found.values() for value in tests.values()), found
