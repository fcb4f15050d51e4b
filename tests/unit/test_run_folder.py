"""Run folders on unusual machines: clocks, file systems, names."""

import datetime
import errno
import os
import time

import pytest

from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs import checkpoint, run_folder
from sapg_isaaclab.runs.files import remove_leftovers, write_atomically
from sapg_isaaclab.runs.run_folder import RunFolder, find_runs


def make(root, name="toy"):
    run = RunFolder.create(root, name, {"task": "Toy"}, {"env": "{}\n", "agent": "{}\n"})
    checkpoint.save(run.checkpoints / "agent_1.pt", {"iteration": 1})
    return run


def test_latest_is_the_last_that_was_started_also_after_the_clock_was_put_back(tmp_path, monkeypatch):
    real, shift = datetime.datetime, datetime.timedelta()

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return real.now(tz) + shift

    monkeypatch.setattr(run_folder.datetime, "datetime", Clock)
    first = make(tmp_path)
    shift = datetime.timedelta(days=-400)
    second, third = make(tmp_path), make(tmp_path)
    assert [run.path for run in find_runs(tmp_path)] == [third.path, second.path, first.path]


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("SAPG-AllegroKuka-Regrasp", "allegro_kuka_regrasp"),
        ("Isaac-Cartpole-Direct", "isaac_cartpole_direct"),
        ("mytasks:My-Task", "my_task"),
    ],
)
def test_all_runs_of_a_task_lie_in_a_folder_of_its_name(task, folder):
    assert run_folder.experiment_name(task, None) == folder


def test_runs_that_start_in_one_second_have_folders_of_their_own_in_order(tmp_path):
    runs = [make(tmp_path) for _ in range(12)]
    assert len({run.path for run in runs}) == 12
    assert [run.path for run in find_runs(tmp_path)] == [run.path for run in reversed(runs)]


def test_names_with_blanks_and_umlauts_and_umask_077(tmp_path):
    before = os.umask(0o077)
    try:
        run = make(tmp_path / "Läufe von Jürgen Groß", "训练 1")
    finally:
        os.umask(before)
    assert checkpoint.resolve("latest", tmp_path / "Läufe von Jürgen Groß").parent == run.checkpoints
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert run.manifest()["task"] == "Toy"


def test_a_folder_that_cannot_be_completed_does_not_stay(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "write_atomically", fail)
    with pytest.raises(InputError, match=r"cannot write the log folder .*: No space left on device; choose another"):
        RunFolder.create(tmp_path / "logs", "toy", {}, {"env": ""})
    assert not list((tmp_path / "logs").iterdir())


@pytest.mark.parametrize("code", [errno.EPERM, errno.EEXIST, errno.ENOSYS])
def test_a_file_system_that_cannot_rename_still_takes_files(tmp_path, monkeypatch, code):
    def no_rename(*_):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "latest"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", no_rename)
    write_atomically(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_file_system_that_cannot_sync_still_takes_files(tmp_path, monkeypatch):
    def no_sync(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", no_sync)
    write_atomically(tmp_path / "latest", "new")
    assert (tmp_path / "latest").read_text() == "new"


def test_times_of_files_decide_nothing(tmp_path):
    first, second = make(tmp_path), make(tmp_path)
    for path in first.path.rglob("*"):
        os.utime(path, (time.time() + 1e6,) * 2)  # as after a copy, or where times are whole seconds
    assert checkpoint.resolve("latest", tmp_path).parent == second.checkpoints


def test_what_a_killed_process_had_begun_goes(tmp_path):
    run = make(tmp_path)
    (run.checkpoints / ".agent_2.pt.123.tmp").write_bytes(b"half")
    remove_leftovers(run.checkpoints)
    assert [path.name for path in run.checkpoints.iterdir()] == ["agent_1.pt"]
