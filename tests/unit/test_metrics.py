import json
import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.metrics import MetricsWriter
from sapg_isaaclab.runs.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "toy", {}, {})


def curve(run, tag):
    events = EventAccumulator(str(run.path)).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


class FakeWandb(types.ModuleType):
    def __init__(self, fail=None):
        super().__init__("wandb")
        self.fail, self.rows, self.options, self.finished = fail, [], None, False

    def init(self, **options):
        if self.fail == "init":
            raise ConnectionError("no network")
        self.options, self.id = options, options["id"] or "new-id"
        return self

    def define_metric(self, *_, **__):
        pass

    def log(self, row):
        if self.fail == "log":
            raise ConnectionError("no network")
        self.rows.append(row)

    def finish(self):
        self.finished = True


def test_rows_go_to_the_file_and_to_tensorboard(run):
    writer = MetricsWriter(run)
    writer.write(1, 96, {"Leader/return": 1.5, "Loss/value": float("inf")})
    writer.write(2, 192, {"Leader/return": 2.5})
    writer.close()
    rows = metrics.read(run)
    assert rows[0] == {"iteration": 1, "env_steps": 96, "Leader/return": 1.5, "Loss/value": None}
    assert rows[1]["Leader/return"] == 2.5
    assert curve(run, "Leader/return") == [(96, 1.5), (192, 2.5)]


def test_rewind_takes_later_rows_out_and_keeps_them_aside(run):
    writer = MetricsWriter(run)
    for iteration in range(1, 6):
        writer.write(iteration, iteration * 10, {"Leader/return": float(iteration)})
    writer.close()
    with open(run.metrics_file, "a") as file:
        file.write('{"iteration": 6, "env_')  # cut off by a crash
    assert metrics.rewind(run, 3) == 2
    assert [row["iteration"] for row in metrics.read(run)] == [1, 2, 3]
    aside = (run.path / "metrics.discarded.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in aside] == [4, 5]
    # TensorBoard reads files in the order of their names, which begin with the second they were opened in
    (events,) = run.path.glob("events*")
    events.rename(events.with_name("events.out.tfevents.1000000000.earlier"))
    writer = MetricsWriter(run, start_env_steps=30)
    writer.write(4, 40, {"Leader/return": 40.0})
    writer.close()
    assert curve(run, "Leader/return") == [(10, 1.0), (20, 2.0), (30, 3.0), (40, 40.0)]


def test_without_a_run_folder_nothing_is_written(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(fail="init"))
    writer = MetricsWriter(None, logger="wandb")
    writer.write(1, 96, {"Leader/return": 1.5})
    writer.close()
    assert not run.metrics_file.exists()
    assert not list(run.path.glob("events*"))


def test_wandb_run_goes_on_under_its_id(run, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    writer = MetricsWriter(run, logger="wandb", config={"task": "Toy"})
    assert writer.wandb_id == "new-id" and wandb.options["resume"] == "allow"
    assert wandb.options["config"] == {"task": "Toy"} and wandb.options["dir"] == str(run.path)
    writer.write(1, 96, {"Leader/return": 1.5})
    writer.close()
    assert wandb.rows == [{"iteration": 1, "env_steps": 96, "Leader/return": 1.5}] and wandb.finished
    assert MetricsWriter(run, logger="wandb", wandb_id="old-id").wandb_id == "old-id"


def test_wandb_takes_its_options_then_its_own_variables_then_the_folder(run, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for name in ("WANDB_PROJECT", "WANDB_NAME"):
        monkeypatch.delenv(name, raising=False)
    MetricsWriter(run, logger="wandb")
    assert (wandb.options["project"], wandb.options["name"]) == ("toy", run.path.name)
    assert "group" not in wandb.options and "tags" not in wandb.options  # left to WANDB_RUN_GROUP and WANDB_TAGS
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_NAME", "first try")
    MetricsWriter(run, logger="wandb")
    assert (wandb.options["project"], wandb.options["name"]) == ("ours", "first try")
    MetricsWriter(run, logger="wandb", wandb_options={"project": "theirs", "group": "g", "tags": ["a", "b"]})
    assert (wandb.options["project"], wandb.options["group"], wandb.options["tags"]) == ("theirs", "g", ["a", "b"])


@pytest.mark.parametrize("fail", ["init", "log"])
def test_a_failing_service_warns_once_and_training_goes_on(run, monkeypatch, capsys, fail):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(fail=fail))
    writer = MetricsWriter(run, logger="wandb", wandb_id="kept")
    for iteration in (1, 2, 3):
        writer.write(iteration, 96 * iteration, {"Leader/return": 1.5})
    writer.close()
    assert capsys.readouterr().err.count("warning: Weights & Biases failed (no network); training goes on") == 1
    assert writer.wandb_id == "kept" and len(metrics.read(run)) == 3


@pytest.mark.slow
def test_wandb_works_offline(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    writer = MetricsWriter(run, logger="wandb", config={"task": "Toy"})
    writer.write(1, 96, {"Leader/return": 1.5})
    writer.close()
    assert writer.wandb_id
    again = MetricsWriter(run, logger="wandb", wandb_id=writer.wandb_id)
    again.close()
    assert again.wandb_id == writer.wandb_id
    assert len(list((run.path / "wandb").glob(f"offline-run-*-{writer.wandb_id}"))) >= 1
