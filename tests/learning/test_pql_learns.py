"""PQL and PQL-D must learn: a point pushed to a goal, off-policy."""

import pytest
import torch
from test_learns import mean_distance

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.pql import PqlCfg
from toy_env import ToyEnv, run

OPTIONS = {
    "pql": {},
    "pql-d": {"critic": "distributional", "value_range": (-3.0, 0.0)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_policy_gets_closer_to_the_goal(name):
    torch.manual_seed(0)
    env = ToyEnv(192)
    small = {"hidden_sizes": (64, 64), "batch_size": 512, "replay_size": 50_000}
    cfg = PqlCfg(**small, learning_rate=2e-3, rewards_scale=0.1, **OPTIONS[name])
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    untrained = mean_distance(agent, ToyEnv(192, seed=1))
    agent.enable_training_mode(True)
    run(agent, env, 200)
    # the start is 1.04 away on average; a point that always moves straight at full speed averages about 0.25
    assert untrained > 0.9
    assert mean_distance(agent, ToyEnv(192, seed=1)) < 0.42
