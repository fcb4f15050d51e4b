"""Recurrent policies: what was acted is what is learned from, across shuffles, resets and blocks."""

import itertools

import pytest
import torch
from test_sapg_agent import collect, make, run

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.sapg.networks import Sequences, unroll
from sapg_isaaclab.agents.sapg.recurrence import RolloutStates
from toy_env import check_resume

RNN = {"rnn_units": 8, "normalize_observations": False, "normalize_values": False}
PLACES = [{}, {"rnn_before_mlp": False}, {"separate": True}, {"rnn_layer_norm": False, "num_blocks": 1}]


def pieces_of(batch):
    return list(itertools.chain.from_iterable(pieces for _, pieces in batch.minibatches()))


def lstm_and_data(sequences=6, steps=5):
    torch.manual_seed(0)
    return torch.nn.LSTM(3, 4, batch_first=True), torch.randn(sequences, steps, 3), torch.randn(2, sequences, 4)


def test_output_after_a_reset_is_that_of_a_fresh_sequence():
    lstm, x, state = lstm_and_data()
    resets = torch.zeros(6, 5, dtype=torch.bool)
    resets[4, 2] = resets[5, 4] = True
    out, final = unroll(lstm, x, Sequences(state, resets, num_unbroken=4))
    fresh, _ = lstm(x[4:5, 2:])
    torch.testing.assert_close(out[4:5, 2:], fresh)
    fresh, (h, c) = lstm(x[5:6, 4:])
    torch.testing.assert_close(out[5:6, 4:], fresh)
    torch.testing.assert_close(final[:, 5], torch.stack((h[0, 0], c[0, 0])))


def test_one_call_and_step_by_step_agree():
    lstm, x, state = lstm_and_data()
    none = torch.zeros(6, 5, dtype=torch.bool)
    whole, steps, mixed = (unroll(lstm, x, Sequences(state, none, unbroken)) for unbroken in (6, 0, 3))
    for other in (steps, mixed, unroll(lstm, x, Sequences(state))):
        torch.testing.assert_close(other[0], whole[0])
        torch.testing.assert_close(other[1], whole[1])


def test_states_are_kept_at_sequence_starts_and_for_chosen_blocks_only():
    """States encode 100 t + n."""
    layout = BlockLayout(6, 3)
    states = RolloutStates(4, 2, layout, (2, 1), torch.device("cpu"))
    states.begin([2])
    for t in range(4):
        states.record(t, (100.0 * t + torch.arange(6.0)).view(1, 6, 1).expand(2, 6, 1))
    rows = torch.tensor([0 * 6 + 5, 2 * 6 + 1])
    assert states.before_rows(rows)[0, :, 0].tolist() == [5.0, 201.0]
    assert states.of_block(2)[0, :, 1, 0].tolist() == [5.0, 105.0, 205.0, 305.0]
    assert states.sequences_of(1)[1, :, 0].tolist() == [2.0, 202.0, 3.0, 203.0]
    assert states.starts.numel() == 2 * 6 * 2


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_learning_sees_the_probabilities_and_values_that_were_acted_with(place, shuffle):
    """The ratio is 1 in every on-policy row, with episodes ending inside sequences and rows shuffled."""
    agent, env = make(**RNN, **place, shuffle=shuffle, rollouts=8, sequence_length=4)
    run(agent, env, 8)  # not the first rollout: states are carried over
    collect(agent, env)
    ended = (agent.memory.rollout["terminated"] | agent.memory.rollout["truncated"])[:-1]
    assert 0 < ended.sum() < ended.numel() / 2
    batch, _ = agent.batch()
    assert 0 < sum(batch.num_unbroken) < batch.sequences.state.shape[1]
    for rows, sequences in pieces_of(batch):
        inputs = agent.policies.inputs(rows, agent.model.identity(rows["block"]))
        out = agent.model.evaluate(inputs["observations"], None, sequences)
        own = rows["group"] < agent.layout.num_blocks
        log_prob = gaussian_log_prob(rows["actions"], out.mean, out.log_std)
        torch.testing.assert_close(log_prob[own], rows["log_prob"][own], atol=1e-5, rtol=0)
        torch.testing.assert_close(out.values[own], rows["values"][own], atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", PLACES[:3])
@pytest.mark.parametrize("values", ["stored", "reunroll"])
def test_a_target_with_the_sources_latent_sees_what_the_source_saw(place, values):
    agent, env = make(**RNN, **place, rnn_off_policy_values=values, rollouts=8, sequence_length=4)
    run(agent, env, 8)
    with torch.no_grad():
        agent.model.latents.copy_(agent.model.latents[:1].expand(3, -1))
        agent.model.log_std.copy_(agent.model.log_std[:1].expand(3, -1))
    collect(agent, env)
    source = agent.pairs[0][1]
    mean, _, seen = agent.evaluate_as(0, source)
    block = agent.memory.block(source)
    torch.testing.assert_close(mean, block["mean"], atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[:-1], block["values"].squeeze(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", PLACES[:3])
@pytest.mark.parametrize("options", [{}, {"rnn_off_policy_values": "reunroll"}, {"subsample": "sequence"}])
def test_the_target_has_not_moved_before_the_first_step(place, options):
    """rho = pi / pi_old of Eq. 3 is 1 in relabelled rows, also where latents differ and episodes end."""
    options = {**RNN, **place, **options, "importance_clip": "mu", "rollouts": 8, "sequence_length": 4}
    agent, env = make(**options)
    run(agent, env, 8)
    with torch.no_grad():
        agent.model.latents.mul_(3.0)
    collect(agent, env)
    agent.pairs = [(0, 1), (0, 2)]
    if agent.cfg.rnn_off_policy_values == "stored":
        agent._states.begin([1, 2])  # its states are those of nobody, which only the values read
    batch, off = agent.batch()
    assert off.log_mu.abs().mean() > 0.1
    for rows, sequences in pieces_of(batch):
        inputs = agent.policies.inputs(rows, agent.model.identity(rows["block"]))
        out = agent.model.evaluate(inputs["observations"], None, sequences)
        log_rho = gaussian_log_prob(rows["actions"], out.mean, out.log_std) - rows["log_prob"] - rows["log_mu"]
        assert (rows["group"] >= 3).any() and log_rho.abs().max() < 1e-5


def test_stored_and_reunrolled_states_differ_once_latents_do():
    looks = []
    for values in ("stored", "reunroll"):
        agent, env = make(**RNN, rnn_off_policy_values=values, rollouts=8, sequence_length=4)
        collect(agent, env)
        looks.append(agent.evaluate_as(*agent.pairs[0])[2])
    assert not torch.allclose(looks[0], looks[1])
    torch.testing.assert_close(looks[0][0], looks[1][0])  # the first state is the acting policy's in both


def test_minibatches_never_cut_a_sequence():
    agent, env = make(**RNN, rollouts=8, sequence_length=4)
    collect(agent, env)
    batch, _ = agent.batch()
    assert batch.bounds[-1] * 4 == len(batch.rows) == 8 * 12 + 8 * 4
    pieces = pieces_of(batch)
    assert sum(len(rows) for rows, _ in pieces) == len(batch.rows)
    assert all(len(rows) == 4 * sequences.state.shape[1] <= 4 * batch.max_units for rows, sequences in pieces)
    assert sum(sequences.num_unbroken for _, sequences in pieces) == sum(batch.num_unbroken)


@pytest.mark.parametrize("options", [{}, {"subsample": "sequence", "importance_clip": "mu"}, {"num_blocks": 1}])
def test_saved_and_loaded_it_goes_on_bit_for_bit(options):
    check_resume(make(**RNN, **options), make(seed=1, **RNN, **options))


def test_a_player_remembers_and_forgets_where_an_episode_ended():
    agent, env = make(**RNN)
    observations = env.reset()[0]
    player = agent.player()
    first, second = player(observations), player(observations)
    assert not torch.allclose(first, second)
    player.reset(torch.arange(12) < 6)
    third = player(observations)
    torch.testing.assert_close(third[:6], first[:6])
    assert not torch.allclose(third[6:], first[6:])
    agent.enable_training_mode(False)
    torch.testing.assert_close(agent.act(observations, None, timestep=0, timesteps=0)[1]["mean_actions"], first)


def test_transitions_cannot_be_drawn_singly():
    with pytest.raises(ValueError, match=r"agent\.subsample=sequence"):
        make(**RNN, subsample="transition")


@pytest.mark.parametrize("place", PLACES[:2])
def test_half_precision_learns_on_any_cpu(place):
    """oneDNN refuses an LSTM of bfloat16 where a processor lacks AVX-512."""
    agent, env = make(**RNN, **place, mixed_precision=True, rollouts=8, sequence_length=4)
    before = agent.model.actor.lstm.weight_hh_l0.detach().clone()
    run(agent, env, 8)
    assert agent.model.actor.lstm.weight_hh_l0.isfinite().all()
    assert not agent.model.actor.lstm.weight_hh_l0.equal(before)
