"""Writing files so that neither a crash nor a full disk leaves a part of one."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

_NO_RENAME = (errno.EEXIST, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

_LONGEST_BACKLOG = 2**24
"""Bytes that a file which cannot be written keeps for later; then the oldest records go."""


def write_atomically(path: pathlib.Path, content: str | bytes | Callable[[BinaryIO], None]) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one, never a part.

    Args:
        path: The file.
        content: Its new content, or what writes it into an open file.

    Raises:
        OSError: If it cannot be written; the old file stays.
    """
    temporary = unfinished(path)
    try:
        with open(temporary, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            with _tolerating(_NO_SYNC):
                os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    with contextlib.suppress(OSError):  # the new name, too, shall outlive a power cut
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def unfinished(path: pathlib.Path) -> pathlib.Path:
    """Where a file is written until it is whole; :func:`remove_leftovers` finds what a killed process left there.

    Args:
        path: The file.

    Returns:
        A hidden file beside it, of this process alone.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _replace(temporary: pathlib.Path, path: pathlib.Path) -> None:
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        # some network and object stores cannot rename, or not over an existing file
        shutil.copyfile(temporary, path)


@contextlib.contextmanager
def _tolerating(codes: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise


def try_folder(folder: pathlib.Path) -> None:
    """Find out whether files can be made in a folder, by making one beside everything else and removing it.

    Only trying tells: permissions say nothing to root, and some places take no files whatever they say.

    Args:
        folder: The folder; it need not exist yet, nor those above it.

    Raises:
        OSError: If no file can be made there; it names the nearest folder that exists.
    """
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    attempt = existing / f".try.{os.getpid()}.{threading.get_ident()}.tmp"  # many may try at a time
    try:
        attempt.mkdir()
        inside = attempt / folder.relative_to(existing)
        inside.mkdir(parents=True, exist_ok=True)
        (inside / "file").touch()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(existing)) from error
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


def try_file(path: pathlib.Path) -> None:
    """Find out whether :func:`write_atomically` can write a file; nothing of the attempt stays.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot.
    """
    try_folder(unfinished(path))  # the longer of the two names


def remove_leftovers(folder: pathlib.Path) -> None:
    """Delete what a killed process had begun to write.

    Args:
        folder: A folder that no other process writes in now.
    """
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


class GrowingFile:
    """A file that grows by whole records. What cannot be written now is written with a later record."""

    def __init__(self, path: pathlib.Path) -> None:
        """Open the file; what it holds stays.

        Args:
            path: The file.

        Raises:
            OSError: If it cannot be opened.
        """
        self.path = path
        self._waiting: list[bytes] = []
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115, closed by close()

    def append(self, record: bytes) -> None:
        """Write a record, and before it those that could not be written.

        Args:
            record: The bytes.

        Raises:
            OSError: If it cannot be written now. The file ends with a whole record.
        """
        self._waiting.append(record)
        while sum(map(len, self._waiting)) > _LONGEST_BACKLOG:
            del self._waiting[0]
        self._write()

    def _write(self) -> None:
        self._reopen_if_gone()
        size = os.fstat(self._file.fileno()).st_size
        rest = memoryview(b"".join(self._waiting))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            os.ftruncate(self._file.fileno(), size)
            raise
        self._waiting = []

    def _reopen_if_gone(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno())):
                return
        file = open(self.path, "ab", buffering=0)  # noqa: SIM115, closed by close()
        self._file.close()
        self._file = file

    def close(self) -> None:
        """Write what is left and close the file.

        Raises:
            OSError: If something cannot be written.
        """
        try:
            if self._waiting:
                self._write()
        finally:
            self._file.close()
