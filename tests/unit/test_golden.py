"""Whole updates of the authors' code, replayed. ``pytest -s`` prints the largest differences; see tests/golden."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.agents.sapg import agent as agent_module
from sapg_isaaclab.agents.sapg import batch as batch_module

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "golden.json").read_text())
CONFIGURATIONS = [name for name in GOLDEN if name != "parameters"]
LIVE = ("sapg", "ppo", "lstm")
T, N, D, A = 8, 24, 12, 4
DIFFERENCES: dict[tuple[str, str], dict[str, float]] = {}

TOLERANCES = {"gradient norm": 1e-4}
"""Absolute; 1e-5 for everything else."""


class Env:
    """Sizes alone: observations and rewards are read from the files."""

    num_envs, device, state_space = N, "cpu", None
    observation_space = gymnasium.spaces.Box(-10, 10, (D,))
    action_space = gymnasium.spaces.Box(-1, 1, (A,))


def load(name: str) -> dict[str, torch.Tensor]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


class Replay:
    """An agent that sees, draws and visits what the authors' code did."""

    def __init__(self, configuration: str, monkeypatch) -> None:
        self.golden, self.data, self.inputs = GOLDEN[configuration], load(configuration), load("inputs")
        cfg = SapgCfg(**self.golden["options"])
        cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
        self.agent = build_agent(Env(), cfg)
        self.agent.init()
        self.agent.enable_training_mode(True)
        self.shapes = GOLDEN["parameters"][self.golden["network"]]
        start = self.inputs[f"parameters.{self.golden['network']}"]
        with torch.no_grad():
            for part, name in zip(start.split([int(np.prod(shape)) for shape in self.shapes.values()]), self.shapes):
                self.agent.model.get_parameter(name).copy_(part.view(self.shapes[name]))
        for moments, kind in ((self.agent.policies.scalers["observations"], "observations"),
                              (self.agent.policies.value_scaler, "values")):  # fmt: skip
            for name in ("mean", "variance", "count"):
                getattr(moments, name).copy_(self.inputs[f"moments.{kind}.{name}"])
        self.update, self.seen, self.order = 0, {}, None
        monkeypatch.setattr(agent_module, "draw_pairs", lambda *_: self.pairs())
        monkeypatch.setattr(batch_module, "row_order", self.visits)
        monkeypatch.setattr(agent_module, "assemble", self.assemble)
        self.watch_learner(monkeypatch)

    def pairs(self) -> list[tuple[int, int]]:
        return [tuple(pair) for pair in self.data["pairs"][self.update].tolist()]

    def visits(self, steps, envs, off, group, cfg) -> torch.Tensor:
        """Positions of rows, from the numbers of chunks."""
        length = cfg.sequence_length
        rows = group.numel()
        chunks = self.data["chunks"][self.update] if "chunks" in self.data else torch.arange(rows // length)
        env, begin = chunks // (T // length), chunks % (T // length) * length
        step = begin[:, None] + torch.arange(length)
        on = step * N + env[:, None]
        beyond = T * N + (env[:, None] - N) * T + step
        self.order = torch.where(env[:, None] < N, on, beyond).flatten()
        assert len(self.order) == rows == self.golden["rows"]
        return self.order

    def assemble(self, memory, on, off, *rest):
        self.seen["off"] = off
        batch = assemble(memory, on, off, *rest)
        sizes = np.diff(batch.bounds) * batch.unit
        assert sizes[0] == self.golden["minibatch_rows"] and sizes.sum() == self.golden["rows"]
        self.seen |= {"on": on, "rows": batch.rows.clone()}
        return batch

    def watch_learner(self, monkeypatch) -> None:
        learner, moments = self.agent.learner, self.agent.policies.scalers["observations"]
        take, adapt, self.steps, self.rates, self.moments = learner.step, learner.adapt_learning_rate, [], [], []

        def step(pieces):
            self.moments.append((moments.mean.clone(), moments.variance.clone()))
            report = take(pieces)
            if not self.steps:
                # clipping has scaled the gradient
                factor = max(report.grad_norm.item() / self.agent.cfg.grad_norm_clip, 1.0)
                self.gradient = factor * self.vector({n: p.grad for n, p in self.agent.model.named_parameters()})
            self.steps.append(report)
            return report

        def adapt_learning_rate(kl):
            adapt(kl)
            self.rates.append(learner.learning_rate.clone())

        monkeypatch.setattr(learner, "step", step)
        monkeypatch.setattr(learner, "adapt_learning_rate", adapt_learning_rate)

    def vector(self, tensors) -> torch.Tensor:
        return torch.cat([tensors[name].detach().flatten() for name in self.shapes])

    def run_update(self, update: int, monkeypatch) -> None:
        self.update, self.rates, self.actions = update, [], []
        self.first_step = len(self.steps)
        clock, inputs = {"timestep": 0, "timesteps": 0}, self.inputs
        for t in range(T):
            with monkeypatch.context() as patch:
                patch.setattr(torch, "randn_like", lambda _, t=t: inputs["noise"][update, t].float())
                actions, _ = self.agent.act(inputs["observations"][update * T + t], None, **clock)
            self.actions.append(actions)
            flags = {name: inputs[name][update, t].unsqueeze(1) for name in ("terminated", "truncated")}
            self.agent.record_transition(
                observations=inputs["observations"][update * T + t], states=None, actions=actions,
                rewards=inputs["rewards"][update, t].unsqueeze(1), infos={}, next_states=None,
                next_observations=inputs["observations"][update * T + t + 1], **flags, **clock,
            )  # fmt: skip
            self.agent.post_interaction(**clock)

    def in_file_order(self, column: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A column of the batch as (T, N) on-policy and (K, B, T) relabelled rows."""
        ordered = self.seen["rows"][column]
        at = ordered.new_empty(len(ordered))
        at[self.recurrent_order() if self.agent.policies.recurrent else self.order] = ordered
        on, off = at[: T * N].view(T, N), at[T * N :]
        return on, off.view(len(self.pairs()), self.agent.layout.block_size, T)

    def recurrent_order(self) -> torch.Tensor:
        """Positions of the batch's rows; unbroken sequences come first. A row is known by its action and block."""
        rows, rollout = self.seen["rows"], self.agent.memory.rollout
        actions = rollout["actions"].flatten(0, 1)
        same = (rows["actions"][:, None] == actions).all(dim=2)
        assert (same.sum(dim=1) == 1).all()
        row = same.int().argmax(dim=1)
        blocks = self.agent.layout.num_blocks
        relabelled = rows["group"] >= blocks
        if not relabelled.any():
            return row
        off = self.seen["off"]
        key = {(r, t): i for i, (r, t) in enumerate(zip(off.rows.tolist(), off.target.tolist()))}
        pairs = zip(row.tolist(), rows["block"].tolist(), relabelled.tolist())
        return torch.tensor([T * N + key[r, b] if late else r for r, b, late in pairs])


assemble = batch_module.assemble


@pytest.fixture
def compare(request):
    """Compare by name, and remember the largest difference."""
    configuration, run = request.node.callspec.params["configuration"], request.node.name.split("[")[0]
    found = DIFFERENCES.setdefault((configuration, "live" if "live" in run else "frozen"), {})

    def compare(quantity: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        assert ours.shape == theirs.shape, quantity
        if ours.numel():
            difference = (ours.double() - theirs.double()).abs().max().item()
            found[quantity] = max(found.get(quantity, 0.0), difference)
            assert difference <= TOLERANCES.get(quantity, 1e-5), (quantity, difference)

    return compare


def compare_learning(replay: Replay, run: str, update: int, compare) -> None:
    expected = lambda name: replay.data[f"{run}.{update}.{name}"]  # noqa: E731
    for name in ("values", "returns"):
        for ours, where in zip(replay.in_file_order(name), ("on", "off")):
            if f"{run}.{update}.{name}_normalised_{where}" in replay.data:
                compare(f"{name}, standardised", ours, expected(f"{name}_normalised_{where}"))
    steps, cfg = replay.steps[replay.first_step :], replay.agent.cfg
    # the files have means without our factors and signs
    scale = torch.tensor([1.0, 1.0 / cfg.value_loss_scale, -1.0, 1.0 / cfg.bounds_loss_scale])
    compare("losses", torch.stack([step.losses for step in steps]) * scale, expected("losses"))
    compare("divergence", torch.stack([step.kl for step in steps]), expected("kl"))
    compare("gradient norm", torch.stack([step.grad_norm for step in steps]), expected("grad_norm"))
    compare("step size", torch.stack(replay.rates), expected("learning_rate"))
    if f"{run}.{update}.parameters" in replay.data:
        now = replay.vector(dict(replay.agent.model.named_parameters()))
        assert (now - replay.inputs[f"parameters.{replay.golden['network']}"]).abs().max() > 1e-3
        compare("parameters", now, expected("parameters"))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_frozen_updates_are_those_of_the_authors_code(configuration, monkeypatch, compare):
    """Moments are held still: everything else must agree."""
    monkeypatch.setattr(RunningMoments, "update", lambda *_: None)
    replay = Replay(configuration, monkeypatch)
    for update in range(replay.golden["updates"]):
        replay.run_update(update, monkeypatch)
        # three configurations share the rollout of `sapg`
        rollout = load("sapg") if "frozen.0.actions_on" not in replay.data else replay.data
        expected = lambda name, arrays=replay.data, u=update: arrays[f"frozen.{u}.{name}"]  # noqa: E731
        shared = lambda name, arrays=rollout, u=update: arrays[f"frozen.{u}.{name}"]  # noqa: E731
        compare("actions", torch.stack(replay.actions), shared("actions_on"))
        compare("log-probabilities", -replay.agent.memory.rollout["log_prob"].squeeze(-1), shared("neg_log_prob_on"))
        on, off = replay.seen["on"], replay.seen["off"]
        for name in ("values", "returns", "advantages"):
            compare(name, getattr(on, name), shared(f"{name}_on"))
            if off is not None:
                theirs = expected(f"{name}_off")
                compare(f"{name}, relabelled", getattr(off, name).view_as(theirs), theirs)
        for ours, where in zip(replay.in_file_order("advantages"), ("on", "off")):
            if f"frozen.{update}.advantages_normalised_{where}" in replay.data:
                compare("advantages, standardised", ours, expected(f"advantages_normalised_{where}"))
        compare_learning(replay, "frozen", update, compare)
    if "frozen.0.first_gradients" in replay.data:
        compare("first gradient", replay.gradient, replay.data["frozen.0.first_gradients"])


@pytest.mark.parametrize("configuration", LIVE)
def test_live_updates_are_those_of_the_authors_code(configuration, monkeypatch, compare):
    """Moments move: of observations with every minibatch of the first epoch, of values first V and then the targets."""
    replay = Replay(configuration, monkeypatch)
    for update in range(replay.golden["updates"]):
        begin = len(replay.moments)
        replay.run_update(update, monkeypatch)
        expected = lambda name, u=update: replay.data[f"live.{u}.{name}"]  # noqa: E731
        compare_learning(replay, "live", update, compare)
        for index, name in enumerate(("mean", "var")):
            theirs = expected(f"obs_{name}_steps")
            ours = torch.stack([step[index] for step in replay.moments[begin : begin + len(theirs)]])
            compare("moments of observations", ours, theirs)
        policies = replay.agent.policies
        for kind, moments in (("observations", policies.scalers["observations"]), ("values", policies.value_scaler)):
            for name in ("mean", "variance", "count"):
                compare(f"moments of {kind}", getattr(moments, name), expected(f"moments.{kind}.{name}"))


@pytest.fixture(scope="module", autouse=True)
def table():
    """Largest differences of all quantities, printed at the end."""
    yield
    quantities = list(dict.fromkeys(name for found in DIFFERENCES.values() for name in found))
    runs = list(DIFFERENCES)
    print("\n| Largest difference | " + " | ".join(f"`{name}` {run}" for name, run in runs) + " |")
    print("|---|" + "---|" * len(runs))
    for name in quantities:
        cells = (f"{DIFFERENCES[run][name]:.0e}" if name in DIFFERENCES[run] else "" for run in runs)
        print(f"| {name} | " + " | ".join(cells) + " |")
