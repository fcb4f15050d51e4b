"""Two ranks, as real processes: they train as one process with the environments of both would."""

import copy
import os
import signal
import types

import pytest
import torch

from same_state import assert_same_state
from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.normalizer import RunningMoments, standardize
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.ranks import RankLostError, Ranks
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.agents.sapg import batch as sapg_batch
from sapg_isaaclab.agents.sapg.batch import minibatch_bounds, row_order
from sapg_isaaclab.commands import cli
from sapg_isaaclab.errors import InputError, TrainingError
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training import distributed
from sapg_isaaclab.training.episodes import EpisodeTracker
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv

T, N, M, SIZE = 4, 24, 3, 2
COUPLED = {"awac_scale": 0.01, "adversarial_scale": 0.1, "adversarial_hidden_sizes": (8,)}
EVOLUTION = {"evolution_interval": 2 * T * N, "evolution_start": T * N, "evolution_noise": 0.1}
OPTIONS = {"num_blocks": M, "rollouts": T, "hidden_sizes": (16, 16), "latent_dim": 4, "sequence_length": 2}


def make_agent(env, seed, **options):
    torch.manual_seed(seed)
    cfg = SapgCfg(**{**OPTIONS, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent


def run(agent, env, iterations, noise=None, after_update=lambda index: None):
    """Train; ``noise`` of shape (steps, N, A) instead of random numbers for the actions."""
    observations, clock = env.reset()[0], {"timestep": 0, "timesteps": 0}
    real = torch.randn_like
    for step in range(iterations * T):
        if noise is not None:
            torch.randn_like = lambda _, step=step: noise[step]
        actions, _ = agent.act(observations, None, **clock)
        torch.randn_like = real
        after, rewards, terminated, truncated, infos = env.step(actions)
        agent.record_transition(
            observations=observations, states=None, actions=actions, rewards=rewards, next_observations=after,
            next_states=None, terminated=terminated, truncated=truncated, infos=infos, **clock,
        )  # fmt: skip
        agent.post_interaction(**clock)
        observations = after
        if (step + 1) % T == 0:
            after_update(step // T)


def learned(agent):
    """What all ranks must agree on, and the newest gradients."""
    own = {f"model/{name}": value for name, value in agent.model.state_dict().items()}
    own |= {f"gradient/{name}": value.grad for name, value in agent.model.named_parameters()}
    own |= {f"observations/{name}": value for name, value in agent.policies.scalers.state_dict().items()}
    own |= {f"values/{name}": value for name, value in agent.policies.value_scaler.state_dict().items()}
    if agent.discriminator is not None:
        own |= {f"discriminator/{name}": value for name, value in agent.discriminator.network.state_dict().items()}
    own["learning_rate"] = agent.learner.learning_rate
    own["metrics"] = torch.tensor([agent.metrics[tag] for tag in ("Loss/policy", "Loss/value", "Policy/kl")])
    return {name: value.clone() for name, value in own.items()}


# -- one process with all environments against two with half of them each (invariant I12) ------------------------------


def environments_of(rank, blocks):
    """Numbers of a rank's environments among all N: in every block its share."""
    return torch.arange(N).view(blocks, SIZE, -1)[:, rank].flatten()


class Part(ToyEnv):
    """Some environments out of N. Random numbers are drawn for all, so that each sees what it would see among them."""

    def __init__(self, mine, **options):
        self.mine, self.whole = mine, ToyEnv(N, **options)
        vars(self).update({**vars(self.whole), "num_envs": len(mine)})

    def reset(self):
        return self.whole.reset()[0][self.mine], {}

    def step(self, actions):
        every = torch.zeros(N, 2)
        every[self.mine] = actions
        *columns, infos = self.whole.step(every)
        infos = {"final_obs": {"policy": infos["final_obs"]["policy"][self.mine]}}
        return *(column[self.mine] for column in columns), infos


def rank_order(rank, update, cfg, sources):
    """The order in which a rank visits its rows in an update. Its own random numbers."""
    torch.manual_seed(1000 * update + rank)
    rows = sources * N // SIZE // cfg.num_blocks * T
    off = types.SimpleNamespace(fragments=torch.arange(rows).view(-1, T)) if rows else None
    return row_order(T, N // SIZE, off, torch.zeros(0), cfg)


def joint_order(update, cfg, sources):
    """Order of one process in which every minibatch holds the rows of the same minibatch of all ranks."""
    here, share, unit = N // SIZE, N // SIZE // cfg.num_blocks, cfg.sequence_length if cfg.rnn_units else 1
    parts = []
    for rank in range(SIZE):
        order = rank_order(rank, update, cfg, sources)
        # on-policy row t n + e of the rank is row t N + E of all
        step, env = order // here, environments_of(rank, cfg.num_blocks)[order % here]
        # relabelled rows go by environment, then by step: block by block, the environments of both ranks side by side
        row = order - T * here
        index, late = row // T, row % T
        beside = (index // share * SIZE + rank) * share + index % share
        position = torch.where(order < T * here, step * N + env, T * N + beside * T + late)
        bounds = minibatch_bounds(len(order), T * here, cfg, unit)
        parts.append([position[a * unit : b * unit] for a, b in zip(bounds[:-1], bounds[1:])])
    return torch.cat([part for minibatch in zip(*parts) for part in minibatch])


def train_part(rank, options, noise, weights):
    """Several updates with a rank's share of the environments; everything learned, after each."""
    mine = environments_of(rank, options["num_blocks"])
    env = Part(mine, seed=3, episode_length=6)
    agent = make_agent(env, 0, **options)
    agent.load_policy(weights)
    if agent.discriminator is not None:
        agent.discriminator.load_state_dict(weights["discriminator"])
    return train_recorded(agent, env, noise[:, mine], lambda *arguments: rank_order(rank, *arguments))


def train_recorded(agent, env, noise, order):
    results, pairs = [], []
    real = sapg_batch.row_order

    def ordered(steps, envs, off, group, cfg):
        return order(len(results), cfg, 0 if off is None else len(agent.pairs) + len(agent.imitation))

    def after_update(_):
        results.append(learned(agent))
        pairs.append(list(agent.pairs))

    sapg_batch.row_order = ordered
    try:
        run(agent, env, len(noise) // T, noise, after_update)
    finally:
        sapg_batch.row_order = real
    return results, pairs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "timeout_bootstrap": "final_obs",
            "importance_clip": "mu",
            "loss_reduction": "policy_sum",
            "std_mode": "shared",
        },
        {"rnn_units": 8, "entropy_loss_scale": 0.005},
        {"off_policy_ratio": 2.0, "kl_scope": "on_policy", "mini_batch_remainder": "even", "mini_batches": 3},
        {"num_blocks": 1, "learning_rate_schedule": "fixed"},
        # one minibatch of the discriminator: its random order is each rank's own
        {**COUPLED, "mini_batches": 1, "leader_penalty": 0.1},
        {**COUPLED, "mini_batches": 1, "rnn_units": 8, "awac_in_means": False, "observation_moments": "update"},
        {**EVOLUTION, "evolution_start": 2 * T * N},
    ],
    ids=["default", "paper", "recurrent", "all followers", "ppo", "coupled", "coupled, recurrent", "evolution"],
)
def test_two_ranks_with_half_the_environments_equal_one_with_all(team, options):
    options = {"num_blocks": M, "learning_epochs": 2, "mini_batches": 2, **options}
    env = ToyEnv(N, seed=3, episode_length=6)
    agent = make_agent(env, 5, **options)
    weights = copy.deepcopy(agent.state_dict())
    noise = torch.randn(2 * T, N, 2, generator=torch.Generator().manual_seed(1))
    expected, pairs = train_recorded(agent, env, noise, joint_order)
    for results, drawn in team.values(train_part, options, noise, weights):
        assert drawn == pairs
        for ours, theirs in zip(expected, results):
            assert ours.keys() == theirs.keys()
            for name, value in ours.items():
                torch.testing.assert_close(
                    theirs[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
                )
    if "evolution_start" in options:  # one row of the latents was written by all alike
        assert [decision["replaced"] in (1, 2) for decision in agent.decisions] == [True]
    moved = expected[-1]["model/value.weight"] - weights["policies"]["model"]["value.weight"]
    assert moved.abs().max() > 1e-3  # far more than the two may differ


# -- different data ----------------------------------------------------------------------------------------------------


def train_alone_with_others(rank, options):
    env = ToyEnv(N // SIZE, seed=rank, episode_length=6)
    agent = make_agent(env, rank, **options)
    first, pairs = agent.model.state_dict()["value.weight"].clone(), []
    run(agent, env, 6, after_update=lambda _: pairs.append(list(agent.pairs)))
    return first, pairs, learned(agent), agent.memory.rollout["rewards"].clone()


@pytest.mark.parametrize("options", [{}, COUPLED], ids=["sapg", "cpo"])
def test_ranks_stay_bit_identical_and_draw_the_same_followers_while_their_data_differ(team, options):
    one, other = team.values(train_alone_with_others, options)
    assert torch.equal(one[0], other[0])  # seeds differ: rank 0's weights were sent
    assert one[1] == other[1] and len(set(map(tuple, one[1]))) > 1
    for name, value in one[2].items():
        assert torch.equal(value, other[2][name]), name
    assert not torch.equal(one[3], other[3])


def overflow_on_one(rank):
    """A minibatch whose gradient overflows on rank 1 alone."""
    agent = make_agent(ToyEnv(N // SIZE, seed=rank, episode_length=6), 0)
    agent.learner.grad_scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    before, take = agent.model.state_dict()["value.weight"].clone(), agent.learner.step
    kept = []

    def step(pieces):
        if rank == 1 and not kept:
            pieces = [piece._replace(rows=piece.rows.clone()) for piece in pieces]
            pieces[0].rows["advantages"][0] = float("inf")
        report = take(pieces)
        kept.append((report.grad_norm.isfinite().item(), agent.model.value.weight.detach().clone()))
        return report

    agent.learner.step = step
    run(agent, ToyEnv(N // SIZE, seed=rank, episode_length=6), 1)
    return before, kept, agent.metrics["Policy/skipped_steps"], agent.learner.grad_scaler.get_scale()


def test_an_overflow_on_one_rank_skips_the_step_on_all(team):
    one, other = team.values(overflow_on_one)
    for before, kept, skipped, scale in (one, other):
        assert not kept[0][0] and kept[0][1].equal(before) and (skipped, scale) == (1.0, 32.0)
        assert all(finite for finite, _ in kept[1:]) and not kept[-1][1].equal(before)
    assert one[1][-1][1].equal(other[1][-1][1])


def moments_of(rank, rows):
    ranks, mine = Ranks.current(), rows[:100] if rank == 0 else rows[100:]
    scaler = RunningMoments(2)
    scaler.update(mine, ranks)
    scaler.update(2.0 * mine, ranks)
    return scaler.state_dict(), standardize(mine[:, 0], ranks)


def test_moments_run_over_the_rows_of_all_ranks_however_many_each_has(team):
    rows = torch.randn(137, 2, generator=torch.Generator().manual_seed(0)) * 3.0 + 5.0
    whole = RunningMoments(2)
    whole.update(rows)
    whole.update(2.0 * rows)
    (state, first), (other, rest) = team.values(moments_of, rows)
    for name, value in whole.state_dict().items():
        assert torch.equal(state[name], other[name])
        torch.testing.assert_close(state[name], value, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(torch.cat((first, rest)), standardize(rows[:, 0]), atol=1e-6, rtol=1e-6)


def episodes_of(rank):
    tracker = EpisodeTracker(BlockLayout(2, 2), rollouts=1, device="cpu", ranks=Ranks.current())
    done = [[True, False], [True, True]][rank]
    tracker.step(0, torch.tensor([1.0 + 2.0 * rank, 10.0]), torch.tensor(done))
    tracker.finish_iteration()
    return tracker.finished, tracker.mean(0), tracker.mean(1)


def test_episodes_are_those_of_all_ranks(team):
    # block 0: returns 1 on rank 0 and 3 on rank 1; block 1: 10 on rank 1 only
    expected = ([2, 1], {"return": 2.0, "length": 1.0}, {"return": 10.0, "length": 1.0})
    assert team.values(episodes_of) == [expected, expected]


# -- the training loop -------------------------------------------------------------------------------------------------


class Troubled(ToyEnv):
    """Something happens in its second iteration."""

    trouble = None

    def step(self, actions):
        observations, *rest = super().step(actions)
        if self.steps == 2 * T and self.trouble == "nan":
            observations[3] = float("nan")
        elif self.steps == T + 2 and self.trouble == "bug":
            raise KeyError("no such body")
        elif self.steps == T + 2 and isinstance(self.trouble, int):
            os.kill(os.getpid(), self.trouble)
        return observations, *rest


def train(rank, folder, max_iterations, resume=None, seed=0, trouble=(None, None), agent=(), **options):
    """A run of the toy task, or its second half; trouble comes to the ranks for which it is given."""
    env = Troubled(12, seed=seed + 10 * rank, episode_length=6)
    env.trouble = trouble[rank]
    torch.manual_seed(seed + rank)
    cfg = SapgCfg(**OPTIONS, learning_epochs=2, seed=seed, **dict(agent))
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    run = RunFolder(folder) if rank == 0 else None
    trainer = Trainer(env, build_agent(env, cfg), run, TrainerCfg(max_iterations=max_iterations, **options))
    if resume is not None:
        trainer.restore(checkpoint.load(resume))
    stopped_by = trainer.train()
    return stopped_by, trainer.iteration, trainer.state_dict()


def train_with(rank, options):
    return train(rank, **options)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, "toy", {}, {}).path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_stop_on_one_rank_stops_both_after_the_same_iteration(team, folder, number):
    options = {"folder": folder, "max_iterations": 50, "trouble": (None, number)}
    for stopped_by, iteration, _ in team.values(train_with, options):
        assert (stopped_by, iteration) == (number.name, 2)
    run = RunFolder(folder)
    saved = checkpoint.load(checkpoint.latest(run))
    assert saved["iteration"] == 2 and saved["env_steps"] == 2 * T * 12 * SIZE
    assert [row["env_steps"] for row in metrics.read(run)] == [T * 12 * SIZE, 2 * T * 12 * SIZE]


def test_2n_iterations_of_two_ranks_equal_n_resume_and_n_bit_by_bit(team, tmp_path):
    whole, parts = (RunFolder.create(tmp_path, name, {}, {}).path for name in ("whole", "parts"))
    common = {"agent": EVOLUTION}  # the newest episodes of each rank's environments are part of its state
    expected = team.values(train_with, {**common, "folder": whole, "max_iterations": 6, "checkpoint_interval": 3})
    team.values(train_with, {**common, "folder": parts, "max_iterations": 3})
    file = checkpoint.latest(RunFolder(parts))
    resumed = team.values(train_with, {**common, "folder": parts, "max_iterations": 6, "resume": file, "seed": 7})
    # rank 0 has the state of both
    (other,) = resumed[0][2]["other_ranks"]
    assert not torch.equal(resumed[0][2]["rng"]["torch"], other["rng"]["torch"])
    for before, after in zip(expected, resumed):
        assert_same_state(before[2], after[2])
    assert [len(state["agent"]["evolution"]["decisions"]) for _, _, state in resumed] == [3, 3]
    # and the two saw different environments
    assert not torch.equal(resumed[0][2]["env"]["position"], resumed[1][2]["env"]["position"])


class Counting(ToyEnv):
    """Keeps only what it has counted, as the simulated tasks do."""

    restores_episodes = False

    def state_dict(self):
        return {"successes": self.successes.clone()}

    def load_state_dict(self, state):
        self.successes.copy_(state["successes"])


def count(rank, folder, resume):
    env = Counting(12, seed=rank)
    run = RunFolder(folder) if rank == 0 else None
    cfg = SapgCfg(**OPTIONS, rnn_units=8)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    trainer = Trainer(env, build_agent(env, cfg), run, TrainerCfg(max_iterations=1))
    if resume is None:
        env.successes[:] = 10.0 * rank + torch.arange(12.0)
        trainer.save()
    else:
        trainer.restore(checkpoint.load(resume))
    return env.successes


def test_what_every_rank_has_counted_goes_on(team, folder):
    before = team.values(count, folder, None)
    file = checkpoint.latest(RunFolder(folder))
    saved = checkpoint.load(file)
    assert saved["agent"]["recurrent_state"] is None and saved["other_ranks"][0]["agent"]["recurrent_state"] is None
    for own, restored in zip(before, team.values(count, folder, file)):
        assert torch.equal(own, restored)
    assert not torch.equal(before[0], before[1])


def errors_of(results):
    return [error for error, _ in results], [text.splitlines() for _, text in results]


def test_a_bad_number_on_one_rank_ends_all_with_one_line(team, folder):
    options = {"folder": folder, "max_iterations": 5, "trouble": (None, "nan"), "checkpoint_interval": 1}
    errors, (lines, silent) = errors_of(team.run(train_with, options))
    assert all(isinstance(error, TrainingError) and str(error) == str(errors[0]) for error in errors)
    assert "rank 1: the environment returned a observation that is not finite" in str(errors[0])
    assert lines == [f"error: {errors[0]}"] and silent == []
    assert checkpoint.load(checkpoint.latest(RunFolder(folder)))["iteration"] == 1


def test_a_loss_that_is_not_finite_ends_all_with_one_line(team, folder):
    options = {"folder": folder, "max_iterations": 5, "agent": {"rewards_scale": 3e38}}
    errors, (lines, silent) = errors_of(team.run(train_with, options))
    assert all(isinstance(error, TrainingError) for error in errors) and silent == []
    assert len(lines) == 1 and "is not finite after iteration 1; training diverged" in lines[0]


def test_a_fault_on_one_rank_ends_all_and_is_shown_where_it_happened(team, folder):
    options = {"folder": folder, "max_iterations": 5, "trouble": (None, "bug")}
    errors, (lines, trace) = errors_of(team.run(train_with, options))
    assert lines == ["error: rank 1: KeyError: 'no such body'"]
    assert all(isinstance(error, TrainingError) for error in errors)
    assert trace[0].startswith("Traceback") and trace[-1] == "KeyError: 'no such body'"


def test_a_folder_that_cannot_be_written_ends_all(team, folder):
    (folder / "checkpoints" / "agent_1.pt").mkdir()
    errors, (lines, silent) = errors_of(team.run(train_with, {"folder": folder, "max_iterations": 1}))
    assert len(lines) == 1 and "rank 0: cannot write checkpoint" in lines[0] and silent == []
    assert all(isinstance(error, TrainingError) for error in errors)


def start_with(rank, num_envs):
    distributed.require_same(Ranks.current(), {"task": "Toy", "num_envs": num_envs[rank]})


def test_ranks_that_were_started_differently_are_refused(team):
    errors, (lines, silent) = errors_of(team.run(start_with, (12, 24)))
    assert all(isinstance(error, InputError) for error in errors) and silent == []
    assert lines == ["error: num_envs is 12 on rank 0 and 24 on rank 1; start all with one command"]
    assert team.values(start_with, (12, 12)) == [None, None]


def command(rank):
    """A script whose command is wrong, on both ranks or on one."""

    def refuse(argv):
        with distributed.all_or_none(Ranks.current()):
            if argv == "both" or rank == 1:
                raise InputError(f"--num_envs {argv} is not allowed")
        return 0

    return [cli.run_command(refuse, argv) for argv in ("both", "one")]


def test_a_wrong_command_is_answered_once(team):
    (codes, lines), (others, silent) = team.run(command)
    assert codes == others == [2, 2] and silent == ""
    assert lines.splitlines() == [
        "error: --num_envs both is not allowed",
        "error: rank 1: --num_envs one is not allowed",
    ]


# -- a rank that is gone -----------------------------------------------------------------------------------------------


def leave_or_learn(rank):
    env = ToyEnv(12, seed=rank, episode_length=6)
    agent = make_agent(env, rank)
    other = build_agent(env, PqlCfg(hidden_sizes=(16,), replay_size=100, batch_size=4, warmup_steps=4))
    other.enable_training_mode(True)
    if rank == 1:
        os._exit(3)
    errors = []
    for each in (agent, other):
        with pytest.raises(RankLostError) as error:
            run(each, env, 2)
        errors.append(str(error.value))
    return errors


def test_a_rank_that_dies_does_not_leave_the_other_waiting(team):
    # it costs the team a member
    (errors, _), (nothing, text) = team.run(leave_or_learn)
    assert len(errors) == 2 and all("contact with another rank was lost" in error for error in errors), errors
    assert (nothing, text) == (None, "gone")
