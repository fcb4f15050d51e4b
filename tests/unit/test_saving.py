"""States that move from one type of device to another, with the other device's states made up."""

import pytest
import torch
from test_pql_agent import make, run, saved_and_read
from test_sapg_agent import make as make_sapg

from sapg_isaaclab.agents.saving import check_shapes, load_generator, load_grad_scaler, load_into
from sapg_isaaclab.errors import InputError

CUDA_STATE = torch.tensor([7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0], dtype=torch.uint8)
"""What a generator of CUDA saves: its seed and its offset, eight bytes each."""


def draws(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(4, generator=generator)


def test_a_generator_goes_on_where_its_own_kind_was():
    generator = torch.Generator().manual_seed(1)
    draws(generator)
    state, expected = generator.get_state(), draws(generator)
    other = torch.Generator().manual_seed(2)
    load_generator(other, state, seed=5)
    assert draws(other).equal(expected)


def test_from_another_kind_a_generator_begins_anew_and_repeatably():
    def begun(state, seed=5, before=0):
        generator = torch.Generator().manual_seed(before)
        load_generator(generator, state, seed=seed)
        return draws(generator)

    assert begun(CUDA_STATE).equal(begun(CUDA_STATE, before=99))
    later = CUDA_STATE.clone()
    later[8] = 8
    others = [begun(later), begun(CUDA_STATE, seed=6), begun(CUDA_STATE.flip(0))]
    assert not any(begun(CUDA_STATE).equal(other) for other in others)


class CudaGenerator:
    """A generator with the states of CUDA's, which refuses others as that does."""

    def __init__(self) -> None:
        self.seed = 0

    def get_state(self) -> torch.Tensor:
        return CUDA_STATE.clone()

    def set_state(self, state: torch.Tensor) -> None:
        raise AssertionError("it would raise: RNG state is wrong size")

    def manual_seed(self, seed: int) -> None:
        assert 0 <= seed < 2**63
        self.seed = seed


def test_a_state_of_a_cpu_seeds_a_generator_of_cuda():
    seeds = []
    for seed in (1, 2):
        generator = CudaGenerator()
        load_generator(generator, torch.Generator().manual_seed(seed).get_state(), seed=0)
        seeds.append(generator.seed)
    assert seeds[0] != seeds[1] and min(seeds) > 0


def test_pql_goes_on_from_a_run_on_another_type_of_device():
    agent, env = make()
    run(agent, env, 8)
    state = saved_and_read(agent) | {"generator": CUDA_STATE}
    resumed = []
    for seed in (1, 2):
        other, env = make(seed=seed)
        other.load_state_dict(state)
        resumed.append(torch.rand(3, generator=other.generator))
    assert resumed[0].equal(resumed[1])


def test_a_scaler_goes_on_from_one_that_was_off():
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    load_grad_scaler(scaler, torch.amp.GradScaler("cpu", enabled=False).state_dict())
    assert scaler.get_scale() == 8.0
    load_grad_scaler(scaler, {**scaler.state_dict(), "scale": 4.0})
    assert scaler.get_scale() == 4.0
    off = torch.amp.GradScaler("cpu", enabled=False)
    load_grad_scaler(off, scaler.state_dict())
    assert off.get_scale() == 1.0


def test_sapg_goes_on_with_mixed_precision_from_a_run_on_a_cpu():
    agent = make_sapg()[0]
    agent.learner.grad_scaler = torch.amp.GradScaler("cpu", init_scale=8.0)  # as one on CUDA is: enabled
    state = make_sapg()[0].state_dict()
    assert state["learner"]["grad_scaler"] == {}
    agent.load_state_dict(state)
    assert agent.learner.grad_scaler.get_scale() == 8.0


def test_other_shapes_are_refused_by_name():
    own = {"a": torch.zeros(2, 3), "b": torch.zeros(1)}
    check_shapes("actor", {"a": torch.ones(2, 3), "b": torch.ones(1)}, own)
    with pytest.raises(ValueError, match=r"the checkpoint's actor\.a has shape \(3, 2\), this agent's \(2, 3\)"):
        check_shapes("actor", {"a": torch.zeros(3, 2), "b": torch.zeros(1)}, own)
    with pytest.raises(ValueError, match=r"actor\.b has shape nothing, this agent's \(1,\)"):
        check_shapes("actor", {"a": torch.zeros(2, 3)}, own)
    with pytest.raises(ValueError, match=r"actor\.c has shape \(1,\), this agent's nothing"):
        check_shapes("actor", {**own, "c": torch.zeros(1)}, own)


def test_what_a_state_lacks_is_answered_in_one_line():
    agent = make_sapg()[0]
    state = agent.state_dict()
    del state["learner"]
    lacks = (
        r"^--resume: the checkpoint lacks 'learner'; use the version of sapg_isaaclab that wrote it \(see run\.json\)"
    )
    with pytest.raises(InputError, match=lacks + "$"):
        load_into(agent.load_state_dict, state, "--resume")
    with pytest.raises(InputError, match=lacks + ", or start anew$"):
        load_into(agent.load_state_dict, state, "--resume", instead="start anew")
    load_into(agent.load_policy, state, "--resume")


def test_a_state_of_another_algorithm_is_answered_in_one_line():
    with pytest.raises(InputError, match=r"^x\.pt: the checkpoint holds no SAPG or PPO agent; use the algorithm of "):
        load_into(make_sapg()[0].load_policy, {"pql": {}}, "x.pt")


def test_a_misfit_that_torch_finds_is_answered_in_one_line():
    agent = make_sapg()[0]
    state = agent.state_dict()
    del state["policies"]["scalers"]["observations.count"]
    with pytest.raises(InputError, match=r"^x\.pt: .*observations\.count") as refused:
        load_into(agent.load_policy, state, "x.pt")
    assert "\n" not in str(refused.value)
