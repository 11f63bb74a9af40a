"""Data files of every format, changed and broken, through `check --data`, `train` and `predict`.

By hand: `python tests/fuzz/data_sources.py SEED COUNT`.
"""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.io
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from attacks import Tally, attack, run, try_commands

Raw = dict[str, Any]  # Any: plain data

ROWS = 24
KINDS = ("ant", "bee", "cat")
CELLS: tuple[Any, ...] = (
    *("", "NA", "nan", "inf", "-inf", "1e400", "1e30", "-1", "0", "2.5", "1_0", "0x10", "١٢", "12 ", "dog", "ant\x00"),
    *("\x1b[31mred", '"', "a,b", "=1+1", "é" * 50, "9" * 400, "1e-320", "TRUE", "None", "\ufeff1", "-0", "１"),
)
ARRAYS: tuple[Callable[[np.ndarray], Any], ...] = (
    lambda a: a.astype(complex) if a.dtype.kind != "U" else a,
    lambda a: a.astype(object),
    lambda a: a.astype("U8"),
    lambda a: a.astype("S4"),
    lambda a: a.astype(">f4") if a.dtype.kind != "U" else a,
    lambda a: a.reshape(1, *a.shape),
    lambda a: a[:0],
    lambda a: a[:-1],
    lambda a: a[..., None],
    lambda a: a.T,
    lambda a: np.full(a.shape, np.nan),
    lambda a: np.full(a.shape, 1e300),
    lambda a: np.full(a.shape, -5),
    lambda a: np.full(a.shape, 2**63, dtype=np.uint64),
    lambda a: np.array(3.0),
    lambda a: np.zeros(a.shape, dtype="M8[s]"),
    lambda a: np.zeros(a.shape, dtype=[("a", "f4")]),
    lambda a: np.zeros(a.shape, dtype=bool),
)


class Bomb:
    """An object that makes a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:  # Any: pickle's own form
        return (open, (self.path, "w"))


def spec_of(data: Raw, shape: list[int]) -> Raw:
    """Write a model of numbers x and a label y of three names."""
    network = {"mlp": [4]}
    return {
        "version": 1,
        "name": "fuzzed",
        "data": data,
        "nodes": {
            "x": {
                "distribution": "Normal",
                "shape": shape,
                "supervision": "full",
                "generative": {"parents": ["y"], "network": network},
            },
            "y": {
                "distribution": "Categorical",
                "supervision": "partial",
                "recognition": {"parents": ["x"], "network": network},
            },
        },
        "train": {"epochs": 1, "batch_size": 8},
    }


FORMATS = ("csv", "parquet", "npz", "mat", "idx", "images", "blocks", "tar", "h5ad")


def prepare(made: Path) -> None:
    """Write the files of each format, whole, with a spec and a run of each."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 3, ROWS)
    x = draw.normal(kind[:, None], 1, (ROWS, 3)).astype(np.float32)
    names = np.array(KINDS)[kind]
    frame = pd.DataFrame({"id": [f"r{i}" for i in range(ROWS)], **{f"x{i}": x[:, i] for i in range(3)}, "kind": names})
    three: Raw = {"columns": {"x": {"column": ["x0", "x1", "x2"]}, "y": {"column": "kind"}}}
    one: Raw = {"columns": {"x": {"column": "x"}, "y": {"column": "kind"}}}
    blocks: Raw = {"memory": 1, "window": 1, "prefetch": 1}
    pictures: Raw = {"columns": {"x": {"column": "image", "transforms": [{"divide": 255}]}, "y": {"column": "label"}}}
    sections: dict[str, tuple[Raw, list[int]]] = {
        "csv": ({"source": "table", "file": "rows.csv", **three}, [3]),
        "parquet": ({"source": "table", "file": "rows.parquet", **three}, [3]),
        "npz": ({"source": "npz", "file": "rows.npz", **one}, [3]),
        "mat": ({"source": "mat", "file": "rows.mat", **one}, [3]),
        "idx": ({"source": "idx", "root": ".", **pictures}, [1, 4, 4]),
        "blocks": ({"source": "parquet", "file": "rows-*.parquet", **blocks, **three}, [3]),
        "tar": (
            {"source": "tar", "file": "rows-{0..1}.tar", "columns": {"x": {"column": "npy"}, "y": {"column": "txt"}}},
            [3],
        ),
        "h5ad": (
            {"source": "h5ad", "file": "rows.h5ad", "columns": {"x": {"column": "X"}, "y": {"column": "obs/kind"}}},
            [3],
        ),
        "images": ({"source": "images", "file": "rows.csv", "mode": "grey", **pictures}, [1, 4, 4]),
    }
    for name, (section, shape) in sections.items():
        folder = made / name
        folder.mkdir()
        spec = spec_of(
            {**section, "split": {"validation": 0.2, "test": 0.2} if name != "idx" else {"validation": 4}}, shape
        )
        values: Raw = {"values": list(KINDS)} if name != "idx" else {"categories": 3}
        spec["nodes"]["y"] |= values
        if name == "images":
            spec["data"]["columns"]["y"]["column"] = "kind"
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    frame.to_csv(made / "csv" / "rows.csv", index=False)
    frame.to_parquet(made / "parquet" / "rows.parquet")
    for i, half in enumerate((frame[: ROWS // 2], frame[ROWS // 2 :])):
        half.to_parquet(made / "blocks" / f"rows-{i}.parquet", row_group_size=4)
        members = [(f"{row}.npy", _npy(x[row])) for row in half.index]
        members += [(f"{row}.txt", str(names[row]).encode()) for row in half.index]
        _write_tar(made / "tar" / f"rows-{i}.tar", [*sorted(members)])
    kinds, ids, genes = (pd.Index(each, dtype=object) for each in (list(KINDS), list(frame["id"]), ["a", "b", "c"]))
    obs = pd.DataFrame({"kind": pd.Categorical.from_codes(kind, categories=kinds)}, index=ids)
    anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(made / "h5ad" / "rows.h5ad")
    np.savez(made / "npz" / "rows.npz", x=x, kind=names)
    scipy.io.savemat(made / "mat" / "rows.mat", {"x": x, "kind": names})
    grey = draw.integers(0, 256, (ROWS, 4, 4), dtype=np.uint8)
    for part in ("train", "t10k"):
        (made / "idx" / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4B3I", 0, 0, 8, 3, ROWS, 4, 4) + grey.tobytes()
        )
        labels = struct.pack(">4BI", 0, 0, 8, 1, ROWS) + kind.astype(np.uint8).tobytes()
        (made / "idx" / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    paths = []
    for i, image in enumerate(grey):
        paths.append(f"{i}.png")
        Image.fromarray(image).save(made / "images" / paths[-1])
    pd.DataFrame({"path": paths, "kind": names}).to_csv(made / "images" / "rows.csv", index=False)
    for name in FORMATS:
        status, told = run(["train", str(made / name / "spec.yaml"), "-o", str(made / name / "run")])
        assert status == 0, (name, told)


def case(seed: int, made: Path, place: Path) -> Tally:
    """Break one file of a format, or none, and give it to the commands."""
    draw = random.Random(seed)
    name = draw.choice(FORMATS)
    source, boom = made / name, place / "boom"
    for file in source.iterdir():
        if file.is_file():
            (place / file.name).write_bytes(file.read_bytes())
    files = [file for file in sorted(place.iterdir()) if file.name != "spec.yaml"]
    tables = [file for file in files if file.suffix not in (".png",)]
    file = draw.choice(tables if draw.random() < 0.7 else files)
    how = f"{name}: {file.name}: {change(file, draw, boom)}"
    spec = str(place / "spec.yaml")
    new = str(file if name != "images" else place / "rows.csv")
    commands = {
        "check": ["check", spec, "--data"],
        "train": ["train", spec, "-o", str(place / "trained")],
        "predict": ["predict", str(source / "run"), new, "-o", str(place / "out.csv")],
    }
    if draw.random() < 0.5:
        commands["init"] = ["init", str(place / "new"), "--data", new]
    return try_commands(seed, how, commands, boom)


# ---- changes


def change(file: Path, draw: random.Random, boom: Path) -> str:
    """Change a file in place, and say how."""
    content = file.read_bytes()
    inner: dict[str, Callable[[Path, random.Random, Path], str]] = {
        ".csv": _csv, ".parquet": _parquet, ".npz": _npz, ".mat": _mat, ".png": _png, ".tar": _tar, ".h5ad": _h5ad,
    }  # fmt: skip
    if draw.random() < 0.65:
        return inner.get(file.suffix, _idx)(file, draw, boom)
    kind = draw.choice(["cut", "flip", "empty", "zeros", "grow", "gzip", "text", "pickle", "double"])
    at = draw.randrange(len(content) or 1)
    if kind == "cut":
        content = content[:at]
    elif kind == "flip":
        changed = bytearray(content)
        for _ in range(draw.choice([1, 3, 20])):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        content = bytes(changed)
    elif kind == "empty":
        content = b""
    elif kind == "zeros":
        content = content[:at] + b"\0" * (len(content) - at)
    elif kind == "grow":
        content += draw.randbytes(50)
    elif kind == "gzip":
        content = gzip.compress(content)[: draw.choice([10, 10**6])]
    elif kind == "text":
        content = b"\xff\xfehello\r\n\0world"
    elif kind == "pickle":
        content = pickle.dumps(Bomb(str(boom)))
    else:
        content += content
    file.write_bytes(content)
    return kind


def _csv(file: Path, draw: random.Random, boom: Path) -> str:
    lines = file.read_text().split("\n")
    row = draw.randrange(len(lines) - 1)
    cells = lines[row].split(",")
    kind = draw.choice(
        ["cell", "cell", "cell", "column", "ragged", "twice", "separator", "bom", "header", "none", "latin"]
    )
    if kind == "cell":
        cells[draw.randrange(len(cells))] = draw.choice(CELLS)
        lines[row] = ",".join(cells)
    elif kind == "column":
        place, cell = draw.randrange(len(cells)), draw.choice(CELLS)
        lines[1:-1] = [",".join([*(w := each.split(","))[:place], cell, *w[place + 1 :]]) for each in lines[1:-1]]
    elif kind == "ragged":
        lines[row] = ",".join(cells[: draw.randrange(len(cells))] if draw.random() < 0.5 else [*cells, "1", "2"])
    elif kind == "twice":
        lines[0] = ",".join([cells[0]] * len(cells)) if row == 0 else lines[0].replace("x1", "x0")
    elif kind == "separator":
        lines = [each.replace(",", draw.choice(";\t|")) for each in lines]
    elif kind == "bom":
        lines[0] = "\ufeff" + lines[0]
    elif kind == "header":
        lines = lines[1:] if draw.random() < 0.5 else lines[:1]
    if kind == "latin":
        file.write_bytes("\n".join(lines).replace("bee", "bée").encode("latin-1"))
    else:
        file.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    return kind


def _parquet(file: Path, draw: random.Random, boom: Path) -> str:
    frame = pd.read_parquet(file)
    name = draw.choice([str(each) for each in frame.columns])
    strange: dict[str, Callable[[], Any]] = {
        "text": lambda: frame[name].astype(str),
        "none": lambda: [None] * len(frame),
        "lists": lambda: [[1, 2]] * len(frame),
        "dicts": lambda: [{"a": 1}] * len(frame),
        "dates": lambda: pd.date_range("2024-01-01", periods=len(frame)),
        "bytes": lambda: [b"\xff"] * len(frame),
        "categories": lambda: frame[name].astype(str).astype("category"),
        "huge": lambda: [1e300] * len(frame),
        "integers": lambda: np.full(len(frame), 2**63, dtype=np.uint64),
        "booleans": lambda: [True] * len(frame),
        "holes": lambda: frame[name].where(np.arange(len(frame)) % 2 == 0),
    }
    kind = draw.choice([*strange, "gone", "rows"])
    if kind == "gone":
        frame = frame.drop(columns=name)
    elif kind == "rows":
        frame = frame[:0]
    else:
        frame[name] = strange[kind]()
    frame.to_parquet(file)
    return f"{kind} in {name}"


def _arrays(found: dict[str, Any], draw: random.Random, boom: Path) -> str:
    name = draw.choice(list(found))
    place = draw.randrange(len(ARRAYS) + 2)
    if place < len(ARRAYS):
        found[name] = ARRAYS[place](found[name])
    elif place == len(ARRAYS):
        del found[name]
    else:
        found[name] = np.array([Bomb(str(boom))] * ROWS, dtype=object)
    return f"change {place} of {name}"


def _npz(file: Path, draw: random.Random, boom: Path) -> str:
    with np.load(file) as read:
        found = dict(read)
    if draw.random() < 0.2:
        shape = draw.choice([(10**12,), (10**6, 10**6), (-3,), (2**70,)])
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        text = (repr(header) + "\n").encode()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 40)
            archive.writestr("kind.npy", b"")
        return f"claims {shape}"
    how = _arrays(found, draw, boom)
    np.savez(file, **found)
    return how


def _npy(values: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.save(made, values, allow_pickle=True)
    return made.getvalue()


def _write_tar(file: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _tar(file: Path, draw: random.Random, boom: Path) -> str:
    with tarfile.open(file) as archive:
        members = [(each.name, archive.extractfile(each).read()) for each in archive]  # type: ignore[union-attr]
    i = draw.randrange(len(members))
    name, content = members[i]
    strange = [name[:-1], f"../../{name}", f"/tmp/{name}", f"a/{name}", "", "é" * 90, name.replace(".", "")]
    bombs = [pickle.dumps(Bomb(str(boom))), _npy(np.array([Bomb(str(boom))], dtype=object))]
    arrays = [change(np.ones(3, dtype=np.float32)) for change in ARRAYS]
    kind = draw.choice(["name", "content", "array", "pickle", "twice", "gone", "order", "link"])
    if kind == "name":
        members[i] = draw.choice(strange), content
    elif kind == "content":
        members[i] = name, draw.choice([b"", b"dog", content[:-2], content * 2, b"\xff\xfe", b"\0" * 5000])
    elif kind == "array":
        members[i] = name, _npy(np.asarray(draw.choice(arrays)))
    elif kind == "pickle":
        members[i] = draw.choice([name, f"{name.partition('.')[0]}.pkl"]), draw.choice(bombs)
    elif kind == "twice":
        members.append(members[i])
    elif kind == "gone":
        del members[i]
    elif kind == "order":
        draw.shuffle(members)
    _write_tar(file, members)
    if kind == "link":
        with tarfile.open(file, "a") as archive:
            link = tarfile.TarInfo("zz.npy")
            link.type, link.linkname = draw.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]), "/etc/passwd"
            archive.addfile(link)
    return kind


def _h5ad(file: Path, draw: random.Random, boom: Path) -> str:
    """Change, take out or put in a part of the file of cells."""
    with h5py.File(file, "a") as cells:
        parts: list[str] = []
        cells.visit(parts.append)
        part = draw.choice(parts)
        kind = draw.choice(["gone", "array", "text", "attributes", "group"])
        found = cells[part][()] if isinstance(cells[part], h5py.Dataset) else np.ones(ROWS)
        if kind == "attributes":
            cells[part].attrs.clear()
        else:
            attributes = dict(cells[part].attrs)
            del cells[part]
            if kind == "array" and np.asarray(found).dtype.kind == "f":
                made = np.asarray(draw.choice(ARRAYS[8:])(np.asarray(found)))
                cells[part] = made.astype(float) if made.dtype.kind == "M" else made
            elif kind == "text":
                cells[part] = np.array([b"dog"] * ROWS)
            elif kind == "group":
                cells.create_group(part)
            if part in cells and draw.random() < 0.7:
                cells[part].attrs.update(attributes)
    return f"{kind} of {part}"


def _mat(file: Path, draw: random.Random, boom: Path) -> str:
    found = {key: value for key, value in scipy.io.loadmat(file).items() if not key.startswith("__")}
    how = _arrays(found, draw, boom)
    try:
        scipy.io.savemat(file, found)
    except (TypeError, ValueError):  # MATLAB has no such values
        scipy.io.savemat(file, {"x": np.zeros((ROWS, 3)), "kind": {"a": np.zeros(3)}})
        how = "a structure in kind"
    return how


def _idx(file: Path, draw: random.Random, boom: Path) -> str:
    content = bytearray(file.read_bytes())
    kind = draw.choice(["type", "axes", "rows", "values"])
    if kind == "type":
        content[2] = draw.choice([0, 9, 11, 12, 13, 14, 255])
    elif kind == "axes":
        content[3] = draw.choice([0, 1, 2, 4, 65, 255])
    elif kind == "rows":
        content[4:8] = struct.pack(">I", draw.choice([0, 1, ROWS + 1, 2**31, 2**32 - 1]))
    else:
        content[-ROWS:] = bytes([draw.randrange(256)] * ROWS)
    file.write_bytes(content)
    return kind


def _png(file: Path, draw: random.Random, boom: Path) -> str:
    kind = draw.choice(["size", "colour", "depth", "palette", "animated", "bmp", "gone"])
    picture = {
        "size": lambda: Image.new("L", (draw.choice([1, 5, 3000]), 4)),
        "colour": lambda: Image.new("RGBA", (4, 4)),
        "depth": lambda: Image.new("I;16", (4, 4)),
        "palette": lambda: Image.new("P", (4, 4)),
        "animated": lambda: Image.new("1", (4, 4)),
        "bmp": lambda: Image.new("F", (4, 4)),
    }
    if kind == "gone":
        file.unlink()
    else:
        picture[kind]().save(file, format="TIFF" if kind == "bmp" else "PNG")
    return kind


def main(seed: int = 0, count: int = 2000) -> int:
    """Run the attack and print its figures."""
    found = attack(seed, count, prepare, case)
    print(found.text("data files"))
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
