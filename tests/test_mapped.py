"""Large arrays stay in their files, read-only, and are the same as those in memory, faults and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import idx_bytes

from sgc.data import raw_files
from sgc.data.columns import Array
from sgc.data.idx import read_idx
from sgc.data.numpy_files import read_npz
from sgc.errors import DataError

IMAGES = np.random.default_rng(7).integers(0, 256, (6, 4, 5), dtype=np.uint8)


def write(folder: Path, order: Any = "C") -> None:
    (folder / "a-ubyte").write_bytes(idx_bytes(IMAGES))
    (folder / "b-ubyte").write_bytes(idx_bytes(IMAGES.astype(np.int16)))
    np.savez(folder / "a.npz", label=np.arange(6), image=np.asarray(IMAGES / 255, order=order))
    np.savez_compressed(folder / "b.npz", image=IMAGES)


def read(folder: Path) -> list[Array]:
    """Read what was written: the first of each format can stay in its file, the second cannot."""
    idx = [read_idx(folder / name) for name in ("a-ubyte", "b-ubyte")]
    return idx + [read_npz(folder / name, ["image"])["image"].values for name in ("a.npz", "b.npz")]


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_stay_in_their_files_and_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    write(tmp_path, order)
    before = read(tmp_path)
    monkeypatch.setattr(raw_files, "MAPPED_FROM", 100)
    after = read(tmp_path)
    assert [isinstance(values, np.memmap) for values in before] == [False] * 4
    assert [isinstance(values, np.memmap) for values in after] == [True, False, True, False]
    for one, other in zip(before, after, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one[[4, 1]], other[[4, 1]])
    assert not after[0].flags.writeable
    assert not after[2].flags.writeable


def fault(folder: Path, name: str) -> str:
    with pytest.raises(DataError) as caught:
        read_idx(folder / name) if name.endswith("ubyte") else read_npz(folder / name, ["image"])
    return str(caught.value).replace(str(folder), "DIR")


def test_a_large_array_is_held_to_its_length_and_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_files, "MAPPED_FROM", 100)
    write(tmp_path)
    for name, damage in {"a-ubyte": lambda content: content[:-1], "a.npz": flip}.items():
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    assert fault(tmp_path, "a-ubyte") == (
        "DIR/a-ubyte: wrong length: the header says 6 × 4 × 5, 120 bytes of data; found only 119"
    )
    assert fault(tmp_path, "a.npz") == "DIR/a.npz: column 'image': the array is cut short or damaged: fetch it again"


def flip(content: bytes) -> bytes:
    """Change one bit of the last array's values."""
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02")) - 9
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
