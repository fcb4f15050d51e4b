"""The agent as a whole, on a task without a simulator."""

import copy

import pytest
import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.gaussian import gaussian_log_prob
from sapg_isaaclab.agents.sapg import SAPG, SapgCfg
from sapg_isaaclab.agents.sapg import agent as agent_module
from sapg_isaaclab.agents.sapg.aggregation import relabel
from sapg_isaaclab.agents.sapg.batch import Piece
from sapg_isaaclab.agents.sapg.report import learned
from toy_env import ToyEnv, check_resume, run

SMALL = {"hidden_sizes": (16, 16), "rollouts": 4, "sequence_length": 2, "num_blocks": 3}


def make(num_envs=12, seed=0, **options) -> tuple[SAPG, ToyEnv]:
    torch.manual_seed(seed)
    env = ToyEnv(num_envs, seed=seed)
    cfg = SapgCfg(**{**SMALL, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


def collect(agent: SAPG, env: ToyEnv) -> None:
    """Fill the memory without the update that follows."""
    update, agent.update = agent.update, lambda **_: None
    run(agent, env, agent.cfg.rollouts)
    agent.update = update


def rows_of(agent: SAPG, pairs):
    agent.pairs = pairs
    batch, off = agent.batch()
    return batch.rows, off


def test_the_batch_holds_all_rows_and_as_many_off_policy_rows_as_the_leader_has():
    agent, env = make()
    collect(agent, env)
    batch, off = rows_of(agent, [(0, 2)])
    group = batch["group"]
    assert len(batch) == 12 * 4 + 4 * 4 == len(group)
    assert torch.bincount(group).tolist() == [16, 16, 16, 16]
    # a follower's rows appear twice: as its own and, with the same action and behaviour density, as the leader's
    own, relabelled = batch[group == 2], batch[group == 3]
    assert {tuple(row) for row in own["actions"].tolist()} == {tuple(row) for row in relabelled["actions"].tolist()}
    assert own["log_prob"].sort().values.equal(relabelled["log_prob"].sort().values)
    identity = agent.policies.inputs(batch, agent.model.identity(batch["block"]))["observations"][:, 5:]
    assert identity[group == 3].equal(torch.tensor([1.0, 0.0, 0.0]).expand(16, 3))
    assert identity[group == 2].equal(torch.tensor([0.0, 0.0, 1.0]).expand(16, 3))
    assert off.rows.numel() == 16


def test_mu_is_one_on_policy_and_wherever_source_and_leader_are_the_same_policy():
    agent, env = make(importance_clip="mu")
    with torch.no_grad():
        agent.model.latents.copy_(agent.model.latents[:1].expand(3, -1))
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 1)])
    assert batch["log_mu"].abs().max() < 1e-5
    assert (batch["log_mu"][batch["group"] < 3] == 0).all()
    agent, env = make(importance_clip="mu", mu_max=2.0)
    with torch.no_grad():
        agent.model.latents.mul_(10.0)
    collect(agent, env)
    batch, off = rows_of(agent, [(0, 1)])
    assert off.log_mu.max() > torch.tensor(2.0).log() >= batch["log_mu"].max() - 1e-6


def test_on_policy_ratio_is_one_before_the_first_step():
    agent, env = make(normalize_observations=False)
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 1)])
    rows = batch[batch["group"] < 3]
    inputs = agent.policies.inputs(rows, agent.model.identity(rows["block"]))
    mean, log_std, *_ = agent.model.evaluate(inputs["observations"])
    torch.testing.assert_close(gaussian_log_prob(rows["actions"], mean, log_std), rows["log_prob"], atol=1e-5, rtol=0)


def test_relabelled_rows_move_the_leaders_latent_and_none_of_the_sources():
    agent, env = make(bounds_loss_scale=0.0)
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 2)])
    agent.learner.losses(batch[batch["group"] == 3]).parts.sum().backward()
    gradient = agent.model.latents.grad.abs().sum(dim=1)
    assert gradient[0] > 0 and gradient[1] == 0 and gradient[2] == 0
    assert (agent.model.log_std.grad[1:] == 0).all()


def test_row_mean_ignores_duplicated_rows_and_policy_sum_weighs_by_m_plus_one():
    agent, env = make()
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 2)])
    once = agent.learner.losses(batch).parts
    torch.testing.assert_close(agent.learner.losses(torch.cat((batch, batch)))[0], once)
    batch["weights"] = torch.full((len(batch),), 4.0)
    torch.testing.assert_close(agent.learner.losses(batch).parts, 4.0 * once)


@pytest.mark.parametrize("kl_scope", ["all", "on_policy"])
def test_a_minibatch_in_pieces_takes_the_same_step(kl_scope):
    """Gradients of pieces are summed before the one step, so only rounding tells them apart."""
    ends = []
    for max_units in (1000, 7):
        torch.manual_seed(3)
        agent, env = make(kl_scope=kl_scope)
        collect(agent, env)
        batch, _ = agent.batch()
        batch.max_units = max_units
        assert (len(next(iter(batch.minibatches()))[1]) > 1) == (max_units == 7)
        numbers = torch.stack(list(learned(agent.learner.learn(batch), off_policy=True).values()))
        ends.append(torch.cat((numbers, *(p.detach().flatten() for p in agent.model.parameters()))))
    torch.testing.assert_close(ends[0], ends[1], atol=2e-5, rtol=1e-4)


def test_mu_loss_equals_unit_loss_where_mu_is_one():
    agent, env = make()
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 1)])
    unit = agent.learner.losses(batch).parts
    batch["log_mu"] = torch.zeros(len(batch))
    torch.testing.assert_close(agent.learner.losses(batch).parts, unit)


def test_entropy_bonus_reaches_only_the_log_std_rows_of_followers():
    agent, env = make(entropy_loss_scale=0.01)
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 1)])
    agent.learner.losses(batch).parts[2].backward()
    assert (agent.model.log_std.grad[0] == 0).all() and (agent.model.log_std.grad[1:] < 0).all()
    others = [p for name, p in agent.model.named_parameters() if name != "log_std"]
    assert all(p.grad is None or (p.grad == 0).all() for p in others)


def test_followers_spread_orders_by_their_coefficient():
    agent, env = make(entropy_loss_scale=2.0, num_envs=48, learning_rate_schedule="fixed", learning_rate=3e-3)
    run(agent, env, 4 * 25)
    assert agent.metrics["Block_0/std"] < agent.metrics["Block_1/std"] < agent.metrics["Block_2/std"]


def test_the_gradient_norm_of_all_policies_together_is_clipped_and_reported_before():
    """A follower's exploding gradient scales the leader's down."""
    agent, env = make(normalize_advantages=False)
    collect(agent, env)
    batch, _ = rows_of(agent, [(0, 1)])
    ends = {}
    for limit in (0.0, 1.0):
        agent.cfg.grad_norm_clip = limit
        state = copy.deepcopy(agent.state_dict())
        rows = batch.clone()
        rows["advantages"] = torch.where(rows["block"] == 2, 1e4, rows["advantages"])
        step = agent.learner.step([Piece(rows, None)])
        ends[limit] = (step.grad_norm, agent.model.latents.grad.clone(), agent.model.value.weight.grad.clone())
        agent.load_state_dict(state)
    assert ends[1.0][0] == ends[0.0][0] > 100.0
    for clipped, free in zip(ends[1.0][1:], ends[0.0][1:]):
        assert free.abs().max() > 0
        torch.testing.assert_close(clipped, free / ends[0.0][0], atol=1e-9, rtol=1e-4)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_an_overflow_skips_the_step_halves_the_scale_and_is_counted(bad):
    agent, env = make(mini_batches=1, mini_batch_size=1000)
    collect(agent, env)
    agent.learner.grad_scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    batch, _ = agent.batch()
    before = {name: value.detach().clone() for name, value in agent.model.named_parameters()}
    good = batch.rows.clone()
    batch.rows["advantages"][0] = bad
    skipped = agent.learner.step([Piece(batch.rows, None)])
    assert skipped.skipped and not skipped.grad_norm.isfinite() and agent.learner.grad_scaler.get_scale() == 32.0
    assert all(value.equal(before[name]) for name, value in agent.model.named_parameters())
    taken = agent.learner.step([Piece(good, None)])
    assert not taken.skipped and taken.grad_norm.isfinite() and agent.learner.grad_scaler.get_scale() == 32.0
    assert not agent.model.value.weight.equal(before["value.weight"])
    numbers = learned([skipped, taken], off_policy=True)
    assert numbers["Policy/skipped_steps"] == 1 and numbers["Policy/grad_norm"] == taken.grad_norm


def test_half_precision_leaves_log_stds_as_they_are():
    """Choosing a row of the table is no computation."""
    agent, _ = make()
    with torch.no_grad():
        agent.model.log_std.copy_(torch.linspace(-1.0, 1.0, 6).view(3, 2) / 3.0)
    identity = agent.model.identity(torch.arange(3))
    rows = torch.cat((torch.zeros(3, 5), identity), dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = agent.model.evaluate(rows)
    assert out.mean.dtype == torch.bfloat16 and out.log_std.equal(agent.model.log_std)


def test_a_warning_says_once_that_followers_teach_nothing(monkeypatch):
    said = []
    monkeypatch.setattr(agent_module.logger, "warning", said.append)
    agent, _ = make()
    for share in [0.05] * 19 + [0.2] + [0.05] * 40:
        agent.metrics = {"OffPolicy/effective_sample_share": share}
        agent._watch_sample_share()
    assert len(said) == 1 and "effective_sample_share" in said[0]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("options", [{}, {"rnn_units": 8}, {"num_blocks": 1}])
def test_a_player_can_be_traced(options):
    agent, env = make(**options)
    observations = env.reset()[0]
    traced = torch.jit.trace(agent.player(0), observations, check_trace=False)
    torch.testing.assert_close(traced(observations), agent.player(0)(observations))


@pytest.mark.parametrize(
    ("kl", "before", "after"),
    [(0.033, 1e-3, 1e-3 / 1.5), (0.0079, 1e-3, 1.5e-3), (0.02, 1e-3, 1e-3), (1.0, 1e-6, 1e-6), (0.0, 9e-3, 1e-2)],
)
def test_learning_rate_rule(kl, before, after):
    agent, _ = make(learning_rate=before)
    agent.learner.adapt_learning_rate(torch.tensor(kl))
    assert agent.learner.learning_rate.item() == pytest.approx(after)


def test_kl_scope_on_policy_leaves_cross_policy_divergence_out():
    agent, env = make()
    with torch.no_grad():
        agent.model.latents.mul_(20.0)
    collect(agent, env)
    agent.cfg.normalize_observations = False
    batch, _ = rows_of(agent, [(0, 2)])
    state = copy.deepcopy(agent.state_dict())
    steps = {}
    for scope in ("all", "on_policy"):
        agent.cfg.kl_scope = scope
        steps[scope] = agent.learner.step([Piece(batch.clone(), None)])
        agent.load_policy(state)
    assert steps["all"].kl > 0.05 and steps["on_policy"].kl.abs() < 1e-3
    for step in steps.values():
        # 48 rows of their own and 16 relabelled ones for the leader
        assert step.kl_on_policy.abs() < 1e-3
        torch.testing.assert_close(0.75 * step.kl_on_policy + 0.25 * step.kl_off_policy, steps["all"].kl)


def test_relabelling_draws_no_random_numbers():
    agent, env = make()
    collect(agent, env)
    before = torch.get_rng_state()
    rewards = agent.memory.rollout["rewards"].squeeze(-1)
    relabel(agent.memory, [(0, 1)], rewards, agent.evaluate_as, gamma=0.99)
    assert torch.get_rng_state().equal(before)


def test_playing_uses_the_leader_in_every_environment_and_refuses_unknown_blocks():
    agent, env = make()
    observations = env.reset()[0]
    leader = agent.player(0)(observations)
    torch.testing.assert_close(
        leader[:4], agent.act(observations, None, timestep=0, timesteps=0)[1]["mean_actions"][:4]
    )
    follower = agent.player(2)(observations)
    assert not torch.allclose(leader, follower)
    agent.enable_training_mode(False)
    torch.testing.assert_close(agent.act(observations, None, timestep=0, timesteps=0)[1]["mean_actions"], leader)
    alone = build_agent(ToyEnv(5), agent.cfg, with_memory=False)
    alone.load_policy(agent.state_dict())
    torch.testing.assert_close(alone.player(2)(observations[:5]), follower[:5])
    with pytest.raises(ValueError, match="block 3 does not exist"):
        agent.player(3)


@pytest.mark.parametrize("options", [{}, {"importance_clip": "mu", "subsample": "transition"}, {"num_blocks": 1}])
def test_saved_and_loaded_it_goes_on_bit_for_bit(options):
    check_resume(make(**options), make(seed=1, **options))


def test_a_checkpoint_of_another_m_or_network_is_refused():
    agent, _ = make()
    state = agent.state_dict()
    with pytest.raises(ValueError, match="holds 3 policies, this agent 2; add agent.num_blocks=3"):
        make(num_blocks=2)[0].load_state_dict(state)
    with pytest.raises(ValueError, match="network options"):
        make(hidden_sizes=(16, 8))[0].load_state_dict(state)


@pytest.mark.parametrize("recurrent", [{}, {"rnn_units": 8}], ids=["mlp", "lstm"])
def test_final_obs_bootstrap_reads_the_true_last_state_and_says_when_it_is_missing(recurrent):
    agent, env = make(timeout_bootstrap="final_obs", **recurrent)
    observations, final = env.reset()[0], torch.randn(12, 5)
    actions, _ = agent.act(observations, None, timestep=0, timesteps=0)
    state, where = agent._state, torch.arange(12).unsqueeze(1) == 5

    def record(infos):
        agent.record_transition(
            observations=observations, states=None, actions=actions, rewards=torch.zeros(12, 1),
            next_observations=observations, next_states=None, terminated=torch.zeros_like(where), truncated=where,
            infos=infos, timestep=0, timesteps=0,
        )  # fmt: skip

    record({"final_obs": {"policy": torch.where(where, final, float("nan"))}})
    alone = TensorDict({"observations": final[5:6]}, batch_size=[1])
    # by the policy of block 5 // 4 and, with an LSTM, from the state of the episode that ended
    expected = agent.policies.evaluate(alone, 1, None if state is None else state[:, 5:6]).values
    values = agent.memory.rollout["final_values"][0]
    torch.testing.assert_close(values[5], expected)
    assert values.isfinite().all()
    agent.act(observations, None, timestep=0, timesteps=0)
    with pytest.raises(ValueError, match=r"gives no final_obs\['policy'\]; set env\.compute_final_obs=true"):
        record({})


def test_critic_states_need_a_separate_trunk_and_an_environment_that_has_them():
    with pytest.raises(ValueError, match=r"agent\.separate=true"):
        make(critic_input="states")
    with pytest.raises(ValueError, match="no privileged state"):
        make(critic_input="states", separate=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_blocks": 0}, "num_blocks is 0"),
        ({"num_blocks": 5}, "use --num_envs 10 or 15"),
        ({"importance_clip": "none"}, "must be one of unit, mu"),
        ({"discount_factor": 1.5}, r"must lie in \[0, 1\]"),
        ({"learning_rate": "fast"}, "must be a number"),
        ({"learning_epochs": 2.5}, "must be a whole number"),
        ({"sequence_length": 3}, r"add agent.sequence_length=1"),
        ({"off_policy_ratio": 3.0}, "at most 2"),
        ({"off_policy_ratio": 0.5}, "less than one whole block"),
        ({"stratified_minibatch": True, "shuffle": False}, "is incompatible with"),
        ({"hidden_sizes": (16, 0)}, "positive numbers"),
        ({"mini_batches": 1000}, "only 48 rows"),
    ],
)
def test_wrong_options_are_answered_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        make(**options)
    assert "\n" not in str(error.value)


def test_it_trains_under_skrls_own_trainer(tmp_path):
    from skrl.trainers.torch import SequentialTrainer

    agent, env = make()
    agent.cfg.experiment.directory = str(tmp_path)
    agent.write_interval, agent.checkpoint_interval = 4, 4
    agent.experiment_dir = str(tmp_path / "run")
    before = copy.deepcopy(agent.model.state_dict())
    trainer = SequentialTrainer(
        env=env, agents=agent, cfg={"timesteps": 8, "disable_progressbar": True, "close_environment_at_exit": False}
    )
    trainer.train()
    assert any(not torch.equal(value, before[name]) for name, value in agent.model.state_dict().items())
    assert list(tmp_path.glob("run/checkpoints/agent_8.pt")) and list(tmp_path.glob("run/events*"))
    trainer.eval()
