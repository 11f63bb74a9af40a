"""The fingerprint of data, a hash of each row and a digest of each node, by which a run sees whether they changed.

It is made of the cells of the source, before any transform, so that the same cells have the same fingerprint on every
machine and with every version of a library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgc.data.block_store import BlockStore
from sgc.data.columns import Array, Rows, SourceColumn
from sgc.data.large_columns import in_blocks, is_large
from sgc.data.source_columns import Part
from sgc.data.split import Division
from sgc.data.variables import Variable

Hashes: TypeAlias = NDArray[np.uint64]

BLOCK = 1 << 16  # numbers that are hashed at a time
SPACED = 1000  # training rows that are hashed where a node is too large to be read again
SPLITS = ("train", "validation", "test")
WORDS = {"train": "training", "validation": "validation", "test": "test"}
FILES = "files of the source"  # in the place of a node, a digest of them; see `sgc.data.blocks.Blocks.digest`
EMPTY = 0x9E3779B97F4A7C15  # the bits of a cell without a value


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a run's data.

    By split: `counts` of rows, a digest of their `ids`, and `rows`, a 64-bit hash of each row at `places`, of the nodes
    and inputs that all rows have. `places` are all rows, except where a large node would have to be read again.
    `nodes`, by part of the source and node, is a digest of all its cells; of a large node that is not read again, none.
    """

    rows: Mapping[str, Hashes]
    ids: Mapping[str, str]
    nodes: Mapping[str, Mapping[str, str]]
    counts: Mapping[str, int]
    places: Mapping[str, Rows]

    def beside(self, name: str, column: SourceColumn) -> Fingerprint:
        """Add the digest of a column of training rows that belongs to no node."""
        digest = _digest(hash_rows(name, (column,), np.arange(len(column), dtype=np.int64)))
        return replace(self, nodes={**self.nodes, "train": {**self.nodes["train"], name: digest}})

    def state(self) -> dict[str, Array]:
        """Return a fingerprint of the whole data as arrays; `Fingerprint.from_state` builds it again."""
        ids = {f"ids/{split}": np.array(digest) for split, digest in self.ids.items()}
        cells = {
            f"nodes/{part}/{n}": np.array(digest) for part, nodes in self.nodes.items() for n, digest in nodes.items()
        }
        return {**{f"rows/{split}": hashes for split, hashes in self.rows.items()}, **ids, **cells}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Fingerprint:
        """Make the fingerprint of this state. Raises: ValueError, which names what is wrong."""
        nodes: dict[str, dict[str, str]] = {}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind == "rows" and (value.ndim != 1 or value.dtype != np.uint64):
                raise ValueError(f"'{key}' is no list of 64-bit hashes")
            if kind != "rows" and (value.ndim or value.dtype.kind != "U"):
                raise ValueError(f"'{key}' is no digest")
            if kind == "nodes":
                part, _, node = name.partition("/")
                nodes.setdefault(part, {})[node] = str(value)
        lacking = [key for kind in ("rows", "ids") for split in SPLITS if (key := f"{kind}/{split}") not in state]
        if lacking:
            raise ValueError(f"'{lacking[0]}' is missing")
        rows = {split: state[f"rows/{split}"] for split in SPLITS}
        return cls(
            rows=rows,
            ids={split: str(state[f"ids/{split}"]) for split in SPLITS},
            nodes=nodes,
            counts={split: len(hashes) for split, hashes in rows.items()},
            places={split: np.arange(len(hashes), dtype=np.int64) for split, hashes in rows.items()},
        )


def fingerprint(
    parts: Mapping[str, Part | None],
    division: Division,
    variables: Mapping[str, Variable],
    *,
    spaced: bool,
    hashed: Mapping[tuple[int, str], Hashes] | None = None,
) -> Fingerprint:
    """Take the fingerprint of the parts of a source, `train` and, where it brings one, `test`.

    spaced: whether only `SPACED` training rows, evenly spaced, of a node that is too large for memory are hashed; of
    one that stays in blocks, rows of the first block. hashed: the hashes of all rows that are known already, by the
    identity of a part and by node.
    """
    hashed = hashed or {}
    ids = {"train": division.train, "validation": division.validation, "test": division.test}
    owner = dict.fromkeys(SPLITS, parts["train"])
    own_test = parts.get("test")
    if own_test is not None:
        owner["test"], ids["test"] = own_test, np.arange(own_test.size, dtype=np.int64)
    evidence = [name for name, variable in variables.items() if variable.supervision != "partial" or variable.dropped]
    evidence = evidence or list(variables)
    unread = {
        (id(part), name)
        for part in parts.values()
        if spaced and part is not None
        for name, columns in part.nodes.items()
        if (id(part), name) not in hashed and is_large(columns, variables[name], part.size)
    }
    places = {split: np.arange(len(row_ids), dtype=np.int64) for split, row_ids in ids.items()}
    for split in SPLITS:
        large = [name for name in evidence if (id(owner[split]), name) in unread]
        stores = [store for name in large if (store := in_blocks(_nodes(owner[split])[name])) is not None]
        if stores:
            places[split] = _near(ids[split], stores[0])
        elif large and split == "train":  # held-out rows are read in any case
            places[split] = _spaced(len(ids[split]))
    sums = {split: np.zeros(len(places[split]), dtype=np.uint64) for split in SPLITS}
    nodes: dict[str, dict[str, str]] = {}
    for part_name, part in parts.items():
        if part is None:
            continue
        nodes[part_name] = {}
        stores = [store for columns in part.nodes.values() if (store := in_blocks(columns)) is not None]
        if stores:
            nodes[part_name][FILES] = stores[0].blocks.digest()
        for name, columns in part.nodes.items():
            hashes = None
            if (id(part), name) not in unread:
                hashes = hashed.get((id(part), name))
                if hashes is None:
                    hashes = hash_rows(name, columns, np.arange(part.size, dtype=np.int64))
                nodes[part_name][name] = _digest(hashes)
            for split in SPLITS:
                if owner[split] is part and name in evidence:
                    rows = ids[split][places[split]]
                    sums[split] += hash_rows(name, columns, rows) if hashes is None else hashes[rows]
    return Fingerprint(
        rows={split: _mixed(split_hashes) for split, split_hashes in sums.items()},
        ids={split: _digest(row_ids) for split, row_ids in ids.items()},
        nodes=nodes,
        counts={split: len(row_ids) for split, row_ids in ids.items()},
        places=places,
    )


def hash_rows(node: str, columns: tuple[SourceColumn, ...], rows: Rows) -> Hashes:
    """Hash the cells of a node in these rows: `(n,)`, the same for the same cells, however they are stored.

    It is multilinear, Σ_j w_j c_j mod 2⁶⁴ (Carter and Wegman 1979), of cells whose bits are mixed first.
    """
    hashes = np.zeros(len(rows), dtype=np.uint64)
    salt = int.from_bytes(hashlib.blake2b(node.encode(), digest_size=8).digest(), "little")
    for number, column in enumerate(columns):
        size = int(np.prod(column.values.shape[1:], dtype=np.int64))
        weights = _mixed(np.arange(1, size + 1, dtype=np.uint64) + np.uint64((salt + number * EMPTY) % 2**64))
        step = max(1, BLOCK // max(1, size))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            raw = column.values[block]
            cells = _bits(raw).reshape(len(block), size)
            empty = column.empty(block, raw)
            if empty is not None:
                cells = np.where(empty.reshape(len(block), size), np.uint64(EMPTY), cells)
            hashes[start : start + step] += cells @ (weights | np.uint64(1))
    return hashes


def _bits(cells: Array) -> Hashes:
    """Give each cell as 64 bits: numbers as float64, whatever their type; text by its letters."""
    if cells.dtype.kind in "US":
        width = cells.dtype.itemsize // (4 if cells.dtype.kind == "U" else 1)
        letters = np.ascontiguousarray(cells).view(np.uint32 if cells.dtype.kind == "U" else np.uint8)
        if not width:
            return np.zeros(cells.shape, dtype=np.uint64)
        weights = _mixed(np.arange(1, width + 1, dtype=np.uint64))  # shorter text is padded with zeros
        return _mixed(letters.reshape(*cells.shape, width).astype(np.uint64) @ weights)
    numbers = cells.astype(np.float64) + 0.0  # −0 is 0
    numbers[np.isnan(numbers)] = np.nan
    bits = np.ascontiguousarray(numbers).view(np.uint64)
    return np.asarray(bits ^ (bits >> np.uint64(32)))  # the low bits of small integers are all 0


def _mixed(words: Hashes) -> Hashes:
    """Spread the bits of each word over all of it: the finalizer of SplitMix64 (Steele et al. 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))


def _nodes(part: Part | None) -> Mapping[str, tuple[SourceColumn, ...]]:
    return {} if part is None else part.nodes


def _near(ids: Rows, store: BlockStore) -> Rows:
    """Give the places of rows in the first block that has any of them; it is read in any case."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    end = store.blocks.starts[int(store.block_of(ids[:1])[0]) + 1]
    return np.arange(min(SPACED, int(np.searchsorted(ids, end))), dtype=np.int64)


def _spaced(count: int) -> Rows:
    return np.unique(np.linspace(0, max(count - 1, 0), min(SPACED, count)).round().astype(np.int64))


def _digest(values: Array) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest()


def changes(before: Fingerprint, after: Fingerprint) -> str:
    """Say how the data differ from those before; an empty text where they are the same.

    before: the fingerprint of the whole data. now: maybe one of fewer rows.
    """
    counts = [
        f"{after.counts[split]} {WORDS[split]} rows, not {before.counts[split]}"
        for split in SPLITS
        if after.counts[split] != before.counts[split]
    ]
    same = same_rows(before, after)
    other = [name if name == FILES else repr(name) for name in _other_nodes(before, after)]
    if counts:
        change = ", ".join(counts)
    elif not same and _reordered(before, after):
        change = "the same rows in another order"
    elif FILES in other and same:
        change = f"other sizes or contents of the {FILES}"
    elif other or not same:
        change = f"other values of {' and '.join(other)}" if other else "other rows or values"
    else:
        return "" if before.ids == after.ids else "other rows are held out"
    leaks = [leak for split in SPLITS[1:] if (leak := _leak(before, after, split))]
    return change + (f", so that it was trained on {' and '.join(leaks)}" if leaks else "")


def same_rows(before: Fingerprint, after: Fingerprint) -> bool:
    """Tell whether all splits have the same rows as before, apart from labels, as far as `now` knows."""
    as_many = before.counts == after.counts
    return as_many and all(
        np.array_equal(before.rows[split][after.places[split]], after.rows[split]) for split in SPLITS
    )


def trained_on(before: Fingerprint, rows: Hashes) -> int:
    """Count the rows that equal one of the training rows of `before`."""
    return int(np.isin(rows, before.rows["train"]).sum())


def _leak(before: Fingerprint, after: Fingerprint, split: str) -> str:
    """Say how many rows of a split were trained on, if they are more than the duplicates that it always had."""
    count = trained_on(before, after.rows[split])
    if count <= trained_on(before, before.rows[split]):
        return ""
    return f"{count} of {len(after.rows[split])} {WORDS[split]} rows"


def _other_nodes(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Name the nodes whose cells differ in some part of the source."""
    names: dict[str, None] = {}
    for part in [*after.nodes, *before.nodes]:
        old, new = before.nodes.get(part, {}), after.nodes.get(part, {})
        names |= dict.fromkeys(name for name in new if old.get(name) != new[name])
    return list(names)


def _reordered(before: Fingerprint, after: Fingerprint) -> bool:
    """Tell whether all splits together have the same rows as before, in another order."""
    old, new = (
        np.sort(np.concatenate([fingerprint.rows[split] for split in SPLITS])) for fingerprint in (before, after)
    )
    return np.array_equal(old, new)
