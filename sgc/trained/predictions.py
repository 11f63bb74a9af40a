"""Predictions for new rows: the unobserved nodes of each row in the units of the data, from the posterior or q."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgc.arguments import whole_number
from sgc.data.columns import MISSING, Array
from sgc.data.encoder import Encoder
from sgc.data.new_rows import NewRows, read_rows
from sgc.data.outputs import Inputs, check_output, write_output
from sgc.derivation.existence import absent, counts_of
from sgc.errors import RunError, UsageError, option, suggest
from sgc.evaluation.measurement import chunk_rows
from sgc.randomness import Generators, drawing_from
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.counts import counted
from sgc.runtime.data_variables import data_variables
from sgc.runtime.finiteness import rows_words
from sgc.runtime.inference import FEW, Answer, few_words
from sgc.runtime.model import Model
from sgc.runtime.posterior import NodePosterior
from sgc.runtime.steps import apart, join
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for
from sgc.trained.answer_advice import advise
from sgc.trained.prediction_table import PredictionTable, own_ids, unused

ENDINGS = (".csv", ".npz", ".json")


@dataclass(frozen=True)
class Predicted:
    """Predictions for the rows with finite scores.

    `columns`: of these rows. `answered` [N]: which rows they are. `broken`: the others, each with the reason.
    `effective` [N]: see `Inference`.
    """

    columns: dict[str, Array]
    answered: Array
    broken: Mapping[int, str]
    effective: torch.Tensor


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
    trust: bool = False,
) -> dict[str, Any]:
    """Write the predictions of a run for every unobserved node of the rows of a new file.

    output: `.csv` (a line for each row), `.npz` (arrays by name) or `.json`. For a category: the most probable one,
    under the node's name, and the probability of each. For numbers: mean and standard deviation (`.sd`) in the units of
    the data; if the column holds names (`one_of`), the name nearest to the mean, and the mean (`.mean`) and its
    deviation as places in the list. For a node of a repeat, arrays have the steps first, and tables a column for each
    step, with the name of its node. A step that does not exist in a row, by its count or else the most probable count,
    is empty: NaN, or -1 for categories without names.

    Every line has its `row`, its id if the file has an index or id_column is given, the `path` of a picture file, and
    in `given` the nodes whose values it was conditioned on.

    given: partial nodes whose values in the file are evidence; these nodes are written as they are in the rows that
    have them. Values of other partial nodes are ignored, except those of dropped nodes, which are always evidence.
    from_: `posterior`, the model's, or `q`. latents: only nodes that are never observed, from q by default. trust:
    allow own code that the run's spec names.

    Rows without finite scores are left out.

    Returns: what was written, for how many rows, from what, and given what; how many rows have few effective samples
    and which answer validation finds better; and which rows are left out, and why. Any: what JSON can say. Raises:
    SpecError, UsageError, DataError; RunError if no row has finite scores.
    """
    check_output(output, ENDINGS, Inputs({data: "the rows to predict"}))
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    check_output(output, ENDINGS, folder.inputs(model.spec))
    answer: Answer = from_ or ("q" if latents else "posterior")
    nodes = _predicted_nodes(model, latents)
    encoders = folder.encoders(model.outline)
    evidence = _evidence(model, given)
    variables = data_variables(model.outline)
    rows = read_rows(model.spec.data, variables, encoders, data, evidence=evidence, id_column=id_column)
    for name in given:
        if name not in rows.given:
            raise UsageError(f"{option('given', name)}: {data} has no column of '{name}'")
    table = TensorRows(rows.rows, model.outline, model.like).drawn_once(model.spec.train.seed)
    count = model.spec.evaluate.samples if samples is None else whole_number("samples", samples, error=UsageError)
    predicted = posterior_columns(model, table, encoders, count, nodes, answer)
    ids = None if rows.ids is None else own_ids(rows.ids)
    labels = _row_labels(model, rows, ids, predicted.columns)
    categories = {name: names for name in nodes if (names := _categories(model, name, encoders))}
    row_labels = {name: value[predicted.answered] for name, value in labels.items()}
    predictions = PredictionTable(row_labels, predicted.columns, categories, model.outline)
    write_output(output, predictions.bytes(output.suffix))
    summary: dict[str, Any] = {
        "file": str(output),
        "rows": int(predicted.answered.sum()),
        "nodes": nodes,
        "from": answer,
        "samples": count,
        "given": {name: int(has_value.sum()) for name, has_value in rows.given.items()},
        "ignored": {name: number for name, number in rows.ignored.items() if number},
    }
    few = few_words(predicted.effective, count)
    if few:
        known = predicted.effective[predicted.effective.isfinite()]
        summary["effective_samples"] = {"median": float(known.median()), "below": FEW, "rows": int((known < FEW).sum())}
        summary["notes"] = [few]
        if answer == "posterior":
            advice = advise(folder, model, count, [name for name in given if rows.given[name].any()])
            summary["validation"] = advice.plain()
            summary["notes"] = [f"{few}; {advice.words()}"]
    if predicted.broken:
        row_ids = {} if ids is None else {row: ids[1][row] for row in predicted.broken}
        summary["left_out"] = {str(row): why for row, why in predicted.broken.items()}
        number = len(predicted.broken)
        summary["failed"] = (
            f"{output}: {number} of {table.count} rows {'has' if number == 1 else 'have'} no finite scores and "
            f"{'is' if number == 1 else 'are'} left out: {rows_words(predicted.broken, row_ids)}"
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


def _unobserved(model: Model) -> list[str]:
    return [name for name, variable in model.outline.outer.items() if variable.supervision != "full"]


def _predicted_nodes(model: Model, latents: bool) -> list[str]:
    """Name the nodes that are written, by outer name. Raises: UsageError if there are none."""
    outer = model.outline.outer
    nodes = [name for name in _unobserved(model) if not latents or outer[name].supervision == "none"]
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


def _row_labels(
    model: Model, rows: NewRows, ids: tuple[str, Array] | None, columns: Mapping[str, Array]
) -> dict[str, Array]:
    """Identify rows, and name the nodes they were conditioned on: arrays [N], under names that no column has."""
    taken = {*columns, *model.outline.variables, *model.outline.outer}
    labels: dict[str, Array] = {unused("row", taken): rows.rows.rows}

    def add(name: str, value: Array) -> None:
        labels[unused(name, {*taken, *labels})] = value

    if ids is not None:
        add(*ids)
    if rows.paths is not None and "path" not in labels:
        add("path", rows.paths)
    if any(variable.supervision == "partial" for variable in model.outline.outer.values()):
        evidence = [
            " ".join(name for name, has_value in rows.given.items() if has_value[row]) for row in range(len(rows.rows))
        ]
        add("given", np.array(evidence, dtype=str))
    return labels


def _categories(model: Model, name: str, encoders: Mapping[str, Encoder]) -> Sequence[object]:
    """Name the categories of a node as in the data; empty if they are numbers from 0, or if it has none."""
    variable = model.outline.outer[name]
    if variable.categories is None:
        return ()
    return (encoders[name].names if name in encoders else variable.values) or ()


def posterior_columns(
    model: Model, table: TensorRows, encoders: Mapping[str, Encoder], samples: int, nodes: Sequence[str], from_: Answer
) -> Predicted:
    """Infer unobserved nodes for rows of any patterns. Raises: RunError if no row has finite scores."""
    means: dict[str, list[Array]] = {}
    spreads: dict[str, list[Array]] = {}
    effective: list[torch.Tensor] = []
    broken: dict[int, str] = {}
    hidden = _unobserved(model)
    with drawing_from(Generators(seed_for(model.spec.train.seed, VALIDATION, 2))), torch.no_grad():
        for index in table.chunks(chunk_rows(model, samples)):
            observed_values = table.part(index, frozenset(table.partial)).values
            inference = model.inference(observed_values, samples, from_)
            broken |= {int(index[place]): why for place, why in inference.broken.items()}
            effective.append(inference.effective.cpu())
            if len(inference.broken) == len(index):
                continue
            observed = join(model.outline, observed_values)
            sound = np.array([place not in inference.broken for place in range(len(index))])
            for name in hidden:
                posterior = inference.nodes[name] if name in inference.nodes else _observed(observed[name])
                means.setdefault(name, []).append(posterior.mean.double().cpu().numpy()[sound])
                if name in nodes and model.outline.outer[name].categories is None:
                    spreads.setdefault(name, []).append(spread_in_units(posterior, encoders.get(name))[sound])
    answered = np.array([row not in broken for row in range(table.count)])
    if not answered.any():
        raise RunError(f"no row has finite scores, so nothing is written: {rows_words(broken)}")
    centers = {name: np.concatenate(parts) for name, parts in means.items()}
    gone = _absent_steps(model, table, np.flatnonzero(answered), centers)
    columns: dict[str, Array] = {}
    for name in nodes:
        spread = np.concatenate(spreads[name]) if name in spreads else None
        columns |= _columns_of(model, name, centers[name], spread, gone.get(name), encoders.get(name))
    return Predicted(columns, answered, broken, torch.cat(effective))


def _columns_of(
    model: Model, name: str, center: Array, spread: Array | None, gone: Array | None, encoder: Encoder | None
) -> dict[str, Array]:
    """Write the predictions for one node as columns, in the names and units of the data. gone: marks absent steps."""
    if gone is not None:
        center[gone] = np.nan
    variable = model.outline.outer[name]
    if spread is None:
        best: Array = np.where(np.isnan(center).any(-1), MISSING, center.argmax(-1))
        names = variable.values if encoder is None else encoder.names
        named = best if names is None else np.asarray(np.array([*names, None], dtype=object)[best])
        return {name: named, f"{name}.probability": center}
    if gone is not None:
        spread[gone] = np.nan
    if encoder is None:
        return {name: center, f"{name}.sd": spread}
    cells = encoder.decode(center)
    middle = {f"{name}.mean": cells} if encoder.names is not None else {}
    return {name: encoder.named(cells), **middle, f"{name}.sd": spread}


def _absent_steps(model: Model, table: TensorRows, rows: Array, centers: Mapping[str, Array]) -> dict[str, Array]:
    """Mark the steps that do not exist, [N, *steps] by outer name, by their counts or the most probable counts.

    rows: the places of the rows that the centers belong to.
    """
    outline = model.outline
    numbers: dict[str, Array] = {}
    for count in counts_of(outline.graphs):
        name = outline.outer_name.get(count, count)
        if name in centers:
            value = apart(outline, name, torch.from_numpy(centers[name]))[count]
        else:  # observed in every row
            value = table.part(rows, frozenset()).values[count].double().cpu()
        variable = outline.variables[count]
        numbers[count] = counted(variable, variable.family.support.nearest(value)).numpy()
    gone: dict[str, Array] = {}
    for name, stepped in outline.stepped.items():
        exists = [outline.graphs.nodes[node].exists for node in stepped.nodes]
        if any(exists):
            steps = [absent(step, numbers) for step in exists]
            marks = [np.zeros(len(rows), dtype=bool) if step is None else step for step in steps]
            gone[name] = np.stack(marks, 1).reshape(-1, *stepped.steps)
    return gone


def _observed(value: torch.Tensor) -> NodePosterior:
    """Make the posterior of a node that every row has observed: all mass at the value."""
    return NodePosterior.at(value, value.new_ones(1, len(value)))


def spread_in_units(posterior: NodePosterior, encoder: Encoder | None) -> Array:
    """Give the standard deviation of a node about its mean, in the units of the data: [B, *cells].

    Angles are taken by the shorter way from the mean. For a step it is over the samples in which the step exists, NaN
    if there are none.
    """
    if encoder is None:
        return np.asarray(posterior.sd.double().cpu().numpy())
    center = posterior.mean.double().cpu().numpy()
    total: Array = np.zeros(())
    without: Array = np.zeros(())  # the weight of the samples in which it does not exist
    for draw, weight in zip(posterior.samples.double().cpu(), posterior.weights.double().cpu().numpy(), strict=True):
        cells, middle = encoder.decode_near(draw.numpy(), center)
        weight, apart = weight.reshape(-1, *[1] * (cells.ndim - 1)), (cells - middle) ** 2
        total = total + weight * np.where(np.isnan(apart), 0, apart)
        without = without + weight * np.isnan(apart)
    spread: Array = np.sqrt(np.where(without < 1 - 1e-6, total, np.nan) / (1 - np.minimum(without, 0.999999)))
    return spread
