"""Where something cannot be written is known before anything is made, and the question leaves no trace."""

import json
import os
import pathlib

import pytest

from sapg_isaaclab.commands.evaluation import write_json
from sapg_isaaclab.commands.places import check_file, check_new_file
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.runs.files import try_folder
from sapg_isaaclab.runs.run_folder import RunFolder, check_writable


def everything(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.fixture
def places(tmp_path):
    """Folders, by what is the matter with them."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0o500)
    return {
        "proc": pathlib.Path("/proc/x"),  # root may do everything, but not this
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "logs",
        "long name": tmp_path / ("x" * 256),
        "long name below": tmp_path / "logs" / ("x" * 256),
        "long path": tmp_path.joinpath(*["x" * 100] * 45),
    } | ({"closed": tmp_path / "closed" / "logs"} if os.getuid() else {})


KINDS = ["proc", "file", "below a file", "long name", "long name below", "long path", "closed"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_root_that_cannot_be_is_refused_at_the_door_as_when_it_is_made(kind, places, tmp_path):
    if kind not in places:
        pytest.skip("nothing is closed to root")
    before = everything(tmp_path)
    for refuse in (check_writable, lambda root, name: RunFolder.create(root, name, {}, {})):
        with pytest.raises(InputError, match=r"cannot write the log folder .*; choose another with --log_root FOLDER"):
            refuse(places[kind], "toy")
    assert everything(tmp_path) == before


def test_the_folder_that_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf": Not a directory \({tmp_path}/file\); choose"):
        check_writable(tmp_path / "file" / "logs", "toy")


def test_a_question_leaves_no_trace_whatever_is_there(tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    for folder in (tmp_path, tmp_path / "a" / "b", tmp_path / "dangling", tmp_path / "Läufe = ~ 1"):
        before = everything(tmp_path)
        check_writable(folder, "toy")
        assert everything(tmp_path) == before
    before = os.umask(0o777)  # nobody may do anything in what is made
    try:
        if os.getuid():
            with pytest.raises(PermissionError):
                try_folder(tmp_path / "a")
    finally:
        os.umask(before)


def test_a_file_is_refused_where_it_cannot_be(tmp_path):
    check_file(tmp_path / "figure.png", "--output")
    (tmp_path / "folder").mkdir()
    for path, part in (
        (tmp_path / "folder", "is a folder; name a file in it"),
        (tmp_path / "none" / "x.png", "there is no folder"),
        (pathlib.Path("/proc/x.png"), "cannot write in /proc"),
        (tmp_path / ("x" * 250), "File name too long"),  # the file that is renamed at the end has a longer name
    ):
        with pytest.raises(InputError, match=f"--output {path}.*{part}"):
            check_file(path, "--output")


def test_a_result_is_never_written_over_another(tmp_path):
    path = tmp_path / "result.json"
    check_new_file(path, "--output")
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(InputError, match=r"--output .*result\.json exists and is not overwritten"):
        check_new_file(path, "--output")
    with pytest.raises(InputError, match="no folder"):
        check_new_file(tmp_path / "none" / "result.json", "--output")
