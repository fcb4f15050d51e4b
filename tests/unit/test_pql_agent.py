"""The PQL agent as a whole, on a task without a simulator."""

import copy
import io

import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.pql import PQL, PqlCfg
from sapg_isaaclab.agents.pql.agent import exploration
from toy_env import ToyEnv

SMALL = {"hidden_sizes": (16, 16), "rollouts": 4, "replay_size": 200, "batch_size": 32, "warmup_steps": 4}


def make(num_envs=12, seed=0, **options) -> tuple[PQL, ToyEnv]:
    torch.manual_seed(seed)
    env = ToyEnv(num_envs, seed=seed)
    cfg = PqlCfg(**{**SMALL, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


def run(agent: PQL, env: ToyEnv, steps: int, observations=None, actions_taken=None) -> torch.Tensor:
    observations = env.reset()[0] if observations is None else observations
    clock = {"timestep": 0, "timesteps": 0}
    for _ in range(steps):
        actions, _ = agent.act(observations, None, **clock)
        if actions_taken is not None:
            actions_taken.append(actions)
        after, rewards, terminated, truncated, infos = env.step(actions)
        agent.record_transition(
            observations=observations, states=None, actions=actions, rewards=rewards, next_observations=after,
            next_states=None, terminated=terminated, truncated=truncated, infos=infos, **clock,
        )  # fmt: skip
        agent.post_interaction(**clock)
        observations = after
    return observations


def flat(module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_exploration_grows_evenly_from_the_first_environment_to_the_last():
    torch.testing.assert_close(exploration(4, 0.05, 0.8), torch.tensor([[0.05], [0.3], [0.55], [0.8]]))
    assert exploration(1, 0.05, 0.8).item() == pytest.approx(0.05)


def test_actions_are_uniform_in_the_warmup_and_noisy_by_environment_after_it():
    agent, _ = make(num_envs=2000, exploration_max=0.4, replay_size=2000)
    observations = torch.zeros(2000, 5)
    actions, _ = agent.act(observations, None, timestep=0, timesteps=0)
    assert actions.abs().max() <= 1.0 and actions.std().item() == pytest.approx(3**-0.5, abs=0.03)
    agent.steps = agent.cfg.warmup_steps
    deviations = []
    for _ in range(50):
        actions, extra = agent.act(observations, None, timestep=0, timesteps=0)
        assert extra["mean_actions"].abs().max() < 0.5
        deviations.append(actions - extra["mean_actions"])
    spread = torch.stack(deviations).std(dim=(0, 2))
    assert spread[:100].mean().item() == pytest.approx(0.05 + 0.35 * 50 / 1999, rel=0.05)
    assert spread[950:1050].mean().item() == pytest.approx(0.225, rel=0.05)
    agent.enable_training_mode(False)
    actions, extra = agent.act(observations, None, timestep=0, timesteps=0)
    assert actions.equal(extra["mean_actions"])
    agent.enable_training_mode(True)
    agent._noise = agent._noise * 100.0
    assert agent.act(observations, None, timestep=0, timesteps=0)[0].abs().max() == 1.0


def test_moments_take_in_what_is_seen_before_it_is_acted_upon():
    agent, _ = make(num_envs=1000, replay_size=1000)
    observations = 3.0 + 2.0 * torch.randn(1000, 5)
    seen = []
    agent.actor.net.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    agent.act(observations, None, timestep=0, timesteps=0)
    assert seen[0].mean().abs() < 0.02 and (seen[0].std() - 1.0).abs() < 0.02
    far = torch.full((1, 5), 1e3)
    agent.player()(far)
    assert seen[1].min() > 100.0  # acting has no clamp
    assert agent.learner._look(far).max() == 5.0  # learning has
    count = agent.scaler.count.item()
    agent.enable_training_mode(False)
    agent.act(far, None, timestep=0, timesteps=0)
    assert agent.scaler.count.item() == count


@pytest.mark.parametrize(
    "options", [{}, {"staleness": 0}, {"updates_per_step": 3, "critic_updates_per_actor_update": 2}]
)
def test_numbers_of_updates_are_exact(options):
    agent, env = make(**options)
    per_step = agent.cfg.updates_per_step
    observations = run(agent, env, 4)
    assert agent.learner.critic_updates == agent.learner.actor_updates == 0
    for steps in range(1, 8):
        observations = run(agent, env, 1, observations)
        assert agent.learner.critic_updates == per_step * steps
        assert agent.learner.actor_updates == per_step * steps // 2


def test_metrics_are_means_over_an_iteration():
    agent, env = make()
    observations = run(agent, env, 4)
    assert agent.metrics == {"Replay/size": 24.0}
    reports = []
    update, agent.learner.update_critic = agent.learner.update_critic, lambda: reports.append(update()) or reports[-1]
    run(agent, env, 4, observations)
    assert len(reports) == 32
    assert agent.metrics["Loss/critic"] == pytest.approx(torch.stack(reports)[:, 0].mean().item())
    assert agent.metrics["Replay/size"] == 72.0
    assert set(agent.metrics) == {
        "Loss/critic", "Loss/actor", "Policy/critic_grad_norm", "Policy/actor_grad_norm", "Replay/size",
    }  # fmt: skip


def test_critic_target_is_r_plus_discounted_minimum_at_the_noisy_next_action():
    agent, env = make(target_noise_clip=0.0, polyak=1.0)
    run(agent, env, 4)
    learner = agent.learner
    generator = agent.generator.clone_state()
    rows = agent.memory.sample(32, generator)
    after = learner._look(rows.next_observations)
    first, second = agent.target_critic.evaluate(after, agent.actor.evaluate(after)).squeeze(-1)
    target = rows.rewards + rows.discounts * torch.minimum(first, second)
    own = agent.critic.evaluate(learner._look(rows.observations), rows.actions).squeeze(-1)
    expected = (own[0] - target).square().mean() + (own[1] - target).square().mean()
    assert learner.update_critic()[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert flat(agent.target_critic).equal(flat(agent.critic))
    # rewards arrive scaled: distances below 4, three steps, a hundredth
    assert -0.12 < rows.rewards.min() < -0.005


def test_target_actions_are_noisy_within_the_clip():
    agent, env = make(target_noise=0.8, target_noise_clip=0.2, batch_size=4000)
    run(agent, env, 4)
    calls = []
    evaluate = agent.target_critic.evaluate
    agent.target_critic.evaluate = lambda after, actions: calls.append((after, actions)) or evaluate(after, actions)
    agent.learner.update_critic()
    after, actions = calls[0]
    noise = actions - agent.actor.evaluate(after)
    assert noise.abs().max().item() == pytest.approx(0.2, abs=1e-6) and actions.abs().max() <= 1.0
    # of N(0, 0.8) four fifths lie beyond the clip
    assert (noise.abs() > 0.1999).float().mean().item() == pytest.approx(0.803, abs=0.02)


def test_each_loss_moves_its_own_network_only():
    agent, env = make(staleness=0)
    run(agent, env, 4)
    actor, critic, target = flat(agent.actor), flat(agent.critic), flat(agent.target_critic)
    agent.learner.update_actor()
    assert flat(agent.critic).equal(critic) and not flat(agent.actor).equal(actor)
    actor = flat(agent.actor)
    agent.learner.update_critic()
    assert flat(agent.actor).equal(actor) and not flat(agent.critic).equal(critic)
    torch.testing.assert_close(flat(agent.target_critic), 0.95 * target + 0.05 * flat(agent.critic))


def test_actor_climbs_the_smaller_value():
    agent, env = make()
    run(agent, env, 4)
    states = agent.learner._look(agent.memory.sample_observations(32, agent.generator.clone_state()))
    with torch.no_grad():
        values = agent.critic.values(agent.critic.evaluate(states, agent.actor.evaluate(states)))
    assert agent.learner.update_actor()[0].item() == pytest.approx(-values.min(dim=0).values.mean().item(), rel=1e-5)
    with torch.no_grad():
        better = agent.critic.values(agent.critic.evaluate(states, agent.actor.evaluate(states)))
    assert better.min(dim=0).values.mean() > values.min(dim=0).values.mean()


def test_optimisers_are_adamw_and_gradients_are_clipped_one_by_one():
    agent, env = make(grad_norm_clip=0.01)
    for optimizer, net in (
        (agent.learner.actor_optimizer, agent.actor),
        (agent.learner.critic_optimizer, agent.critic),
    ):
        assert type(optimizer) is torch.optim.AdamW
        group = optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (5e-4, 0.01, (0.9, 0.999), 1e-8)
        assert {id(p) for p in group["params"]} == {id(p) for p in net.parameters()}
    run(agent, env, 8)
    for net in (agent.actor, agent.critic):
        norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm().item()
        assert norm <= 0.01 + 1e-6
    assert agent.metrics["Policy/critic_grad_norm"] > 0.02  # and it mattered


def updates_of_a_step(agent: PQL):
    """Name of every update of a step, with the actor and the critic that it saw of the other half."""
    learner, seen = agent.learner, []

    def spy(name, update):
        def call():
            seen.append((name, flat(learner.seen_actor), flat(learner.seen_critic)))
            return update()

        return call

    for name in ("update_critic", "update_actor"):
        setattr(learner, name, spy(name, getattr(learner, name)))
    learner.learn()
    return seen


def test_with_staleness_each_half_sees_the_other_as_of_the_beginning_of_the_step():
    agent, env = make()
    run(agent, env, 6)
    actor, critic = flat(agent.actor), flat(agent.critic)
    seen = updates_of_a_step(agent)
    assert [name for name, *_ in seen] == ["update_critic", "update_critic", "update_actor"] * 4
    assert all(one.equal(actor) and other.equal(critic) for _, one, other in seen)
    assert not flat(agent.actor).equal(actor) and not flat(agent.critic).equal(critic)


def test_with_staleness_the_other_half_is_really_looked_at_as_it_was():
    agent, env = make()
    run(agent, env, 6)
    calls = {}
    nets = {"actor": agent.actor, "critic": agent.critic}
    nets |= {"seen actor": agent.learner.seen_actor, "seen critic": agent.learner.seen_critic}
    for name, net in nets.items():

        def spy(*inputs, name=name, evaluate=net.evaluate):
            calls[name] = calls.get(name, 0) + 1
            return evaluate(*inputs)

        net.evaluate = spy
    agent.learner.learn()
    assert calls == {"seen actor": 8, "critic": 8, "actor": 4, "seen critic": 4}


def test_without_staleness_each_half_sees_the_newest_of_the_other():
    agent, env = make(staleness=0)
    run(agent, env, 6)
    actor, critic = flat(agent.actor), flat(agent.critic)
    seen = updates_of_a_step(agent)
    assert seen[0][1].equal(actor) and not seen[3][1].equal(actor)
    assert seen[0][2].equal(critic) and not seen[2][2].equal(critic)
    assert seen[-1][2].equal(flat(agent.critic))


def test_a_time_out_ends_as_the_option_says():
    observations, after, final = torch.zeros(3, 5), torch.ones(3, 5), torch.full((3, 5), 2.0)
    terminated, truncated = torch.tensor([[False], [True], [False]]), torch.tensor([[False], [True], [True]])

    def record(agent, infos):
        agent.record_transition(
            observations=observations, states=None, actions=torch.zeros(3, 2), rewards=torch.ones(3, 1),
            next_observations=after, next_states=None, terminated=terminated, truncated=truncated, infos=infos,
            timestep=0, timesteps=0,
        )  # fmt: skip

    agent, _ = make(num_envs=3, n_step=1)
    record(agent, {})
    torch.testing.assert_close(agent.memory.rows[:3, -1], torch.tensor([0.99, 0.0, 0.0]))
    agent, _ = make(num_envs=3, n_step=1, timeout_bootstrap="final_obs")
    record(agent, {"final_obs": {"policy": final}})
    torch.testing.assert_close(agent.memory.rows[:3, -1], torch.tensor([0.99, 0.0, 0.99]))
    assert agent.memory.rows[0, 7:12].equal(after[0]) and agent.memory.rows[2, 7:12].equal(final[2])
    torch.testing.assert_close(agent.memory.rows[:3, -2], torch.full((3,), 0.01))
    with pytest.raises(ValueError, match=r"env\.compute_final_obs=true"):
        record(agent, {})
    # before the first reset there is none, nor is it needed
    truncated = torch.zeros(3, 1, dtype=torch.bool)
    record(agent, {})


def saved_and_read(agent: PQL) -> dict:
    buffer = io.BytesIO()
    torch.save(agent.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("options", [{}, {"critic": "distributional"}, {"staleness": 0, "rollouts": 3}])
def test_saved_with_its_replay_it_goes_on_bit_for_bit(options):
    agent, env = make(save_replay=True, **options)
    observations = run(agent, env, 24)  # 22 steps of 12 rows: the ring of 200 has wrapped around
    state, env_state = saved_and_read(agent), copy.deepcopy(env.state_dict())
    run(agent, env, 24, observations)

    other, env = make(seed=1, save_replay=True, **options)
    other.load_state_dict(state)
    run(other, env, 24, env.load_state_dict(env_state))
    for name, module in agent._modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, other._modules[name].state_dict()[key]), (name, key)
    assert agent.metrics == other.metrics and agent.steps == other.steps == 48
    assert agent.memory.rows.equal(other.memory.rows)


def test_saved_without_its_replay_it_refills_it_by_its_policy_and_learns_on():
    agent, env = make(exploration_max=0.05)
    run(agent, env, 8)
    state = saved_and_read(agent)
    assert state["replay"] is None
    other, env = make(seed=1, exploration_max=0.05)
    other.load_state_dict(state)
    before, taken = flat(other.actor), []
    assert before.equal(flat(agent.actor))
    observations = run(other, env, 4, actions_taken=taken)
    assert other.learner.critic_updates == 32 and flat(other.actor).equal(before)
    assert torch.cat(taken).abs().mean() < 0.4  # the policy's, not uniform ones (0.5)
    run(other, env, 4, observations)
    assert other.learner.critic_updates == 64 and other.steps == 16 and not flat(other.actor).equal(before)


def test_restarted_episodes_do_not_continue_old_ones():
    agent, env = make(save_replay=True)
    run(agent, env, 2)
    other, env = make(seed=1, save_replay=True)
    other.load_state_dict(agent.state_dict())
    other.restart_episodes()
    run(other, env, 3)
    assert len(other.memory) == 12 and other.learner.critic_updates == 8


def test_playing_needs_no_replay_and_any_number_of_environments():
    agent, env = make()
    observations = run(agent, env, 8)
    # more of them than the replay has room for
    alone = build_agent(ToyEnv(500), agent.cfg, with_memory=False)
    alone.load_policy(saved_and_read(agent))
    expected = agent.player()(observations)[:5]
    player = alone.player()
    torch.testing.assert_close(player(observations[:5]), expected)
    player.reset(torch.ones(5, dtype=torch.bool))
    torch.testing.assert_close(alone.act(observations[:5], None, timestep=0, timesteps=0)[0], expected)
    wide = observations[:1].expand(2000, -1)
    noise = alone.player(deterministic=False)(wide) - alone.player()(wide)
    assert noise.std().item() == pytest.approx(agent.cfg.exploration_min, rel=0.1)
    with pytest.raises(ValueError, match="block 1 does not exist"):
        agent.player(1)


def test_a_checkpoint_of_another_network_or_algorithm_is_refused():
    agent, _ = make()
    with pytest.raises(ValueError, match=r"critic.nets.0.1.weight has shape \(51, 16\), this agent's \(1, 16\)"):
        agent.load_state_dict(make(critic="distributional")[0].state_dict())
    with pytest.raises(ValueError, match="network options"):
        agent.load_state_dict(make(hidden_sizes=(16,))[0].state_dict())
    with pytest.raises(ValueError, match="holds no PQL agent"):
        agent.load_state_dict({"policies": {}})


def test_sizes_tell_the_memory():
    agent, _ = make(num_envs=12, replay_size=1_000_000, batch_size=8192)
    assert agent.sizes() == {
        "environments": "12",
        "batch": "8192 rows, 8 critic and 4 actor updates per step",
        "replay": "1,000,000 transitions, 56 MB",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"critic": "triple"}, "must be one of double, distributional"),
        ({"staleness": 2}, "must be one of 0, 1"),
        ({"staleness": True}, "staleness is True; it must be one of 0, 1"),
        ({"timeout_bootstrap": "current_value"}, "must be one of none, final_obs"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"replay_size": 1e6}, "must be a whole number"),
        ({"replay_size": 11}, "use 12 or more"),
        ({"warmup_steps": 2}, "use agent.n_step=3 or more"),
        ({"exploration_min": 0.9}, "swap them"),
        ({"polyak": 1.5}, r"must lie in \[0, 1\]"),
        ({"learning_rate": 0.0}, "must be positive"),
        ({"weight_decay": -0.1}, "must not be negative"),
        ({"atoms": 1}, "at least 2"),
        ({"value_range": (10.0, -10.0)}, r"such as \[-10,10\]"),
        ({"hidden_sizes": ()}, "positive numbers"),
        ({"save_replay": "yes"}, "must be true or false"),
        ({"cuda_streams": True}, "the device is cpu"),
        ({"cuda_streams": True, "staleness": 0}, "is incompatible with"),
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
    before = flat(agent.actor)
    trainer = SequentialTrainer(
        env=env, agents=agent, cfg={"timesteps": 8, "disable_progressbar": True, "close_environment_at_exit": False}
    )
    trainer.train()
    assert not flat(agent.actor).equal(before)
    assert list(tmp_path.glob("run/checkpoints/agent_8.pt")) and list(tmp_path.glob("run/events*"))
    trainer.eval()
