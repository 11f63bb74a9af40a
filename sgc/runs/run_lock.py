"""One process for each run folder: a lock file that names the process that trains there.

The system releases the lock when the process ends, in any way. A killed process leaves a file that is not locked.
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
except ImportError:  # only Unix has it
    fcntl = None  # type: ignore[assignment]

NAME = "train.lock"
PATIENCE = 1.0  # seconds that the process which took the lock has to write its record
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # from file systems without locks


class LockRecord(Versioned):
    """Which process holds a folder, on which machine, and since when."""

    process: Some
    machine: str
    since: str


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Lock a run folder for the block; folders that are created for it, and are empty at the end, are removed again.

    Gives whether a killed process had left its lock there. Raises: UsageError if another process holds the lock, or if
    the path is not a folder or the file not a lock; RunError if the disk refuses.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, wanted a folder for the run")
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise RunError(f"{problem.filename}: {problem.strerror}; nothing is written yet") from None
    try:
        path = folder / NAME
        left = path.exists()
        try:
            file = _take(path)
        except OSError as problem:
            raise RunError(f"{path}: {problem.strerror}; nothing of the run is touched") from None
        try:
            yield left
        finally:
            with suppress(OSError):
                path.unlink()
            os.close(file)
    finally:
        with suppress(OSError):  # a folder that is not empty stays
            for created_folder in created:
                created_folder.rmdir()


def _take(path: Path) -> int:
    """Take the lock, and write this process into it; give the file descriptor. Raises: UsageError."""
    while True:
        file = _open(path)
        try:
            if not _lock(file, path):
                raise UsageError(_holder_words(path))
            if not _is_at(file, path):  # its holder removed it after we opened it and before we locked it
                os.close(file)
                continue
            if os.fstat(file).st_size and _read(path) is None:
                raise UsageError(f"{path}: is not the lock of a run: move it, or take another folder")
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
            raise  # the disk refuses
        raise UsageError(f"{path}: cannot be used as the lock of the folder ({problem.strerror})") from None


def _lock(file: int, path: Path) -> bool:
    """Lock an open file, and tell whether that succeeded; warn if the system has no locks."""
    problem = "this system has no locks"
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError as fault:
            if fault.errno not in WITHOUT_LOCKS:
                raise
            problem = str(fault.strerror)
    text = f"{path.parent}: cannot be locked ({problem}): make sure that no other process trains in it"
    warnings.warn(text, stacklevel=2)
    return True


def _is_at(file: int, path: Path) -> bool:
    """Tell whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _read(path: Path) -> LockRecord | None:
    """Read which process holds the lock; None if that cannot be read."""
    try:
        return LockRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _holder_words(path: Path) -> str:
    """Say which process holds a folder, and what to do."""
    end = time.monotonic() + PATIENCE
    while (holder := _read(path)) is None and time.monotonic() < end:
        time.sleep(0.01)
    who = "another process" if holder is None else f"process {holder.process} on {printable(holder.machine)}"
    since = "" if holder is None else f" since {printable(holder.since)}"
    return f"{path.parent}: {who} is training in it{since}: wait for it to end, or stop it"
