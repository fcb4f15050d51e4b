import getpass
import os
import pwd
import tempfile

import pytest

from sapg_isaaclab import account


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No variable that names the user, a home or a cache; temporary files go to a folder of the test."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME", *account.CACHES):
        monkeypatch.setenv(name, "")  # so that what is set here is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"sapg_isaaclab_{os.getuid()}"


def test_a_user_that_the_system_does_not_know_gets_a_name_and_a_home(bare, monkeypatch):
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    account.complete()
    assert getpass.getuser() == f"user{os.getuid()}"
    assert os.path.expanduser("~") == str(bare) and bare.stat().st_mode & 0o777 == 0o700
    assert all(os.environ[name].startswith(str(bare)) for name in account.CACHES)


def test_a_home_that_is_not_there_is_left_alone_but_for_caches(bare, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent/home")
    monkeypatch.setenv("USER", "me")
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    account.complete()
    assert os.environ["HOME"] == "/nonexistent/home" and os.environ["USER"] == "me"
    assert os.environ["MPLCONFIGDIR"] == "/mine" and os.environ["WARP_CACHE_PATH"] == str(bare / "warp_cache_path")


def test_an_ordinary_account_is_left_as_it_is(bare, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "me")
    before = dict(os.environ)
    account.complete()
    assert dict(os.environ) == before and not bare.exists()


def test_no_place_for_temporary_files_is_no_trouble(bare, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent/home")

    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    account.complete()
    assert "WARP_CACHE_PATH" not in os.environ
