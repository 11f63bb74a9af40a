"""Where the samples of a tar file are: the heads of its members, read once, and members read at their places."""

from __future__ import annotations

import hashlib
import re
import tarfile
from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO

import numpy as np

from sgc.data.columns import Rows
from sgc.data.shards import Shard
from sgc.errors import DataError

KEY = "__key__"  # the column of the samples' keys
MOST = 16 << 20  # bytes that are read at once
GAP = 1 << 16  # bytes that are read along rather than skipped
_JSON = re.compile(r"((?:.*\.)?json)\.(.+)")


@dataclass(frozen=True)
class Member:
    """What a column is in a sample: the endings that it may have, and, of JSON, the key."""

    endings: tuple[str, ...]
    key: str | None = None

    @classmethod
    def of(cls, column: str) -> Member:
        found = _JSON.fullmatch(column)
        return cls((found[1],), found[2]) if found else cls(tuple(column.split(";")))

    @property
    def kind(self) -> str:
        """The last ending, which says how a member is decoded."""
        return self.endings[0].rpartition(".")[2].lower()


@dataclass(frozen=True)
class Index:
    """Where the members of a file's samples are: by column, `(n, 2)` of offset and size, which is -1 where none is.

    `digest` is of all heads.
    """

    samples: int
    places: Mapping[str, Rows]
    digest: str
    endings: Collection[str]


def split_name(name: str) -> tuple[str, str]:
    """Split the name of a member into its sample's key, up to the first dot of the file's name, and its ending.

    >>> split_name("birds/0001.seg.png")
    ('birds/0001', 'seg.png')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending


def read_index(shard: Shard, members: Mapping[str, Member]) -> Index:
    """Read the heads of a tar file. Raises: DataError."""
    by_ending: dict[str, list[str]] = {}
    for name, member in members.items():
        for ending in member.endings:
            by_ending.setdefault(ending, []).append(name)
    places = {name: array("q") for name in [*members, KEY]}  # offset and size of each sample in turn
    endings: dict[str, None] = {}
    hashed, key, samples = hashlib.blake2b(digest_size=16), None, 0
    with shard.opened() as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (head := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every head
                    if not head.isreg():
                        continue
                    if head.issparse():  # whose bytes lie elsewhere
                        raise DataError(f"the member '{head.name}' is sparse, which is not read", file=shard.name)
                    own, ending = split_name(head.name)
                    if not ending or own.rpartition("/")[2].startswith((".", "_")):
                        continue
                    if own != key:
                        key, samples = own, samples + 1
                        for name, numbers in places.items():
                            numbers.extend((head.offset if name == KEY else 0, -1))
                    endings[ending] = None
                    hashed.update(f"{head.name} {head.size} {head.offset}\n".encode())
                    for name in by_ending.get(ending, ()):
                        places[name][-2], places[name][-1] = head.offset_data, head.size
                end = archive.offset
            file.seek(end)
            mark = file.read(tarfile.BLOCKSIZE)
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            zipped = " (a packed one: unpack it, so that samples can be found)" if _packed(shard) else ""
            words = "heads of heads without end" if isinstance(error, RecursionError) else error
            message = f"not a tar file{zipped}, or one that is cut short or damaged: {words}"
            raise DataError(message, file=shard.name) from error
    if len(mark) < tarfile.BLOCKSIZE or mark.strip(b"\0"):
        raise DataError("the tar file is cut short or damaged: found no mark of its end", file=shard.name)
    arrays = {name: np.array(numbers, dtype=np.int64).reshape(-1, 2) for name, numbers in places.items()}
    return Index(samples, arrays, hashed.hexdigest(), list(endings))


def _packed(shard: Shard) -> bool:
    return shard.name.lower().endswith((".gz", ".tgz", ".zst", ".bz2", ".xz"))


def read_members(file: IO[bytes], places: Rows, shard: Shard) -> list[bytes | None]:
    """Read members at these places, `(n, 2)` of offset and size, in few readings. Raises: DataError."""
    contents: list[bytes | None] = [None] * len(places)
    there = np.flatnonzero(places[:, 1] >= 0)
    order = there[np.argsort(places[there, 0], kind="stable")]
    place = 0
    while place < len(order):
        start = end = int(places[order[place], 0])
        first = place
        while place < len(order) and int(places[order[place], 0]) - end <= GAP:
            end = int(places[order[place]].sum())
            place += 1
            if end - start > MOST:
                break
        file.seek(start)
        run = file.read(end - start)
        if len(run) < end - start:
            raise DataError("the tar file is cut short", file=shard.name)
        for row in order[first:place].tolist():
            offset, size = places[row].tolist()
            contents[row] = run[offset - start : offset - start + size]
    return contents
