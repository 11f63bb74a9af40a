"""The run folder: which files it holds, and how each is written so that it stays whole if the process is killed.

spec.yaml           the resolved spec, every default written out
run.json            versions, seed, rates, where the data are looked for, whether the run is finished
metrics.jsonl       a line for each epoch: loss, bounds, their terms, weights, collapsed nodes, validation, and in some
                    epochs the gradient
last.safetensors    the weights after the last epoch; best.safetensors those of the best validation bound
training.pt         weights, optimiser and place in the run, in one file: what `--resume` reads
columns.json        what transforms learned from the training rows
labels.npz          the ids of the training rows that kept their label, by node
rows.npz            the fingerprint of the data: a hash of each row by split, digests of row ids and of nodes
trackers/           files of trackers, and in told.json what each of them was told
"""

from __future__ import annotations

import functools
import io
import json
import os
import platform
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from safetensors.torch import save as save_tensors

from sgc.arguments import path_of, truth
from sgc.data.dataset import DataSet
from sgc.data.encoder import Encoder
from sgc.data.fingerprint import Fingerprint
from sgc.data.outputs import PART, Inputs
from sgc.data.record import VERSION, read_record
from sgc.errors import RunError, UsageError, check_run_file, option, printable, writing
from sgc.randomness import Generators, drawing_from
from sgc.runs.file_formats import Plain, json_text, npz_arrays, npz_bytes, open_own, spec_yaml, write_whole
from sgc.runs.run_lock import NAME as LOCK
from sgc.runs.run_records import ColumnsRecord, EpochRecord, LabelsRecord, RowsRecord, RunRecord, TrainingState
from sgc.runs.told_trackers import FOLDER as TRACKERS
from sgc.runs.told_trackers import NAME as TOLD
from sgc.runs.told_trackers import Told, ToldTrackers, check_trackers_folder, remove_trackers
from sgc.runtime.compiler import model_of_run
from sgc.runtime.data_variables import encoders_of
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.weight_files import fit_weights, own_state, problem_words
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.version import __version__

DIGITS = 9  # of a version number that are read: one of nine digits is newer in any case

P = ParamSpec("P")
R = TypeVar("R")


def _writes(method: Callable[Concatenate[RunFolder, P], R]) -> Callable[Concatenate[RunFolder, P], R]:
    """Report an error of the disk with the file that it hit, and whether there is a checkpoint. Raises: RunError."""

    @functools.wraps(method)
    def write(self: RunFolder, /, *args: P.args, **words: P.kwargs) -> R:
        try:
            return method(self, *args, **words)
        except OSError as problem:
            complete = f"the last checkpoint is whole, {option('resume', '-')} goes on from it"
            state = complete if self.state_path.exists() else "there is no checkpoint yet"
            raise RunError(f"{problem.filename}: {problem.strerror}; {state}") from None

    return write


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec_path = path / "spec.yaml"
        self.state_path = path / "training.pt"
        self.info_path = path / "run.json"
        self.metrics_path = path / "metrics.jsonl"
        self.columns_path = path / "columns.json"
        self.labels_path = path / "labels.npz"
        self.rows_path = path / "rows.npz"
        self.told_path = path / TRACKERS / TOLD

    @property
    def files(self) -> dict[Path, str]:
        """The files that a run writes to its folder, each described; run.json, which marks a run, comes last."""
        own = [self.state_path, self.metrics_path, self.weights_path("last"), self.weights_path("best")]
        own += [self.columns_path, self.labels_path, self.rows_path, self.told_path, self.spec_path, self.info_path]
        return dict.fromkeys(own, "a file of the run")

    @property
    def classifier(self) -> RunFolder:
        """The folder of the classifier that `sgc evaluate --classifier` trains beside the run."""
        return RunFolder(self.path / "classifier")

    def inputs(self, spec: Spec) -> Inputs:
        """Name what predictions and samples must not overwrite: the files of the run, and the data of its spec."""
        return Inputs(self.files, spec.data, Path(self.record().beside), whose="data that the run was trained on")

    def check_inputs(self, inputs: Inputs) -> None:
        """Check that the run, and the classifier beside it, would overwrite none of the inputs. Raises: UsageError."""
        for path in (*self.files, *self.classifier.files):
            if held := inputs.at(path):
                raise UsageError(f"{path}: holds {held}, which would be overwritten: take another folder for the run")

    def weights_path(self, checkpoint: str) -> Path:
        return self.path / f"{checkpoint}.safetensors"

    def exists(self) -> bool:
        """Tell whether the folder holds a run, finished or not. Raises: UsageError where run.json cannot be read."""
        if not self.info_path.exists():
            return False
        self.record()
        return True

    def foreign(self, *, left: bool = False) -> list[str]:
        """Name the files of a folder that holds no run, other than its lock.

        left: the lock is that of a process that was killed, which may have left the first file half written.
        """
        own = {LOCK} | ({self.info_path.name + PART} if left else set())
        names = sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []
        return [name for name in names if name not in own]

    # starting

    @_writes
    def start(self, spec: Spec, facts: Mapping[str, Plain]) -> None:
        """Write what is known before the first step, and remove the files of an older run, first what resumes it."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.state_path.unlink(missing_ok=True)
        versions = {"sgc": __version__, "torch": torch.__version__, "numpy": np.__version__}
        versions["python"] = platform.python_version()
        plain = {"versions": versions, "platform": platform.platform(), **facts, "finished": False}
        self.write_info({"version": VERSION, **plain})
        for path in (self.weights_path("last"), self.weights_path("best"), self.metrics_path):
            path.unlink(missing_ok=True)
        self.classifier.remove()
        remove_trackers(self.path)
        write_whole(self.spec_path, spec_yaml(spec).encode())

    def remove(self) -> None:
        """Remove the files of the run, if the folder holds one, and the folder, if it is then empty."""
        if not self.exists():
            return
        self.classifier.remove()
        for path in self.files:
            path.unlink(missing_ok=True)
        remove_trackers(self.path)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def spec(self, *, trust: bool = False) -> Spec:
        """Load the spec of the run; its own code is looked for in the folder where it was when the run began.

        Raises: SpecError; UsageError where there is no run.
        """
        if not self.spec_path.exists():
            problem = "is not a run folder: it holds no spec.yaml" if self.path.exists() else "no such folder"
            raise UsageError(f"{self.path}: {problem}")
        return self.with_code(load(self.spec_path, trust=trust))

    def with_code(self, spec: Spec) -> Spec:
        """Note on the spec of the run where its own code was when the run began. Raises: UsageError."""
        if not spec.own_code():
            return spec
        return spec.stands_in(Path(str(self.record().code or self.path)), trusted=spec.trusted)

    @_writes
    def write_info(self, info: Mapping[str, Plain]) -> None:
        """Write run.json."""
        write_whole(self.info_path, json_text(info, indent=2).encode())

    def record(self) -> RunRecord:
        """Read run.json. Raises: UsageError."""
        use = self._use(self.info_path)
        return read_record(RunRecord, self._json(self.info_path, use), use)

    def finish(self) -> None:
        """Record that the run is finished."""
        self._set_finished(True)

    @_writes
    def reopen(self, spec: Spec) -> None:
        """Record that a run goes on to another end."""
        write_whole(self.spec_path, spec_yaml(spec).encode())
        self._set_finished(False)

    def _set_finished(self, finished: bool) -> None:
        info = self._json(self.info_path, self._use(self.info_path))
        self.write_info({**info, "finished": finished})

    def _use(self, path: Path) -> str:
        """Name a file, and say what it cannot be read as."""
        contents = {
            self.info_path: "the record of a run",
            self.columns_path: "what transforms learned",
            self.labels_path: "the labelled rows",
            self.rows_path: "what the data of the run are known by",
            self.told_path: "what trackers were told",
        }
        return f"{path}: cannot be read as {contents[path]}"

    def _json(self, path: Path, use: str) -> Plain:
        check_run_file(path)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise UsageError(f"{use} ({problem_words(problem)})") from None

    @_writes
    def write_data(self, dataset: DataSet) -> None:
        """Write what transforms learned, which rows kept their labels, and the fingerprint of the data."""
        columns = {name: encoder.state() for name, encoder in dataset.encoders.items()}
        write_whole(self.columns_path, json.dumps({"version": VERSION, "columns": columns}).encode())
        write_whole(self.labels_path, npz_bytes(dataset.labelled_rows, comment=f"sgc {VERSION}"))
        write_whole(self.rows_path, npz_bytes(dataset.fingerprint.state(), comment=f"sgc {VERSION}"))

    def encoders(self, outline: Outline | None = None) -> dict[str, Encoder]:
        """Read what transforms learned. outline: a model whose nodes must be those of the encoders.

        Raises: UsageError.
        """
        use = self._use(self.columns_path)
        record = read_record(ColumnsRecord, self._json(self.columns_path, use), use)
        encoders: dict[str, Encoder] = {}
        for name, state in record.columns.items():
            try:
                encoders[name] = Encoder.from_state(state)
            except ValueError as problem:
                raise UsageError(f"{use} (key 'columns.{printable(name)}': {problem})") from None
        if outline is None:
            return encoders
        try:
            return encoders_of(outline, encoders)
        except ValueError as problem:
            raise UsageError(f"{self.columns_path}: does not fit the spec ({problem})") from None

    def labelled_rows(self) -> dict[str, np.ndarray]:
        """Read which rows kept their label, by node. Raises: UsageError."""
        use = self._use(self.labels_path)
        return read_record(LabelsRecord, self._arrays(self.labels_path, use), use).rows

    def fingerprint(self) -> Fingerprint | None:
        """Read the fingerprint of the data; None for a run from before there were any. Raises: UsageError."""
        if not self.rows_path.exists() and self.record().digest is not None:
            return None
        use = self._use(self.rows_path)
        try:
            return Fingerprint.from_state(read_record(RowsRecord, self._arrays(self.rows_path, use), use).rows)
        except ValueError as problem:
            raise UsageError(f"{use} ({problem})") from None

    def _arrays(self, path: Path, use: str) -> dict[str, Plain]:
        """Read an archive's arrays and its version, as a record holds them. Raises: UsageError."""
        self.check_kept(path)
        try:
            rows, comment = npz_arrays(path)
        except Exception as problem:  # zipfile raises many kinds of errors for a file that it did not write
            raise UsageError(f"{use} ({problem_words(problem)})") from None
        known = len(comment) == 2 and comment[1].isdecimal()
        return {"rows": rows} | ({"version": int(comment[1][:DIGITS])} if known else {})

    def check_kept(self, path: Path) -> None:
        """Check that a file about rows may be read. Raises: UsageError, of an exported folder, which has none."""
        check_run_file(path)
        if not path.exists() and self.record().exported:
            use = "use the run that it was made of; `sgc predict` takes rows, and `sgc sample` draws some"
            raise UsageError(f"{self.path}: was exported, and does not know the rows that it was trained on: {use}")

    # metrics

    @_writes
    def append_metrics(self, line: Mapping[str, Plain]) -> None:
        """Append the line of an epoch."""
        check_run_file(self.metrics_path)
        with writing(self.metrics_path), open(self.metrics_path, "a", encoding="utf-8", opener=open_own) as file:
            file.write(json_text({"version": VERSION, **line}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @_writes
    def trim_metrics(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed run will repeat, and those that `metrics` leaves out."""
        if self.metrics_path.exists():
            lines = [line for line in self.metrics() if line["epoch"] <= epoch]
            write_whole(self.metrics_path, "".join(json_text(line) + "\n" for line in lines).encode())

    def metrics(self) -> list[dict[str, Plain]]:
        """Read the lines of metrics.jsonl, in the order of the epochs; a last one cut short by a kill is left out.

        A line that cannot be read is left out too, with a warning: a run does not need its log to go on.
        """
        lines: list[dict[str, Plain]] = []
        for number, text in enumerate(self._metrics_lines(), start=1):
            use = f"{self.metrics_path}: line {number} is left out, for it cannot be read as what an epoch did"
            try:
                line = json.loads(text)
                epoch = read_record(EpochRecord, line, use).epoch
                if lines and epoch <= lines[-1]["epoch"]:
                    raise UsageError(f"{use} (key 'epoch': found {epoch} after {lines[-1]['epoch']})")
            except UsageError as problem:
                warnings.warn(str(problem), stacklevel=2)
            except (ValueError, RecursionError) as problem:
                warnings.warn(f"{use} ({problem_words(problem)})", stacklevel=2)
            else:
                lines.append(line)
        return lines

    def _metrics_lines(self) -> list[bytes]:
        if not self.metrics_path.exists():
            return []
        check_run_file(self.metrics_path)
        try:
            return self.metrics_path.read_bytes().split(b"\n")[:-1]
        except OSError as problem:
            raise UsageError(f"{self.metrics_path}: cannot be read ({problem_words(problem)})") from None

    def told(self) -> dict[str, Told]:
        """Read what trackers were told, by their names. Raises: UsageError."""
        check_trackers_folder(self.path)
        use = self._use(self.told_path)
        if not self.told_path.exists():
            return {}
        try:
            return read_record(ToldTrackers, self._json(self.told_path, use), use).trackers
        except UsageError as problem:
            raise UsageError(f"{problem}: remove it, and trackers are told all epochs anew") from None

    @_writes
    def write_told(self, told: Mapping[str, Told]) -> None:
        """Write what trackers were told."""
        self.told_path.parent.mkdir(exist_ok=True)
        write_whole(self.told_path, json_text(ToldTrackers(trackers=dict(told)).model_dump(), indent=1).encode())

    # weights

    @_writes
    def write_weights(self, checkpoint: str, model: Model, info: Mapping[str, float]) -> None:
        """Write a model's tensors, with the numbers that they need as metadata of one entry: several are shuffled."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in own_state(model).items()}
        metadata = {"sgc": json_text({"version": VERSION, **info})}
        write_whole(self.weights_path(checkpoint), save_tensors(tensors, metadata=metadata))

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
                warnings.simplefilter("ignore")  # torch warns of a foreign file before it refuses it
                # mapped, a tensor cannot claim more bytes than the file has, in any version of torch
                content = torch.load(self.state_path, map_location="cpu", weights_only=True, mmap=True)
        except PermissionError as problem:
            raise UsageError(f"{self.state_path}: cannot be read ({problem_words(problem)})") from None
        except Exception as problem:  # torch raises many kinds of errors for a file that it did not write
            raise UsageError(f"{self.state_path}: not a training state of sgc ({type(problem).__name__})") from None
        if not isinstance(content, dict):
            raise UsageError(f"{self.state_path}: not a training state of sgc (found a {type(content).__name__})")
        return read_record(TrainingState, content, f"{self.state_path}: does not fit the spec")


def open_run(path: str | Path, checkpoint: str = "best", *, trust: bool = False) -> Model:
    """Open a trained model, in evaluation mode.

    path: a run folder. checkpoint: `best`, by validation bound, or `last`. trust: allow own code that its spec names
    to be imported; a run does not remember it.

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
        why = "it was exported with one set" if folder.record().exported else "the run has not finished an epoch"
        raise UsageError(f"{weights}: no such file, {why}{other}")
    with as_a_run(), drawing_from(Generators(0)):  # starting weights, which are then replaced
        model = model_of_run(outline(spec))
    fit_weights(model, weights)
    model.read_encoders = functools.partial(folder.encoders, model.outline)
    return model.eval()
