"""The engine's worker threads: as many as there are cores for this process, and none of it moves anything."""

import os

import ovphysx
import pytest
import torch
from isaaclab_newton.physics import NewtonCfg
from isaaclab_ov.physics import OvPhysxCfg
from isaaclab_tasks.utils import parse_env_cfg
from sim_env import TASK_ID, make

from sapg_isaaclab.tasks.threads import cores_of_rank, physx_threads, set_torch_threads


@pytest.mark.parametrize(
    ("allowed", "ranks", "cores"), [(8, None, 8), (8, "2", 4), (8, "3", 2), (2, "4", 1), (1, "1", 1), (4, "0", 4)]
)
def test_ranks_share_the_cores(monkeypatch, allowed, ranks, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(10, 10 + allowed)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert cores_of_rank() == cores


def test_only_the_number_is_changed_and_only_for_a_while():
    before = ovphysx.PhysXConfig
    with physx_threads(OvPhysxCfg(), 3):
        config = ovphysx.PhysXConfig(num_threads=8, nvtx_enabled=True)
    assert (config.num_threads, config.nvtx_enabled) == (3, True)
    assert ovphysx.PhysXConfig is before
    with physx_threads(NewtonCfg(), 3):
        assert ovphysx.PhysXConfig is before


@pytest.mark.parametrize(
    ("name", "default"), [("physx_threads", "one for each core"), ("torch_threads", "at most one for two cores")]
)
@pytest.mark.parametrize("threads", [0, True, 1.0])
def test_wrong_number_is_answered_in_one_line(name, default, threads):
    cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
    setattr(cfg, name, threads)
    with pytest.raises(ValueError, match=rf"^{name}={threads} is not allowed; give at least 1, or None for {default}$"):
        make(device=None, cfg=cfg)


@pytest.mark.parametrize(("chosen", "cores", "given"), [(8, 8, 4), (2, 8, 2), (2, 2, 1), (1, 1, 1), (5, 9, 4)])
def test_torch_leaves_half_of_the_cores_to_physics_on_a_cpu(monkeypatch, chosen, cores, given):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    try:
        torch.set_num_threads(chosen)
        set_torch_threads(None, "cuda:0")
        assert torch.get_num_threads() == chosen
        set_torch_threads(None, "cpu")
        assert torch.get_num_threads() == given
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        torch.set_num_threads(3)
        set_torch_threads(None, "cpu")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_torch_gets_the_threads_that_are_asked_for_and_keeps_its_own_otherwise(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before, given = torch.get_num_threads(), []
    try:
        for threads in (3, None, 1):
            cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=2)
            cfg.torch_threads = threads
            make(device=None, cfg=cfg).close()
            given.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert given == [3, 3, 1]


def test_motion_does_not_depend_on_threads(monkeypatch):
    given, inner = [], ovphysx.PhysXConfig
    monkeypatch.setattr(
        ovphysx, "PhysXConfig", lambda **options: (given.append(options["num_threads"]), inner(**options))[1]
    )
    traces = []
    for threads in (1, 3, None):
        cfg = parse_env_cfg(TASK_ID, device="cpu", num_envs=24)
        cfg.seed, cfg.physx_threads = 0, threads
        env = make(device=None, cfg=cfg)
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            obs, *_ = env.step(2.0 * torch.rand(env.action_space.shape, generator=generator) - 1.0)
        traces.append(obs["policy"].clone())
        env.close()
    assert given == [1, 3, cores_of_rank()]
    assert torch.equal(traces[0], traces[1]) and torch.equal(traces[0], traces[2])
