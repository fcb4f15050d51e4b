"""Environments whose observations are a dictionary of vectors: one vector, ordered as skrl's wrappers order it."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.options import flat_spaces, flatten
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.sapg import SapgCfg
from toy_env import ToyEnv, run

INF = float("inf")


class DictionaryEnv(gymnasium.vector.VectorEnv):
    """Four points on a line, pushed left or right, in Gymnasium's interface."""

    def __init__(self) -> None:
        self.num_envs = 4
        self.single_observation_space = Dict({"position": Box(-INF, INF, (1,)), "aim": Box(-1.0, 1.0, (2,))})
        self.single_action_space = Box(-1.0, 1.0, (1,))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, self.num_envs)

    def _observe(self):
        aim = np.tile(np.array([[0.5, -0.5]], dtype=np.float32), (self.num_envs, 1))
        return {"position": self.position.copy(), "aim": aim}

    def reset(self, *, seed=None, options=None):
        self.position, self.age = np.zeros((self.num_envs, 1), dtype=np.float32), 0
        return self._observe(), {}

    def step(self, actions):
        self.position += 0.1 * np.clip(actions, -1.0, 1.0)
        self.age += 1
        truncated = np.full(self.num_envs, self.age % 10 == 0)
        if truncated[0]:
            self.position[:] = 0.0
        rewards = -np.abs(self.position[:, 0] - 0.5)
        return self._observe(), rewards, np.zeros(self.num_envs, dtype=bool), truncated, {}


class Spaces:
    state_space = None
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, **spaces) -> None:
        vars(self).update(spaces)


def test_a_dictionary_becomes_one_vector_by_sorted_keys():
    inner = Dict({"b": Box(-2.0, 2.0, (1,)), "a": Box(-1.0, 1.0, (2,))})
    spaces = flat_spaces(Spaces(observation_space=Dict({"z": Box(-3.0, 3.0, (1,)), "i": inner})))
    assert spaces["observation_space"].high.tolist() == [1.0, 1.0, 2.0, 3.0]
    assert spaces["observation_space"].low.tolist() == [-1.0, -1.0, -2.0, -3.0]
    assert spaces["state_space"] is None and spaces["action_space"] is Spaces.action_space
    values = {"z": torch.tensor([[3.0]]), "i": {"b": torch.tensor([[2.0]]), "a": torch.tensor([[0.0, 1.0]])}}
    assert flatten(values).tolist() == [[0.0, 1.0, 2.0, 3.0]]
    vector = torch.zeros(3, 2)
    assert flatten(vector) is vector


@pytest.mark.parametrize("space", [Discrete(3), Box(0, 255, (4, 4)), Dict({"a": Box(0, 1, (2, 2))}), Dict({}), None])
def test_what_is_no_vector_is_refused(space):
    with pytest.raises(ValueError, match=r"environment's observation_space is .*; it must be a flat Box .* or a Dict"):
        flat_spaces(Spaces(observation_space=space))


def test_actions_must_be_one_vector():
    spaces = Spaces(observation_space=Box(-1.0, 1.0, (1,)), action_space=Dict({"a": Box(-1.0, 1.0, (1,))}))
    with pytest.raises(ValueError, match=r"action_space is Dict.*; it must be a flat Box \(one vector of numbers\)$"):
        flat_spaces(spaces)


@pytest.mark.parametrize(
    "cfg",
    [
        SapgCfg(num_blocks=2, rollouts=5, sequence_length=5, hidden_sizes=(8,), mini_batches=1),
        PqlCfg(rollouts=5, replay_size=100, batch_size=8, warmup_steps=4, hidden_sizes=(8,)),
    ],
    ids=["sapg", "pql"],
)
def test_skrls_own_trainer_trains_on_them(cfg, tmp_path):
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.trainers.torch import SequentialTrainer

    env = wrap_env(DictionaryEnv(), wrapper="gymnasium", verbose=False)
    cfg.experiment.directory = str(tmp_path)
    cfg.experiment.write_interval, cfg.experiment.checkpoint_interval = 5, 10
    agent = build_agent(env, cfg)
    before = [parameter.detach().clone() for parameter in agent.models["policy"].parameters()]
    trainer = SequentialTrainer(
        env=env,
        agents=agent,
        cfg={"timesteps": 20, "headless": True, "disable_progressbar": True, "close_environment_at_exit": False},
    )
    trainer.train()
    assert any(not old.equal(new) for old, new in zip(before, agent.models["policy"].parameters()))
    moments = agent.policies.scalers["observations"] if isinstance(cfg, SapgCfg) else agent.scaler
    mean = moments.mean.flatten()
    # aim, then position: sorted by name
    assert mean[:2].tolist() == pytest.approx([0.5, -0.5], abs=0.02) and len(mean) == 3
    assert len(list(tmp_path.glob("*/checkpoints/agent_*.pt"))) == 2


class DictionaryToyEnv(ToyEnv):
    """The toy task, whose last observations come as a dictionary, as Isaac Lab gives those of such a space."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        free = {"a": Box(-INF, INF, (2,)), "b": Box(-INF, INF, (3,))}
        self.observation_space = Dict(free)

    def step(self, actions):
        *rest, infos = super().step(actions)
        final = infos["final_obs"]["policy"]
        infos["final_obs"] = {"policy": {"b": final[:, 2:], "a": final[:, :2]}}
        return *rest, infos


@pytest.mark.parametrize(
    "cfg",
    [
        lambda: SapgCfg(num_blocks=2, rollouts=4, sequence_length=4, mini_batches=1, timeout_bootstrap="final_obs"),
        lambda: DexPbtCfg(num_blocks=3, rollouts=4, sequence_length=4, mini_batches=1, timeout_bootstrap="final_obs"),
        lambda: PqlCfg(rollouts=4, replay_size=200, batch_size=8, warmup_steps=4, timeout_bootstrap="final_obs"),
    ],
    ids=["sapg", "dexpbt", "pql"],
)
def test_last_observations_are_flattened_too(cfg):
    agents = []
    for env_class in (ToyEnv, DictionaryToyEnv):
        torch.manual_seed(0)
        env, options = env_class(12, episode_length=6), cfg()
        options.hidden_sizes, options.experiment.write_interval, options.experiment.checkpoint_interval = (8,), 0, 0
        agent = build_agent(env, options)
        agent.init()
        agent.enable_training_mode(True)
        run(agent, env, 8)
        agents.append(agent)
    assert agents[0].metrics == agents[1].metrics and agents[0].metrics
