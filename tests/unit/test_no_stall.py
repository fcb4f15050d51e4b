"""The host never waits for the device while acting and recording, and a known number of times in an update."""

import pytest
import torch

from no_stall import no_stall
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.sapg import SapgCfg
from toy_env import ToyEnv
from toy_population import PopulationEnv, RankedByReward

CLOCK = {"timestep": 0, "timesteps": 0}
SMALL = {"hidden_sizes": (16,), "rollouts": 4}
LSTM = {"rnn_units": 8, "sequence_length": 2}
CPO = {"awac_scale": 0.01, "adversarial_scale": 0.1, "adversarial_hidden_sizes": (8,)}
EPO = {"evolution_interval": 48, "evolution_start": 48}
"""A genetic step with every update of twelve environments."""
OPTIONS = [
    {},
    LSTM,
    {**LSTM, "rnn_off_policy_values": "reunroll"},
    {"importance_clip": "mu", "loss_reduction": "policy_sum", "on_policy_target": "nstep", "std_mode": "shared"},
    {"subsample": "transition", "stratified_minibatch": True, "sequence_length": 1},
    {"aggregation": "symmetric", "mini_batch_remainder": "even"},
    {"num_blocks": 1, "shuffle": False},
    {"timeout_bootstrap": "final_obs"},
    {**LSTM, "timeout_bootstrap": "final_obs"},
    CPO,
    {**CPO, **LSTM, "awac_in_means": False, "leader_penalty": 0.1, "stratified_minibatch": True},
    {**CPO, "observation_moments": "minibatch_twice", "awac_in_moments": True, "adversarial_labels": "time"},
    {"num_blocks": 6, "latent_dim": 4},  # identities are indices
    {**EPO, "evolution_noise": 0.1, "evolution_judges": "best"},
    {**EPO, "evolution_fitness": "leader_slices", "evolution_latents": "frozen", "evolution_timing": "before_update"},
]
READ = "aten::_local_scalar_dense"
UPDATE = {(READ, "report"): 100}
"""An update brings its numbers to the host, in one transfer; on a CPU ``tolist`` reads them one by one."""
RECURRENT = {(READ, "unbroken_first"): 100}
"""With an LSTM it also learns how many sequences of each minibatch are unbroken, in another."""
OBJECTIVES = {(READ, "finish_iteration"): 100, (READ, "select"): 100, (READ, "uniform"): 100}
"""A population brings the objectives of all learners, in one transfer; what is drawn of it is drawn on the host."""
RETURNS = OBJECTIVES | {("aten::nonzero", "_collect"): 1, ("aten::index", "_collect"): 100, (READ, "_collect"): 100}
"""Without a true objective it brings the returns of finished episodes, which it has to count first."""


def make(device, cfg, env_class=ToyEnv):
    torch.manual_seed(0)
    env = env_class(12, episode_length=3, device=device)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


def sapg(device, **options):
    return make(device, SapgCfg(**{"num_blocks": 3, "sequence_length": 2, **SMALL, **options}))


def iterate(agent, env, device, allowed, every=4, steps=8):
    """Steps of all environments, with a guard around everything but the environment itself.

    Args:
        allowed: How often the host may wait in the last of ``every`` steps, after acting and recording.
    """
    observations = env.reset()[0]
    for step in range(steps):
        with no_stall(device):
            actions, _ = agent.act(observations, None, **CLOCK)
        after, rewards, terminated, truncated, infos = env.step(actions)
        with no_stall(device):
            agent.record_transition(
                observations=observations, states=None, actions=actions, rewards=rewards, next_observations=after,
                next_states=None, terminated=terminated, truncated=truncated, infos=infos, **CLOCK,
            )  # fmt: skip
        with no_stall(device, allowed if step % every == every - 1 else None):
            agent.post_interaction(**CLOCK)
        observations = after


@pytest.mark.parametrize("options", OPTIONS)
def test_an_iteration_does_not_wait_for_the_device(options, device):
    agent, env = sapg(device, **options)
    iterate(agent, env, device, UPDATE | (RECURRENT if "rnn_units" in options else {}))
    assert agent.metrics["Loss/value"] > 0.0


@pytest.mark.parametrize("options", [{}, {"timeout_bootstrap": "final_obs"}, LSTM])
@pytest.mark.parametrize(("env_class", "allowed"), [(PopulationEnv, OBJECTIVES), (RankedByReward, RETURNS)])
def test_a_population_waits_for_its_objectives_only(env_class, allowed, options, device):
    options = {"num_blocks": 3, "sequence_length": 2, "interval": 32, "start_after": 0, "initial_delay": 0, **options}
    agent, env = make(device, DexPbtCfg(**SMALL, **options), env_class)
    env.objective = torch.arange(12.0, device=device)  # so that somebody is behind
    iterate(agent, env, device, UPDATE | (RECURRENT if "rnn_units" in options else {}) | allowed, steps=16)
    assert agent.metrics["Loss/value"] > 0.0 and agent.metrics["Population/mutations"] > 0.0


@pytest.mark.parametrize(
    "options", [{}, {"critic": "distributional"}, {"staleness": 0}, {"timeout_bootstrap": "final_obs"}]
)
def test_learning_from_a_replay_waits_for_its_numbers_only(options, device):
    agent, env = make(device, PqlCfg(replay_size=50, batch_size=16, warmup_steps=4, **SMALL, **options))
    iterate(agent, env, device, UPDATE, steps=12)
    assert agent.metrics["Loss/critic"] > 0.0 and agent.learner.critic_updates == 64


def test_playing_does_not_wait_for_the_device(device):
    agent, env = sapg(device, **LSTM)
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
