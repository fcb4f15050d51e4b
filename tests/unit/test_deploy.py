"""Exported files act as the policies they were made from."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.deploy import load_policy, parity
from sapg_isaaclab.deploy.export import export_policy, observation_moments
from sapg_isaaclab.deploy.restore import restore_agent
from sapg_isaaclab.errors import ExportError, InputError
from toy_env import ToyEnv

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}
FORMATS = sorted(SUFFIXES)
LSTM = {"rnn_units": 24}

AGENTS = {
    "mlp": SapgCfg(num_blocks=3, hidden_sizes=(32, 16)),
    "lstm before": SapgCfg(num_blocks=3, hidden_sizes=(32, 16), **LSTM),
    "lstm after": SapgCfg(num_blocks=3, hidden_sizes=(32, 16), rnn_before_mlp=False, **LSTM),
    "no layer norm": SapgCfg(num_blocks=3, hidden_sizes=(32,), rnn_layer_norm=False, activation="tanh", **LSTM),
    "separate, one std": SapgCfg(num_blocks=3, hidden_sizes=(32, 16), separate=True, std_mode="shared", **LSTM),
    "std of the state": SapgCfg(num_blocks=3, hidden_sizes=(32, 16), std_mode="state", activation="relu"),
    "raw observations": SapgCfg(num_blocks=3, hidden_sizes=(32, 16), normalize_observations=False),
    "ppo": SapgCfg(num_blocks=1, hidden_sizes=(32, 16)),
    "dexpbt": DexPbtCfg(num_blocks=3, hidden_sizes=(32, 16), **LSTM),
    "pql": PqlCfg(hidden_sizes=(32, 16)),
}


def make_agent(cfg, seed=0):
    """An agent whose moments are not those it starts with."""
    torch.manual_seed(seed)
    agent = build_agent(ToyEnv(12), cfg, with_memory=False)
    agent.init()
    agent.enable_training_mode(False)
    for block in range(agent.layout.num_blocks):
        rows = 3.0 * torch.randn(500, 5) + torch.arange(5.0)
        observation_moments(agent, block).update(rows)
    return agent


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    """An agent with an LSTM, and its file in either format."""
    folder, agent = tmp_path_factory.mktemp("files"), make_agent(AGENTS["lstm before"])
    paths = {name: folder / f"policy{suffix}" for name, suffix in SUFFIXES.items()}
    for name, path in paths.items():
        export_policy(agent, path, file_format=name, training={"algorithm": "sapg", "iteration": 7})
    return agent, paths


THOUSAND = ("mlp", "lstm before", "lstm after")


@pytest.mark.parametrize("name", AGENTS)
def test_onnx_torchscript_and_policy_agree_step_by_step_with_resets(name, tmp_path):
    agent = make_agent(AGENTS[name])
    block = agent.layout.num_blocks - 1
    recording = parity.drawn(observation_moments(agent, block), steps=1000 if name in THOUSAND else 60)
    rows = recording.observations[:40]
    expected = {other: by_hand(agent.player(other), rows) for other in range(block + 1)}
    assert expected[block].std() > 0.01
    for file_format, suffix in SUFFIXES.items():
        path = tmp_path / f"policy{suffix}"
        report = export_policy(agent, path, block=block, file_format=file_format, recording=recording)
        assert report.difference <= 1e-5 and report.recording.begins.sum() >= 4
        actions = by_hand(load_policy(path), rows)
        torch.testing.assert_close(actions, expected[block], rtol=1e-5, atol=1e-5)
        # and it is that block's policy and no other's
        assert all((actions - expected[other]).abs().max() > 1e-3 for other in range(block))


def by_hand(player, rows):
    """Actions on (T, N, D), with an episode of robot n ending after step 10 + n."""
    actions = []
    for step, observations in enumerate(rows):
        actions.append(player(observations))
        player.reset(torch.arange(len(observations)) == step - 10)
    return torch.stack(actions)


def test_drawn_observations_have_the_moments_and_episodes():
    agent = make_agent(AGENTS["mlp"])
    recording = parity.drawn(observation_moments(agent, 0))
    assert recording.observations.shape == (1000, 4, 5) and recording.begins[0].all()
    assert 20 < recording.begins[1:].sum() < 80
    rows = recording.observations.flatten(0, 1)
    torch.testing.assert_close(rows.mean(0), torch.arange(5.0), atol=0.3, rtol=0)
    torch.testing.assert_close(rows.std(0), torch.full((5,), 3.0), atol=0.3, rtol=0)


def test_latent_and_moments_by_hand(tmp_path):
    # one unit: tanh of W_x (x - mean) / std + W_phi phi + b, then the head
    cfg = SapgCfg(num_blocks=2, hidden_sizes=(1,), latent_dim=1, activation="tanh")
    agent = make_agent(cfg)
    model, moments = agent.policies.model, agent.policies.scalers["observations"]
    with torch.no_grad():
        moments.mean.fill_(1.0), moments.variance.fill_(4.0 - 1e-5)
        model.latents.copy_(torch.tensor([[0.25], [-0.5]]))
        model.actor.first.weight.copy_(torch.tensor([[0.1, 0.2, 0.0, 0.0, 0.0, 2.0]]))
        model.actor.first.bias.fill_(0.3)
        model.mean.weight.copy_(torch.tensor([[1.0], [-2.0]])), model.mean.bias.copy_(torch.tensor([0.0, 0.5]))
    export_policy(agent, tmp_path / "policy.onnx", block=1)
    # (3 - 1) / 2 = 1; (101 - 1) / 2 is clamped to 5: 0.1 * 1 + 0.2 * 5 - 0.5 * 2 + 0.3 = 0.4
    actions = load_policy(tmp_path / "policy.onnx")(np.array([[3.0, 101.0, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(actions, [[np.tanh(0.4), 0.5 - 2.0 * np.tanh(0.4)]], rtol=1e-6)


@pytest.mark.parametrize("file_format", FORMATS)
def test_state_goes_on_and_is_forgotten_where_an_episode_ended(recurrent, file_format):
    policy = load_policy(recurrent[1][file_format])
    same = np.tile(np.linspace(-1.0, 1.0, 5, dtype=np.float32), (3, 1))
    first, second = policy(same), policy(same)
    assert np.abs(first - second).min() > 1e-6
    policy.reset(np.array([[True], [False], [False]]))
    third = policy(same)
    np.testing.assert_allclose(third[0], first[0], atol=1e-6)
    assert np.abs(third[1] - first[1]).max() > 1e-6
    policy.reset()
    np.testing.assert_allclose(policy(same[:1])[0], first[0], atol=1e-6)  # and any number of robots
    with pytest.raises(InputError, match="3 rows came after 1; call reset"):
        policy(same)
    with pytest.raises(InputError, match="done has 2 rows, the last observations had 1"):
        policy.reset(np.array([True, False]))


def test_inputs_and_outputs_of_the_onnx_file_have_names_and_any_number_of_rows(recurrent):
    import onnxruntime

    session = onnxruntime.InferenceSession(recurrent[1]["onnx"])
    shapes = {item.name: item.shape for item in (*session.get_inputs(), *session.get_outputs())}
    assert list(shapes) == ["observations", "hidden", "cell", "actions", "next_hidden", "next_cell"]
    assert shapes["observations"] == ["rows", 5] and shapes["cell"] == ["rows", 24]
    assert [shape[0] for shape in shapes.values()] == ["rows"] * 6


@pytest.mark.parametrize("file_format", FORMATS)
def test_actions_are_of_the_kind_of_the_observations(recurrent, file_format):
    policy = load_policy(recurrent[1][file_format])
    rows = torch.randn(2, 5, dtype=torch.float64)
    from_torch = policy(rows)
    assert isinstance(from_torch, torch.Tensor) and from_torch.dtype == torch.float64
    policy.reset()
    from_numpy = policy(rows.numpy())
    assert isinstance(from_numpy, np.ndarray) and from_numpy.dtype == np.float32
    np.testing.assert_allclose(from_torch.numpy(), from_numpy, atol=1e-6)


@pytest.mark.parametrize("file_format", FORMATS)
def test_metadata_is_the_same_in_the_file_and_beside_it(recurrent, file_format):
    path = recurrent[1][file_format]
    metadata = load_policy(path).metadata
    beside = json.loads((path.parent / f"{path.name}.json").read_text())
    assert beside.pop("file") == path.name and len(beside.pop("sha256")) == 64
    assert beside == metadata
    assert metadata["policy"] == {
        "algorithm": "sapg", "block": 0, "name": "leader", "num_blocks": 3, "rnn_units": 24,
        "actions": "mean, not clamped",
    }  # fmt: skip
    assert (metadata["observations"], metadata["actions"]) == ({"size": 5}, {"size": 2})
    assert metadata["training"]["iteration"] == 7 and metadata["versions"]["torch"] == torch.__version__.split("+")[0]


BARE = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy
from sapg_isaaclab.deploy import load_policy
policy = load_policy({path!r})
print(policy(numpy.ones((2, 5))).tolist())
print([name for name in sys.modules if name.partition(".")[0] in {absent}])
"""


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_runs_where_neither_isaac_lab_nor_skrl_is_installed(recurrent, file_format):
    agent, paths = recurrent
    absent = ["isaaclab", "isaaclab_rl", "isaaclab_tasks", "skrl", "tensordict", "ovphysx", "warp", "pxr", "hydra"]
    absent += ["torch", "onnx"] if file_format == "onnx" else ["onnx", "onnxruntime"]
    program = BARE.format(absent=absent, path=str(paths[file_format]))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    actions, loaded = result.stdout.splitlines()
    assert loaded == "[]"
    np.testing.assert_allclose(json.loads(actions), agent.player(0)(torch.ones(2, 5)).numpy(), atol=1e-5)


def refused(path, *parts, error=InputError):
    with pytest.raises(error) as raised:
        load_policy(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    assert all(part in str(raised.value) for part in parts), raised.value


def change_weight(path):
    import onnx

    model = onnx.load(path)
    tensor = next(item for item in model.graph.initializer if item.dims[:1] == [2])
    values = onnx.numpy_helper.to_array(tensor) + np.float32(0.01)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


def test_a_changed_file_is_refused(recurrent, tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(recurrent[1]["onnx"].read_bytes())
    load_policy(path)
    change_weight(path)
    refused(path, "gives other actions than it was exported with", "export it again")
    # with the JSON beside it no byte may differ
    export_policy(recurrent[0], path)
    load_policy(path)
    with open(path, "ab") as file:
        file.write(b"\x00")
    refused(path, "policy.onnx.json")


@pytest.mark.parametrize("file_format", FORMATS)
def test_damaged_and_foreign_files_are_refused(recurrent, file_format, tmp_path):
    content = recurrent[1][file_format].read_bytes()
    path = tmp_path / f"policy{SUFFIXES[file_format]}"
    path.write_bytes(content[: len(content) // 2])
    refused(path, "damaged")
    refused(tmp_path / "none.onnx", "does not exist")
    if file_format == "torchscript":
        torch.jit.script(torch.nn.Linear(5, 2)).save(str(path))
        refused(path, "no metadata")
        torch.save({"weight": torch.zeros(3)}, path)  # a checkpoint
        refused(path, "has to be exported first", "export --checkpoint")


@pytest.mark.parametrize("value", [np.zeros((2, 4)), np.zeros(5), np.full((1, 5), np.nan)])
def test_wrong_observations_are_refused(recurrent, value):
    policy = load_policy(recurrent[1]["onnx"])
    with pytest.raises(InputError, match=r"observations (have shape .*takes \(N, 5\)|hold a number .* column 0)"):
        policy(value)


def test_a_file_that_acts_otherwise_is_not_left_behind(tmp_path, monkeypatch):
    agent = make_agent(AGENTS["mlp"])
    from sapg_isaaclab.deploy import export

    baked = export.policy_module

    def wrong(agent, block):
        module = baked(agent, block)
        module.layers[-1].bias[1] += 3e-5
        return module

    monkeypatch.setattr(export, "policy_module", wrong)
    with pytest.raises(ExportError, match=r"differ from the policy's by (2\.9|3|3\.1)e-05, allowed are 1e-05; nothing"):
        export_policy(agent, tmp_path / "folder" / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_leaves_nothing(tmp_path):
    agent = make_agent(AGENTS["mlp"])
    (tmp_path / "policy.onnx").mkdir()  # cannot be replaced by a file
    with pytest.raises(ExportError, match=r"cannot write .*policy\.onnx"):
        export_policy(agent, tmp_path / "policy.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_missing_packages_are_named(missing, tmp_path, monkeypatch):
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    with pytest.raises(InputError, match=rf"{missing} .*pip install"):
        export_policy(make_agent(AGENTS["mlp"]), tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mlp", "separate, one std", "ppo", "dexpbt", "pql"])
def test_agent_is_restored_from_its_state_alone(name):
    cfg = AGENTS[name]
    agent = make_agent(cfg, seed=1)
    trained = build_agent(ToyEnv(12), cfg)
    trained.init()
    trained.load_policy(state := {**trained.state_dict(), **_policy_state(agent)})
    restored = restore_agent(state, cfg, "checkpoint x.pt")
    rows = torch.randn(3, 5)
    for block in range(agent.layout.num_blocks):
        torch.testing.assert_close(restored.player(block)(rows), agent.player(block)(rows), rtol=0, atol=0)


def _policy_state(agent):
    """The part of the agent's state that holds its policies, of an agent that only acts."""
    if hasattr(agent, "learners"):
        states = [{"policies": learner.policies.state_dict()} for learner in agent.learners.values()]
        return {"learners": states, "leader": 0}
    if hasattr(agent, "policies"):
        return {"policies": agent.policies.state_dict()}
    return {"pql": {name: module.state_dict() for name, module in agent._modules.items()}}


def test_a_state_that_is_none_or_of_other_options_is_refused():
    with pytest.raises(InputError, match=r"checkpoint x\.pt holds no policy"):
        restore_agent({}, AGENTS["mlp"], "checkpoint x.pt")
    state = {"policies": make_agent(AGENTS["mlp"]).policies.state_dict()}
    with pytest.raises(InputError, match=r"checkpoint x\.pt: the checkpoint holds 3 policies"):
        restore_agent(state, AGENTS["ppo"], "checkpoint x.pt")
    del state["policies"]["value_scaler"]
    with pytest.raises(InputError, match=r"checkpoint x\.pt: the checkpoint lacks 'value_scaler'; use the version of"):
        restore_agent(state, AGENTS["mlp"], "checkpoint x.pt")


def test_a_task_with_other_sizes_is_refused(tmp_path):
    with pytest.raises(InputError, match="the task has 6 observations, the policy was trained with 5"):
        export_policy(make_agent(AGENTS["mlp"]), tmp_path / "p.onnx", interface={"observations": {"size": 6}})
