"""The agents must learn: a point pushed to a goal, from sampled actions alone."""

import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import PAPER, SapgCfg
from toy_env import ToyEnv, run

OPTIONS = {
    "sapg": {},
    "cpo": {"awac_scale": 0.001, "adversarial_scale": 0.001, "adversarial_hidden_sizes": (32,)},
    "ppo": {"num_blocks": 1},
    "recurrent": {"rnn_units": 64, "hidden_sizes": (64,)},
    # a genetic step with every fourth of the 60 updates
    "epo": {"num_blocks": 16, "evolution_start": 6144, "evolution_interval": 6144, "evolution_noise": 0.1},
}
VARIANTS = {
    "paper": PAPER,
    "symmetric": {"aggregation": "symmetric"},
    "half precision": {"mixed_precision": True},
    "compiled": {"compile": True},
    "recurrent compiled": {"compile": True, "rnn_units": 64, "hidden_sizes": (64,)},
}
"""Options that other tests hold to the same numbers; that they learn is shown for a release."""


def mean_distance(agent, env: ToyEnv) -> float:
    """Leader's mean distance to the goal over two episodes' worth of steps, without noise."""
    observations, _ = env.reset()
    player, total = agent.player(), 0.0
    for _ in range(40):
        observations, rewards, terminated, truncated, _ = env.step(player(observations))
        player.reset(terminated | truncated)
        total -= rewards.mean().item()
    return total / 40


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OPTIONS, *(pytest.param(name, marks=pytest.mark.release) for name in VARIANTS)])
def test_leader_gets_closer_to_the_goal(name):
    torch.manual_seed(0)
    env = ToyEnv(192)
    cfg = SapgCfg(
        **{"hidden_sizes": (64, 64), "learning_rate": 3e-3, "rewards_scale": 0.1, **(OPTIONS | VARIANTS)[name]}
    )
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    untrained = mean_distance(agent, ToyEnv(192, seed=1))
    agent.enable_training_mode(True)
    run(agent, env, 60 * cfg.rollouts)
    assert agent.metrics.get("Evolution/replacements", 5.0) >= 5.0
    # the start is 1.04 away on average; a point that always moves straight at full speed averages about 0.25
    assert untrained > 0.9
    assert mean_distance(agent, ToyEnv(192, seed=1)) < 0.4


@pytest.mark.slow
def test_a_compiled_update_equals_the_eager_one():
    reports = []
    for compiled in (False, True):
        torch.manual_seed(0)
        env = ToyEnv(48)
        cfg = SapgCfg(hidden_sizes=(32,), compile=compiled)
        cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
        agent = build_agent(env, cfg)
        agent.init()
        agent.enable_training_mode(True)
        run(agent, env, 2 * cfg.rollouts)
        reports.append(agent.metrics)
    assert reports[0].keys() == reports[1].keys()
    for tag, value in reports[0].items():
        assert reports[1][tag] == pytest.approx(value, rel=1e-3, abs=1e-5), tag
