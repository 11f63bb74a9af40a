"""How processes add a vector up, each step: in memory that they share, where they can, or by sending it.

Processes of one machine that compute on the CPU share memory. Each writes its vector there, adds up its part of all
vectors, and takes over the whole sum, so that no copy goes through sockets. They wait for each other by torch's own
exchange of one number, so that the end of a process is noticed as everywhere.
"""

from __future__ import annotations

import mmap
import os
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress

import torch
from torch import Tensor

from sgc.training.processes import Processes

MOST = 1 << 30  # bytes that the processes of a machine share; what is larger is sent
TOKEN = 32  # bytes at the start, by which a process knows that it has the same memory


class ProcessSum(ABC):
    """Adds up a vector over all processes.

    own: (size,), what this process writes before. total: (size,), the sum afterwards, which is this process's alone.
    """

    own: Tensor
    total: Tensor

    @abstractmethod
    def add_up(self, count: int) -> None:
        """Put the sum of the first numbers of `own` over all processes into `total`. Raises: ProcessLost."""


class SentSum(ProcessSum):
    """A vector that torch sends to the others; `total` takes the place of `own`."""

    def __init__(self, processes: Processes, own: Tensor) -> None:
        self._processes = processes
        self.own = self.total = own

    def add_up(self, count: int) -> None:
        """Put the sum over all processes into `total`."""
        self._processes.sum(self.own[:count])


class MemorySum(ProcessSum):
    """A vector in memory that all processes share."""

    def __init__(self, processes: Processes, shared: Tensor) -> None:
        """Add up in shared: (processes + 1, size), the vector of each process, and the sum."""
        self._processes = processes
        self._vectors, self._sum = shared[:-1], shared[-1]
        self.own = self._vectors[processes.rank]
        self.total = torch.empty_like(self._sum)
        self._arrived = torch.zeros(1)

    def add_up(self, count: int) -> None:
        """Put the sum over all processes into `total`, added in the order of their ranks."""
        rank, size = self._processes.rank, self._processes.size
        part = slice(count * rank // size, count * (rank + 1) // size)
        first, second, *others = self._vectors[:, part].unbind(0)
        self._wait()  # all vectors are there; and all have read the last sum
        torch.add(first, second, out=self._sum[part])
        for other in others:
            self._sum[part] += other
        self._wait()  # all parts are added up; and all vectors may be written anew
        self.total[:count].copy_(self._sum[:count])

    def _wait(self) -> None:
        self._processes.sum(self._arrived)


def process_sum(processes: Processes, size: int, like: Tensor, most: int = MOST) -> ProcessSum:
    """Give what adds up vectors of so many numbers, of the type and on the device of another; all call it together.

    most: bytes that the processes of a machine may share.
    """
    wanted = (processes.size + 1) * size * like.element_size()
    if like.device.type == "cpu" and not processes.alone and wanted <= most:
        shared = _shared(processes, wanted)
        if shared is not None:
            return MemorySum(processes, torch.frombuffer(shared, dtype=like.dtype, offset=TOKEN).view(-1, size))
    return SentSum(processes, like.new_zeros(size))


def _shared(processes: Processes, size: int) -> mmap.mmap | None:
    """Give memory that all processes have, or None to each where one cannot have it.

    It has no name in any file system, and goes with the last process, however that ends.
    """
    own = -1
    try:
        if processes.leads and hasattr(os, "memfd_create"):
            with suppress(OSError):
                own = os.memfd_create("sgc", os.MFD_CLOEXEC)
                os.posix_fallocate(own, 0, TOKEN + size)  # or a write would kill a process where there is none left
                os.pwrite(own, secrets.token_bytes(TOKEN), 0)
        place = processes.from_leader(lambda: (os.getpid(), own, os.pread(own, TOKEN, 0) if own >= 0 else b""))
        memory = _opened(*place, TOKEN + size)
        every = processes.of_all(memory is not None)  # after which the leader may close it
    finally:
        if own >= 0:
            os.close(own)
    return memory if all(every) else None


def _opened(process: int, descriptor: int, token: bytes, size: int) -> mmap.mmap | None:
    """Open the memory of another process of this machine; None where it is of another machine, or out of reach."""
    try:
        opened = os.open(f"/proc/{process}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        same = os.fstat(opened).st_size == size and os.pread(opened, TOKEN, 0) == token
        return mmap.mmap(opened, size) if same else None
    except OSError:
        return None
    finally:
        os.close(opened)
