"""From one policy to hundreds: training, its logs, checkpoints and playing; nothing assumes six."""

import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.agents.sapg.batch import row_weights
from sapg_isaaclab.agents.sapg.networks import Sequences, of_policies
from sapg_isaaclab.commands.policy_choice import check_block
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.experiments import point_runs, update_cost
from sapg_isaaclab.experiments.point_envs import ENVS
from sapg_isaaclab.runs import checkpoint, metrics
from toy_env import ToyEnv, check_resume


def trained(algorithm, blocks, folder):
    options = () if algorithm == "ppo" else (f"agent.num_blocks={blocks}",)
    if algorithm == "epo":
        options += ("agent.evolution_interval=1000", "agent.evolution_start=1000")
    options += ("agent.learning_epochs=1", "agent.mini_batches=2", "agent.rollouts=4")
    setting = point_runs.Setting("two_goals", algorithm, max(4 * blocks, 24), 1, 3, options)
    return setting, point_runs.train(setting, folder)


@pytest.mark.parametrize(
    ("algorithm", "blocks"),
    [
        ("ppo", 1),
        *(("sapg", blocks) for blocks in (1, 2, 6, 16, 64, 256)),
        *(("epo", blocks) for blocks in (6, 64, 256)),
        *(("dexpbt", blocks) for blocks in (6, 17)),
        pytest.param("dexpbt", 256, marks=[pytest.mark.slow, pytest.mark.release]),
    ],
)
def test_it_trains_logs_saves_and_plays(algorithm, blocks, tmp_path):
    setting, run = trained(algorithm, blocks, tmp_path)
    rows = metrics.read(run)
    assert len(rows) == 3 and rows[-1]["Loss/value"] > 0.0
    named = {tag for tag in rows[-1] if tag.startswith("Block_") and tag.endswith("/std")}
    assert len(named) == (blocks if blocks <= 16 else 0)
    assert ("Blocks/std_median" in rows[-1]) == (blocks > 16)
    assert len(rows[-1]) < 150  # however many policies there are
    line = (run.path / "log.txt").read_text().splitlines()[-1]
    assert "iteration 3/3" in line and len(line) < 400
    saved = checkpoint.load(checkpoint.latest(run))
    agent = build_agent(ENVS[setting.env](5), setting.agent_cfg(), with_memory=False)
    agent.load_policy(saved["agent"])
    observations = torch.randn(5, agent.observation_space.shape[0])
    last = blocks - 1
    assert agent.player(last)(observations).shape == (5, 2)
    if blocks > 1:
        assert not agent.player(last)(observations).equal(agent.player(0)(observations))
    with pytest.raises(ValueError, match=f"block {blocks} does not exist"):
        agent.player(blocks)
    if blocks > 16:
        lowest, median, highest = (rows[-1][f"Blocks/return_{word}"] for word in ("lowest", "median", "highest"))
        assert lowest <= median <= highest


# -- networks: one-hot identities for few policies, indices for many ---------------------------------------------------


def make(num_blocks, latent_dim, seed=0, **options):
    torch.manual_seed(seed)
    env = ToyEnv(4 * num_blocks, seed=seed)
    small = {"hidden_sizes": (16, 16), "rollouts": 4, "sequence_length": 2}
    cfg = SapgCfg(num_blocks=num_blocks, latent_dim=latent_dim, **{**small, **options})
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = build_agent(env, cfg)
    agent.init()
    agent.enable_training_mode(True)
    return agent, env


@pytest.mark.parametrize("options", [{}, {"rnn_units": 8}, {"separate": True}], ids=["mlp", "lstm", "separate"])
def test_both_ways_of_naming_a_policy_give_the_same_outputs_and_gradients(options):
    model, _ = make(6, 4, **options)
    model = model.model
    with torch.no_grad():
        model.log_std.normal_()
    blocks, observations = torch.arange(24) % 6, torch.randn(24, 5)
    assert model.identity(blocks).shape == (24, 1)  # more policies than numbers in a latent
    found = []
    for identities in (model.identities, torch.eye(6)):
        model.identities = identities
        model.zero_grad(set_to_none=True)
        inputs = torch.cat((observations, model.identity(blocks)), dim=1)
        state = model.initial_state(24)
        out = model.evaluate(inputs, None, None if state is None else Sequences(state))
        (out.mean.sum() + out.values.square().sum() + out.log_std.exp().sum()).backward()
        found.append([out.mean, out.values, out.log_std, *(value.grad for value in model.parameters())])
    for index, one_hot in zip(*found):
        torch.testing.assert_close(index, one_hot, atol=1e-5, rtol=1e-5)
    assert model.latents.grad.abs().min() > 0.0


def test_rows_of_a_table_that_encode_their_policy():
    table = torch.arange(300.0).unsqueeze(1).expand(-1, 2) * torch.tensor([1.0, 1000.0])
    who = torch.tensor([299, 0, 17])
    assert of_policies(table, who.float().unsqueeze(1)).tolist() == [[299.0, 299_000.0], [0.0, 0.0], [17.0, 17_000.0]]
    assert of_policies(table[:3], torch.eye(3)[[2, 0]]).tolist() == [[2.0, 2000.0], [0.0, 0.0]]


def test_an_exported_policy_of_many_is_the_one_that_plays():
    from sapg_isaaclab.deploy.module import policy_module

    agent, _ = make(9, 4)
    observations = torch.randn(7, 5)
    for block in (0, 8):
        torch.testing.assert_close(policy_module(agent, block)(observations), agent.player(block)(observations))


def test_many_policies_resume_bit_for_bit():
    check_resume(make(9, 4), make(9, 4, seed=1))


@pytest.mark.parametrize("blocks", [1, 2, 6, 64])
def test_weights_of_a_row_sum_over_policies_whatever_their_number(blocks):
    cfg = SapgCfg(num_blocks=blocks, loss_reduction="policy_sum", lambda_off=0.5)
    group = torch.arange(blocks).repeat_interleave(3).tolist() + ([blocks] * 2 if blocks > 1 else [])
    layout = cfg.check(4 * blocks)
    weights = row_weights(torch.tensor(group), layout, cfg)
    # every policy has three rows and each weighs R / 3; the leader's two relabelled ones R / 2, halved
    count = len(group)
    assert weights.tolist() == pytest.approx([count / 3.0] * (3 * blocks) + ([count / 4.0] * 2 if blocks > 1 else []))


def test_a_row_costs_the_same_however_many_policies_there_are():
    """An update of SAPG costs (M + k) / M times as much as one of PPO, besides what its latent adds to a row."""
    options = {"hidden_sizes": (64, 32), "rollouts": 4, "learning_epochs": 2, "mini_batches": 1}
    of_a_row = {}
    for blocks, num_envs in {1: 512, 6: 510, 64: 512, 256: 512}.items():
        found = update_cost.measure({**options, "num_blocks": blocks}, num_envs, 1)
        assert found["rows"] == 4 * num_envs + (4 * num_envs // blocks if blocks > 1 else 0)
        of_a_row[blocks] = found["operations"] / found["rows"]
    # 2 x (128 x 64 + 64 x 32 + 32 x 17) of a row forward, and twice that backward but for the inputs; with 6 one-hot
    # columns 4.5 % more; the biases of 256 policies are as much as 40 rows in each of three evaluations
    assert of_a_row[6] / of_a_row[1] < 1.08
    for blocks in (64, 256):
        assert of_a_row[blocks] / of_a_row[1] == pytest.approx(1.0, abs=0.05)


def test_the_cost_of_an_update_is_measured_on_as_many_rows_as_it_has():
    options = {"hidden_sizes": (8,), "rollouts": 4, "learning_epochs": 1, "mini_batches": 1}
    found = [update_cost.measure({**options, "num_blocks": blocks}, 12, 2) for blocks in (1, 3)]
    # 4 x 12 rows, and those of one of three blocks once more
    assert [each["rows"] for each in found] == [48, 64] and all(each["update_s"] > 0.0 for each in found)
    # followers that imitate the leader take its block's rows twice more
    assert update_cost.measure({**options, "num_blocks": 3, "awac_scale": 0.01}, 12, 1)["rows"] == 96
    rows = update_cost.table(found).rows
    assert [row[:2] for row in rows] == [("1", "48"), ("3", "64")] and rows[1][5] == "1.333"


def test_an_unknown_policy_of_many_is_refused_in_a_short_line():
    with pytest.raises(InputError, match=r"--block 64 does not exist; use one of 0 \(leader\) to 63 \(follower 63\)$"):
        check_block(64, SapgCfg(num_blocks=64), "--block")
    with pytest.raises(InputError, match=r"use one of 0 \(leader\), 1 \(follower 1\)$"):
        check_block(2, SapgCfg(num_blocks=2), "--block")
