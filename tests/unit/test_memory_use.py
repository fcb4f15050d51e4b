"""Memory of the agent, counted in small and extrapolated to the paper's number of environments.

`pytest tests/unit/test_memory_use.py -s` prints the table of docs/cluster.md.
"""

import types

import gymnasium
import pytest
import torch

from live_bytes import LiveBytes
from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.sapg import SapgCfg

OBSERVATIONS, ACTIONS, BLOCKS, STEPS = 117, 23, 6, 16
"""Of SAPG-AllegroKuka-Reorient."""
OPTIONS = {"num_blocks": BLOCKS, "rollouts": STEPS, "sequence_length": STEPS, "learning_epochs": 2, "mini_batches": 4}
OFFICIAL = {"rnn_units": 768, "hidden_sizes": (768, 512, 256)}
SMALL = {"rnn_units": 32, "hidden_sizes": (32, 16)}
ENVIRONMENTS = 24576


def most_bytes(num_envs: int, **options) -> dict[str, int]:
    """Most bytes of tensors that live at one time in each part of an iteration, and those that live between two."""
    torch.manual_seed(0)
    cfg = SapgCfg(**OPTIONS, **options)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    spaces = {
        f"{name}_space": gymnasium.spaces.Box(-float("inf"), float("inf"), (size,))
        for name, size in (("observation", OBSERVATIONS), ("action", ACTIONS))
    }
    env = types.SimpleNamespace(num_envs=num_envs, device=torch.device("cpu"), state_space=None, **spaces)
    clock, count, most = {"timestep": 0, "timesteps": 0}, LiveBytes(), {}

    def note(part: str) -> None:
        most[part] = max(most.get(part, 0), count.peak)
        count.restart()

    with count:
        agent = build_agent(env, cfg)
        agent.init()
        agent.enable_training_mode(True)
    batch = agent.batch

    def noted_batch():
        count.restart()
        result = batch()
        note("preparing the batch")
        return result

    agent.batch = noted_batch
    for _ in range(2):  # the optimiser has its moments from the first update on
        for _ in range(STEPS):
            # what an environment gives is not counted
            observations, after, rewards = (torch.randn(num_envs, size) for size in (OBSERVATIONS, OBSERVATIONS, 1))
            done = torch.zeros(num_envs, 1, dtype=torch.bool)
            count.restart()
            with count:
                actions, _ = agent.act(observations, None, **clock)
                agent.record_transition(
                    observations=observations, states=None, actions=actions, rewards=rewards, next_observations=after,
                    next_states=None, terminated=done, truncated=done, infos={}, **clock,
                )  # fmt: skip
                del actions, _
                note("acting")
                agent.post_interaction(**clock)
        note("learning")
        most["between iterations"] = count.live
    return most


def line(most: dict[int, dict[str, int]], part: str) -> tuple[float, float]:
    """Bytes that do not grow with the number of environments, and bytes that each adds, by the first two sizes."""
    few, many, *_ = most
    slope = (most[many][part] - most[few][part]) / (many - few)
    return most[few][part] - slope * few, slope


def test_memory_grows_by_as_much_with_every_environment():
    most = {num_envs: most_bytes(num_envs, **SMALL) for num_envs in (24, 48, 96)}
    for part in most[24]:
        fixed, slope = line(most, part)
        assert most[96][part] == pytest.approx(fixed + 96 * slope, rel=0.01), part
    # by hand, in numbers of 4 bytes: a row has observations, actions, means, log-stds, log-probability, value, reward
    # and two booleans; hidden and cell state are kept of every environment now and at the start of the rollout, and
    # at every step of the block that the leader learns from; then identities, and what the networks see next
    row = OBSERVATIONS + 3 * ACTIONS + 3 + 0.5
    state = 2 * SMALL["rnn_units"]
    by_hand = 4.0 * (STEPS * row + 2 * state + STEPS * state / BLOCKS + BLOCKS + OBSERVATIONS)
    assert line(most, "between iterations")[1] == pytest.approx(by_hand)


@pytest.mark.slow
def test_the_papers_recurrent_network_fits_a_small_gpu_at_24576_environments():
    most = {num_envs: most_bytes(num_envs, **OFFICIAL) for num_envs in (24, 48)}
    found = {}
    print("\n| | fixed [MB] | an environment [kB] | 24,576 environments [GB] |\n|---|---|---|---|")
    for part in ("between iterations", "acting", "preparing the batch", "learning"):
        fixed, slope = line(most, part)
        found[part] = fixed + ENVIRONMENTS * slope
        print(f"| {part} | {fixed / 1e6:.0f} | {slope / 1e3:.1f} | {found[part] / 1e9:.2f} |")
    assert found["learning"] < 6.7e9 and found["between iterations"] < 1.3e9
    assert max(found, key=found.get) == "learning"
