"""One process a run folder: a lock that names the process that trains there, and goes with it.

The system frees it with the process, however that ends. What a kill leaves is a file that nobody holds.
"""

from __future__ import annotations

import errno
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from sgc.data.record import Some, Versioned
from sgc.errors import RunError, UsageError, check_run_file, printable

try:
    import fcntl
except ImportError:  # there is none but on Unix
    fcntl = None  # type: ignore[assignment]

NAME = "train.lock"
PATIENCE = 1.0  # s, until whoever took the lock has written who it is
UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # file systems that know no locks


class LockRecord(Versioned):
    """Which process holds a folder, on which machine, and since when."""

    process: Some
    machine: str
    since: str


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a run folder while inside; folders that are made for it, and are empty at the end, go again.

    Gives whether a lock was left there, by a process that was killed. Raises: UsageError where another process holds
    it, or where what stands there is no folder or no lock; RunError where the disk refuses.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, wanted a folder for the run")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise RunError(f"{problem.filename}: {problem.strerror}; nothing is written yet") from None
    try:
        path = folder / NAME
        left = path.exists()
        try:
            held = _take(path)
        except OSError as problem:
            raise RunError(f"{path}: {problem.strerror}; nothing of the run is touched") from None
        try:
            yield left
        finally:
            with suppress(OSError):
                path.unlink()
            os.close(held)
    finally:
        with suppress(OSError):  # what is not empty stays
            for each in made:
                each.rmdir()


def _take(path: Path) -> int:
    """Take the lock, and write into it who has it; give its file. Raises: UsageError."""
    while True:
        file = _open(path)
        try:
            if not _is_free(file, path):
                raise UsageError(_told(path))
            if not _is_at(file, path):  # whoever had it took it away between our opening and our taking it
                os.close(file)
                continue
            known = _read(path)
            if known is None and os.fstat(file).st_size:
                raise UsageError(f"{path}: is no lock of a run: move it, or take another folder")
            record = LockRecord(
                process=os.getpid(),
                machine=socket.gethostname(),
                since=datetime.now().astimezone().isoformat(" ", "seconds"),
            )
            os.ftruncate(file, 0)
            os.pwrite(file, record.model_dump_json().encode(), 0)
            return file
        except BaseException:
            os.close(file)
            raise


def _open(path: Path) -> int:
    check_run_file(path)
    try:
        return os.open(
            path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o644
        )
    except OSError as problem:
        if problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
            raise  # the disk refuses, whatever stands there
        raise UsageError(f"{path}: cannot be made to hold the folder ({problem.strerror})") from None


def _is_free(file: int, path: Path) -> bool:
    """Take the lock of an open file, if nobody has it; where there are no locks, say so."""
    problem = "this system has no locks"
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError as fault:
            if fault.errno not in UNKNOWN:
                raise
            problem = str(fault.strerror)
    text = f"{path.parent}: cannot be held against another process ({problem}): see that none trains in it too"
    warnings.warn(text, stacklevel=2)
    return True


def _is_at(file: int, path: Path) -> bool:
    """Tell whether an open file still stands at its path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _read(path: Path) -> LockRecord | None:
    """Read who holds the lock; None where it is not written there."""
    try:
        return LockRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _told(path: Path) -> str:
    """Say who holds a folder."""
    end = time.monotonic() + PATIENCE
    found = _read(path)
    while found is None and time.monotonic() < end:
        time.sleep(0.01)
        found = _read(path)
    who = "another process" if found is None else f"process {found.process} on {printable(found.machine)}"
    since = "" if found is None else f" since {printable(found.since)}"
    return f"{path.parent}: {who} is training in it{since}: let it end, or stop it"
