"""Small models, small data and child processes for the tests of training, of runs and of the shell."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgc import cli

Raw = dict[str, Any]  # Any: a spec as plain data


NPZ: Raw = {  # a data section for the small arrays
    "source": "npz",
    "file": "none.npz",
    "columns": {"x": {"column": "x"}, "y": {"column": "y"}},
    "split": {"validation": 12, "test": 12, "seed": 0},
    "labels": {"y": {"count": 20}},
}


def changed(spec: Raw, **changes: Any) -> Raw:  # Any: plain data
    """Copy a spec with copies of values set: `changed(spec, train__epochs=2)`; None takes a key out."""
    made: Raw = json.loads(json.dumps(spec))
    for path, value in changes.items():
        *above, last = path.split("__")
        here = made
        for key in above:
            here = here.setdefault(key, {})
        if value is None:
            here.pop(last, None)
        else:
            here[last] = copy.deepcopy(value)
    return made


def small(**changes: Any) -> Raw:  # Any: plain data
    """Write the M2 of three numbers, with a label of three categories and two latent numbers; no data section."""
    spec: Raw = {
        "version": 1,
        "name": "small",
        "nodes": {
            "x": {
                "distribution": "Normal",
                "shape": [3],
                "supervision": "full",
                "generative": {"parents": ["y", "z"], "network": {"mlp": [6]}},
            },
            "y": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "partial",
                "recognition": {"parents": ["x"], "network": {"mlp": [6]}},
            },
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["x", "y"], "network": {"mlp": [6]}},
            },
        },
        "train": {"epochs": 3, "batch_size": {"unlabelled": 15, "labelled": 8}},
        "evaluate": {"samples": 5},
    }
    return changed(spec, **changes)


def small_arrays(rows: int = 60, labels: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw three clusters of numbers, of which the first rows keep their label."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(0, 3, rows)
    return {"x": draw.normal(2.0 * kind[:, None], 1, (rows, 3)), "y": np.where(np.arange(rows) < labels, kind, -1)}


def z_then_y(**changes: Any) -> Raw:  # Any: plain data
    """Turn the small M2 around, so that the weight of a label varies with z."""
    spec = small(
        nodes__z__recognition__parents=["x"],
        nodes__y__recognition__parents=["x", "z"],
        objective={"samples": 3, "alpha": 2.0},
        train__precision="64-true",
        data=NPZ,
    )
    return changed(spec, **changes)


def rich(**changes: Any) -> Raw:  # Any: plain data
    """Write a spec with all that draws or moves: dynamic binarisation, dropout, batch norm, schedules, a relaxation.

    Two partial nodes, so that rows carry any subset of labels; validation and test rows.
    """
    spec: Raw = {
        "version": 1,
        "name": "rich",
        "data": {
            "source": "npz",
            "file": "rows.npz",
            "columns": {
                "x": {"column": "image", "transforms": [{"divide": 16}, {"binarize": "dynamic"}]},
                "y": {"column": "label"},
                "w": {"column": "size", "transforms": ["standardize"]},
            },
            "split": {"validation": 20, "test": 20, "seed": 1},
            "labels": {"y": {"count": 30}, "w": {"count": 25}},
        },
        "nodes": {
            "x": {
                "distribution": "Bernoulli",
                "shape": [1, 4, 4],
                "supervision": "full",
                "generative": {"parents": ["y", "w", "z"], "network": {"mlp": [8], "dropout": 0.2}},
            },
            "y": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "partial",
                "recognition": {
                    "parents": ["x"],
                    "network": {"mlp": [8], "norm": "batch"},
                    "estimator": {"gumbel_softmax": {"temperature": {"from": 1, "to": 0.5, "epochs": 2}}},
                },
            },
            "w": {
                "distribution": "Normal",
                "supervision": "partial",
                "recognition": {"parents": ["x", "y"], "network": {"mlp": [8]}},
            },
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["x", "y"], "network": {"mlp": [8], "dropout": 0.2}},
            },
        },
        "objective": {"alpha": {"over_rate": 0.1}, "supervision_rate": 0.3},
        "train": {
            "epochs": 3,
            "batch_size": {"unlabelled": 16, "labelled": 9},
            "optimizer": {"name": "Adam", "lr": {"from": 0.01, "to": 0.001, "epochs": 3, "curve": "cosine"}},
        },
        "evaluate": {"samples": 5},
    }
    return changed(spec, **changes)


def write_rich(folder: Path, rows: int = 120) -> None:
    """Write the data of the rich spec: grey pictures from 0 to 16 whose first row of pixels shows the label."""
    draw = np.random.default_rng(5)
    label = draw.integers(0, 3, rows)
    image = draw.integers(0, 9, (rows, 4, 4))
    image[np.arange(rows), 0, label] = 16
    np.savez(folder / "rows.npz", image=image, label=label, size=100 + 15 * draw.normal(size=rows) + 5 * label)


def faces(**changes: Any) -> Raw:
    """Write a small model of faces: who, under which light, the shading that both say, and the rest."""
    network = {"mlp": [8]}
    spec: Raw = {
        "version": 1,
        "name": "small-faces",
        "data": {
            "source": "npz",
            "file": "rows.npz",
            "columns": {
                "x": {"column": "x"},
                "i": {"column": "i"},
                "l": {"column": "l", "transforms": ["standardize"]},
            },
            "split": {"test": 40, "validation": 10, "seed": 0},
            "labels": {"i": {"count": 25}, "l": {"same_rows_as": "i"}},
        },
        "features": {"h": {"parents": ["x"], "network": network}},
        "nodes": {
            "x": {
                "distribution": "Bernoulli",
                "shape": [1, 4, 4],
                "supervision": "full",
                "generative": {"parents": ["i", "l", "r", "s"], "network": network},
            },
            "i": {
                "distribution": "Categorical",
                "categories": 12,
                "supervision": "partial",
                "recognition": {"parents": ["h"], "network": network},
            },
            "l": {
                "distribution": "Normal",
                "shape": [3],
                "supervision": "partial",
                "recognition": {"parents": ["h"], "network": network},
            },
            "s": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["i", "l"], "network": network},
            },
            "r": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["h"], "network": network},
            },
        },
        "objective": {"alpha": 5},
        "train": {"epochs": 1, "batch_size": 30, "precision": "64-true"},
        "evaluate": {"samples": 4},
    }
    return changed(spec, **changes)


def face_arrays(rows: int = 80) -> dict[str, np.ndarray]:
    """Draw pictures, people and lights, these on a scale of their own; nothing says the other."""
    draw = np.random.default_rng(3)
    light = draw.normal(size=(rows, 3)) * [1, 10, 1] + 100
    return {"x": draw.random((rows, 1, 4, 4)), "i": np.arange(rows) % 12, "l": light}


# ---- runs


def finished_files(folder: Path) -> dict[str, bytes]:
    """Read what two equal runs must agree on to the bit: both weights, and the metrics but for the seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = json.dumps([{key: value for key, value in line.items() if key != "seconds"} for line in lines])
    weights = {name: (folder / f"{name}.safetensors").read_bytes() for name in ("last", "best")}
    return {**weights, "metrics": metrics.encode()}


def all_files(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- processes


def in_child(action: Callable[[], object], output: Path | None = None) -> int:
    """Run something in a fork of this process; its exit status, or minus the signal that ended it.

    output: a file that takes what it writes to standard error.
    """
    child = os.fork()
    if not child:
        status = 70
        try:
            with (output or Path(os.devnull)).open("w") as sys.stderr:
                try:
                    action()
                    status = 0
                except SystemExit as end:
                    status = end.code if isinstance(end.code, int) else 1
                except BaseException:
                    traceback.print_exc()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended)


def shell(words: Sequence[str]) -> None:
    """Run a command of the shell interface in this process; ends it."""
    sys.argv = ["sgc", *words]
    cli.main()


class At:
    """A watcher that sends its own process a signal after so many steps."""

    def __init__(self, steps: int, number: int = signal.SIGKILL) -> None:
        self.left, self.number = steps, number

    def note(self, text: str) -> None:
        """Take note of nothing."""

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Take note of nothing."""

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Count the step."""
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), self.number)

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Take note of nothing."""


class StopsAfterAnEpoch:
    """Watches a training and breaks it off once an epoch is written."""

    def note(self, text: str) -> None:
        """Take note of nothing."""

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Take note of nothing."""

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Take note of nothing."""

    def epoch(self, line: Any) -> None:
        raise InterruptedError


@contextmanager
def drawing_elsewhere() -> Iterator[None]:
    """Draw from torch's generator in another thread, all the time."""
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            torch.rand(10)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
