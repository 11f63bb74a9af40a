"""Starts the processes of a training, by torch's elastic agent, and ends as they do."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import uuid
from collections.abc import Sequence

from sgc.errors import Interrupted, ProcessLost, UsageError, option
from sgc.training.launch_environment import importing_as_here

INTERRUPTED = 130  # the exit status of a training that was asked to stop


def launch(words: Sequence[str], *, devices: int, nodes: int = 1, meeting: str | None = None) -> int:
    """Run a command of sgc in so many processes on each of so many machines; give its exit status.

    meeting: HOST:PORT of the first machine, at which those of several meet. Raises: UsageError, Interrupted.
    """
    if nodes > 1 and meeting is None:
        flags = f"{option('nodes', str(nodes))} without {option('rendezvous')}"
        raise UsageError(f"{flags}: give HOST:PORT of the first machine, and the same command on all of them")
    if meeting is not None:
        _check_meeting(meeting)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes say it in words
    alone = nodes == 1 and meeting is None
    share = max(1, len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share // devices)))
    if alone:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=devices,
        run_id=uuid.uuid4().hex if alone else "sgc",
        rdzv_backend="c10d",
        rdzv_endpoint=meeting or "127.0.0.1:0",
        local_addr="127.0.0.1" if alone else None,
        max_restarts=0,
        monitor_interval=0.2,
    )
    own, theirs = socket.socketpair()  # whose end the processes notice, however this one dies
    os.dup2(theirs.fileno(), 0, inheritable=True)
    try:
        with importing_as_here():
            elastic_launch(config, sys.executable)("-m", "sgc.cli.attached_command", *words)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0 and not _told(own):
            name = signal.Signals(-failure.exitcode).name
            words = f"process {rank} of {devices * nodes}, counted from 0, was ended by {name}"
            raise ProcessLost(
                f"{words}; what was written is whole, and {option('resume', '-')} goes on from it"
            ) from None
        return max(1, failure.exitcode)
    except RendezvousError as problem:
        words = f"the machines do not meet at {config.rdzv_endpoint} ({problem})"
        raise UsageError(f"{words}: give the same command on all of them, and let them reach that port") from None
    except SignalException as stopped:
        if stopped.sigval in (signal.SIGINT, signal.SIGTERM):
            return INTERRUPTED  # which the processes have said
        raise Interrupted(f"stopped by {stopped.sigval.name}") from None
    finally:
        own.close()
        theirs.close()
    return 0


def _told(own: socket.socket) -> bool:
    """Tell whether any process has said why it ends: one that is stopped as it starts has not."""
    own.setblocking(False)
    try:
        return bool(own.recv(1))
    except BlockingIOError:
        return False


def _check_meeting(meeting: str) -> None:
    """Check that HOST:PORT is written as one, and that the host is known. Raises: UsageError."""
    flag = option("rendezvous", meeting)
    named = re.fullmatch(r"\[?([\w.:-]+?)\]?:([0-9]{1,5})", meeting)
    if not named or not 0 < int(named[2]) < 1 << 16:
        raise UsageError(f"{flag}: wanted HOST:PORT, as 'node1:29500'")
    try:
        socket.getaddrinfo(named[1], int(named[2]))
    except OSError as problem:  # torch asks for a minute
        words = f"no machine of this name is known here ({problem.strerror or problem})"
        raise UsageError(f"{flag}: {words}: give the first machine by a name or number that all of them know") from None
