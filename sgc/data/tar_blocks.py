"""Samples in tar files, as webdataset lays them out, in blocks: members of one key are a sample, their endings columns.

The heads of all members are read once, for where they are; members are read and decoded as rows are needed. Nothing is
unpacked to disk, and no member that could run code is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from sgc.data.arrays import array_column
from sgc.data.blocks import Blocks, Cells, Field, Room
from sgc.data.columns import Array, Rows
from sgc.data.file_search import known_columns
from sgc.data.numpy_files import DAMAGED, read_header, read_values
from sgc.data.pictures import ENDINGS, Wanted, read_picture
from sgc.data.shards import Shard
from sgc.data.tar_index import KEY, Index, Member, read_index, read_members, split_name
from sgc.errors import DataError

NUMBERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
TEXTS = ("txt", "text", "transcript")
KINDS = (*(ending[1:] for ending in ENDINGS), "npy", "json", *NUMBERS, *TEXTS)


@final
class TarBlocks(Blocks):
    """The samples of tar files, one after the other."""

    def __init__(
        self,
        shards: Sequence[Shard],
        columns: Collection[str],
        wanted: Wanted | None,
        room: Room,
        optional: Collection[str] = (),
    ) -> None:
        """Read the heads of all members. Raises: DataError: no tar file, one cut short, no such column, or no samples.

        wanted: what pictures are brought to; None: none may be wanted.
        """
        self.shards, self.wanted = shards, wanted
        members = {name: Member.of(name) for name in [*columns, *optional] if name != KEY}
        for name, member in members.items():
            _check_kind(name, member, wanted)
        self.indices = [read_index(shard, members) for shard in shards]
        self.files = [shard.name for shard in shards]
        self.firsts = np.cumsum([0, *(index.samples for index in self.indices)])
        endings = sorted({ending for index in self.indices for ending in index.endings})
        if not any(index.samples for index in self.indices):
            raise DataError("found no samples", file=self.files[0])
        for name in columns:
            if name != KEY and not any((index.places[name][:, 1] >= 0).any() for index in self.indices):
                known_columns([";".join(members[name].endings)], endings, self.files[0])
        self.names = [
            name
            for name in dict.fromkeys([*columns, *optional])
            if name == KEY or any((index.places[name][:, 1] >= 0).any() for index in self.indices)
        ]
        self.members = {name: members[name] for name in self.names if name != KEY}
        self.fields: Mapping[str, Field] = {name: self._field(name) for name in self.names}
        step = room.step(self.fields.values())
        blocks = [(i, low) for i, index in enumerate(self.indices) for low in range(0, index.samples, step)]
        self.owners = np.array([owner for owner, _ in blocks], dtype=np.int64)
        self.lows = [low for _, low in blocks]
        sizes = [min(step, self.indices[owner].samples - low) for owner, low in blocks]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _field(self, name: str) -> Field:
        """Take the type and shape of a column from the first sample that has it; of JSON from the first few."""
        if name == KEY:
            return Field(np.dtype("U"))
        member, found = self.members[name], None
        lacks = any((index.places[name][:, 1] < 0).any() for index in self.indices)
        for owner, index in enumerate(self.indices):
            there = np.flatnonzero(index.places[name][:, 1] >= 0)
            size = 64 if member.kind == "json" else 1
            for start in range(0, len(there), size):
                some = there[start : start + size]
                values, null = self._decoded(owner, some, [name])[name]
                dtype = np.dtype("U") if values.dtype.kind == "U" else values.dtype
                if member.kind == "json" and dtype.kind in "biu":
                    dtype = np.dtype(np.float64)  # later samples may have fractions, or nothing
                found = Field(dtype, values.shape[1:], dtype.kind != "f" and (lacks or member.kind == "json"))
                if null is None or not null.all():
                    return found
        assert found is not None, "some sample has the column"
        if member.key is not None:
            self._check_key(name, member)
        return found

    def _check_key(self, name: str, member: Member) -> None:
        """Check that the JSON of some of the first samples has the key of a column. Raises: DataError."""
        theres = [np.flatnonzero(index.places[name][:, 1] >= 0)[:64] for index in self.indices]
        owner = next(number for number, there in enumerate(theres) if len(there))
        rows = theres[owner]
        with self.shards[owner].opened() as file:
            contents = read_members(file, self.indices[owner].places[name][rows], self.shards[owner])
        known: dict[str, None] = {}
        for row, content in zip(rows.tolist(), contents, strict=True):
            plain = self._plain(name, content or b"", owner, row)
            known |= dict.fromkeys(f"{member.endings[0]}.{key}" for key in plain)
        known_columns([name], known, self.files[owner])

    def read(self, block: int, names: Collection[str]) -> Mapping[str, Cells]:
        owner, low = int(self.owners[block]), self.lows[block]
        rows = np.arange(low, low + int(np.diff(self.starts)[block]), dtype=np.int64)
        return {
            name: self._fitted(name, cells, owner, rows) for name, cells in self._decoded(owner, rows, names).items()
        }

    def _decoded(self, owner: int, rows: Rows, names: Collection[str]) -> dict[str, Cells]:
        """Read and decode these columns of samples of one file."""
        index, decoded = self.indices[owner], {}
        with self.shards[owner].opened() as file:
            for name in names:
                if name == KEY:
                    decoded[name] = Cells(self._keys(file, index, rows), None)
                    continue
                contents = read_members(file, index.places[name][rows], self.shards[owner])
                decoded[name] = self._cells(name, contents, owner, rows)
        return decoded

    def _cells(self, name: str, contents: Sequence[bytes | None], owner: int, rows: Rows) -> Cells:
        """Decode members of samples, None where a sample has none, and stack them. Raises: DataError."""
        values: list[Any] = []  # Any: numbers, text, or arrays of one shape
        for row, content in zip(rows.tolist(), contents, strict=True):
            values.append(None if content is None else self._value(name, content, owner, row))
            try:
                np.shape(values[-1])
            except ValueError:
                raise self._error(name, "found lists of several lengths, wanted one length", owner, row) from None
        shape = next((np.shape(value) for value in values if value is not None), ())
        for row, value in zip(rows.tolist(), values, strict=True):
            if value is not None and np.shape(value) != shape:
                found = f"found the shape {list(np.shape(value))}, wanted {list(shape)}, as in the samples before"
                raise self._error(name, f"{found}{_size_hint(self.members[name])}", owner, row)
        if all(isinstance(value, np.ndarray) for value in values if value is not None) and shape:
            dtype = np.result_type(*{value.dtype for value in values if value is not None})
            stacked, null = np.zeros((len(values), *shape), dtype=dtype), np.zeros((len(values), *shape), dtype=bool)
            for place, value in enumerate(values):
                if value is None:
                    null[place] = True
                else:
                    stacked[place] = value
            return Cells(stacked, null)
        try:
            column = array_column(name, values)
        except DataError as error:
            raise self._error(name, error.message, owner, int(rows[error.row or 0])) from error
        return Cells(column.values, column.null)

    def _value(self, name: str, content: bytes, owner: int, row: int) -> Any:  # Any: as in `_cells`
        member = self.members[name]
        try:
            if "." + member.kind in ENDINGS:
                assert self.wanted is not None
                try:
                    return read_picture(Path(self.files[owner]), None, self.wanted, content)
                except DataError as error:
                    raise self._error(name, error.message, owner, row) from error
            if member.kind == "npy":
                file = io.BytesIO(content)
                header = read_header(file)
                header.check(len(content) - header.length)
                return read_values(file, header)
            text = content.decode("utf-8").strip()
            if member.kind in TEXTS:
                return text
            if member.kind in NUMBERS:
                return int(text)
            return json.loads(text) if member.key is None else self._plain(name, content, owner, row).get(member.key)
        except (ValueError, RecursionError, *DAMAGED) as error:
            raise self._error(name, f"cannot be read as {member.kind}: {error}", owner, row) from error

    def _plain(self, name: str, content: bytes, owner: int, row: int) -> dict[str, Any]:  # Any: what JSON can say
        """Read the JSON object of a sample. Raises: DataError."""
        try:
            plain = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._error(name, f"cannot be read as json: {error}", owner, row) from error
        if not isinstance(plain, dict):
            raise self._error(name, "its JSON is no object of keys", owner, row)
        return plain

    def _fitted(self, name: str, cells: Cells, owner: int, rows: Rows) -> Cells:
        """Give cells the type and shape of their column. Raises: DataError."""
        field, values = self.fields[name], cells.values
        null = np.zeros(values.shape, dtype=bool) if cells.null is None else cells.null
        if null.all():
            text = np.dtype("U1") if field.dtype.kind == "U" else field.dtype
            values, null = (np.full((len(rows), *field.shape), fill, kind) for fill, kind in ((0, text), (True, bool)))
        words = [f"the shape {list(shape)}" for shape in (values.shape[1:], field.shape)]
        if values.shape[1:] == field.shape:
            words = ["text" if dtype.kind == "U" else "numbers" for dtype in (values.dtype, field.dtype)]
            exact = np.can_cast(values.dtype, field.dtype) or {values.dtype.kind, field.dtype.kind} <= {*"fU"}
            words = words if exact else [f"numbers of the type {dtype}" for dtype in (values.dtype, field.dtype)]
        if words[0] != words[1]:
            message = f"found {words[0]}, wanted {words[1]}, as in the samples before"
            raise self._error(name, message + _size_hint(self.members.get(name)), owner, int(rows[0]))
        if field.dtype.kind != "U":
            values = values.astype(field.dtype, copy=False)
        if field.dtype.kind == "f":
            values[null] = np.nan
        return Cells(values, null if field.marked and null.any() else None)

    def _keys(self, file: IO[bytes], index: Index, rows: Rows) -> Array:
        """Read the keys of samples out of the heads of their first members."""
        keys = []
        for offset in index.places[KEY][rows, 0].tolist():
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                head = archive.next()
            keys.append("" if head is None else split_name(head.name)[0])
        return np.array(keys, dtype=str)

    def _error(self, name: str, message: str, owner: int, row: int) -> DataError:
        where = f" (row {row} of the file)" if len(self.files) > 1 else ""
        return DataError(f"column '{name}': {message}{where}", self.files[owner], int(self.firsts[owner]) + row)

    def digest(self) -> str:
        facts = [
            f"{shard.size} {shard.tag} {index.digest}" for shard, index in zip(self.shards, self.indices, strict=True)
        ]
        return hashlib.blake2b("\n".join(facts).encode(), digest_size=16).hexdigest()


def _size_hint(member: Member | None) -> str:
    pictured = member is not None and "." + member.kind in ENDINGS
    return ": 'size: [rows, columns]' brings all to one size" if pictured else ""


def _check_kind(name: str, member: Member, wanted: Wanted | None) -> None:
    """Check that a column can be decoded. Raises: DataError."""
    for ending in member.endings:
        kind = ending.rpartition(".")[2].lower()
        if kind not in KINDS:
            known = "pictures (png, jpg, …), npy, json, json.KEY, cls, txt"
            reason = " pickles are never loaded, since loading one can run code;" if kind in _PICKLES else ""
            raise DataError(f"column '{name}': members that end in .{kind} are not read:{reason} wanted {known}")
        if "." + kind in ENDINGS and wanted is None:
            raise DataError(f"column '{name}' has pictures: say with 'mode: grey' or 'mode: colour' how they are read")


_PICKLES = ("pyd", "pkl", "pickle", "pth", "pt", "joblib")
