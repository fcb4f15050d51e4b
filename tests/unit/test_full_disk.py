"""A disk without room, a folder that vanishes: one line, and nothing that was written before is lost."""

import contextlib
import json
import resource
import shutil

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import toy_train
from sapg_isaaclab.errors import TrainingError
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.files import GrowingFile
from sapg_isaaclab.runs.metrics import MetricsWriter
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs
from sapg_isaaclab.training import session


@contextlib.contextmanager
def no_file_above(size):
    """As on a full disk, writing fails in the middle: here where a file would get larger than ``size``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def disk_of_8000_bytes_a_file():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))


def test_a_growing_file_ends_with_a_whole_record_and_catches_up(tmp_path):
    file = GrowingFile(tmp_path / "rows")
    file.append(b"first\n")
    with no_file_above(10):
        for record in (b"second\n", b"third\n"):
            with pytest.raises(OSError, match="File too large"):
                file.append(record)
        assert file.path.read_bytes() == b"first\n"
    file.append(b"fourth\n")
    file.close()
    assert file.path.read_bytes() == b"first\nsecond\nthird\nfourth\n"


def test_rows_and_events_that_found_no_room_are_written_later(tmp_path, capsys):
    run = RunFolder.create(tmp_path, "toy", {}, {})
    writer = MetricsWriter(run)
    for iteration in range(1, 9):
        with no_file_above(500) if iteration in (5, 6, 7) else contextlib.nullcontext():
            writer.write(iteration, 10 * iteration, {f"Leader/{'x' * 80}": 1.0, "Leader/return": float(iteration)})
        rows = run.metrics_file.read_text().splitlines()
        assert [json.loads(row)["iteration"] for row in rows] == list(range(1, len(rows) + 1))
    writer.close()
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2 and all("File too large); training goes on" in line for line in warnings)
    assert [row["iteration"] for row in metrics.read(run)] == list(range(1, 9))
    events = EventAccumulator(str(run.path)).Reload()
    assert [event.step for event in events.Scalars("Leader/return")] == list(range(10, 90, 10))


def test_decisions_that_cannot_be_written_are_reported_once(tmp_path, capsys):
    run = RunFolder.create(tmp_path, "toy", {}, {})
    writer = MetricsWriter(run)
    (run.path / "decisions.jsonl").mkdir()
    for count in (1, 2):
        writer.write_decisions([{"block": block} for block in range(count)])
    assert capsys.readouterr().err.count("warning: decisions.jsonl failed") == 1
    (run.path / "decisions.jsonl").rmdir()
    writer.write_decisions([{"block": 0}, {"block": 1}])
    assert (run.path / "decisions.jsonl").read_text() == '{"block": 0}\n{"block": 1}\n'


def test_a_checkpoint_without_room_is_one_line_and_leaves_the_last_one(tmp_path):
    assert toy_train.finish(toy_train.start(tmp_path, 2)) == 0
    (run,) = find_runs(tmp_path)
    before = checkpoint.latest(run).read_bytes()
    assert toy_train.finish(toy_train.start(tmp_path, 4, disk_of_8000_bytes_a_file)) == 1
    (line,) = toy_train.printed(tmp_path, "err.txt").splitlines()
    assert line.startswith("error: cannot write checkpoint") and line.endswith("earlier checkpoints are intact")
    assert checkpoint.latest(run).read_bytes() == before
    assert [path.name for path in run.checkpoints.iterdir()] == ["agent_2.pt"]
    assert [row["iteration"] for row in metrics.read(run)] == [1, 2, 3, 4]
    # with room again it goes on where the checkpoint is
    assert toy_train.finish(toy_train.start(tmp_path, 4)) == 0
    assert checkpoint.load(checkpoint.latest(run))["iteration"] == 4
    assert [row["iteration"] for row in metrics.read(run)] == [1, 2, 3, 4]


def test_preparing_a_resume_without_room_is_one_line(tmp_path):
    run = RunFolder.create(tmp_path, "toy", {}, {})
    run.metrics_file.write_text("".join(f'{{"iteration": {k}}}\n' for k in range(1, 100)))
    before = run.metrics_file.read_text()
    with no_file_above(100), pytest.raises(TrainingError, match=r"cannot write in .*; its checkpoints are intact"):
        session.rewind(run, {"iteration": 50, "best": None})
    assert run.metrics_file.read_text() == before


def test_a_run_folder_that_vanishes_is_made_again_with_the_next_checkpoint(tmp_path):
    process = toy_train.start(tmp_path, 60, pause_s=0.004, checkpoint_interval=10, keep_checkpoints=1)
    toy_train.wait_for(lambda: find_runs(tmp_path), process)
    (run,) = find_runs(tmp_path)
    papers = run.papers()
    run.path.rename(tmp_path / "gone")  # at once, whatever is being written
    shutil.rmtree(tmp_path / "gone")
    assert toy_train.finish(process) == 0
    (again,) = find_runs(tmp_path)
    assert again.path == run.path and again.papers() == papers and len(papers) == 3
    errors = toy_train.printed(tmp_path, "err.txt")
    assert "had vanished; it was made again" in errors and "Traceback" not in errors
    assert checkpoint.load(checkpoint.latest(run))["iteration"] == 60
    rows = [row["iteration"] for row in metrics.read(run)]
    assert rows == list(range(rows[0], 61)) and rows[0] > 1


def test_a_run_that_fails_before_its_first_iteration_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError):
        run = RunFolder.create(tmp_path, "toy", {}, {"env": "", "agent": ""})
        with run.dropped_if_nothing_came_of_it():
            MetricsWriter(run)
            raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_run_that_did_something_stays(tmp_path):
    run = RunFolder.create(tmp_path, "toy", {}, {})
    with pytest.raises(KeyError), run.dropped_if_nothing_came_of_it():
        checkpoint.save(run.checkpoints / "agent_0.pt", {"weight": torch.zeros(1)})
        raise KeyError
    assert (run.checkpoints / "agent_0.pt").exists()
