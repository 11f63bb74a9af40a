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
import os
import platform
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from safetensors.torch import save as save_tensors

from sgc.arguments import path_of, truth
from sgc.data.dataset import DataSet
from sgc.data.encoder import Encoder
from sgc.data.fingerprint import Fingerprint
from sgc.data.numpy_files import members_of, read_member
from sgc.data.outputs import PART, Inputs
from sgc.data.record import VERSION, read_record
from sgc.errors import RunError, UsageError, check_run_file, option, printable, writing
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.randomness import Generators, drawing_from
from sgc.runs.file_formats import json_text as json_text  # of the folder's readers too
from sgc.runs.file_formats import npz_bytes as npz_bytes
from sgc.runs.file_formats import open_own
from sgc.runs.file_formats import spec_yaml as spec_yaml
from sgc.runs.file_formats import write_whole as write_whole
from sgc.runs.run_lock import NAME as LOCK
from sgc.runs.run_records import ColumnsRecord, EpochRecord, LabelsRecord, RowsRecord, RunRecord, TrainingState
from sgc.runtime.compiler import model_of_run
from sgc.runtime.data_variables import encoders_of
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.weight_files import fit_weights, own_state, problem_words
from sgc.version import __version__

Plain = Any  # what JSON can say

INFO = "cannot be read as the record of a run"
COLUMNS = "cannot be read as what transforms learned"
DIGITS = 9  # of a version that are read: as many are of a newer one in any case


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
    def columns_path(self) -> Path:
        return self.path / "columns.json"

    @property
    def labels_path(self) -> Path:
        return self.path / "labels.npz"

    @property
    def rows_path(self) -> Path:
        return self.path / "rows.npz"

    @property
    def files(self) -> dict[Path, str]:
        """What a run writes to its folder, each in words."""
        own = [self.state_path, self.metrics_path, *(self.weights_path(each) for each in ("last", "best"))]
        own += [self.columns_path, self.labels_path, self.rows_path, self.spec_path, self.info_path]
        return dict.fromkeys(own, "a file of the run")

    def inputs(self, spec: Spec) -> Inputs:
        """Name the files that what is made of a run must not overwrite: its own, and the data of its spec."""
        beside = Path(self.record().beside)
        return Inputs(self.files, spec.data, beside, whose="data that the run was trained on")

    def check_inputs(self, inputs: Inputs) -> None:
        """See that nothing that is read stands where a run, and the classifier beside it, write. Raises: UsageError."""
        for path in (*self.files, *RunFolder(self.path / "classifier").files):
            if what := inputs.at(path):
                raise UsageError(f"{path}: holds {what}, which would be overwritten: take another folder for the run")

    def weights_path(self, checkpoint: str) -> Path:
        return self.path / f"{checkpoint}.safetensors"

    def exists(self) -> bool:
        """Tell whether the folder holds a run, finished or not. Raises: UsageError where its run.json is of no run."""
        if not self.info_path.exists():
            return False
        self.record()
        return True

    def foreign(self, *, left: bool = False) -> list[str]:
        """Name the files of a folder that holds no run, but for its lock.

        left: the lock was left there by a start that was killed, which may have left the first file half written.
        """
        own = {LOCK} | ({self.info_path.name + PART} if left else set())
        found = sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []
        return [name for name in found if name not in own]

    # starting

    @_writes
    def start(self, spec: Spec, facts: Mapping[str, Plain]) -> None:
        """Write what is known before the first step; older files of a run go, what `--resume` would read first."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.state_path.unlink(missing_ok=True)
        versions = {"sgc": __version__, "torch": torch.__version__, "numpy": np.__version__}
        versions["python"] = platform.python_version()
        plain = {"versions": versions, "platform": platform.platform(), **facts, "finished": False}
        self.write_info({"version": VERSION, **plain})
        for path in (self.weights_path("last"), self.weights_path("best"), self.metrics_path):
            path.unlink(missing_ok=True)
        RunFolder(self.path / "classifier").remove()
        write_whole(self.spec_path, spec_yaml(spec).encode())

    def remove(self) -> None:
        """Remove the files of the run that the folder holds, if it holds one, and the folder, if it holds no others."""
        if not self.info_path.exists():
            return
        self.exists()
        RunFolder(self.path / "classifier").remove()
        for path in self.files:  # last what says that there is a run
            path.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

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
        return spec.stands_in(Path(str(self.record().code or self.path)), trusted=trust)

    @_writes
    def write_info(self, info: Mapping[str, Plain]) -> None:
        """Write run.json."""
        write_whole(self.info_path, json_text(info, indent=2).encode())

    def info(self) -> dict[str, Plain]:
        """Read run.json, as it is written. Raises: UsageError."""
        return self.record().model_dump(exclude_unset=True)

    def record(self) -> RunRecord:
        """Read run.json. Raises: UsageError."""
        return read_record(RunRecord, self._json(self.info_path, INFO), f"{self.info_path}: {INFO}")

    def _json(self, path: Path, told: str) -> Plain:
        check_run_file(path)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise UsageError(f"{path}: {told} ({problem_words(problem)})") from None

    def finish(self) -> None:
        """Note that the run is done."""
        self.write_info({**self._json(self.info_path, INFO), "finished": True})

    @_writes
    def reopen(self, spec: Spec) -> None:
        """Note that a run goes on to another end."""
        write_whole(self.spec_path, spec_yaml(spec).encode())
        self.write_info({**self._json(self.info_path, INFO), "finished": False})

    @_writes
    def write_data(self, dataset: DataSet) -> None:
        """Keep what transforms learned, which labels were kept, and what the data are known by."""
        columns = {name: encoder.state() for name, encoder in dataset.encoders.items()}
        write_whole(self.columns_path, json.dumps({"version": VERSION, "columns": columns}).encode())
        write_whole(self.labels_path, npz_bytes(dataset.labelled_rows, comment=f"sgc {VERSION}"))
        write_whole(self.rows_path, npz_bytes(dataset.fingerprint.state(), comment=f"sgc {VERSION}"))

    def encoders(self, outline: Outline | None = None) -> dict[str, Encoder]:
        """Read what transforms learned. outline: of the model whose nodes they must be those of.

        Raises: UsageError.
        """
        told = f"{self.columns_path}: {COLUMNS}"
        record = read_record(ColumnsRecord, self._json(self.columns_path, COLUMNS), told)
        found: dict[str, Encoder] = {}
        for name, state in record.columns.items():
            try:
                found[name] = Encoder.from_state(state)
            except ValueError as problem:
                raise UsageError(f"{told} (key 'columns.{printable(name)}': {problem})") from None
        if outline is None:
            return found
        try:
            return encoders_of(outline, found)
        except ValueError as problem:
            raise UsageError(f"{self.columns_path}: does not fit the spec ({problem})") from None

    def labelled_rows(self) -> dict[str, np.ndarray]:
        """Read which rows kept their label, by node. Raises: UsageError."""
        what = "the labelled rows"
        return read_record(LabelsRecord, self._arrays(self.labels_path, what), self._told(self.labels_path, what)).rows

    def fingerprint(self) -> Fingerprint | None:
        """Read what the data of the run are known by; None of a run of before they were. Raises: UsageError."""
        if not self.rows_path.exists() and self.record().digest is not None:
            return None
        what = "what the data of the run are known by"
        told = self._told(self.rows_path, what)
        try:
            return Fingerprint.from_state(read_record(RowsRecord, self._arrays(self.rows_path, what), told).rows)
        except ValueError as problem:
            raise UsageError(f"{told} ({problem})") from None

    def _told(self, path: Path, what: str) -> str:
        return f"{path}: cannot be read as {what}"

    def _arrays(self, path: Path, what: str) -> dict[str, Plain]:
        """Read arrays, and the version that stands beside them, as a record holds them. Raises: UsageError."""
        told = self._told(path, what)
        check_run_file(path)
        try:
            with zipfile.ZipFile(path) as archive:
                comment = archive.comment.decode("utf-8", "replace").split()
                rows = {}
                for name, member in members_of(archive).items():
                    if member.compress_type != zipfile.ZIP_STORED:  # a run packs none: it cannot grow in memory
                        raise ValueError(f"key '{printable(name)}': is packed, as no run writes it")
                    rows[name] = read_member(archive, member, path)
        except Exception as problem:  # zipfile raises many kinds for a file that is not its own
            raise UsageError(f"{told} ({problem_words(problem)})") from None
        known = len(comment) == 2 and comment[1].isdecimal()
        return {"rows": rows} | ({"version": int(comment[1][:DIGITS])} if known else {})

    # metrics

    @_writes
    def append_metrics(self, line: Mapping[str, Plain]) -> None:
        """Add the line of an epoch."""
        check_run_file(self.metrics_path)
        with writing(self.metrics_path), open(self.metrics_path, "a", encoding="utf-8", opener=open_own) as file:
            file.write(json_text({"version": VERSION, **line}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @_writes
    def trim_metrics(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed run will do again, and those that `metrics` leaves out."""
        if self.metrics_path.exists():
            kept = [line for line in self.metrics() if line["epoch"] <= epoch]
            write_whole(self.metrics_path, "".join(json_text(line) + "\n" for line in kept).encode())

    def metrics(self) -> list[dict[str, Plain]]:
        """Read the lines of metrics.jsonl, of one epoch after the other; a last one cut short by a kill is left out.

        So is, with a warning that names it, what is no such line: a run does not need its log to go on.
        """
        found: list[dict[str, Plain]] = []
        for number, text in enumerate(self._metrics_lines(), start=1):
            told = f"{self.metrics_path}: line {number} is left out, for it cannot be read as what an epoch did"
            try:
                line = json.loads(text)
                epoch = read_record(EpochRecord, line, told).epoch
                if found and epoch <= found[-1]["epoch"]:
                    raise UsageError(f"{told} (key 'epoch': found {epoch} after {found[-1]['epoch']})")
            except UsageError as problem:
                warnings.warn(str(problem), stacklevel=2)
            except (ValueError, RecursionError) as problem:
                warnings.warn(f"{told} ({problem_words(problem)})", stacklevel=2)
            else:
                found.append(line)
        return found

    def _metrics_lines(self) -> list[bytes]:
        if not self.metrics_path.exists():
            return []
        check_run_file(self.metrics_path)
        try:
            return self.metrics_path.read_bytes().split(b"\n")[:-1]
        except OSError as problem:
            raise UsageError(f"{self.metrics_path}: cannot be read ({problem_words(problem)})") from None

    # weights

    @_writes
    def write_weights(self, checkpoint: str, model: Model, info: Mapping[str, float]) -> None:
        """Write a model's tensors with what they need beside them; one entry, since safetensors shuffles several."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in own_state(model).items()}
        write_whole(
            self.weights_path(checkpoint),
            save_tensors(tensors, metadata={"sgc": json_text({"version": VERSION, **info})}),
        )

    @_writes
    def write_state(self, state: Mapping[str, Plain]) -> None:
        """Write what `--resume` reads."""
        buffer = io.BytesIO()
        torch.save({"version": VERSION, **state}, buffer)
        write_whole(self.state_path, buffer.getvalue())

    def state(self) -> TrainingState:
        """Read the training state; nothing in it can run code. Raises: UsageError."""
        check_run_file(self.state_path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of a file that is not its own before it refuses it
                # mapped, a tensor cannot claim more bytes than the file has, whatever the version of torch
                found = torch.load(self.state_path, map_location="cpu", weights_only=True, mmap=True)
        except PermissionError as problem:
            raise UsageError(f"{self.state_path}: cannot be read ({problem_words(problem)})") from None
        except Exception as problem:  # torch raises many kinds for a file that is not its own
            raise UsageError(f"{self.state_path}: not a training state of sgc ({type(problem).__name__})") from None
        if not isinstance(found, dict):
            raise UsageError(f"{self.state_path}: not a training state of sgc (found a {type(found).__name__})")
        return read_record(TrainingState, found, f"{self.state_path}: does not fit the spec")


def open_run(path: str | Path, checkpoint: str = "best", *, trust: bool = False) -> Model:
    """Open a trained model, in evaluation mode.

    path: a run folder. checkpoint: `best`, by validation bound, or `last`. trust: allow own code that its spec names
    to be imported; no run remembers it.

    Raises: SpecError for own code without trust; UsageError where there is no run, its weights do not fit its spec, or
    own code cannot be used.
    """
    folder = RunFolder(path_of("path", path))
    truth("trust", trust, error=UsageError)
    if checkpoint not in ("best", "last"):
        raise UsageError(f"unknown checkpoint '{checkpoint}': best or last")
    spec = folder.spec(trust=trust)
    weights = folder.weights_path(checkpoint)
    if not weights.exists():
        last = checkpoint == "best" and folder.weights_path("last").exists()
        other = f"; {option('checkpoint', 'last')} is there" if last else ""
        raise UsageError(f"{weights}: no such file, the run has not finished an epoch{other}")
    with as_a_run(), drawing_from(Generators(0)):  # in the place of which the weights come
        model = model_of_run(outline(spec))
    fit_weights(model, weights)
    model.read_encoders = functools.partial(folder.encoders, model.outline)
    return model.eval()
