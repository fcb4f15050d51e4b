"""Who is replaced by whom, and how hyper-parameters mutate, against numbers worked by hand."""

import numpy as np
import pytest
import torch

from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.dexpbt.mutation import (
    MUTATORS,
    mutate,
    mutate_discount,
    mutate_epochs,
    mutate_float,
    mutate_ratio_clip,
)
from sapg_isaaclab.agents.dexpbt.selection import select

FACTORS = (1.1, 1.5)
SPREAD_OUT = [10.0, 9.0, 5.0, 4.0, 1.0, 0.0]
CLOSE = [10.0, 9.9, 9.8, 9.7, 9.6, 9.5]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def decide(learner, objectives, *, best="own", frames=10**9, since=10**9, seed=0, **options):
    best = objectives[learner] if best == "own" else best
    cfg = DexPbtCfg(**options)
    return select(learner, objectives, best, frames=frames, frames_since_start=since, cfg=cfg, generator=rng(seed))


def test_a_learner_far_behind_is_replaced_by_one_of_the_two_best():
    # of six, ceil(1.8) = 2 are the best and 2 the worst; std([10, 9, 5, 4, 1]) = 3.310589; 9 - 1 = 8 > 1.655 and > 0.45
    assert float(np.std(SPREAD_OUT[:5])) == pytest.approx(3.310589, abs=1e-6)
    donors = set()
    for seed in range(40):
        verdict = decide(4, SPREAD_OUT, seed=seed)
        assert verdict.action == "replace"
        donors.add(verdict.donor)
    assert donors == {0, 1}


def test_a_learner_that_is_not_much_worse_keeps_its_weights_and_mutates():
    # 9.9 - 9.6 = 0.3 is above half the spread, 0.5 x 0.141421 = 0.0707, but not above 5 % of 9.9 = 0.495
    for seed in range(40):
        verdict = decide(4, CLOSE, seed=seed)
        assert verdict.action == "mutate" and verdict.donor in (0, 1)
        assert "threshold_absolute" in verdict.reason
    # without that limit it is replaced
    assert decide(4, CLOSE, threshold_absolute=0.0).action == "replace"
    # 0.3 or 0.4 is not above 4 x 0.141421 = 0.566
    verdict = decide(4, CLOSE, threshold_absolute=0.0, threshold_std=4.0)
    assert verdict.action == "mutate" and "0.565685" in verdict.reason


def test_the_share_of_a_negative_objective_counts_by_its_size():
    # -1 - (-1.04) = 0.04 is not above 0.05 x 1
    objectives = [-1.0, -1.0, -1.02, -1.03, -1.04, -1.04]
    assert decide(4, objectives).action == "mutate"
    assert decide(4, objectives, threshold_absolute=0.03).action == "replace"


def test_only_the_worst_change():
    for learner in range(4):
        verdict = decide(learner, SPREAD_OUT)
        assert verdict == ("keep", "not among the worst 2", None)
    # the order of the learners is no matter
    shuffled = [1.0, 10.0, 0.0, 9.0, 5.0, 4.0]
    assert [decide(learner, shuffled).action for learner in range(6)] == ["replace", "keep"] * 2 + ["keep"] * 2
    assert decide(0, shuffled).donor in (1, 3)


def test_eight_learners_have_three_of_each():
    objectives = [float(8 - index) for index in range(8)]
    actions = [decide(learner, objectives).action for learner in range(8)]
    assert actions == ["keep"] * 5 + ["replace"] * 3
    assert {decide(7, objectives, seed=seed).donor for seed in range(60)} == {0, 1, 2}


def test_a_learner_that_was_good_in_the_interval_is_left_alone():
    # the second best has 9
    assert decide(4, SPREAD_OUT, best=9.0).action == "keep"
    assert decide(4, SPREAD_OUT, best=8.99).action == "replace"


def test_delays():
    limits = {"initial_delay": 200, "start_after": 50}
    assert "initial_delay is 200" in decide(4, SPREAD_OUT, frames=199, **limits).reason
    assert "start_after is 50" in decide(4, SPREAD_OUT, frames=200, since=49, **limits).reason
    assert decide(4, SPREAD_OUT, frames=200, since=50, **limits).action == "replace"


def test_more_than_half_of_the_objectives_must_be_known():
    some = [10.0, 9.0, None, None, 1.0, None]
    # an unknown objective ranks last, so that the two worst are two of the unknown ones
    assert decide(4, some).reason == "not among the worst 2"
    assert decide(3, some).reason == "its objective is not known yet"
    four = [10.0, 9.0, 5.0, None, 1.0, None]
    # nothing is left out of four: 8 and 9 are not above 2.6 x std([10, 9, 5, 1]) = 9.26
    assert decide(4, four, replace_fraction_worst=0.5).action == "replace"
    assert decide(4, four, replace_fraction_worst=0.5, threshold_std=2.6).action == "mutate"
    # of three learners, all three
    assert decide(2, [2.0, 1.0, 0.0]).action == "replace"
    verdict = decide(2, [2.0, None, 0.0], replace_fraction_worst=0.5)
    assert verdict.reason == "only 2 objectives are known, more than 2 are needed"


@pytest.mark.parametrize("value", [4.0, -0.003])
def test_floats_are_multiplied_or_divided(value):
    generator = rng()
    ratios = np.array([mutate_float(value, FACTORS, generator) / value for _ in range(4000)])
    up = ratios > 1.0
    assert ((ratios[up] >= 1.1) & (ratios[up] <= 1.5)).all()
    assert ((1.0 / ratios[~up] >= 1.1 - 1e-12) & (1.0 / ratios[~up] <= 1.5)).all()
    # either half the time (4 sigma = 0.032), by 1.3 on average
    assert up.mean() == pytest.approx(0.5, abs=0.032)
    assert ratios[up].mean() == pytest.approx(1.3, abs=0.01)
    assert mutate_float(0.0, FACTORS, generator) == 0.0


def test_the_trust_region_stays_within_its_bounds():
    generator = rng()
    values = {mutate_ratio_clip(start, FACTORS, generator) for start in (0.011, 0.1, 0.29) for _ in range(200)}
    assert min(values) == 0.01 and max(values) == 0.3
    assert all(0.1 / 1.5 <= mutate_ratio_clip(0.1, FACTORS, generator) <= 0.1 * 1.5 for _ in range(200))


def test_epochs_go_up_or_down_by_one():
    generator = rng()
    assert {mutate_epochs(5, FACTORS, generator) for _ in range(50)} == {4, 6}
    assert {mutate_epochs(1, FACTORS, generator) for _ in range(50)} == {1, 2}
    assert {mutate_epochs(8, FACTORS, generator) for _ in range(50)} == {7, 8}


def test_the_discount_mutates_by_its_distance_from_one():
    generator = rng()
    distance = np.array([1.0 - mutate_discount(0.99, FACTORS, generator) for _ in range(2000)])
    up = distance > 0.01
    assert ((distance[up] >= 0.011 - 1e-9) & (distance[up] <= 0.012 + 1e-9)).all()
    assert ((distance[~up] >= 0.01 / 1.2 - 1e-9) & (distance[~up] <= 0.01 / 1.1 + 1e-9)).all()
    assert mutate_discount(0.05, FACTORS, generator) >= 0.0


def test_each_value_mutates_with_the_given_probability_and_by_its_own_rule():
    values = {f"agent.{name}": 0.1 for name in MUTATORS} | {"agent.learning_epochs": 4, "reward.goal_bonus": 1000.0}
    generator, changed = rng(), dict.fromkeys(values, 0)
    for _ in range(2000):
        mutated = mutate(values, rate=0.15, factors=FACTORS, generator=generator)
        assert mutated.keys() == values.keys()
        for name in values:
            changed[name] += mutated[name] != values[name]
    # four standard errors of a share of 0.15 in 2000 are 0.032
    assert all(count / 2000 == pytest.approx(0.15, abs=0.032) for count in changed.values())
    assert values["agent.ratio_clip"] == 0.1
    mutated = mutate(values, rate=1.0, factors=(3.0, 3.0), generator=generator)
    assert mutated["agent.learning_epochs"] in (3, 5)
    assert mutated["agent.ratio_clip"] in (0.3, pytest.approx(0.1 / 3))
    assert mutated["agent.grad_norm_clip"] in (pytest.approx(0.3), pytest.approx(0.1 / 3))
    assert mutated["reward.goal_bonus"] in (3000.0, pytest.approx(1000 / 3))
    assert 0.9 / 1.2 <= 1.0 - mutated["agent.discount_factor"] <= 1.0
    assert mutate(values, rate=0.0, factors=FACTORS, generator=generator) == values


def test_options_of_a_learner():
    cfg = DexPbtCfg(ratio_clip=0.1, entropy_loss_scale=0.01)
    layout = cfg.check(24)
    assert (layout.num_blocks, layout.block_size) == (6, 4)
    learner, other = cfg.learner_cfg(), cfg.learner_cfg()
    assert learner.num_blocks == 1 and learner.ratio_clip == 0.1 and not learner.shuffle
    assert learner.experiment.write_interval == 0 and cfg.experiment.write_interval != 0
    learner.ratio_clip = 0.2
    assert cfg.ratio_clip == other.ratio_clip == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_blocks": 2}, "a population needs at least 3 learners .*--algorithm ppo"),
        ({"num_blocks": 5}, "use --num_envs 20 or 25"),
        ({"mini_batches": 33}, "agent.mini_batches is 33, but a rollout has only 32 rows"),
        ({"aggregation": "symmetric"}, "agent.aggregation is symmetric, but learners .* remove the option"),
        ({"latent_dim": 16}, "agent.latent_dim is 16, but learners"),
        ({"compile": True}, "agent.compile=true is incompatible with a population"),
        ({"interval": 0}, "agent.interval is 0; it must be at least 1"),
        ({"interval": 2e7}, "agent.interval is 20000000.0; it must be a whole number"),
        ({"start_after": -1}, "agent.start_after is -1; it must be at least 0"),
        ({"replace_fraction_worst": 0.6}, "agent.replace_fraction_worst is 0.6; it must be above 0 and at most 0.5"),
        ({"threshold_std": -0.1}, "agent.threshold_std is -0.1; it must not be negative"),
        ({"mutation_rate": 1.5}, r"agent.mutation_rate is 1.5; it must lie in \[0, 1\]"),
        ({"mutation_range": [1.5, 1.1]}, "it must be 1 <= lowest <= highest"),
        ({"mutated": ["learning_rate"]}, "agent.mutated has 'learning_rate'; it must be a list of grad_norm_clip"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        DexPbtCfg(**options).check(24)
    assert "\n" not in str(error.value)
