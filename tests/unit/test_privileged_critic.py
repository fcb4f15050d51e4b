"""A critic with layers, step size and inputs of its own."""

import copy

import pytest
import torch
from test_sapg_agent import SMALL, collect

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.deploy.module import policy_module
from toy_env import PrivilegedToyEnv, check_resume, run

STATES = {"separate": True, "critic_input": "states"}
OWN = {**STATES, "critic_hidden_sizes": (24, 8), "critic_learning_rate": 1e-3}
LSTM = {"rnn_units": 8, "rollouts": 8, "sequence_length": 4}


def make(seen=5, num_envs=12, seed=0, **options):
    torch.manual_seed(seed)
    env = PrivilegedToyEnv(num_envs, seen, seed=seed)
    cfg = SapgCfg(**{**SMALL, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


def parts_of(agent):
    """Parameters of the critic's own layers, and all others."""
    named = dict(agent.model.named_parameters())
    critic = {name for name in named if name.startswith(("critic.", "value."))}
    return [named[name] for name in sorted(critic)], [named[name] for name in sorted(set(named) - critic)]


@pytest.mark.parametrize("options", [{}, LSTM, {"aggregation": "symmetric"}, {"timeout_bootstrap": "final_obs"}])
def test_a_critic_on_states_that_are_the_observations_is_the_critic_on_observations(options):
    (on_states, env), (plain, other) = make(**STATES, **options), make(separate=True, **options)
    assert all(torch.equal(a, b) for a, b in zip(on_states.model.parameters(), plain.model.parameters()))
    for agent, place in ((on_states, env), (plain, other)):
        torch.manual_seed(1)
        run(agent, place, 3 * agent.cfg.rollouts)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, on_states.model.state_dict()[name]), name
    assert plain.metrics == on_states.metrics


@pytest.mark.parametrize("options", [{}, LSTM, {**LSTM, "critic_rnn_units": 0}, {**LSTM, "critic_rnn_units": 5}])
def test_options_as_the_policy_has_them_change_nothing(options):
    same = {"critic_hidden_sizes": SMALL["hidden_sizes"]}
    if options == LSTM:
        same["critic_rnn_units"] = 8
    results = []
    for more in ({}, same):
        agent, env = make(**STATES, **{**options, **more})
        torch.manual_seed(1)
        run(agent, env, 2 * agent.cfg.rollouts)
        results.append(agent.model.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_the_critics_step_size_moves_the_critic_and_nothing_else():
    ends = []
    for rate in (1e-3, 1e-4):
        agent, env = make(**{**OWN, "critic_learning_rate": rate}, learning_epochs=1, mini_batches=1, seen=2)
        before = copy.deepcopy(parts_of(agent))
        collect(agent, env)
        batch, _ = agent.batch()
        (_, first), *_ = batch.minibatches()
        agent.learner.step(first)
        critic, others = parts_of(agent)
        ends.append((before, copy.deepcopy(critic), copy.deepcopy(others)))
        # the first step of Adam is as long as the step size in every coordinate that has a gradient
        longest = max((new - old).abs().max().item() for new, old in zip(critic, before[0]))
        assert longest == pytest.approx(rate, rel=1e-3)
        assert max((new - old).abs().max().item() for new, old in zip(others, before[1])) == pytest.approx(
            5e-4, rel=1e-3
        )
    assert all(torch.equal(a, b) for a, b in zip(ends[0][2], ends[1][2]))
    assert all(not torch.equal(a, b) for a, b in zip(ends[0][1], ends[1][1]))


def test_the_divergence_leaves_the_critics_step_size_alone_and_gradients_are_clipped_apart():
    agent, env = make(**OWN, grad_norm_clip=1e-3)
    run(agent, env, 4)
    policy, critic = (group["lr"].item() for group in agent.learner.optimizer.param_groups)
    assert critic == pytest.approx(1e-3) and policy != pytest.approx(5e-4)
    norms = [torch.stack([each.grad.norm() for each in part]).norm().item() for part in parts_of(agent)]
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)  # together they would share it
    assert agent.metrics["Policy/grad_norm"] > 1e-3


@pytest.mark.parametrize("options", [{}, {**LSTM, "critic_rnn_units": 0}])
def test_targets_of_relabelled_rows_are_the_targets_value_of_the_state(options):
    """The leader's latent in the critic, and the state of the row: computed anew from the layers themselves."""
    agent, env = make(**OWN, **options, seen=2, normalize_values=False)
    run(agent, env, agent.cfg.rollouts)
    collect(agent, env)
    agent.pairs = [(0, 2)]
    _, off = agent.batch()
    rollout, model = agent.memory.rollout[:, 8:], agent.model

    def value_of(states):
        scaled = agent.policies.scalers["states"].normalize(states)
        features = torch.cat((scaled, model.latents[:1].expand(len(states), -1)), dim=1)
        return model.value(model.critic.rest(model.critic.act(model.critic.first(features)))).squeeze(-1)

    with torch.no_grad():
        values = torch.stack([value_of(states) for states in (*rollout["states"], env.state()[8:])])
    going_on = (rollout["terminated"] | rollout["truncated"]).logical_not().squeeze(-1)
    rewards = rollout["rewards"] + 0.99 * rollout["values"] * (rollout["truncated"] & ~rollout["terminated"])
    targets = rewards.squeeze(-1) + 0.99 * values[1:] * going_on
    torch.testing.assert_close(off.values.view(4, -1).T, values[:-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(off.returns.view(4, -1).T, targets, atol=1e-5, rtol=0)
    assert not torch.allclose(values[:-1], rollout["values"].squeeze(-1), atol=1e-3)  # the follower's are others


@pytest.mark.parametrize("units", [0, 5, 12])
def test_learning_sees_the_values_that_were_acted_with(units):
    options = {"normalize_observations": False, "normalize_values": False, "critic_rnn_units": units}
    agent, env = make(**OWN, **LSTM, **options, seen=2)
    run(agent, env, 8)
    collect(agent, env)
    batch, _ = agent.batch()
    for _, pieces in batch.minibatches():
        for rows, sequences in pieces:
            out = agent.policies.evaluate(rows, agent.model.identity(rows["block"]), sequences)
            own = rows["group"] < 3
            torch.testing.assert_close(out.values[own], rows["values"][own], atol=1e-5, rtol=0)
    assert agent.model.state_shape == ((2, 8) if units == 0 else (4, max(8, units)))


def test_a_critic_without_lstm_stores_no_states_of_every_step():
    agent, env = make(**OWN, **LSTM, critic_rnn_units=0)
    collect(agent, env)
    assert agent._states._every.numel() == 0
    agent, env = make(**OWN, **LSTM)
    collect(agent, env)
    assert agent._states._every.numel() == 4 * 8 * 4 * 8


@pytest.mark.parametrize(
    "options",
    [
        {"mixed_precision": True},
        {**LSTM, "critic_rnn_units": 0, "mixed_precision": True},
        {**LSTM, "critic_rnn_units": 5},
        {"num_blocks": 1},
    ],
)
def test_saved_and_loaded_it_goes_on_bit_for_bit(options):
    check_resume(make(seen=2, **OWN, **options), make(seen=2, seed=1, **OWN, **options))


@pytest.mark.parametrize("options", [{}, {**LSTM, "critic_rnn_units": 0}, {**LSTM, "critic_rnn_units": 12}])
def test_an_exported_policy_and_a_player_need_no_state(options):
    agent, env = make(seen=2, **OWN, **options)
    observations = run(agent, env, 2 * agent.cfg.rollouts)
    player, module = agent.player(1), policy_module(agent, 1)
    memory = [torch.zeros(12, 8)] * 2 if "rnn_units" in options else []
    for _ in range(3):
        actions, *memory = module(observations, *memory) if memory else [module(observations)]
        torch.testing.assert_close(player(observations), actions, atol=1e-6, rtol=0)


def test_skrls_way_of_asking_gives_the_critic_its_state():
    agent, _ = make(seen=2, **OWN)
    seen, states, blocks = torch.randn(6, 2), torch.randn(6, 5), torch.arange(6) % 3
    values, _ = agent.model.compute({"observations": seen, "states": states, "blocks": blocks}, role="value")
    identity = agent.model.identity(blocks)
    whole = agent.model.evaluate(torch.cat((seen, identity), dim=1), torch.cat((states, identity), dim=1))
    assert values.squeeze(-1).equal(whole.values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"critic_hidden_sizes": (8,)},
            "critic_hidden_sizes is for a critic with layers of its own; add agent.separate",
        ),
        ({"critic_learning_rate": 1e-3}, "critic_learning_rate is for a critic with"),
        ({"critic_rnn_units": 0}, "critic_rnn_units is for a critic with"),
        ({"separate": True, "critic_hidden_sizes": (8, 0)}, "agent.critic_hidden_sizes is"),
        ({"separate": True, "critic_rnn_units": -1}, "must not be negative"),
        ({"separate": True, "critic_rnn_units": 4}, "the policy has no LSTM; use agent.critic_rnn_units=0"),
        ({"separate": True, "critic_learning_rate": 0.0}, "agent.critic_learning_rate is 0.0; it must be positive"),
        ({"separate": True, "critic_learning_rate": "fast"}, "critic_learning_rate is 'fast'; it must be a number"),
    ],
)
def test_what_cannot_act_is_answered_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        make(**options)
    assert "\n" not in str(error.value)
