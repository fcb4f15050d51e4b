"""From a run to a policy that comes with the package, and what its card says."""

import json

import pytest
import torch

from sapg_isaaclab.runs import checkpoint, shipping
from sapg_isaaclab.runs.run_folder import RunFolder


def make_run(folder, *, iteration, env_steps, init_from=None):
    """A run folder with a checkpoint of everything that training writes."""
    manifest = {"task": "Toy", "command": f"python {folder}/train.py --seed {iteration}", "git": {"commit": 40 * "a"}}
    run = RunFolder.create(folder, "toy", manifest, {"env": "", "agent": ""})
    policies = {"model": {"weight": torch.arange(6.0)}, "layout": {"num_blocks": 2}}
    saved = {
        "iteration": iteration,
        "env_steps": env_steps,
        "wall_time_s": 1800.0,
        "task": "Toy",
        "algorithm": "sapg",
        "num_envs": 4,
        "seed": 1,
        "overrides": ["presets=small", "env.decimation=2", "agent.rollouts=16"],
        "init_from": init_from,
        "agent_cfg": {"num_blocks": 2, "experiment": {"directory": "toy"}},
        "blocks": {"num_blocks": 2, "leader": 0, "block_size": 2, "ids": [0, 1]},
        "versions": {"torch": "2.11.0"},
        "agent": {"policies": policies, "learner": {"optimizer": torch.zeros(100_000)}},
        "env": {"common_step_counter": 8},
        "rng": {},
    }
    path = run.checkpoints / f"agent_{iteration}.pt"
    checkpoint.save(path, saved)
    return path


def evaluation(**changes):
    figure = {"mean": 1.25, "standard_error": 0.0625}
    names = ("successes", "terminated", "length", "return")
    plain = {"policy": "leader", "checkpoint": "x.pt", "iteration": 2, "actions": "deterministic", "num_episodes": 8}
    return {**plain, "overrides": ["env.success_tolerance=0.4"], **dict.fromkeys(names, figure), **changes}


@pytest.fixture
def runs(tmp_path):
    first = make_run(tmp_path / "logs", iteration=1, env_steps=1_000_000)
    return first, make_run(tmp_path / "logs", iteration=2, env_steps=500_000, init_from=str(first))


def test_the_shipped_file_acts_the_same_and_cannot_train(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(checkpoint, "PRETRAINED", tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(evaluation()))
    (tmp_path / "notes.md").write_text("It drops the cube.\n")
    arguments = ["--evaluations", str(tmp_path / "a.json"), "--hardware", "one core", "--notes"]
    shipping.main([str(runs[1]), *arguments, str(tmp_path / "notes.md")])
    path = checkpoint.resolve("pretrained", tmp_path, "toy")
    shipped, saved = checkpoint.load(path), checkpoint.load(runs[1])
    assert path.stat().st_size < 10_000 < runs[1].stat().st_size
    assert set(shipped["agent"]) == {"policies"} and "env" not in shipped and "rng" not in shipped
    assert torch.equal(shipped["agent"]["policies"]["model"]["weight"], torch.arange(6.0))
    for name in ("agent_cfg", "blocks", "task", "env_steps"):
        assert shipped[name] == saved[name]
    assert shipped["overrides"] == ["presets=small", "agent.rollouts=16"]  # the task itself, however it was trained
    text = (tmp_path / "toy.md").read_text()
    assert "| leader | deterministic | `env.success_tolerance=0.4` | 8 | 1.250 ± 0.062 | 1.25 ± 0.06 | 1 ± 0 |" in text
    assert text.endswith("It drops the cube.\n") and "one core" in text


def test_the_card_adds_up_the_runs_and_names_no_folder(tmp_path, runs):
    found = shipping.history(runs[1])
    assert [run["env_steps"] for run in found] == [1_000_000, 500_000]
    text = shipping.card(checkpoint.load(runs[1]), found, [evaluation(checkpoint=None, iteration=0)], "one core", "")
    assert "1.50 million env-steps in 1.0 hours of wall time on one core." in text
    assert "- `python train.py --seed 1`, commit aaaaaaaaaaaa, 1.00 million env-steps" in text
    assert "| untrained leader |" in text and str(tmp_path) not in text


def test_what_starts_from_a_shipped_policy_goes_on_with_its_history(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(checkpoint, "PRETRAINED", tmp_path)
    shipping.main([str(runs[1])])
    later = make_run(tmp_path / "logs", iteration=3, env_steps=250_000, init_from=str(tmp_path / "toy.pt"))
    assert [run["env_steps"] for run in shipping.history(later)] == [1_000_000, 500_000, 250_000]
