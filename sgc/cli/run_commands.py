"""The commands on a trained run: evaluate, predict, sample."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sgc.arguments import LARGEST
from sgc.cli import completion
from sgc.cli.collection import collect_as_usual
from sgc.cli.common import LARGEST_SEED, Checkpoint, Json, RunArg, Trust, print_json
from sgc.errors import RunError, SpecError, UsageError
from sgc.report.standard_streams import say


def evaluate(
    run: RunArg,
    checkpoint: Checkpoint = "best",
    split: Annotated[
        str, typer.Option("--split", metavar="test|validation", help="Which rows.", autocompletion=completion.splits)
    ] = "test",
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=LARGEST, help="Samples of the posterior and of log p(x).")
    ] = None,
    classifier: Annotated[
        bool, typer.Option("--classifier", help="Also train the classifier alone on the same labels, and compare.")
    ] = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Measure a run on held-out rows: errors and calibration of q and the posterior, ELBO by terms, log p(x)."""
    from sgc.report.row_progress import rows_progress
    from sgc.report.terminal import training_progress
    from sgc.runs.file_formats import json_text
    from sgc.trained.run_evaluation import evaluate_run

    collect_as_usual()
    problems: list[str] = []
    with rows_progress("evaluating") as watch, training_progress("classifier") as watcher:
        report = evaluate_run(
            run,
            checkpoint=checkpoint,
            split=split,
            samples=samples,
            classifier=classifier,
            watcher=watcher,
            watch=watch,
            warn=problems.append,
            trust=trust,
        )
    if as_json:
        print_json(json_text(report.plain()))
    else:
        from sgc.trained.evaluation_words import evaluation_text

        print(evaluation_text(report))
    for problem in problems:
        say(f"error: {problem}")
    if not report.complete:
        raise typer.Exit(1)


class AnswerOf(StrEnum):
    """Whose answer a prediction is: the classifier's, or the posterior's."""

    Q = "q"
    POSTERIOR = "posterior"


def predict(
    run: RunArg,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="New rows: .npz, .mat, .csv, .parquet, .h5ad, IDX or pictures.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write: .csv, .csv.gz, .parquet, .npz, .json or .h5ad."
        ),
    ],
    checkpoint: Checkpoint = "best",
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=LARGEST, help="Samples of the posterior.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NODE",
            help="Take the values of a partially labelled node as evidence.",
            autocompletion=completion.partial_nodes,
        ),
    ] = None,
    from_: Annotated[
        AnswerOf | None,
        typer.Option(
            "--from", metavar="q|posterior", help="Whose answer: q's, or by default the weighted posterior's."
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="The column of the rows' own ids; by default a table's index."),
    ] = None,
    latents: Annotated[
        bool, typer.Option("--latents", help="Write only the nodes that are never observed: q's means and deviations.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, max=1024, help="How many processes, of one thread each; the answers stay the same."
        ),
    ] = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Predict each unobserved node of new rows, in the units of the data; labels are ignored."""
    from sgc.report.row_progress import RowRate
    from sgc.trained.predictions import predict_run, prediction_text

    collect_as_usual()
    progress = RowRate()
    try:
        summary = predict_run(
            run,
            data,
            output,
            checkpoint=checkpoint,
            samples=samples,
            given=given or [],
            from_=None if from_ is None else from_.value,
            id_column=id_column,
            latents=latents,
            jobs=jobs,
            trust=trust,
            watcher=progress,
        )
    finally:
        progress.clear()
    progress.ended(summary["seconds"])
    notes, failed = summary.pop("notes", []), summary.pop("failed", "")
    for note in notes:
        say(f"warning: {note}")
    print(json.dumps(summary) if as_json else prediction_text(summary))
    if failed:
        raise RunError(failed)


def sample(
    run: RunArg,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Pictures (.png) or numbers (.npz).")],
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="How many samples.")] = 40,
    given: Annotated[
        list[str] | None,
        typer.Option("--given", metavar="NODE=VALUE", help="Hold a node.", autocompletion=completion.values_of_nodes),
    ] = None,
    analogies: Annotated[
        str | None,
        typer.Option(
            "--analogies",
            metavar="NODE",
            help="Turn a node's categories in held-out rows.",
            autocompletion=completion.nodes,
        ),
    ] = None,
    traverse: Annotated[
        str | None,
        typer.Option(
            "--traverse",
            metavar="NODE",
            help="Turn a labelled node through its range, or move a latent's dimensions.",
            autocompletion=completion.nodes,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the draws.")] = None,
    checkpoint: Checkpoint = "best",
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Draw pictures from a trained model: samples, a row for each category, reconstructions."""
    from sgc.trained.sampler import sample_run

    if analogies is not None and traverse is not None:
        raise UsageError("--analogies beside --traverse: one picture at a time")
    held: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--given {text}: expected NODE=VALUE")
        held[name] = _value(value, f"--given {name}")
    collect_as_usual()
    summary = sample_run(
        run,
        output,
        checkpoint=checkpoint,
        count=count,
        seed=seed,
        given=held,
        analogies=analogies,
        traverse=traverse,
        trust=trust,
    )
    if "left_out" in summary:
        say(f"note: {summary['left_out']}")
    print(json.dumps(summary) if as_json else summary["file"])
    for failure in summary.get("failures", ()):
        say(f"error: {failure}")
    if "failures" in summary:
        raise typer.Exit(1)


def _value(text: str, flag: str) -> Any:  # Any: a value as a spec may hold it
    """Read the value of a flag as a spec would. Raises: UsageError."""
    from sgc.spec.document import parse

    try:
        document = parse(f"value: {text}", flag)
    except SpecError as problem:
        raise UsageError(f"{flag}: {problem.faults[0].message}") from None
    if document.faults:
        raise UsageError(f"{flag}: {document.faults[0].message}")
    return document.data["value"] if set(document.data) == {"value"} else text
