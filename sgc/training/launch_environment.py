"""Which process of a training this is, as torchrun, srun or `sgc train --devices` says in the environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sgc.errors import UsageError

FIRST_PORT, PORTS = 20_000, 20_000  # of jobs of SLURM, which say no port


@dataclass(frozen=True)
class Launched:
    """One of several processes that train together.

    rank: its number of all, from 0. local_rank: its number on its machine. url: where they meet, see torch's
    `init_method`. restarts: how often they have been started anew.
    """

    rank: int
    size: int
    local_rank: int
    url: str
    restarts: int = 0


def launched(environment: Mapping[str, str] | None = None) -> Launched | None:
    """Read the environment; None for a process that trains alone. Raises: UsageError for one that says half.

    >>> launched({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "9"}).url
    'env://'
    >>> launched({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "20007",
    ...     "SLURM_STEP_NODELIST": "gpu[07-08,11]"})
    Launched(rank=3, size=4, local_rank=1, url='tcp://gpu07:20007', restarts=0)
    """
    known = os.environ if environment is None else environment
    if "RANK" in known and "WORLD_SIZE" in known:  # torchrun, and whatever speaks as it does
        size = _number(known, "WORLD_SIZE")
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in known]
        if size > 1 and missing:
            raise UsageError(f"the environment has RANK and WORLD_SIZE={size}, and no {' and no '.join(missing)}")
        rank = _number(known, "RANK")
        local = _number(known, "LOCAL_RANK") if "LOCAL_RANK" in known else rank
        restarts = _number(known, "TORCHELASTIC_RESTART_COUNT") if "TORCHELASTIC_RESTART_COUNT" in known else 0
        return _checked(Launched(rank, size, local, "env://", restarts))
    # of a step of srun alone: a batch script has SLURM_PROCID and SLURM_NTASKS, and is one process
    if "SLURM_STEP_NUM_TASKS" in known and "SLURM_PROCID" in known:
        host = known.get("MASTER_ADDR") or first_host(known.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        port = _number(known, "MASTER_PORT") if "MASTER_PORT" in known else FIRST_PORT + _job(known) % PORTS
        size, rank = _number(known, "SLURM_STEP_NUM_TASKS"), _number(known, "SLURM_PROCID")
        return _checked(Launched(rank, size, _number(known, "SLURM_LOCALID"), f"tcp://{host}:{port}"))
    return None


def _checked(found: Launched) -> Launched | None:
    if not 0 <= found.rank < found.size:
        raise UsageError(f"the environment says that this is process {found.rank} of {found.size}, counted from 0")
    return found if found.size > 1 else None


def _job(known: Mapping[str, str]) -> int:
    return _number(known, "SLURM_JOB_ID") if "SLURM_JOB_ID" in known else 0


def _number(known: Mapping[str, str], name: str) -> int:
    text = known.get(name, "")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"the environment has {name}={text!r}, wanted a whole number")
    return int(text)


def first_host(hosts: str) -> str:
    """Give the first machine of a list as SLURM writes it.

    >>> first_host("node[004-006,9]"), first_host("login,node1"), first_host("a[2]b[01-03]-x")
    ('node004', 'login', 'a2b01-x')
    """
    chosen = re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", hosts)
    return re.split(r",", chosen)[0]


ALONE = (  # the names that a process does not hand on to others which train by themselves
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),
)


def import_path() -> dict[str, str]:
    """Give what a process is started with so that it imports nothing from the working folder, unless this one does.

    `python -m` and `-c` look there first, and its files may be a stranger's.
    """
    here = os.path.realpath("") in map(os.path.realpath, sys.path)
    return {} if here else {"PYTHONSAFEPATH": "1"}


@contextmanager
def importing_as_here() -> Iterator[None]:
    """Have processes that start inside import nothing from the working folder, unless this one does."""
    before = dict(os.environ)
    os.environ.update(import_path())
    try:
        yield
    finally:
        for name in import_path().keys() - before.keys():
            del os.environ[name]
