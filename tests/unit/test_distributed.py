"""What needs no second process: the answers to a wrong start, devices and seeds."""

import argparse
import sys

import pytest
import torch

from sapg_isaaclab.agents.ranks import ALONE, Ranks
from sapg_isaaclab.errors import InputError, TrainingError
from sapg_isaaclab.training import distributed

TWO = Ranks(1, 2)


@pytest.fixture
def torchrun(monkeypatch):
    """The environment of rank 1 of 2, as torchrun makes it."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


def arguments(is_distributed, seed=None):
    return argparse.Namespace(distributed=is_distributed, seed=seed)


def test_starts_that_agree_are_accepted(torchrun):
    distributed.check(arguments(False), ALONE)
    distributed.check(arguments(True), ALONE)  # torchrun with one process
    distributed.check(arguments(True, seed=5), TWO)


def test_distributed_without_torchrun_is_refused():
    with pytest.raises(InputError, match=r"--distributed needs a process for every rank; start with torchrun --stand"):
        distributed.check(arguments(True), ALONE)


def test_torchrun_without_distributed_is_refused(torchrun):
    with pytest.raises(InputError, match="2 processes were started, but --distributed is missing"):
        distributed.check(arguments(False), TWO)


def test_a_seed_that_every_rank_would_draw_for_itself_is_refused(torchrun):
    with pytest.raises(InputError, match="--seed -1 would draw another seed in every process"):
        distributed.check(arguments(True, seed=-1), TWO)


def test_a_world_without_addresses_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="to 4, but not RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; start"):
        distributed.joined().__enter__()


def test_one_process_joins_nothing_and_does_not_import_skrl(monkeypatch):
    monkeypatch.delitem(sys.modules, "skrl", raising=False)
    with distributed.joined() as ranks:
        assert ranks == ALONE and not torch.distributed.is_initialized()
    assert "skrl" not in sys.modules


def test_the_device_follows_the_local_rank(torchrun, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed.device("cpu", None) == distributed.device("cpu", "cpu") == "cpu" and chosen == []
    assert distributed.device("cuda:0", None) == distributed.device("cuda", "cuda") == "cuda:1" and chosen == [1, 1]
    with pytest.raises(InputError, match="--device cuda:1 names one GPU, but with --distributed .* use --device cuda"):
        distributed.device("cuda:1", "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="local rank 1 has no GPU: torch sees 1 .* --nproc_per_node=1 or --device cpu"):
        distributed.device("cuda:0", None)


def test_neighbouring_seeds_share_no_rank():
    seeds = {Ranks(rank, 64).seed(seed) for seed in range(100) for rank in range(64)}
    assert len(seeds) == 6400 and Ranks(0, 64).seed(7) == 7 and max(seeds) < 2**32


def test_a_run_goes_on_with_as_many_ranks_as_it_had():
    distributed.check_resume("agent_1.pt", {}, ALONE)  # written before there were ranks
    distributed.check_resume("agent_1.pt", {"other_ranks": [{}]}, TWO)
    with pytest.raises(InputError, match=r"has 2 rank\(s\), this start has 1; start with torchrun .*=2 .*init_from"):
        distributed.check_resume("agent_1.pt", {"other_ranks": [{}]}, ALONE)
    with pytest.raises(InputError, match=r"has 1 rank\(s\), this start has 2; start without torchrun"):
        distributed.check_resume("agent_1.pt", {"other_ranks": []}, TWO)


def test_alone_an_error_is_left_as_it_is():
    with pytest.raises(KeyError), distributed.all_or_none(ALONE):
        raise KeyError("x")
    with pytest.raises(TrainingError) as error, distributed.all_or_none(ALONE):
        raise TrainingError("disk full")
    assert not error.value.reported  # whoever catches it says so
