"""Whoever reads a run's output may go away, stop reading, or have no room: training goes on to its end."""

import fcntl
import io
import os
import time

import pytest

import toy_train
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs
from sapg_isaaclab.streams import Forgiving, UnfailingFile


def closed_pipe():
    """Both streams lead into a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.dup2(writer, 1), os.dup2(writer, 2)
    os.close(reader), os.close(writer)


def full_pipe():
    """Both streams lead into a pipe whose reader has stopped reading."""
    _, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    os.dup2(writer, 1), os.dup2(writer, 2)


def no_streams():
    """``train <&- >&- 2>&-``"""
    for descriptor in (0, 1, 2):
        os.close(descriptor)


def full_device():
    """A log on a full disk."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1), os.dup2(full, 2)


def lost_terminal():
    """A terminal that has gone: its other end is closed."""
    ours, theirs = os.openpty()
    os.dup2(theirs, 1), os.dup2(theirs, 2)
    os.close(ours)


@pytest.mark.parametrize("prepare", [closed_pipe, full_pipe, no_streams, full_device, lost_terminal])
def test_training_goes_on_and_writes_all_checkpoints(tmp_path, prepare):
    # one line in five seconds is printed otherwise: here every iteration may fail
    process = toy_train.start(tmp_path, 6, prepare, checkpoint_interval=2, keep_checkpoints=0)
    assert toy_train.finish(process) == 0
    (run,) = find_runs(tmp_path)
    assert list(checkpoint.numbered(run)) == [2, 4, 6]
    assert len(metrics.read(run)) == 6


def test_a_reader_that_leaves_in_the_middle_costs_nothing(tmp_path):
    reader, writer = os.pipe()
    before = os.dup(1)
    text = io.TextIOWrapper(io.BufferedWriter(UnfailingFile(writer)), line_buffering=True)
    print("one", file=text)
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    print("two", file=text, flush=True)
    text.close()
    os.close(writer), os.close(before)


def test_a_reader_that_stops_is_waited_for_once_and_heard_again(tmp_path):
    reader, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    file = UnfailingFile(writer, patience_s=0.2)
    began = time.monotonic()
    assert file.write(b"x" * (room + 100)) == room + 100  # the rest is dropped
    first = time.monotonic() - began
    for _ in range(20):
        file.write(b"dropped")
    assert 0.2 <= first < 1.0 and time.monotonic() - began < first + 0.2
    os.read(reader, room)
    file.write(b"again")
    assert os.read(reader, room).endswith(b"again")
    os.close(reader), os.close(writer)


def test_a_forgiving_stream_swallows_what_cannot_be_written():
    closed = io.StringIO()
    stream = Forgiving(closed)
    stream.write("one")
    assert closed.getvalue() == "one"
    closed.close()
    assert stream.write("two") == 3
    stream.flush()
