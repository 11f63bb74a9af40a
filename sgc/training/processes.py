"""The processes of a training: how they find each other, what they tell each other, and how a fault reaches all.

A fault of one process ends the others: it leaves its words where all can read them and goes; the next exchange of the
others then fails, and they look there.
"""

from __future__ import annotations

import gc
import itertools
import json
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as torch_processes
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sgc.errors import DataError, Fault, Interrupted, ProcessLost, RunError, SpecError, UsageError, option
from sgc.runtime.collectives import all_sum
from sgc.shared_rows import Sharing
from sgc.training.launch_environment import Launched

T = TypeVar("T")

MEETING = timedelta(minutes=10)  # until all processes are there
WAITING = timedelta(minutes=30)  # for the others, as where they read data for longer
ANSWERING = 2.0  # s that the others have to say that they are there, once one is lost
KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (UsageError, RunError, Interrupted, DataError, SpecError)
}


class Processes:
    """One process that trains alone; `Group` is one of several."""

    rank, size, local_rank, restarts = 0, 1, 0, 0
    sharing: Sharing | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes, prints, and holds the run folder."""
        return self.rank == 0

    def from_leader(self, make: Callable[[], T]) -> T:
        """Give to all what the leader makes, which is plain data, pieces of a spec or tensors; or raise its fault."""
        return make()

    def of_all(self, value: T) -> list[T]:
        """Give the values of all processes, by rank."""
        return [value]

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place."""
        return tensor

    def same_weights(self, tensors: list[Tensor]) -> None:
        """Give all the leader's tensors, in place."""

    def words(self, fault: str, common: str) -> str:
        """Give the fault of the first process that has one of its own, other than the `common` one."""
        return fault


class Group(Processes):
    """One of several processes that train together."""

    def __init__(self, found: Launched, store: Store) -> None:
        self.rank, self.size, self.local_rank, self.restarts = found.rank, found.size, found.local_rank, found.restarts
        self.sharing = Sharing(found.rank, found.size)
        self._store = store

    def from_leader(self, make: Callable[[], T]) -> T:
        """Give to all what the leader makes, or raise its fault."""
        made: list[Any] = [make() if self.leads else None]  # a fault of the leader is told by `telling`
        with _answered():
            torch_processes.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        value: T = made[0]
        return value

    def of_all(self, value: T) -> list[T]:
        """Give the values of all processes, by rank."""
        every: list[Any] = [None] * self.size
        with _answered():
            torch_processes.all_gather_object(every, value)
        return every

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place."""
        all_sum(tensor)
        return tensor

    def same_weights(self, tensors: list[Tensor]) -> None:
        """Give all the leader's tensors, in place."""
        with _answered(), torch.no_grad():
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                torch_processes.broadcast(whole, src=0)
                tensor.copy_(whole)

    def words(self, fault: str, common: str) -> str:
        """Give the fault of the first process that has one of its own."""
        self._store.set(f"words/{self.rank}", fault)
        keys = [f"words/{rank}" for rank in range(self.size)]
        with suppress(RuntimeError):
            self._store.wait(keys, timedelta(seconds=10))
        for key in keys:
            with suppress(RuntimeError):
                said = str(self._store.get(key).decode()) if self._store.check([key]) else common
                if said != common:
                    return said
        return fault

    # ---- faults

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell the others of a fault in the block, and give theirs where they are lost. Raises: their fault."""
        try:
            yield
        except ProcessLost as lost:
            raise self._fault_of_others(str(lost)) from None
        except BaseException as problem:
            if _is_of_an_exchange(problem):  # one that torch makes by itself, as for the layers of train.shard
                raise self._fault_of_others(str(problem)) from None
            with suppress(Exception):
                self._store.set("fault", json.dumps(self._plain(problem)))
            if not self.leads:
                _said_by_another(problem)
            raise

    def wait_until_heard(self) -> None:
        """Wait for the others to hear of a fault, for a while: the store may be gone with this process."""
        with suppress(RuntimeError):
            self._store.set(f"heard/{self.rank}", "")
            self._store.wait([f"heard/{rank}" for rank in range(self.size)], timedelta(seconds=ANSWERING))

    def _plain(self, problem: BaseException) -> dict[str, Any]:  # Any: what JSON can say
        kind = next((name for name, known in KINDS.items() if isinstance(problem, known)), "")
        text = str(problem) if kind else f"process {self.rank} of {self.size}: {type(problem).__name__}: {problem}"
        return {"rank": self.rank, "kind": kind or "RunError", "text": text}

    def _fault_of_others(self, torchs: str) -> Exception:
        """Give the fault that another process has told, or say which one has ended; one process says it to the user."""
        if (
            threading.current_thread() is threading.main_thread()
        ):  # torchrun ends the others at once, without their words
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        goes_on = f"the last checkpoint is whole, and {option('resume', '-')} goes on from it"
        gone, speaker = [0], 1  # where the place to ask at went with the process that had it
        with suppress(RuntimeError):
            self._store.set(f"here/{self.rank}", "")
            told = self._told(ANSWERING)
            here = [rank for rank in range(self.size) if self._store.check([f"here/{rank}"])]
            gone, speaker = [rank for rank in range(self.size) if rank not in here], min(here)
            if told:
                speaker = 0 if told["rank"] == 0 else speaker
                return self._spoken(_fault(told), speaker)
        if not gone:
            words = f"the processes cannot reach each other any more ({torchs.splitlines()[0]})"
            return self._spoken(ProcessLost(f"{words}; {goes_on}"), 0)
        who = f"process {gone[0]}" if len(gone) == 1 else f"processes {', '.join(map(str, gone))}"
        words = f"{who} of {self.size}, counted from 0, ended without a word, as one that was killed"
        return self._spoken(ProcessLost(f"{words}; {goes_on}"), speaker)

    def _spoken(self, problem: Exception, speaker: int) -> Exception:
        if self.rank != speaker:
            _said_by_another(problem)
        return problem

    def _told(self, seconds: float) -> dict[str, Any] | None:  # Any: as above
        end = time.monotonic() + seconds
        here = [f"here/{rank}" for rank in range(self.size)]
        while True:
            if self._store.check(["fault"]):
                told: dict[str, Any] = json.loads(self._store.get("fault"))
                self._store.set(f"heard/{self.rank}", "")
                return told
            if time.monotonic() > end or self._store.check(here):
                return None
            time.sleep(0.05)


def _fault(told: dict[str, Any]) -> Exception:  # Any: as above
    kind, text = KINDS.get(told["kind"], RunError), str(told["text"])
    return SpecError([Fault((), text)]) if kind is SpecError else kind(text)


def _is_of_an_exchange(problem: BaseException) -> bool:
    """Tell whether torch says that it does not reach another process."""
    if isinstance(problem, torch_processes.DistError):
        return True
    return type(problem) is RuntimeError and "gloo" in str(problem)


def _said_by_another(problem: BaseException) -> None:
    """Mark a fault that another process says to the user."""
    problem.said_by_another = True  # type: ignore[attr-defined]


@contextmanager
def _answered() -> Iterator[None]:
    """Say of an exchange with the others that fails that one is lost. Raises: ProcessLost."""
    try:
        yield
    except RuntimeError as problem:
        raise ProcessLost(str(problem)) from None


_TRAININGS = itertools.count()  # each has a place of its own in the store, which may outlive it


@cache
def _meeting(found: Launched) -> Store:
    """Give the store at which the processes meet: that of the group which the code around has made, or a new one."""
    if torch_processes.is_initialized():
        made: Store = torch_processes.distributed_c10d._get_default_store()
        return made
    meeting = rendezvous(found.url, rank=found.rank, world_size=found.size, timeout=MEETING)
    store: Store = next(meeting)[0]
    return store


@contextmanager
def together(found: Launched | None, *, gpu: bool) -> Iterator[Processes]:
    """Give the processes of a training for the block, in which all have met. gpu: each computes on one of its own.

    Raises: UsageError where they do not meet.
    """
    if found is None:
        yield Processes()
        return
    own = not torch_processes.is_initialized()
    try:
        # torchrun keeps one store for all starts: what the processes said that are gone must not be heard
        store = PrefixStore(f"sgc/{found.restarts}/{next(_TRAININGS)}", _meeting(found))
        store.set_timeout(WAITING)
        if own:
            torch_processes.init_process_group(
                "cpu:gloo,cuda:nccl" if gpu else "gloo",
                store=PrefixStore("group", store),
                rank=found.rank,
                world_size=found.size,
                timeout=WAITING,
            )
    except (RuntimeError, ValueError) as problem:
        place = found.url if found.url != "env://" else "MASTER_ADDR and MASTER_PORT of the environment"
        words = str(problem).partition("\n")[0]
        raise UsageError(
            f"process {found.rank} of {found.size} does not meet the others at {place} ({words}): start as many on "
            f"all machines together, and let them reach each other"
        ) from None
    group = Group(found, store)
    try:
        with _silent_unless(group.leads), group.telling():
            yield group
            with _answered():
                torch_processes.barrier()  # none goes while another still writes
    except BaseException as problem:
        _leave(own=own)  # by which the others notice
        if not isinstance(problem, ProcessLost):
            group.wait_until_heard()
        raise
    _leave(own=own)


def _leave(*, own: bool) -> None:
    if own:
        gc.collect()  # what holds the group in a cycle of references would end it as Python ends, which C++ aborts
        with suppress(Exception):
            torch_processes.destroy_process_group()


@contextmanager
def _silent_unless(leads: bool) -> Iterator[None]:
    """Leave warnings to the leader, who has the same."""
    with warnings.catch_warnings():
        if not leads:
            warnings.simplefilter("ignore")
        yield
