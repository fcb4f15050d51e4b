import os
import pickle
import random

import numpy as np
import pytest
import torch

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder


def state(iteration=1, num_blocks=6):
    return {
        "iteration": iteration,
        "env_steps": 96,
        "task": "Toy",
        "blocks": {"num_blocks": num_blocks},
        "agent": {"weight": torch.arange(1000.0)},
        "agent_cfg": {},
    }


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "toy", {"task": "Toy"}, {"env": "", "agent": ""})


def write(run, iteration):
    path = run.checkpoints / f"agent_{iteration}.pt"
    checkpoint.save(path, state(iteration))
    return path


def refused(path, *parts, **options):
    with pytest.raises(InputError) as error:
        checkpoint.load(path, **options)
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    for part in parts:
        assert part in message
    return message


def test_load_returns_what_was_saved(run):
    loaded = checkpoint.load(write(run, 3))
    assert loaded["iteration"] == 3 and loaded["format"] == checkpoint.FORMAT
    assert torch.equal(loaded["agent"]["weight"], torch.arange(1000.0))


def test_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.pt", "does not exist", "latest")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_file_is_refused(run, share):
    path = write(run, 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated or damaged", "older one")


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "agent_1.pt"
    path.touch()
    refused(path, "not a checkpoint")


class Attack:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("writer", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path, writer):
    path, trace = tmp_path / "agent_1.pt", tmp_path / "trace"
    writer({**state(), "format": 1, "agent": Attack(f"touch {trace}")}, path)
    refused(path, "could run code", "nothing was loaded")
    assert not trace.exists()


def test_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "agent_1.pt"
    torch.save({"policy": torch.zeros(3)}, path)
    refused(path, "scripts/train.py")
    path.write_text("hello")
    refused(path, "not a checkpoint")


def test_other_format_is_refused(tmp_path):
    path = tmp_path / "agent_1.pt"
    torch.save({**state(), "format": 99}, path)
    refused(path, "format 99", "reads format 1")


def test_other_number_of_policies_is_refused(run):
    path = write(run, 1)
    refused(path, "holds 6 policies", "agent.num_blocks is 3", "agent.num_blocks=6", num_blocks=3)
    assert checkpoint.load(path, num_blocks=6)["blocks"]["num_blocks"] == 6


def test_failed_save_leaves_the_old_file_and_no_rest(run, monkeypatch):
    path = write(run, 1)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        checkpoint.save(path, state(2))
    assert path.read_bytes() == before
    assert list(run.checkpoints.iterdir()) == [path]


def test_latest_is_the_highest_number_and_never_best(run):
    first, last = write(run, 9), write(run, 10)  # as text, 9 comes after 10
    checkpoint.point(run, "best", first)
    assert checkpoint.latest(run) == last
    assert checkpoint.best(run) == first
    checkpoint.point(run, "latest", first)
    assert checkpoint.latest(run) == first


def test_pointers_to_a_deleted_file_fall_back(run):
    path = write(run, 2)
    checkpoint.point(run, "latest", write(run, 3))
    checkpoint.point(run, "best", run.checkpoints / "agent_3.pt")
    (run.checkpoints / "agent_3.pt").unlink()
    assert checkpoint.latest(run) == checkpoint.best(run) == path


def test_prune_keeps_the_newest_and_the_best(run):
    paths = [write(run, iteration) for iteration in range(1, 7)]
    checkpoint.point(run, "best", paths[1])
    checkpoint.prune(run, 2)
    assert list(checkpoint.numbered(run)) == [2, 5, 6]
    checkpoint.prune(run, 0)
    assert list(checkpoint.numbered(run)) == [2, 5, 6]


def test_resolve_finds_every_way_to_name_a_checkpoint(run, tmp_path):
    path = write(run, 4)
    checkpoint.point(run, "latest", path)
    for selector in ("latest", "best", str(path), str(run.path), str(run.checkpoints), str(run.path / "latest")):
        assert checkpoint.resolve(selector, tmp_path) == path
    assert checkpoint.resolve("latest", tmp_path, "toy") == path


def test_resolve_takes_the_newest_run_that_has_a_checkpoint(tmp_path):
    runs = [RunFolder.create(tmp_path, "toy", {}, {}) for _ in range(3)]
    write(runs[0], 50)
    path = write(runs[1], 2)
    assert len({run.path for run in runs}) == 3
    assert checkpoint.resolve("latest", tmp_path, "toy") == path


def test_resolve_says_where_it_searched_and_creates_nothing(tmp_path):
    with pytest.raises(InputError, match=r"no run with a checkpoint in .*toy; train first"):
        checkpoint.resolve("latest", tmp_path / "logs", "toy")
    with pytest.raises(InputError, match=r"nowhere\.pt does not exist"):
        checkpoint.resolve("nowhere.pt", tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_rewind_sets_later_checkpoints_aside(run):
    paths = {iteration: write(run, iteration) for iteration in (2, 4, 6)}
    checkpoint.point(run, "best", paths[6])
    checkpoint.point(run, "latest", paths[6])
    moved = checkpoint.rewind(run, 4, best_iteration=2)
    assert [path.name for path in moved] == ["agent_6.pt"] and moved[0].parent.name == "discarded"
    assert checkpoint.latest(run) == paths[4] and checkpoint.best(run) == paths[2]
    write(run, 6)
    assert [path.name for path in checkpoint.rewind(run, 4, None)] == ["agent_6_1.pt"]
    assert not (run.path / "best").exists()


def test_random_numbers_go_on_where_they_were():
    def draw():
        return random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist(), np.random.randn()

    np.random.randn()  # leaves a second normal number in store
    saved = checkpoint.rng_state()
    first = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    checkpoint.set_rng_state(saved)
    assert draw() == first


def test_pretrained_is_the_file_of_the_experiment(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "PRETRAINED", tmp_path)
    with pytest.raises(InputError, match=r"for toy \(there is: none\); train one"):
        checkpoint.resolve("pretrained", tmp_path, "toy")
    checkpoint.save(tmp_path / "toy.pt", state())
    assert checkpoint.resolve("pretrained", tmp_path / "logs", "toy") == tmp_path / "toy.pt"
    with pytest.raises(InputError, match=r"for other \(there is: toy\)"):
        checkpoint.resolve("pretrained", tmp_path, "other")
    with pytest.raises(InputError, match="add --task"):
        checkpoint.resolve("pretrained", tmp_path)


def test_random_numbers_of_a_gpu_are_left_out_where_there_is_none(monkeypatch):
    saved = checkpoint.rng_state()
    expected = torch.rand(3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    checkpoint.set_rng_state({**saved, "cuda": [torch.zeros(16, dtype=torch.uint8)]})
    assert torch.equal(torch.rand(3), expected)


def test_random_numbers_of_a_cpu_run_leave_a_gpu_its_own(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", calls.append)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.zeros(16, dtype=torch.uint8)])
    saved = checkpoint.rng_state()
    checkpoint.set_rng_state({**saved, "cuda": []})
    assert calls == []
    checkpoint.set_rng_state(saved)
    assert len(calls) == 1
