"""The report on a run: everything that its page shows, measured, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgc.arguments import path_of, truth, whole_number
from sgc.data.dataset import DataSet
from sgc.data.outputs import check_output
from sgc.errors import DataError, RunError, UsageError
from sgc.evaluation.disentanglement import CHOICES, FEW, Disentanglement
from sgc.evaluation.measurement import Evaluation, evaluate
from sgc.run_report.category_maps import CategoryMap, category_maps
from sgc.run_report.diagnostic import Diagnostic, Measured
from sgc.run_report.inferred_rows import InferredRows, infer_rows
from sgc.run_report.latent_maps import CodeTable, LatentMap, code_tables, latent_maps, measured_codes
from sgc.run_report.number_predictions import NumberPredictions, explained_shares, number_predictions
from sgc.run_report.run_diagnostics import diagnostics
from sgc.run_report.run_facts import LabelCounts, RunFacts, facts_of, label_counts
from sgc.run_report.run_pictures import Picture, pictures_of
from sgc.run_report.shell_commands import command
from sgc.run_report.training_history import History, history
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.streams import TensorRows
from sgc.samples.shown_rows import HeldOut
from sgc.trained.run_evaluation import SPLITS, held_out, run_data

ENDINGS = (".html",)


@dataclass(frozen=True)
class RunReport:
    """What is known of a run. left_out: parts that could not be measured, each with the reason.

    split: whose rows are measured, '' where none are. codes: disentanglement, by the repeat whose steps are measured,
    '' for nodes outside of repeats.
    """

    facts: RunFacts
    history: History
    split: str
    samples: int
    seed: int
    evaluation: Evaluation | None
    counts: tuple[LabelCounts, ...]
    predictions: tuple[NumberPredictions, ...]
    maps: tuple[LatentMap, ...]
    codes: dict[str, Disentanglement | str]
    pictures: tuple[Picture, ...]
    diagnostics: tuple[Diagnostic, ...]
    left_out: tuple[str, ...]
    command: str
    category_maps: tuple[CategoryMap, ...] = ()

    @property
    def explained(self) -> dict[str, float]:
        """The share of variance that q's predictions explain, of the nodes of one number."""
        return explained_shares(self.predictions)

    @property
    def complete(self) -> bool:
        """Whether every row that was measured has finite scores."""
        return self.evaluation is None or not self.evaluation.broken

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data, without the pictures."""
        codes = {
            name or "rows": {"reason": measured} if isinstance(measured, str) else measured.plain()
            for name, measured in self.codes.items()
        }
        return {
            "facts": self.facts.plain(),
            "split": self.split,
            "samples": self.samples,
            "seed": self.seed,
            "diagnostics": [diagnostic.plain() for diagnostic in self.diagnostics],
            "history": self.history.plain(),
            "evaluation": None if self.evaluation is None else self.evaluation.plain(),
            "labels": {counted.node: counted.plain() for counted in self.counts},
            "predictions": {prediction.node: prediction.plain() for prediction in self.predictions},
            "maps": [latent.plain() for latent in self.maps],
            "category_maps": [latent.plain() for latent in self.category_maps],
            "disentanglement": {"by_steps": codes, "choices": CHOICES, "few": FEW} if codes else None,
            "pictures": [picture.caption for picture in self.pictures],
            "left_out": list(self.left_out),
            "command": self.command,
        }


def report_run(
    path: str | Path,
    *,
    checkpoint: str = "best",
    split: str | None = None,
    samples: int | None = None,
    seed: int | None = None,
    data: Any = None,  # Any: a mapping to arrays, or a data frame
    output: Path | None = None,
    watch: Callable[[int, int], None] | None = None,
    trust: bool = False,
) -> RunReport:
    """Measure a run for its page.

    split: whose rows; the test rows if None, or the validation rows where there are no test rows. samples: of the
    weighted posterior and log p(x); the spec's `evaluate.samples` if None. seed: of the rows that maps show, of forests
    and of pictures; the run's own if None. data: for a run that was trained on arrays, the same arrays. output: where
    the page will be written, which is checked before anything is measured. watch: called with the numbers of finished
    and of all rows. trust: allow own code that the run's spec names.

    Parts that cannot be measured are left out, and `left_out` says why. Raises: SpecError, UsageError for a folder
    that holds no run with weights, a split that has no rows, or an output that cannot be written.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"unknown split '{split}': {' or '.join(SPLITS)}")
    truth("trust", trust, error=UsageError)
    if samples is not None:
        samples = whole_number("samples", samples, error=UsageError)
    folder = RunFolder(path_of("path", path))
    if output is not None:
        check_output(output, ENDINGS)
    with as_a_run():
        model = open_run(folder.path, checkpoint, trust=trust)
        if output is not None:
            check_output(output, ENDINGS, folder.inputs(model.spec))
        facts = facts_of(folder, model, checkpoint)
        start = model.spec.train.seed if seed is None else seed
        count = model.spec.evaluate.samples if samples is None else samples
        return _Reporter(folder, model, facts, start, count).report(split, data, watch, samples, seed)


class _Reporter:
    """Measures one run part by part; what fails is left out, and its reason kept."""

    def __init__(self, folder: RunFolder, model: Model, facts: RunFacts, seed: int, samples: int) -> None:
        self.folder, self.model, self.facts, self.seed, self.samples = folder, model, facts, seed, samples
        self.left_out: list[str] = []

    def report(
        self,
        split: str | None,
        data: Any,
        watch: Callable[[int, int], None] | None,
        samples: int | None,
        seed: int | None,
    ) -> RunReport:
        """Measure everything. Any: as for `report_run`."""
        model = self.model
        past = history(self.folder, model.spec.train.epochs)
        self.left_out += past.problems
        dataset = self._data(data)
        chosen = split or next((name for name in SPLITS if dataset and len(getattr(dataset, name))), "")
        rows = None if dataset is None else self._rows(dataset, split, chosen)
        evaluation = None if rows is None else self._evaluate(rows, watch)
        inferred = None if rows is None or evaluation is None else self._infer(rows)
        counts = () if dataset is None else label_counts(model, dataset)
        predictions = () if inferred is None else self._predictions(inferred)
        tables = [] if inferred is None else code_tables(inferred)
        maps, codes = self._codes(tables)
        discrete = tuple(latent for table in tables for latent in category_maps(table, model.outline))
        opened = None if dataset is None else lambda: HeldOut(dataset, model, self.seed)
        drawn = pictures_of(model, opened, self.seed, command("sample", self.facts, "-o samples.png"))
        self.left_out += drawn.left_out
        found = diagnostics(
            Measured(model.outline, self.facts, past, evaluation, counts, codes, explained_shares(predictions))
        )
        return RunReport(
            facts=self.facts,
            history=past,
            split=chosen if rows is not None else "",
            samples=self.samples,
            seed=self.seed,
            evaluation=evaluation,
            counts=counts,
            predictions=predictions,
            maps=maps,
            codes=codes,
            pictures=drawn.pictures,
            diagnostics=found,
            left_out=tuple(dict.fromkeys(self.left_out)),
            command=self._command(split, samples, seed),
            category_maps=discrete,
        )

    def _data(self, data: Any) -> DataSet | None:  # Any: as above
        try:
            return run_data(self.folder, self.model, data)
        except (DataError, UsageError) as problem:
            self.left_out.append(f"no errors, maps and reconstructions, for the data are not at hand: {problem}")
            return None

    def _rows(self, dataset: DataSet, split: str | None, chosen: str) -> TensorRows | None:
        if split is None and not chosen and self.model.spec.data is not None:
            self.left_out.append("no errors and maps: the spec keeps no rows for test or validation (data.split)")
            return None
        return held_out(self.model, dataset, chosen or "test")

    def _evaluate(self, rows: TensorRows, watch: Callable[[int, int], None] | None) -> Evaluation | None:
        tell = None if watch is None else (lambda done: watch(done, rows.count))
        unlabelled = [name for name, size in self.facts.labels.items() if not size]
        try:
            return evaluate(self.model, rows, self.samples, self.model.spec.train.seed, tell, unlabelled)
        except RunError as problem:
            self.left_out.append(f"no errors and maps: {problem}")
            return None

    def _infer(self, rows: TensorRows) -> InferredRows | None:
        inferred = infer_rows(self.model, rows, self.seed)
        return inferred if len(inferred.index) else None

    def _predictions(self, inferred: InferredRows) -> tuple[NumberPredictions, ...]:
        made = (number_predictions(inferred, name) for name in inferred.predictions)
        return tuple(prediction for prediction in made if prediction is not None)

    def _codes(self, tables: Sequence[CodeTable]) -> tuple[tuple[LatentMap, ...], dict[str, Disentanglement | str]]:
        maps: list[LatentMap] = []
        codes: dict[str, Disentanglement | str] = {}
        for table in tables:
            self.left_out += table.left_out
            if not table.codes:  # of categories alone
                continue
            for latent in latent_maps(table):
                if isinstance(latent, str):
                    self.left_out.append(latent)
                else:
                    maps.append(latent)
            codes[table.steps] = measured_codes(table, self.seed)
        return tuple(maps), codes

    def _command(self, split: str | None, samples: int | None, seed: int | None) -> str:
        given = {"checkpoint": self.facts.checkpoint, "split": split, "samples": samples, "seed": seed}
        flags = [f"--{name} {value}" for name, value in given.items() if value not in (None, "best")]
        return command("report", self.facts, "-o report.html", *flags)
