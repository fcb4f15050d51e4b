"""Environments that are not finite: found, counted, kept; what a trainer makes of them."""

import json
import math

import numpy as np
import pytest
import torch
from test_trainer import NUM_ENVS, ROLLOUTS, make_trainer

from no_stall import no_stall
from sapg_isaaclab.errors import TrainingError
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.tasks.nan_guard import KEPT, NanGuard, check
from toy_env import ToyEnv


def make_guard(num_envs=6, host_knows=True, on_nan="reset", nan_limit=0.25):
    guard = NanGuard(num_envs, "cpu", on_nan=on_nan, nan_limit=nan_limit)
    guard.host_knows = host_knows
    return guard


def look(guard, step, bad=(), suspects=()):
    """A step in which some environments are not finite; each sees 100 times the step plus its number."""
    count = guard.num_envs
    position, velocity = torch.zeros(count, 3), torch.zeros(count, 2, 2)
    for index, env_id in enumerate(bad):
        if index % 2:
            velocity[env_id, 1, 0] = -math.inf
        else:
            position[env_id, 1] = math.nan
    asked = torch.zeros(count, dtype=torch.bool)
    asked[list(suspects)] = True
    seen = {"policy": (100.0 * step + torch.arange(count)).unsqueeze(-1)}
    return guard.look({"position": position, "velocity": velocity}, seen, step=step, suspects=asked)


@pytest.mark.parametrize("host_knows", [True, False])
def test_finds_counts_and_keeps(host_knows):
    guard = make_guard(host_knows=host_knows)
    assert look(guard, 1) is not host_knows and not guard.broken.any()
    assert look(guard, 2, bad=[1, 4])
    assert guard.broken.tolist() == [False, True, False, False, True, False]
    assert look(guard, 3, suspects=[0])
    assert guard.broken.nonzero().flatten().tolist() == [0] and guard.total == 3 and guard.reported == 0
    look(guard, 4)
    report = guard.report()
    assert (report.new, guard.reported) == (3, 3)
    assert report.kept["env_ids"].tolist() == [1, 4, 0] and report.kept["steps"].tolist() == [2, 2, 3]
    assert report.kept["policy"].flatten().tolist() == [201.0, 204.0, 300.0]
    assert np.isnan(report.kept["position"][0, 1]) and np.isneginf(report.kept["velocity"][1, 1, 0])
    assert np.isfinite(report.kept["position"][1:]).all()
    again = guard.report()
    assert (again.new, again.kept, again.reason) == (0, {}, "")


@pytest.mark.parametrize("host_knows", [True, False])
def test_keeps_the_first_of_a_run_and_no_more(host_knows):
    guard = make_guard(num_envs=10, host_knows=host_knows)
    look(guard, 1, bad=range(9))
    first = guard.report()
    look(guard, 2, bad=range(1, 10))
    second = guard.report()
    look(guard, 3, bad=range(10))
    assert first.kept["env_ids"].tolist() == list(range(9))
    assert second.kept["env_ids"].tolist() == list(range(1, 1 + KEPT - 9)) and set(second.kept["steps"]) == {2}
    assert guard.report().kept == {} and guard.total == 28


def test_more_environments_than_are_kept():
    guard = make_guard(num_envs=40, host_knows=False)
    look(guard, 1, bad=range(3, 40))
    report = guard.report()
    assert report.new == 37 and report.kept["env_ids"].tolist() == list(range(3, 3 + KEPT))


@pytest.mark.parametrize(
    ("num_envs", "on_nan", "bad", "reason"),
    [
        (12, "reset", 3, ""),
        (12, "reset", 4, "more than env.nan_limit=0.25 allows"),
        (2, "reset", 1, ""),  # one is always allowed
        (2, "reset", 2, "more than env.nan_limit=0.25 allows"),
        (12, "stop", 1, "env.on_nan=stop"),
        (12, "stop", 0, ""),
    ],
)
def test_says_when_to_stop(num_envs, on_nan, bad, reason):
    guard = make_guard(num_envs, on_nan=on_nan)
    look(guard, 1, bad=range(bad))
    assert guard.report().reason == reason


def test_the_limit_is_that_of_one_iteration():
    guard = make_guard(12)
    for step in range(4):
        look(guard, step, bad=[step, 5, 6])
        assert not guard.report().reason
    look(guard, 4, bad=[1, 2])
    look(guard, 5, bad=[1, 2])
    assert guard.report().reason


def test_cleans_broken_environments_only():
    guard = make_guard(3)
    guard.broken[1] = True
    nan = math.nan
    cleaned = guard.clean(torch.tensor([[1.0, nan], [nan, 2.0], [3.0, 4.0]]))
    torch.testing.assert_close(cleaned, torch.tensor([[1.0, nan], [0.0, 2.0], [3.0, 4.0]]), equal_nan=True)


def test_nothing_waits_for_the_device():
    guard = make_guard(host_knows=False)
    state, suspects = {"position": torch.full((6, 3), math.nan)}, torch.zeros(6, dtype=torch.bool)
    with no_stall("cpu"):
        guard.look(state, {"policy": state["position"]}, step=1, suspects=suspects)
        guard.clean(state["position"])


def test_a_resumed_count_goes_on():
    guard = make_guard()
    guard.load(5)
    look(guard, 1, bad=[2])
    report = guard.report()
    assert (report.new, guard.reported, report.kept["env_ids"].tolist()) == (1, 6, [2])


@pytest.mark.parametrize(
    ("on_nan", "nan_limit", "message"),
    [
        ("ignore", 0.25, "on_nan='ignore' is unknown; use 'reset' or 'stop'"),
        ("reset", -0.1, "nan_limit=-0.1 is not allowed"),
        ("reset", math.nan, "nan_limit=nan is not allowed"),
        ("reset", "many", "nan_limit='many' is not allowed"),
    ],
)
def test_options_without_meaning_are_refused(on_nan, nan_limit, message):
    with pytest.raises(ValueError, match=message):
        check(on_nan, nan_limit)


class Breaking(ToyEnv):
    """Breaks down in some environments in one step of the run."""

    AT, BAD, ON_NAN = 7, (3, 5), "reset"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.nan_guard = NanGuard(self.num_envs, "cpu", on_nan=self.ON_NAN, nan_limit=0.25)

    def step(self, actions):
        seen = {"policy": self._observe(), "actions": actions}
        position = self.position.clone()
        if self.steps + 1 == self.AT:
            position[list(self.BAD)] = math.nan
        suspects = torch.zeros(self.num_envs, dtype=torch.bool)
        self.nan_guard.look({"position": position}, seen, step=self.steps + 1, suspects=suspects)
        broken = self.nan_guard.broken
        if broken.any():
            self.position = torch.where(broken[:, None], 5.0, self.position)  # ends the episode
        observations, rewards, terminated, truncated, infos = super().step(actions)
        infos["broken"] = broken
        return observations, rewards.masked_fill(broken[:, None], 0.0), terminated, truncated, infos

    def state_dict(self):
        return {**super().state_dict(), "nan_resets": int(self.nan_guard.total)}

    def load_state_dict(self, state):
        self.nan_guard.load(state["nan_resets"])
        return super().load_state_dict(state)


def test_training_goes_on_and_says_what_happened(tmp_path, capsys):
    trainer = make_trainer(tmp_path, 3, env_class=Breaking)
    trainer.train()
    assert ROLLOUTS < Breaking.AT <= 2 * ROLLOUTS  # in the second iteration
    assert [row["Metrics/nan_resets"] for row in metrics.read(trainer.run)] == [0.0, 2.0, 2.0]
    (path,) = trainer.run.path.glob("*.npz")
    assert path.name == "nan_resets_2.npz"
    said = capsys.readouterr().err
    assert f"2 of {NUM_ENVS} environments" in said and str(path) in said and said.count("not finite") == 1
    with np.load(path) as kept:
        assert kept["env_ids"].tolist() == [3, 5] and kept["steps"].tolist() == [7, 7]
        assert kept["policy"].shape == (2, 5) and kept["actions"].shape == (2, 2) and np.isnan(kept["position"]).all()
    # and a resumed run remembers how many there were
    second = make_trainer(tmp_path, 4, env_class=Breaking, run=trainer.run)
    second.env.AT = 0
    second.restore(checkpoint.load(checkpoint.latest(trainer.run)))
    second.train()
    assert json.loads((trainer.run.path / "metrics.jsonl").read_text().splitlines()[-1])["Metrics/nan_resets"] == 2.0


def test_a_broken_episode_is_no_finished_one(tmp_path):
    class Ended(Breaking):
        BAD = tuple(range(3))

        def step(self, actions):  # nothing else ends
            self.age.zero_()
            return super().step(actions)

    trainer = make_trainer(tmp_path, 2, env_class=Ended)
    trainer.train()
    assert trainer.episodes.finished == [0, 0, 0]
    # the next episode does not begin with what the broken one was paid
    length = trainer.episodes.state_dict()["running"][1]
    assert length.tolist() == [2 * ROLLOUTS - Ended.AT] * 3 + [2 * ROLLOUTS] * (NUM_ENVS - 3)


@pytest.mark.parametrize(("bad", "on_nan", "reason"), [(range(9), "reset", "nan_limit"), ((3,), "stop", "on_nan=stop")])
def test_training_stops_in_one_line_with_what_was_seen(tmp_path, bad, on_nan, reason):
    class Stopping(Breaking):
        BAD, ON_NAN = tuple(bad), on_nan

    trainer = make_trainer(tmp_path, 3, env_class=Stopping, checkpoint_interval=1)
    with pytest.raises(TrainingError, match=reason) as error:
        trainer.train()
    text = str(error.value)
    assert "\n" not in text and "iteration 2" in text and str(trainer.run.path / "nan_resets_2.npz") in text
    with np.load(trainer.run.path / "nan_resets_2.npz") as kept:
        assert kept["env_ids"].tolist() == list(bad)
    assert checkpoint.load(checkpoint.latest(trainer.run))["iteration"] == 1
