"""The run folder: what is in it, and how each file is written so that a kill at any moment leaves it whole.

spec.yaml           the resolved spec, every default written out
run.json            versions, seed, rates, where the data are looked for, whether the run is finished
metrics.jsonl       a line an epoch: loss, bounds, their terms, weights, what has collapsed, validation, now and then
                    the gradient
last.safetensors    the weights after the last epoch; best.safetensors those of the best validation bound
training.pt         weights, optimiser and place in the run, in one file: what `--resume` reads
columns.json        what transforms learned from the training rows
labels.npz          the row ids whose label was kept, by node
rows.npz            what the data are known by: a hash of each row by split, digests of row ids and of nodes
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import platform
import re
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
import yaml
from safetensors.torch import save as save_tensors

import sgc
from sgc.data.dataset import DataSet
from sgc.data.encoder import Encoder
from sgc.data.fingerprint import Fingerprint
from sgc.data.outputs import data_files
from sgc.errors import RunError, UsageError, option, writing
from sgc.language.loading import load
from sgc.language.resolver import outline
from sgc.language.spec import Spec
from sgc.runtime.model import Model
from sgc.runtime.weights import fit_weights, own_state, problem_words

Plain = Any  # what JSON can say


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either as before or complete."""
    part = path.with_name(path.name + ".part")
    with writing(path):
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError:
            with suppress(OSError):
                part.unlink()  # on a full disk it takes room from whatever comes next
            raise


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays as an npz archive, under any names; never as Python objects."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def json_text(found: Plain, indent: int | None = None) -> str:
    """Write JSON that every reader takes: what is not a finite number becomes null.

    >>> json_text({"bound": -1.5, "error": float("nan")})
    '{"bound": -1.5, "error": null}'
    """

    def strict(value: Plain) -> Plain:
        if isinstance(value, dict):
            return {key: strict(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [strict(each) for each in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(strict(found), indent=indent, allow_nan=False)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would read as a number and 1.1 would not, such as 1e-3."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


def spec_yaml(spec: Spec) -> str:
    """Write a resolved spec as YAML that loads to the same spec."""
    return yaml.dump(spec.plain(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


P = ParamSpec("P")
R = TypeVar("R")


def _writes(method: Callable[Concatenate[RunFolder, P], R]) -> Callable[Concatenate[RunFolder, P], R]:
    """Say of a fault of the disk which file it hit, and that what was kept before is whole. Raises: RunError."""

    @functools.wraps(method)
    def write(self: RunFolder, /, *args: P.args, **words: P.kwargs) -> R:
        try:
            return method(self, *args, **words)
        except OSError as problem:
            kept = "there is no checkpoint yet"
            if self.state_path.exists():
                kept = f"the last checkpoint is whole, {option('resume', '-')} goes on from it"
            raise RunError(f"{problem.filename}: {problem.strerror}; {kept}") from None

    return write


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def spec_path(self) -> Path:
        return self.path / "spec.yaml"

    @property
    def state_path(self) -> Path:
        return self.path / "training.pt"

    @property
    def info_path(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def files(self) -> dict[Path, str]:
        """What a run writes to its folder, each in words."""
        own = [self.spec_path, self.info_path, self.metrics_path, self.state_path]
        own += [self.path / "columns.json", self.path / "labels.npz"]
        own += [self.weights_path(each) for each in ("last", "best")]
        return dict.fromkeys(own, "a file of the run")

    def inputs(self, spec: Spec) -> dict[Path, str]:
        """Name the files that what is made of a run must not overwrite: its own, and the data of its spec."""
        return self.files | data_files(spec.data, Path(str(self.info().get("beside", "."))))

    def weights_path(self, checkpoint: str) -> Path:
        return self.path / f"{checkpoint}.safetensors"

    def exists(self) -> bool:
        """Tell whether the folder holds a run, finished or not."""
        return self.info_path.exists() or self.state_path.exists() or self.weights_path("last").exists()

    def foreign(self) -> list[str]:
        """Name the files of a folder without a run that no run's start, cut short, could have left there."""
        left = ("columns.json", "labels.npz", "metrics.jsonl", "rows.npz")
        found = sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []
        return [name for name in found if name not in left and not name.endswith(".part")]

    # starting

    @_writes
    def start(self, spec: Spec, info: Mapping[str, Plain]) -> None:
        """Write what is known before the first step; older files of a run go, what `--resume` would read first."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.state_path.unlink(missing_ok=True)
        versions = {"sgc": sgc.__version__, "torch": torch.__version__, "numpy": np.__version__}
        versions["python"] = platform.python_version()
        self.write_info({"versions": versions, "platform": platform.platform(), **info, "finished": False})
        for path in (self.weights_path("last"), self.weights_path("best"), self.metrics_path):
            path.unlink(missing_ok=True)
        inner = RunFolder(self.path / "classifier")
        if inner.exists():
            shutil.rmtree(inner.path)
        write_whole(self.spec_path, spec_yaml(spec).encode())

    def spec(self, *, trust: bool = False) -> Spec:
        """Load the spec of the run; its own code is looked for where it stood when the run began.

        Raises: SpecError; UsageError where there is no run.
        """
        if not self.spec_path.exists():
            what = "is not a run folder: it holds no spec.yaml" if self.path.exists() else "no such folder"
            raise UsageError(f"{self.path}: {what}")
        spec = load(self.spec_path, trust=trust)
        if not spec.own_code():
            return spec
        return spec.stands_in(Path(str(self.info().get("code", self.path))), trusted=trust)

    @_writes
    def write_info(self, info: Mapping[str, Plain]) -> None:
        write_whole(self.info_path, json_text(info, indent=2).encode())

    def info(self) -> dict[str, Plain]:
        """Read run.json. Raises: UsageError."""
        path = self.info_path
        try:
            found: dict[str, Plain] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise UsageError(f"{path}: cannot be read as the record of a run ({problem_words(problem)})") from None
        if not isinstance(found, dict):
            raise UsageError(f"{path}: not the record of a run")
        return found

    def finish(self) -> None:
        self.write_info({**self.info(), "finished": True})

    @_writes
    def write_data(self, dataset: DataSet) -> None:
        """Keep what transforms learned, which labels were kept, and what the data are known by."""
        columns = {name: encoder.state() for name, encoder in dataset.encoders.items()}
        write_whole(self.path / "columns.json", json.dumps(columns).encode())
        write_whole(self.path / "labels.npz", npz_bytes(dataset.labelled_rows))
        write_whole(self.path / "rows.npz", npz_bytes(dataset.fingerprint.state()))

    def encoders(self) -> dict[str, Encoder]:
        """Read what transforms learned. Raises: UsageError."""
        path = self.path / "columns.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {name: Encoder.from_state(state) for name, state in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise UsageError(f"{path}: cannot be read as what transforms learned ({problem_words(problem)})") from None

    def labelled_rows(self) -> dict[str, np.ndarray]:
        """Read which rows kept their label, by node. Raises: UsageError."""
        return self._arrays("labels.npz", "the labelled rows")

    def fingerprint(self) -> Fingerprint:
        """Read what the data of the run are known by. Raises: UsageError."""
        what = "what the data of the run are known by"
        try:
            return Fingerprint.from_state(self._arrays("rows.npz", what))
        except ValueError as problem:
            raise UsageError(f"{self.path / 'rows.npz'}: cannot be read as {what} ({problem})") from None

    def _arrays(self, name: str, what: str) -> dict[str, np.ndarray]:
        path = self.path / name
        try:
            with np.load(path, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as problem:
            raise UsageError(f"{path}: cannot be read as {what} ({problem_words(problem)})") from None

    # metrics

    @_writes
    def append_metrics(self, line: Mapping[str, Plain]) -> None:
        with writing(self.metrics_path), self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json_text(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @_writes
    def trim_metrics(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed run will do again."""
        if self.metrics_path.exists():
            kept = [line for line in self.metrics() if line["epoch"] <= epoch]
            write_whole(self.metrics_path, "".join(json_text(line) + "\n" for line in kept).encode())

    def metrics(self) -> list[dict[str, Plain]]:
        """Read the lines of metrics.jsonl; one cut short by a kill is left out."""
        found = []
        text = self.metrics_path.read_text(encoding="utf-8", errors="replace") if self.metrics_path.exists() else ""
        for text_line in text.splitlines():
            try:
                line = json.loads(text_line)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("epoch"), int):
                found.append(line)
        return found

    # weights

    @_writes
    def write_weights(self, checkpoint: str, model: Model, info: Mapping[str, float]) -> None:
        """Write a model's tensors with what they need beside them; one entry, since safetensors shuffles several."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in own_state(model).items()}
        write_whole(self.weights_path(checkpoint), save_tensors(tensors, metadata={"sgc": json_text(info)}))

    @_writes
    def write_state(self, state: Mapping[str, Plain]) -> None:
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_whole(self.state_path, buffer.getvalue())

    def state(self) -> dict[str, Plain]:
        """Read the training state; nothing in it can run code. Raises: UsageError."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of a file that is not its own before it refuses it
                found: dict[str, Plain] = torch.load(self.state_path, map_location="cpu", weights_only=True)
        except Exception as problem:  # torch raises many kinds for a file that is not its own
            raise UsageError(f"{self.state_path}: not a training state of sgc ({type(problem).__name__})") from None
        if not isinstance(found, dict):
            raise UsageError(f"{self.state_path}: not a training state of sgc (found a {type(found).__name__})")
        return found


def open_run(path: str | Path, checkpoint: str = "best", *, trust: bool = False) -> Model:
    """Open a trained model, in evaluation mode.

    path: a run folder. checkpoint: `best`, by validation bound, or `last`. trust: allow own code that its spec names
    to be imported; no run remembers it.

    Raises: SpecError for own code without trust; UsageError where there is no run, its weights do not fit its spec, or
    own code cannot be used.
    """
    folder = RunFolder(Path(path))
    spec = folder.spec(trust=trust)
    weights = folder.weights_path(checkpoint)
    if checkpoint not in ("best", "last"):
        raise UsageError(f"unknown checkpoint '{checkpoint}': best or last")
    if not weights.exists():
        last = checkpoint == "best" and folder.weights_path("last").exists()
        other = f"; {option('checkpoint', 'last')} is there" if last else ""
        raise UsageError(f"{weights}: no such file, the run has not finished an epoch{other}")
    with torch.random.fork_rng(devices=[]):
        model = Model(outline(spec))
    if spec.train.precision == "64-true":
        model = model.double()
    fit_weights(model, weights)
    model.read_encoders = folder.encoders
    return model.eval()
