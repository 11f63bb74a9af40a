"""Corrupted run folders: what evaluate, predict, sample and train --resume say of them, and that nothing else happens.

By hand: `python tests/fuzz/run_folders.py SEED COUNT`.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from attacks import Tally, attack, try_commands
from small_runs import At, changed, rich, write_rich

import sgc
from sgc.errors import Interrupted
from sgc.training.trainer import train

Raw = dict[str, Any]  # Any: plain data

FILES = (
    "spec.yaml",
    "run.json",
    "columns.json",
    "metrics.jsonl",
    "labels.npz",
    "rows.npz",
    "training.pt",
    "best.safetensors",
    "last.safetensors",
)
STRANGE: list[Any] = [  # Any: what JSON can say
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    -1e-308,
    float("nan"),
    float("inf"),
    "",
    "\x1b[31m\u0000",
    [],
    {},
    [[]],
    {"a": {"b": 1}},
    "²",
]


# ---- the runs


def _names(**changes: Any) -> Raw:  # Any: plain data
    """Write a spec whose run holds what the rich one does not: names, learned transforms of pictures, momentum."""
    window = {"transforms": [{"crop": [3, 3]}, {"divide": 16}, "flatten", "standardize"]}
    return changed(
        rich(),
        name="names",
        nodes__x__distribution="Normal",
        nodes__x__shape=[9],
        nodes__y__categories=None,
        nodes__y__values=["ant", "bee", "cat"],
        nodes__y__recognition__estimator={"score_function": {"baseline": "running_mean"}},
        data__columns__x={"column": "image", **window},
        data__columns__y={"column": "kind"},
        train__optimizer={"name": "SGD", "momentum": {"from": 0, "to": 0.9, "epochs": 2}, "lr": 0.01},
        **changes,
    )


SPECS: dict[str, Raw] = {"rich": rich(), "names": _names()}


def make_runs(folder: Path) -> None:
    """Train a run of each spec, one stopped on its way and one finished."""
    write_rich(folder)
    with np.load(folder / "rows.npz") as found:
        arrays = dict(found)
    np.savez(folder / "rows.npz", **arrays, kind=np.array(["ant", "bee", "cat"])[arrays["label"]])
    for name, spec in SPECS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
        for end in ("stopped", "finished"):
            run = folder / f"{name}-{end}"
            loaded = sgc.load(folder / f"{name}.yaml")
            if end == "finished":
                train(loaded, output=run)
            else:
                with contextlib.suppress(Interrupted):
                    train(loaded, output=run, watcher=At(7, signal.SIGINT))


# ---- corruptions


def corrupt(run: Path, draw: random.Random, boom: Path) -> str:
    """Corrupt one file of a run; say how."""
    name = draw.choice(FILES)
    path = run / name
    content = path.read_bytes()
    ways: list[Callable[[], str]] = [
        lambda: _cut(path, content, draw),
        lambda: _flip(path, content, draw),
        lambda: _swap_files(path, run, draw),
        lambda: _foreign(path, draw, boom),
    ]
    inner: Callable[[], str] = {
        ".yaml": lambda: _change_yaml(path, draw),
        ".json": lambda: _change_json(path, draw),
        ".jsonl": lambda: _change_lines(path, draw),
        ".npz": lambda: _change_arrays(path, draw),
        ".pt": lambda: _change_state(path, draw),
        ".safetensors": lambda: _change_weights(path, draw),
    }[path.suffix]
    way = inner if draw.random() < 0.7 else draw.choice(ways)
    return f"{name}: {way()}"


def _cut(path: Path, content: bytes, draw: random.Random) -> str:
    end = draw.randrange(len(content))
    path.write_bytes(content[:end])
    return f"cut to {end} of {len(content)} bytes"


def _flip(path: Path, content: bytes, draw: random.Random) -> str:
    made = bytearray(content)
    places = [draw.randrange(len(made)) for _ in range(draw.choice([1, 1, 4, 40]))]
    for place in places:
        made[place] = draw.randrange(256)
    path.write_bytes(made)
    return f"{len(places)} bytes changed"


def _swap_files(path: Path, run: Path, draw: random.Random) -> str:
    other = run / draw.choice(FILES)
    path.write_bytes(other.read_bytes())
    return f"holds {other.name}"


class _Bomb:
    """What would make a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def _foreign(path: Path, draw: random.Random, boom: Path) -> str:
    kind = draw.choice(["empty", "pickle", "torch pickle", "folder", "gone", "zeros", "deep", "not utf-8"])
    path.unlink()
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Bomb(boom)))
    elif kind == "torch pickle":
        torch.save({"model": _Bomb(boom)}, path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "deep":
        path.write_text("[" * 100_000)
    elif kind != "gone":
        path.write_bytes({"zeros": b"\0" * 1000, "not utf-8": b"\xef\xbb\xbf\xff\xfe"}.get(kind, b""))
    return kind


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # Any: plain data and its keys
    """Go through the places of nested data, the whole first."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _at(data: Any, path: tuple[Any, ...]) -> Any:  # Any: as above
    for key in path:
        data = data[key]
    return data


def _change(data: Any, draw: random.Random, strange: list[Any]) -> tuple[Any, str]:  # Any: as above
    """Take a key out, change a value or its type, or swap two, anywhere in nested data."""
    places = [path for path in _places(data) if path]
    if not places:
        return draw.choice(strange), "another value"
    path = draw.choice(places)
    above, key = _at(data, path[:-1]), path[-1]
    if isinstance(above, tuple):
        return data, f"nothing at {path}"
    kind = draw.choice(["out", "strange", "strange", "swap", "scale", "new"])
    if kind == "out":
        del above[key]
    elif kind == "strange":
        above[key] = draw.choice(strange)
    elif kind == "swap":
        other = draw.choice(places)
        there = _at(data, other[:-1])
        if not isinstance(there, tuple) and other[: len(path)] != path and path[: len(other)] != other:
            above[key], there[other[-1]] = there[other[-1]], above[key]
    elif kind == "scale" and isinstance(above[key], int | float) and not isinstance(above[key], bool):
        above[key] = draw.choice(
            [above[key] + 1, -above[key] - 1, above[key] * 10**12, float(above[key]), above[key] / 3]
        )
    elif kind == "scale" and isinstance(above[key], str):
        above[key] += draw.choice(["x", "\n", "é", "/../.."])
    elif isinstance(above, dict):
        above[draw.choice(["more", "", "version", "é"])] = draw.choice(strange)
    else:
        above.insert(0, draw.choice(strange))
    return data, f"{kind} at {'.'.join(map(str, path))}"


def _change_yaml(path: Path, draw: random.Random) -> str:
    data, how = _change(yaml.safe_load(path.read_text()), draw, STRANGE)
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return how


def _change_json(path: Path, draw: random.Random) -> str:
    data, how = _change(json.loads(path.read_text()), draw, STRANGE)
    path.write_text(json.dumps(data))
    return how


def _change_lines(path: Path, draw: random.Random) -> str:
    lines = path.read_text().splitlines()
    place = draw.randrange(len(lines))
    kind = draw.choice(["inside", "inside", "inside", "out", "twice", "words"])
    if kind == "inside":
        data, how = _change(json.loads(lines[place]), draw, STRANGE)
        lines[place], kind = json.dumps(data), how
    elif kind == "out":
        del lines[place]
    else:
        lines.insert(place, lines[place] if kind == "twice" else "words")
    path.write_text("".join(line + "\n" for line in lines))
    return f"line {place + 1}: {kind}"


def _strange_array(array: np.ndarray, draw: random.Random) -> tuple[np.ndarray, str]:
    array = array if array.dtype.kind in "iu" and array.ndim else np.arange(3)  # of digests, which are text
    made: dict[str, Callable[[], np.ndarray]] = {
        "scalar": lambda: np.array(3),
        "floats": lambda: array.astype(float) + 0.5,
        "text": lambda: array.astype(str),
        "unsigned": lambda: np.full(3, 2**64 - 1, dtype=np.uint64),
        "negative": lambda: -array - 1,
        "matrix": lambda: array[None],
        "empty": lambda: array[:0],
        "complex": lambda: array.astype(complex),
        "turned": lambda: array[::-1].copy(),
        "times": lambda: array.astype("datetime64[s]"),
        "record": lambda: np.zeros(3, dtype=[("a", "i4")]),
    }
    kind = draw.choice(list(made))
    return made[kind](), kind


def _change_arrays(path: Path, draw: random.Random) -> str:
    with np.load(path) as found:
        arrays = dict(found)
    name = draw.choice(list(arrays))
    kind = draw.choice(["out", "more", "swap", "inside", "inside", "inside", "claim"])
    if kind == "out":
        del arrays[name]
    elif kind == "more":
        arrays["more"] = np.arange(3)
    elif kind == "swap":
        other = draw.choice(list(arrays))
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif kind == "inside":
        arrays[name], how = _strange_array(arrays[name], draw)
        kind = f"{name} {how}"
    np.savez(path, **arrays)
    if kind == "claim":  # a header that claims more rows than there are
        with zipfile.ZipFile(path) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in members.items():
                count = f"({np.atleast_1d(arrays[each.removesuffix('.npy')]).shape[0]},)"
                archive.writestr(each, content.replace(count.encode(), b"(9999999999999,)"))
    return kind


def _strange_tensor(tensor: torch.Tensor, draw: random.Random) -> tuple[Any, str]:  # Any: or no tensor
    with torch.no_grad():
        made: dict[str, Callable[[], Any]] = {
            "0-dimensional": lambda: torch.tensor(0.5),
            "stride 0": lambda: torch.zeros(1).expand(tensor.shape) if tensor.dim() else torch.zeros(1).expand(4),
            "huge stride 0": lambda: torch.zeros(1).expand(10**9, 10**3),
            "empty": lambda: torch.zeros(0),
            "turned": lambda: torch.zeros(tensor.shape[::-1]).permute(tuple(reversed(range(tensor.dim())))),
            "double": lambda: tensor.double(),
            "half": lambda: tensor.half(),
            "integers": lambda: tensor.long(),
            "boolean": lambda: tensor.bool(),
            "complex": lambda: tensor.to(torch.complex64),
            "NaN": lambda: tensor.float() * float("nan"),
            "infinite": lambda: tensor.float() + float("inf"),
            "huge": lambda: tensor.float() * 0 + 1e30,
            "negative": lambda: -tensor.float() - 1,
            "sparse": lambda: tensor.float().reshape(-1).to_sparse(),
            "quantized": lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
            "overlapping": lambda: torch.zeros(max(1, tensor.numel())).as_strided(tensor.shape, [1] * tensor.dim()),
            "number": lambda: 1.5,
            "list": lambda: tensor.tolist(),
            "none": lambda: None,
            "gradient": lambda: torch.nn.Parameter(tensor.float().clone()),
        }
        kind = draw.choice(list(made))
        return made[kind](), kind


def _change_state(path: Path, draw: random.Random) -> str:
    state = torch.load(path, weights_only=True)
    tensors = [place for place in _places(state) if isinstance(_at(state, place), torch.Tensor)]
    options = {
        "maximize": True,
        "lr": -1.0,
        "fused": 3,
        "params": [0, 0],
        "weight_decay": float("nan"),
        "foreach": True,
    }
    kind = draw.random()
    if kind < 0.5:
        place = draw.choice(tensors)
        above = _at(state, place[:-1])
        above[place[-1]], how = _strange_tensor(above[place[-1]], draw)
        how += f" at {'.'.join(map(str, place))}"
    elif kind < 0.6:
        key, value = draw.choice(list(options.items()))
        state["optimizer"]["param_groups"][0][key] = value
        how = f"option {key}"
    else:
        state, how = _change(state, draw, [*STRANGE[:-1], torch.zeros(2), (1, 2)])
    torch.save(state, path)
    return how


def _change_weights(path: Path, draw: random.Random) -> str:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(str(path), framework="pt") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    name = draw.choice(list(tensors))
    kind = draw.choice(["tensor", "tensor", "tensor", "out", "more", "swap", "metadata", "metadata"])
    if kind == "tensor":
        for _ in range(20):
            made, kind = _strange_tensor(tensors[name], draw)
            if isinstance(made, torch.Tensor) and not made.is_sparse and not made.is_quantized and made.numel() < 10**6:
                tensors[name] = made.detach().clone().contiguous()
                break
    elif kind == "out":
        del tensors[name]
    elif kind == "more":
        tensors["more"] = torch.zeros(3)
    elif kind == "swap":
        other = draw.choice(list(tensors))
        tensors[name], tensors[other] = tensors[other].clone(), tensors[name].clone()
    elif draw.random() < 0.3:
        metadata = draw.choice([{}, {"sgc": "words"}, {"sgc": "[" * 5000}, {"other": "{}"}])
    else:
        data, kind = _change(json.loads(metadata["sgc"]), draw, STRANGE)
        metadata["sgc"] = json.dumps(data)
    save_file(tensors, path, metadata=metadata)
    return f"{name}: {kind}"


# ---- the commands


def _commands(run: Path, data: Path, draw: random.Random) -> dict[str, list[str]]:
    name = run.name.split("-")[0]
    resume = ["train", str(data / f"{name}.yaml"), "-o", str(run), "--resume"]
    checkpoint = draw.choice(["best", "last"])
    return {
        "evaluate": ["evaluate", str(run), "--checkpoint", checkpoint],
        "predict": ["predict", str(run), str(data / "rows.npz"), "-o", str(run.parent / "out.csv")],
        "sample": ["sample", str(run), "-o", str(run.parent / "out.npz"), "--checkpoint", checkpoint],
        "analogies": ["sample", str(run), "-o", str(run.parent / "out.npz"), "--analogies", "y"],
        "resume": resume,
    }


def case(seed: int, made: Path, place: Path) -> Tally:
    """Corrupt a copy of a run, and run every command on it."""
    draw = random.Random(seed)
    source = draw.choice(sorted(each for each in made.iterdir() if each.is_dir()))
    copy, boom = place / source.name, place / "boom"
    shutil.copytree(source, copy)
    how = f"{source.name}: {corrupt(copy, draw, boom)}"
    return try_commands(seed, how, _commands(copy, made, draw), boom)


def main(seed: int = 0, count: int = 2000) -> int:
    """Run the attack and print its figures."""
    found = attack(seed, count, make_runs, case)
    print(found.text("corrupted run folders"))
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
