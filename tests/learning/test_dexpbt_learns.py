"""A population must learn, and its worst learners must catch up: a point pushed to a goal, from sampled actions."""

import pytest
import torch
from test_learns import mean_distance

from toy_env import ToyEnv, run
from toy_population import make_population


@pytest.mark.slow
def test_the_population_gets_closer_to_the_goal_and_a_spoilt_learner_recovers():
    options = {
        "hidden_sizes": (64, 64), "rollouts": 8, "sequence_length": 4, "learning_rate": 3e-3, "rewards_scale": 0.1,
        "interval": 64 * 8 * 10, "start_after": 64 * 8 * 10, "initial_delay": 64 * 8 * 20, "mutation_range": (1.1, 1.2),
    }  # fmt: skip

    agent, env = make_population(num_envs=192, episode_length=20, **options)
    assert mean_distance(agent, ToyEnv(192, seed=1)) > 0.9
    # the last learner pushes in one direction as hard as it can, whatever it sees
    spoilt = agent.learners[2]
    with torch.no_grad():
        spoilt.model.mean.bias.fill_(50.0)
    observations = run(agent, env, 8 * 19)
    spoilt_distance = mean_distance(spoilt, ToyEnv(192, seed=1))
    run(agent, env, 8 * 41, observations)
    assert any(decision["action"] == "replace" and decision["learner"] == 2 for decision in agent.decisions)
    assert spoilt_distance > 0.9
    # a point that always moves straight at full speed averages about 0.25
    assert mean_distance(agent, ToyEnv(192, seed=1)) < 0.4
    assert mean_distance(spoilt, ToyEnv(192, seed=1)) < 0.5
