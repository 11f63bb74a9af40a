"""The evaluation of a trained run on held-out rows, with a classifier trained on the same labels for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sgc.arguments import call_of, path_of, truth, whole_number
from sgc.data.dataset import DataSet
from sgc.data.fingerprint import trained_on
from sgc.errors import UsageError, option
from sgc.evaluation.measurement import Evaluation, evaluate
from sgc.runs.extension import TRACKED
from sgc.runs.folder_claim import same_data
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.data_variables import open_data
from sgc.runtime.finiteness import rows_words
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.streams import TensorRows
from sgc.spec.loader import load
from sgc.training.trainer import train
from sgc.training.watchers import Silent, Watcher, check_watcher

SPLITS = ("test", "validation")
ADVICE = "bring them back as they were, or train anew; for new rows use 'sgc predict', or model.infer in Python"


@dataclass(frozen=True)
class Report:
    """The result of `sgc evaluate`: the run's evaluation and, if requested, that of the classifier alone."""

    run: str
    checkpoint: str
    split: str
    evaluation: Evaluation
    labels: dict[str, int]  # the number of training rows that kept their label, by node
    classifier: Evaluation | None
    trained_on: int = 0  # the number of rows, in arrays that no spec splits, with the same values as a training row

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        plain = {"run": self.run, "checkpoint": self.checkpoint, "split": self.split, "labels": self.labels}
        plain |= {"trained_on": self.trained_on} | self.evaluation.plain()
        if self.classifier is not None:
            plain["classifier"] = {name: error.plain() for name, error in self.classifier.from_q.items()}
        return plain

    def warnings(self) -> list[str]:
        """Say what the numbers do not show: rows that were trained on, and rows that are left out."""
        again = f"{self.run}: was trained on {self.trained_on} of these {self.evaluation.total} rows"
        texts = [again] if self.trained_on else []
        for whose, evaluation in (("", self.evaluation), (", by the classifier alone", self.classifier)):
            if evaluation is not None and evaluation.broken:
                texts.append(f"left out, without finite scores{whose}: {rows_words(evaluation.broken)}")
        return texts

    @property
    def complete(self) -> bool:
        """Tell whether no row is left out."""
        return not self.evaluation.broken and (self.classifier is None or not self.classifier.broken)


def run_data(folder: RunFolder, model: Model, data: Any = None) -> DataSet:
    """Open the data of a run again, with what its transforms learned, and check that they are those of its training.

    Arrays that no spec splits are new rows, and are not checked. Any: a mapping to arrays, or a data frame.

    Raises: UsageError if the run was trained on arrays and none are given, or on other data; DataError.
    """
    info = folder.record()
    if data is None and info.data == "arrays":
        raise UsageError(
            f"{folder.path}: was trained on arrays from Python, which it does not hold: give them to sgc.evaluate or "
            "sgc.write_report in Python, as data=..."
        )
    if data is None and model.spec.data is None:
        raise UsageError(f"{folder.path}: its spec has no data section")
    if model.spec.data is not None:
        folder.check_kept(folder.rows_path)
    dataset = open_data(model.outline, Path(info.beside), data, folder.encoders(model.outline))
    if model.spec.data is not None:
        same_data(folder, dataset, ADVICE)
    return dataset


def evaluate_run(
    path: str | Path,
    *,
    checkpoint: str = "best",
    split: str = "test",
    samples: int | None = None,
    classifier: bool = False,
    data: Any = None,  # Any: a mapping to arrays, or a data frame
    watcher: Watcher | None = None,
    watch: Callable[[int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
    trust: bool = False,
) -> Report:
    """Evaluate a run on its test rows, without showing it their labels.

    path: a run folder. checkpoint: `best`, by validation bound, or `last`. split: `test` or `validation`.
    samples: of the weighted posterior and log p(x); the spec's `evaluate.samples` if None. classifier: also train the
    classifier alone on the same labels, in the run's folder (once; it is kept). data: for a run that was trained on
    arrays, the same arrays; if its spec has no data section, and so no split, arrays of new rows, all of which are
    used. watch: called with the numbers of finished and of all rows. warn: called with a text about rows that were
    trained on, and about rows left out because their scores are not finite; Python's warnings if None. trust: allow own
    code that the run's spec names.

    Raises: SpecError, UsageError, DataError; RunError if no row has finite scores.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}': {' or '.join(SPLITS)}")
    truth("classifier", classifier, error=UsageError)
    truth("trust", trust, error=UsageError)
    check_watcher(watcher)
    call_of("watch", watch)
    call_of("warn", warn)
    if samples is not None:
        samples = whole_number("samples", samples, error=UsageError)
    folder = RunFolder(path_of("path", path))
    with as_a_run():
        model = open_run(folder.path, checkpoint, trust=trust)
        dataset = run_data(folder, model, data)
        rows = held_out(model, dataset, split)
        count = model.spec.evaluate.samples if samples is None else samples
        tell = None if watch is None else (lambda done: watch(done, rows.count))
        labels = {name: len(ids) for name, ids in folder.labelled_rows().items()}
        unlabelled = [name for name, size in labels.items() if not size]
        evaluation = evaluate(model, rows, count, model.spec.train.seed, tell, unlabelled)
        alone = _classifier(folder, model, split, count, data, watcher or Silent()) if classifier else None
        before = folder.fingerprint() if model.spec.data is None else None
        again = 0 if before is None else trained_on(before, dataset.fingerprint.rows["train"])
        report = Report(str(folder.path), checkpoint, split, evaluation, labels, alone, again)
    for warning in report.warnings():
        (warn or partial(warnings.warn, stacklevel=3))(warning)
    return report


def held_out(model: Model, dataset: DataSet, split: str) -> TensorRows:
    """Give the rows of a split as tensors. Raises: UsageError if there are none."""
    chosen = dataset.test if split == "test" else dataset.validation
    if model.spec.data is None:  # arrays that no spec splits
        chosen = dataset.train
    if not len(chosen):
        others = [name for name in SPLITS if name != split and len(getattr(dataset, name))]
        hint = f"{option('split', others[0])} has some" if others else "set data.split.test"
        raise UsageError(f"the {split} split has no rows: {hint}")
    return TensorRows(chosen, model.outline, model.like, dataset.encoders).drawn_once(model.spec.train.seed)


def _classifier(
    folder: RunFolder, model: Model, split: str, samples: int, data: Any, watcher: Watcher
) -> Evaluation:  # Any: as above
    """Train the supervised bound of the same spec on the same labels, and measure it. Raises: UsageError."""
    if model.spec.data is None:
        raise UsageError(f"{folder.path}: holds no training rows for a classifier: train one with bound: supervised")
    plain = model.spec.plain()
    plain["objective"] = {"bound": "supervised", "samples": model.spec.objective.samples}
    for key in ("stop", *TRACKED):
        plain["train"].pop(key, None)
    plain["name"] = f"{model.spec.name}-classifier"[:100]
    trust = model.spec.trusted
    spec = load(plain, trust=trust).stands_in(model.spec.folder, trusted=trust)
    inner = folder.classifier
    finished = inner.exists() and inner.record().finished
    same = (finished or (inner.exists() and inner.spec_path.exists())) and inner.spec(trust=trust) == spec
    if not (finished and same):
        beside = folder.record().beside
        train(spec, data, output=inner.path, resume=same, force=not same, beside=beside, watcher=watcher)
    alone = open_run(inner.path, "last", trust=trust)
    dataset = run_data(inner, alone, data)
    rows = held_out(alone, dataset, split)
    return evaluate(alone, rows, min(samples, 10), spec.train.seed)
