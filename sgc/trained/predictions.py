"""Predictions for new rows: the unobserved nodes of each row in the units of the data, from the posterior or q."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sgc.arguments import whole_number
from sgc.data.outputs import Inputs, check_output
from sgc.errors import UsageError, is_shell, option, suggest
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.data_variables import data_variables
from sgc.runtime.inference import FEW, Answer, few_rows_words
from sgc.runtime.model import Model
from sgc.trained.answer_advice import advise
from sgc.trained.block_answers import unobserved
from sgc.trained.prediction_chunks import Question
from sgc.trained.prediction_formats import ENDINGS, check_package, format_of
from sgc.trained.prediction_sums import PredictionSums
from sgc.trained.prediction_work import Silence, Sizes, Watcher, Work


def predict_run(
    run: Path,
    data: Path,
    output: Path,
    *,
    checkpoint: str = "best",
    samples: int | None = None,
    given: Collection[str] = (),
    from_: Answer | None = None,
    id_column: str | None = None,
    latents: bool = False,
    jobs: int | None = None,
    trust: bool = False,
    watcher: Watcher | None = None,
    sizes: Sizes | None = None,
) -> dict[str, Any]:
    """Write the predictions of a run for every unobserved node of the rows of a new file.

    output: `.csv`, `.csv.gz` or `.parquet` (a line for each row), `.npz` (arrays by name), `.json` or `.h5ad` (cells,
    see `sgc.trained.annotated_predictions`). For a category: the most probable one, under the node's name, and the
    probability of each. For numbers: mean and standard deviation (`.sd`) in the units of the data; if the column holds
    names (`one_of`), the name nearest to the mean, and the mean (`.mean`) and its deviation as places in the list. For
    a node of a repeat, arrays have the steps first, and tables a column for each step, with the name of its node. A
    step that does not exist in a row, by its count or else the most probable count, is empty: NaN, or -1 for categories
    without names.

    Every line has its `row`, its id if the file has an index or id_column is given, the `path` of a picture file, and
    in `given` the nodes whose values it was conditioned on.

    given: partial nodes whose values in the file are evidence; these nodes are written as they are in the rows that
    have them. Values of other partial nodes are ignored, except those of dropped nodes, which are always evidence.
    from_: `posterior`, the model's, or `q`. latents: only nodes that are never observed, from q by default. trust:
    allow own code that the run's spec names. jobs: how many processes, of one thread each; None: this one, as it is.

    Tables are read, predicted and written chunk by chunk, after one pass that checks all rows. What a call has written
    when it is stopped is kept beside the output, and the same call goes on from there. Values follow from the run and
    the rows' places in the file alone: neither chunks nor processes nor an interruption change them. sizes: of blocks
    and chunks, chosen by the model if None.

    Rows without finite scores are left out.

    Returns: what was written, for how many rows, from what, and given what; how many rows have few effective samples
    and which answer validation finds better; which rows are left out, and why; and how fast it was. Any: what JSON can
    say. Raises: SpecError, UsageError, DataError; RunError if no row has finite scores or the disk refuses;
    Interrupted.
    """
    rows_file = Inputs({data: "the rows to predict"})
    check_output(output, ENDINGS, rows_file)
    kind = format_of(output)
    check_package(kind, output)
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    inputs = folder.inputs(model.spec)
    check_output(output, ENDINGS, inputs)
    answer: Answer = from_ or ("q" if latents else "posterior")
    count = model.spec.evaluate.samples if samples is None else whole_number("samples", samples, error=UsageError)
    chosen = sizes or Sizes.of(model, count)
    question = Question(
        run=run,
        checkpoint=checkpoint,
        trust=trust,
        data=data,
        output=output,
        nodes=tuple(_predicted_nodes(model, latents)),
        evidence=tuple(_evidence(model, given)),
        id_column=id_column,
        answer=answer,
        samples=count,
        block=chosen.block,
        shell=is_shell(),
    )
    work = Work(question.predictor(model), given, chosen.chunk, jobs, watcher or Silence())
    read = Inputs({**inputs.files, **rows_file.files}, inputs.data, inputs.beside, inputs.whose)
    sums = work.run(kind, read)
    summary = _summary(question, sums)
    if sums.few:
        few = few_rows_words(sums.few, sums.rows, sums.median, count)
        summary["effective_samples"] = {"median": sums.median, "below": FEW, "rows": sums.few}
        summary["notes"] = [few]
        if answer == "posterior":
            advice = advise(folder, model, count, [name for name in given if sums.given[name]])
            summary["validation"] = advice.plain()
            summary["notes"] = [f"{few}; {advice.words()}"]
    speed = work.done / work.seconds if work.seconds else 0.0
    return {**summary, "seconds": round(work.seconds, 3), "rows_per_second": round(speed, 1)}


def _summary(question: Question, sums: PredictionSums) -> dict[str, Any]:  # Any: what JSON can say
    """Say what was written, from what, and which rows are left out."""
    summary: dict[str, Any] = {
        "file": str(question.output),
        "rows": sums.answered,
        "nodes": list(question.nodes),
        "from": question.answer,
        "samples": question.samples,
        "given": dict(sums.given),
        "ignored": {name: number for name, number in sums.ignored.items() if number},
    }
    if sums.broken:
        summary["left_out"] = {str(row): why for row, why in sums.left_out.items()}
        one = sums.broken == 1
        summary["failed"] = (
            f"{question.output}: {sums.broken} of {sums.rows} rows {'has' if one else 'have'} no finite scores and "
            f"{'is' if one else 'are'} left out: {sums.reasons_words()}"
        )
    return summary


def prediction_text(summary: Mapping[str, Any]) -> str:  # Any: what JSON can say
    """Say what was predicted, whose answer it is, and what it was conditioned on."""
    answer = "q" if summary["from"] == "q" else f"the posterior ({summary['samples']} samples weighed by p/r)"
    lines = [
        f"{summary['file']}: {_rows(summary['rows'])}, {', '.join(summary['nodes'])}",
        f"from     {answer}",
        f"given    {_by_node(summary['given']) or 'no labels'}",
    ]
    if summary["ignored"]:
        flags = " ".join(option("given", name) for name in summary["ignored"])
        lines.append(f"ignored  {_by_node(summary['ignored'])} ({flags} takes these values as evidence)")
    return "\n".join(lines)


def _by_node(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} in {_rows(number)}" for name, number in rows.items())


def _rows(number: int) -> str:
    return f"{number} row{'s' if number != 1 else ''}"


def _predicted_nodes(model: Model, latents: bool) -> list[str]:
    """Name the nodes that are written, by outer name. Raises: UsageError if there are none."""
    outer = model.outline.outer
    nodes = [name for name in unobserved(model) if not latents or outer[name].supervision == "none"]
    if latents and not nodes:
        raise UsageError(f"{option('latents', '-')}: the model has no node that is never observed")
    return nodes


def _evidence(model: Model, given: Collection[str]) -> list[str]:
    """Name the partial nodes whose values are evidence. Raises: UsageError for any other name."""
    outer = model.outline.outer
    partial = [name for name, variable in outer.items() if variable.supervision == "partial"]
    for name in given:
        if name in partial:
            continue
        flag, owner = option("given", name), outer.get(name)
        if owner is not None and owner.supervision == "none":
            raise UsageError(f"{flag}: '{name}' is never observed, so a file has no values of it")
        if owner is not None or name in model.outline.inputs:
            raise UsageError(f"{flag}: '{name}' has a value in every row, which is always evidence")
        if name in model.outline.outer_name:
            outer_name = model.outline.outer_name[name]
            raise UsageError(f"{flag}: '{name}' is a step, wanted all of them: {option('given', outer_name)}")
        raise UsageError(f"{flag}: no partially labelled node named '{name}' ({suggest(name, partial)})")
    dropped = [name for name in partial if data_variables(model.outline)[name].dropped]
    return [name for name in partial if name in given or name in dropped]
