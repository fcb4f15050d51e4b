"""CPO in the agent as a whole: what its rows teach whom, and that a run goes on exactly."""

import copy
import itertools

import pytest
import torch
from tensordict import TensorDict
from test_privileged_critic import make as make_privileged
from test_sapg_agent import collect, make

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.ranks import ALONE
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.agents.sapg.batch import Piece, minibatch_bounds
from sapg_isaaclab.agents.sapg.presets import PRESETS
from toy_env import ToyEnv, check_resume, run

M, B, T = 3, 4, 4
AWAC = {"awac_scale": 0.01}
REWARD = {"adversarial_scale": 0.1, "adversarial_hidden_sizes": (8,)}
LSTM = {"rnn_units": 8, "rollouts": 8, "sequence_length": 4}
SEPARATE = {"separate": True, "critic_input": "states", "critic_hidden_sizes": (8,), "critic_learning_rate": 1e-3}
EVERYTHING = {**AWAC, **REWARD, "leader_penalty": 0.1}


def prepared(makes=make, **options):
    """An agent with a full memory, after one update, and its batch."""
    agent, env = makes(**{**AWAC, **options})
    run(agent, env, agent.cfg.rollouts)
    collect(agent, env)
    return agent, agent.batch()[0]


def pieces_of(batch):
    return list(itertools.chain.from_iterable(pieces for _, pieces in batch.minibatches()))


def test_every_follower_sees_all_rows_of_the_leader_and_nobody_else_does():
    agent, batch = prepared()
    rows, leader = batch.rows, agent.memory.block(0).flatten()
    on, off = M * B * T, B * T
    assert len(rows) == on + off + (M - 1) * B * T
    assert rows["group"].bincount().tolist() == [16, 16, 16, 16, 0, 0, 0, 16, 16]
    actions = {tuple(row) for row in leader["actions"].tolist()}
    for follower in (1, 2):
        own = rows[rows["group"] == 2 * M + follower]
        assert {tuple(row) for row in own["actions"].tolist()} == actions and (own["block"] == follower).all()
        torch.testing.assert_close(own["log_prob"].sort().values, leader["log_prob"].squeeze(-1).sort().values)


def test_values_of_imitated_rows_are_the_followers():
    agent, batch = prepared(normalize_values=False, normalize_advantages=False, normalize_observations=False)
    rows = batch.rows[batch.rows["group"] >= 2 * M]
    inputs = agent.policies.inputs(rows, agent.model.identity(rows["block"]))
    torch.testing.assert_close(rows["values"], agent.model.evaluate(inputs["observations"]).values)
    torch.testing.assert_close(rows["advantages"], rows["returns"] - rows["values"])


def test_imitation_moves_trunk_mean_and_the_followers_own_latent_and_deviation_only():
    agent, batch = prepared()
    agent.model.zero_grad()
    agent.learner.losses(batch.rows[batch.rows["group"] == 2 * M + 1]).parts.sum().backward()
    model = agent.model
    assert model.value.weight.grad.abs().max() == 0.0
    for parameter in (model.latents, model.log_std):
        assert [row.abs().max().item() > 0.0 for row in parameter.grad] == [False, True, False]
    assert model.mean.weight.grad.abs().max() > 0.0 and model.actor.first.weight.grad.abs().max() > 0.0


@pytest.mark.parametrize("in_means", [True, False])
@pytest.mark.parametrize("options", [{}, {"importance_clip": "mu", "loss_reduction": "policy_sum"}])
def test_losses_of_a_minibatch_by_hand(options, in_means):
    agent, batch = prepared(**options, awac_in_means=in_means, entropy_loss_scale=0.1, mini_batches=1)
    with torch.no_grad():
        agent.model.mean.bias.add_(1.2)  # out of bounds
    (rows, _), *_ = batch.minibatches()
    imitated = rows["group"] >= 2 * M
    found = agent.learner.losses(rows)
    # the other four are what SAPG makes of the other rows
    agent.cfg.awac_scale = 0.0
    own = agent.learner.losses(rows[~imitated])
    agent.cfg.awac_scale = 0.01
    share = (~imitated).float().mean()
    torch.testing.assert_close(found.parts[:4], own.parts * share)
    assert 0.5 < share < 0.8 and (found.parts[:4] != 0.0).all()
    if not in_means and not options:
        agent.cfg.awac_scale, weights = 0.0, rows["weights"][~imitated]
        plain = rows[~imitated].exclude("weights")
        torch.testing.assert_close(found.parts[:4], agent.learner.losses(plain).parts)
        torch.testing.assert_close(weights, torch.full_like(weights, 1.0 / share))
    # 0.01 times the mean over all rows of -w log pi, w = min(exp(A / 0.2), 100)
    inputs = agent.policies.inputs(rows, agent.model.identity(rows["block"]))
    out = agent.model.evaluate(inputs["observations"])
    log_prob = gaussian_log_prob(rows["actions"], out.mean, out.log_std)
    terms = -torch.exp(rows["advantages"] / 0.2).clamp(max=100.0) * log_prob * imitated
    terms = terms * rows["weights"] if "weights" in rows.keys() else terms
    torch.testing.assert_close(found.parts[4], 0.01 * terms.mean())
    # and the step size follows the others alone
    assert found.divergence[2] == (~imitated).sum() and found.divergence[3] == (rows["group"] < M).sum()
    torch.testing.assert_close(found.divergence, own.divergence, rtol=1e-5, atol=1e-5)


def test_imitated_rows_do_not_steer_the_step_size():
    agent, batch = prepared(mini_batches=1)
    (rows, _), *_ = batch.minibatches()
    before = agent.learner.losses(rows).divergence
    rows["mean"][rows["group"] >= 2 * M] += 3.0
    assert agent.learner.losses(rows).divergence.equal(before)


@pytest.mark.parametrize("options", [{}, {"observation_moments": "update"}, LSTM])
@pytest.mark.parametrize("inside", [False, True])
def test_imitated_rows_enter_the_moments_on_request(options, inside):
    agent, env = make(**AWAC, **options, awac_in_moments=inside)
    scaler, values = agent.policies.scalers["observations"], agent.policies.value_scaler
    steps, seen = agent.cfg.rollouts, []
    collect(agent, env)
    batch, off = agent.batch()
    rows = M * B * steps + off.rows.numel() + (2 * B * steps if inside else 0)
    assert values.count.item() == 1 + 2 * rows  # old values and targets
    counts = batch.rows if inside else batch.rows[batch.rows["group"] < 2 * M]
    step = agent.learner.step
    agent.learner.step = lambda pieces: seen.append(scaler.count.item()) or step(pieces)
    agent.enable_models_training_mode(True)
    agent.learner.learn(batch)
    assert seen[-1] == scaler.count.item() == 1 + rows
    everything = counts["observations"].double()
    variance = (everything.var(dim=0) * len(everything) + 1 + everything.mean(dim=0).square()) / len(everything)
    torch.testing.assert_close(scaler.mean, everything.sum(dim=0) / (rows + 1))
    torch.testing.assert_close(scaler.variance, variance, rtol=0.05, atol=0)


def test_moments_that_are_fed_with_what_they_make():
    """Columns of mean and deviation (0, 1), (0, 0.1), (0.5, 0.1) end in moments (0, 1), (0, 0.271), (0.411, 0.278)."""
    agent, _ = make(observation_moments="minibatch_twice")
    rows = torch.randn(4000, 5) * torch.tensor([1.0, 0.1, 0.1, 1.0, 1.0]) + torch.tensor([0.0, 0.0, 0.5, 0.0, 0.0])
    data, scaler = TensorDict({"observations": rows}, batch_size=[4000]), agent.policies.scalers["observations"]
    for index in range(500):
        if index % 50 == 0:
            scaler.count.fill_(1.0)  # forget the way there
        agent.policies.update_moments(data, ALONE)
        agent.policies.update_moments(data, ALONE, standardised=True)
    torch.testing.assert_close(scaler.mean[:3].float(), torch.tensor([0.0, 0.0, 0.411]), atol=0.03, rtol=0)
    torch.testing.assert_close(scaler.variance[:3].sqrt().float(), torch.tensor([1.0, 0.271, 0.278]), atol=0.02, rtol=0)


def test_a_fault_of_the_released_code_comes_after_every_step_of_the_first_epoch():
    agent, env = make(observation_moments="minibatch_twice", learning_epochs=2)
    scaler, seen, step = agent.policies.scalers["observations"], [], agent.learner.step
    agent.learner.step = lambda pieces: seen.append(scaler.count.item()) or step(pieces)
    run(agent, env, 4)
    sizes = [24, 40]  # two minibatches of 64 rows, the rest in the last one
    assert seen == [1 + 24, 1 + 2 * 24 + 40, *[1 + 2 * sum(sizes)] * 2]


@pytest.mark.parametrize("options", [{}, LSTM, {"awac_scale": 0.0}])
def test_the_penalty_is_on_followers_own_rows(options):
    agent, batch = prepared(**options, leader_penalty=0.1)
    with torch.no_grad():
        agent.model.latents.mul_(2.0)
    for rows, sequences in pieces_of(batch):
        with torch.no_grad():
            found = agent.learner.losses(rows, sequences).parts[0]
            own, leader = (
                agent.model.evaluate(agent.policies.inputs(rows, identity)["observations"], None, sequences)
                for identity in (agent.model.identity(rows["block"]), agent.policies.identity_of(0, len(rows)))
            )
        log_prob, other = (gaussian_log_prob(rows["actions"], out.mean, out.log_std) for out in (own, leader))
        of_followers = (rows["group"] == 1) | (rows["group"] == 2)
        advantages = rows["advantages"] - 0.1 * (log_prob - other) * of_followers
        ratio = (log_prob - rows["log_prob"]).exp()
        loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2)) * (rows["group"] < 2 * M)
        torch.testing.assert_close(found, loss.mean(), atol=1e-5, rtol=1e-5)
        assert (log_prob - other)[of_followers].abs().max() > 0.01


def test_followers_rewards_know_of_the_discriminator_and_relabelled_rows_do_not():
    agent, env = make(**EVERYTHING, normalize_values=False, normalize_advantages=False)
    collect(agent, env)
    paid, off = agent.batch()
    rewards = agent.discriminator.judge(agent.memory.rollout).rewards
    agent.discriminator = None
    torch.manual_seed(0)
    plain, same = agent.batch()
    assert off.advantages.equal(same.advantages) and (rewards[:, 4:] < 0).all() and (rewards[:, :4] == 0).all()
    by_group = lambda batch, low, high: batch.rows[(batch.rows["group"] >= low) & (batch.rows["group"] < high)]  # noqa: E731
    for low, high, changed in ((0, 1, False), (1, M, True), (M, 3 * M, False)):
        ours, theirs = (by_group(batch, low, high)["returns"].sort().values for batch in (paid, plain))
        assert torch.allclose(ours, theirs, atol=1e-6) is not changed
        assert not changed or ours.mean() < theirs.mean()


@pytest.mark.parametrize("options", [LSTM, {**LSTM, "rnn_off_policy_values": "reunroll"}])
def test_with_an_lstm_a_follower_with_the_leaders_latent_sees_what_the_leader_saw(options):
    options = {**options, "normalize_observations": False, "normalize_values": False, **AWAC}
    agent, env = make(**options)
    run(agent, env, 8)
    with torch.no_grad():
        agent.model.latents.copy_(agent.model.latents[:1].expand(3, -1))
        agent.model.log_std.copy_(agent.model.log_std[:1].expand(3, -1))
    collect(agent, env)
    batch, _ = agent.batch()
    leader = agent.memory.block(0).flatten()
    value_of = dict(zip(map(tuple, leader["actions"].tolist()), leader["values"].squeeze(-1).tolist()))
    found = 0
    for rows, sequences in pieces_of(batch):
        out = agent.policies.evaluate(rows, agent.model.identity(rows["block"]), sequences)
        log_prob = gaussian_log_prob(rows["actions"], out.mean, out.log_std)
        imitated = rows["group"] >= 2 * M
        torch.testing.assert_close(log_prob[imitated], rows["log_prob"][imitated], atol=1e-5, rtol=0)
        ours = torch.tensor([value_of[tuple(action)] for action in rows["actions"][imitated].tolist()])
        torch.testing.assert_close(rows["values"][imitated], ours, atol=1e-5, rtol=0)
        found += imitated.sum().item()
    assert found == 2 * 8 * B
    assert agent._found["Awac/leader_divergence"].abs() < 1e-5


def test_a_critic_of_its_own_sees_the_state_of_the_leaders_rows():
    agent, batch = prepared(make_privileged, **SEPARATE, seen=2, normalize_values=False, normalize_advantages=False)
    rows = batch.rows[batch.rows["group"] == 2 * M + 2]
    scaled = agent.policies.scalers["states"].normalize(rows["states"])
    seen = torch.cat((scaled, agent.model.identities[2].expand(len(rows), -1)), dim=1)
    values = agent.model.value(agent.model.critic(seen, agent.model.latents)[0]).squeeze(-1)
    torch.testing.assert_close(rows["values"], values, atol=1e-5, rtol=0)
    gradients = torch.autograd.grad(
        agent.learner.losses(rows).parts.sum(), list(agent.model.critic.parameters()), allow_unused=True
    )
    assert all(each is None or not each.any() for each in gradients)


@pytest.mark.parametrize(
    "options",
    [
        {"num_blocks": 2},
        {"num_blocks": 12},
        {"aggregation": "none"},
        {"aggregation": "symmetric", "stratified_minibatch": True},
        {"subsample": "transition"},
        {**LSTM, "subsample": "sequence", "separate": True},
        {"mixed_precision": True, "mini_batch_remainder": "even", "awac_in_means": False},
    ],
)
def test_it_trains_with_any_number_of_policies_and_every_way_of_sharing(options):
    agent, env = make(**EVERYTHING, **options)
    before = copy.deepcopy(agent.model.state_dict())
    run(agent, env, 2 * agent.cfg.rollouts)
    assert agent.metrics["Loss/awac"] != 0.0 and all(map(torch.isfinite, map(torch.tensor, agent.metrics.values())))
    assert all(value.isfinite().all() for value in agent.model.state_dict().values())
    assert not agent.model.state_dict()["latents"].equal(before["latents"])
    groups = agent.batch()[0].rows["group"] - 2 * agent.cfg.num_blocks
    counts = groups[groups >= 0].bincount(minlength=agent.cfg.num_blocks).tolist()
    share = agent.cfg.rollouts * agent.layout.block_size
    assert counts == [0, *[share] * (agent.cfg.num_blocks - 1)]


def released(**options):
    small = {"adversarial_scale": 0.1, "adversarial_hidden_sizes": (8,)}
    return make(**{**PRESETS["cpo_released"], **small, **options})


@pytest.mark.parametrize(
    "makes",
    [
        lambda seed: make(seed=seed, **EVERYTHING),
        lambda seed: make(seed=seed, **EVERYTHING, **LSTM),
        lambda seed: released(seed=seed),
        lambda seed: make_privileged(seed=seed, **EVERYTHING, **SEPARATE),
    ],
    ids=["mlp", "lstm", "released", "separate"],
)
def test_saved_and_loaded_it_goes_on_bit_for_bit(makes):
    first, second = makes(0), makes(1)
    check_resume(first, second, steps=2 * first[0].cfg.rollouts)
    ours, theirs = (agent.discriminator.state_dict() for agent, _ in (first, second))
    assert all(value.equal(theirs["network"][name]) for name, value in ours["network"].items())
    for index, moments in ours["optimizer"]["state"].items():
        assert moments["step"] > 0
        assert all(value.equal(theirs["optimizer"]["state"][index][name]) for name, value in moments.items())


def test_a_checkpoint_without_a_discriminator_or_with_another_is_refused():
    agent, _ = make(**EVERYTHING)
    state = agent.state_dict()
    with pytest.raises(ValueError, match=r"checkpoint's discriminator\.0\.0\.weight has shape \(8, 7\)"):
        make(**{**EVERYTHING, "adversarial_hidden_sizes": (16,)})[0].load_state_dict(state)
    with pytest.raises(KeyError, match="discriminator"):
        agent.load_state_dict(make(**AWAC)[0].state_dict())
    # who only acts has none, and needs none
    alone = build_agent(ToyEnv(5), agent.cfg, with_memory=False)
    alone.load_policy(state)
    assert alone.discriminator is None and alone.player()(torch.zeros(5, 5)).shape == (5, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"awac_scale": -0.1}, "agent.awac_scale is -0.1; it must not be negative"),
        ({"awac_scale": 0.1, "num_blocks": 1}, "a single policy has no followers; use agent.num_blocks=2 or more"),
        ({"leader_penalty": 0.1, "num_blocks": 1}, "or agent.leader_penalty=0"),
        ({"adversarial_scale": 0.1, "num_blocks": 1}, "or agent.adversarial_scale=0"),
        ({"awac_temperature": 0.0}, "agent.awac_temperature is 0.0; it must be positive"),
        ({"awac_weight_max": -1.0}, "must be positive"),
        ({"adversarial_hidden_sizes": ()}, r"agent.adversarial_hidden_sizes is \(\)"),
        ({"adversarial_learning_rate": 0.0}, "must be positive"),
        ({"adversarial_labels": "both"}, "must be one of policy, time"),
    ],
)
def test_wrong_options_are_answered_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        make(**options)
    assert "\n" not in str(error.value)


def test_the_control_takes_as_many_steps_as_cpo_on_every_task():
    """Rows of an epoch: 2 M / M of the rollout with imitation, (M + 1) / M without."""
    import gymnasium as gym

    import sapg_isaaclab  # noqa: F401  registers the tasks
    from sapg_isaaclab.commands.agent_options import agent_options

    tasks = [task for task in gym.registry if task.startswith("SAPG-")]
    assert len(tasks) >= 5
    for task in tasks:
        given = agent_options(task)["sapg"]
        counts = {}
        for name, share in (("default", 7 / 6), ("cpo", 2.0), ("sapg_double_minibatches", 7 / 6)):
            cfg = SapgCfg(**{**given["default"], **PRESETS.get(name, {}), **given.get(name, {})})
            assert cfg.num_blocks == 6
            rows = 24_576 * cfg.rollouts
            unit = cfg.sequence_length if cfg.rnn_units else 1
            counts[name] = len(minibatch_bounds(round(share * rows), rows, cfg, unit)) - 1
        assert counts["cpo"] == counts["sapg_double_minibatches"] == 2 * counts["default"], (task, counts)


def test_a_minibatch_in_pieces_takes_the_same_step():
    results = []
    for pieces in (1, 3):
        agent, batch = prepared(**REWARD, leader_penalty=0.1, awac_in_means=False, mini_batches=1)
        (rows, _), *_ = batch.minibatches()
        agent.learner.step([Piece(part, None) for part in rows.split(-(-len(rows) // pieces))])
        results.append(copy.deepcopy(agent.model.state_dict()))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, atol=1e-5, rtol=1e-5)
