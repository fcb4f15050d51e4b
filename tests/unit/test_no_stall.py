"""The host never waits for the device while acting and recording, and a known number of times in an update."""

import pytest
import torch

from no_stall import no_stall
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from toy_env import ToyEnv

CLOCK = {"timestep": 0, "timesteps": 0}
LSTM = {"rnn_units": 8, "sequence_length": 2}
OPTIONS = [
    {},
    LSTM,
    {**LSTM, "rnn_off_policy_values": "reunroll"},
    {"importance_clip": "mu", "loss_reduction": "policy_sum", "on_policy_target": "nstep", "std_mode": "shared"},
    {"subsample": "transition", "stratified_minibatch": True, "sequence_length": 1},
    {"aggregation": "symmetric", "mini_batch_remainder": "even"},
    {"num_blocks": 1, "shuffle": False},
]
UPDATE = {("aten::_local_scalar_dense", "report"): 100}
"""An update brings its numbers to the host, in one transfer; on a CPU ``tolist`` reads them one by one."""
RECURRENT = {("aten::_local_scalar_dense", "unbroken_first"): 100}
"""With an LSTM it also learns how many sequences of each minibatch are unbroken, in another."""


def make(device, **options):
    torch.manual_seed(0)
    env = ToyEnv(12, episode_length=3, device=device)
    cfg = SapgCfg(**{"num_blocks": 3, "hidden_sizes": (16,), "rollouts": 4, "sequence_length": 2, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


@pytest.mark.parametrize("options", OPTIONS)
def test_an_iteration_does_not_wait_for_the_device(options, device):
    agent, env = make(device, **options)
    allowed = UPDATE | (RECURRENT if "rnn_units" in options else {})
    observations = env.reset()[0]
    for step in range(8):
        with no_stall(device):
            actions, _ = agent.act(observations, None, **CLOCK)
        after, rewards, terminated, truncated, infos = env.step(actions)
        with no_stall(device):
            agent.record_transition(
                observations=observations, states=None, actions=actions, rewards=rewards, next_observations=after,
                next_states=None, terminated=terminated, truncated=truncated, infos=infos, **CLOCK,
            )  # fmt: skip
        with no_stall(device, allowed if step % 4 == 3 else None):
            agent.post_interaction(**CLOCK)
        observations = after
    assert agent.metrics["Loss/value"] > 0.0


def test_playing_does_not_wait_for_the_device(device):
    agent, env = make(device, **LSTM)
    player, observations = agent.player(), env.reset()[0]
    with no_stall(device):
        player(observations)
        player.reset(torch.zeros(12, dtype=torch.bool, device=device))
        player(observations)


@pytest.mark.parametrize(
    "stall",
    [
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: bool(x.any()),
    ],
)
def test_the_guard_sees_what_would_wait(stall, device):
    x = torch.ones(3, device=device)
    with pytest.raises((AssertionError, RuntimeError)), no_stall(device):
        stall(x)
