"""Predictions for new rows: what is not observed, row by row, transforms undone, from the posterior or from q."""

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
from sgc.trained.traversal import settled

ENDINGS = (".csv", ".npz", ".json")


@dataclass(frozen=True)
class Predicted:
    """What was predicted: columns of the rows that have an answer, and what is to be told of all.

    `kept` [N]: the rows that have one. `broken`, by row, why the others have none. `effective` [N]: see `Inference`.
    """

    columns: dict[str, Array]
    kept: Array
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
    """Write what a run says of every unobserved node for the rows of a new file.

    output: `.csv` (a line a row), `.npz` (arrays by name) or `.json`. For a category: its most probable value, under
    the node's name, and the probability of each. For numbers: mean and standard deviation (`.sd`) in the units of the
    data; where the column holds names (`one_of`), the name nearest to the mean, and the mean (`.mean`) and its
    deviation in places of the list. Of a node of a repeat an array has the steps first, a table a column for each,
    named as the step's node; a step that a row does not have is empty (NaN, and of categories without names -1), by
    its count or else the most probable one.

    Every line says its `row`, its own id where the file has an index, or by id_column, of pictures in files the `path`,
    and in `given` the nodes whose values it was conditioned on.

    given: partial nodes whose values in the file are evidence; such nodes come back as they are in the rows that have
    them. Those of the others are ignored, but for nodes that drop what is missing, whose values always are evidence.
    from_: `posterior`, the model's, or `q`; latents: only nodes that are never observed, from q unless said otherwise.
    trust: allow own code that the run's spec names.

    Rows without finite scores are left out.

    Returns: what was written, for how many rows, from what, given what; which rows rest on few effective samples and
    which answer is better by validation; and which are left out and why. Raises: SpecError, UsageError, DataError;
    RunError where no row has finite scores. Any: what JSON can say.
    """
    check_output(output, ENDINGS, Inputs({data: "the rows to predict"}))
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    check_output(output, ENDINGS, folder.inputs(model.spec))
    answer: Answer = from_ or ("q" if latents else "posterior")
    nodes = _predicted_nodes(model, latents)
    encoders = folder.encoders(model.outline)
    evidence = _evidence(model, given)
    found = read_rows(
        model.spec.data, data_variables(model.outline), encoders, data, evidence=evidence, id_column=id_column
    )
    for name in given:
        if name not in found.given:
            raise UsageError(f"{option('given', name)}: {data} has no column of '{name}'")
    table = TensorRows(found.rows, model.outline, model.like).drawn_once(model.spec.train.seed)
    count = model.spec.evaluate.samples if samples is None else whole_number("samples", samples, error=UsageError)
    predicted = posterior_columns(model, table, encoders, count, nodes=nodes, from_=answer)
    ids = None if found.ids is None else own_ids(found.ids)
    labels = _row_labels(model, found, ids, predicted.columns)
    names = {name: each for name in nodes if (each := _categories(model, name, encoders))}
    kept = {name: value[predicted.kept] for name, value in labels.items()}
    whole = PredictionTable(kept, predicted.columns, names, model.outline)
    write_output(output, whole.bytes(output.suffix))
    told: dict[str, Any] = {
        "file": str(output),
        "rows": int(predicted.kept.sum()),
        "nodes": nodes,
        "from": answer,
        "samples": count,
        "given": {name: int(there.sum()) for name, there in found.given.items()},
        "ignored": {name: number for name, number in found.ignored.items() if number},
    }
    few = few_words(predicted.effective, count)
    if few:
        known = predicted.effective[predicted.effective.isfinite()]
        told["effective_samples"] = {"median": float(known.median()), "below": FEW, "rows": int((known < FEW).sum())}
        told["notes"] = [few]
        if answer == "posterior":
            advice = advise(folder, model, count, [name for name in given if found.given[name].any()])
            told["validation"] = advice.plain()
            told["notes"] = [f"{few}; {advice.words()}"]
    if predicted.broken:
        known_by = {} if ids is None else {row: ids[1][row] for row in predicted.broken}
        told["left_out"] = {str(row): why for row, why in predicted.broken.items()}
        number = len(predicted.broken)
        told["failed"] = (
            f"{output}: {number} of {table.count} rows {'has' if number == 1 else 'have'} no finite scores and "
            f"{'is' if number == 1 else 'are'} left out: {rows_words(predicted.broken, known_by)}"
        )
    return told


def prediction_text(found: Mapping[str, Any]) -> str:  # Any: what JSON can say
    """Say what was predicted, whose answer it is, and what it was conditioned on."""
    answer = {"q": "q", "posterior": f"the posterior ({found['samples']} samples weighed by p/r)"}[found["from"]]
    lines = [
        f"{found['file']}: {_rows(found['rows'])}, {', '.join(found['nodes'])}",
        f"from     {answer}",
        f"given    {_by_node(found['given']) or 'no labels'}",
    ]
    if found["ignored"]:
        flags = " ".join(option("given", name) for name in found["ignored"])
        lines.append(f"ignored  {_by_node(found['ignored'])} ({flags} takes what is there as evidence)")
    return "\n".join(lines)


def _by_node(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} in {_rows(number)}" for name, number in rows.items())


def _rows(number: int) -> str:
    return f"{number} row{'s' if number != 1 else ''}"


def _unobserved(model: Model) -> list[str]:
    return [name for name, variable in model.outline.outer.items() if variable.supervision != "full"]


def _predicted_nodes(model: Model, latents: bool) -> list[str]:
    """Name the nodes that are written, by outer name. Raises: UsageError where there are none."""
    outer = model.outline.outer
    found = [name for name in _unobserved(model) if not latents or outer[name].supervision == "none"]
    if latents and not found:
        raise UsageError(f"{option('latents', '-')}: the model has no node that is never observed")
    return found


def _evidence(model: Model, given: Collection[str]) -> list[str]:
    """Name the partial nodes whose values are evidence. Raises: UsageError for a name that is none of them."""
    outer = model.outline.outer
    partial = [name for name, each in outer.items() if each.supervision == "partial"]
    for name in given:
        if name in partial:
            continue
        flag, owner = option("given", name), outer.get(name)
        if owner is not None and owner.supervision == "none":
            raise UsageError(f"{flag}: '{name}' is never observed, so that a file has no values of it")
        if owner is not None or name in model.outline.inputs:
            raise UsageError(f"{flag}: '{name}' has a value in every row, which is evidence always")
        if name in model.outline.outer_name:
            whole = model.outline.outer_name[name]
            raise UsageError(f"{flag}: '{name}' is a step, wanted all of them: {option('given', whole)}")
        raise UsageError(f"{flag}: no partially labelled node named '{name}' ({suggest(name, partial)})")
    dropped = [name for name in partial if data_variables(model.outline)[name].dropped]
    return [name for name in partial if name in given or name in dropped]


def _row_labels(
    model: Model, found: NewRows, ids: tuple[str, Array] | None, columns: Mapping[str, Array]
) -> dict[str, Array]:
    """Say which row is which and what it was conditioned on: arrays [N] by names that no column has."""
    taken = {*columns, *model.outline.variables, *model.outline.outer}
    labels: dict[str, Array] = {unused("row", taken): found.rows.rows}

    def add(name: str, value: Array) -> None:
        labels[unused(name, {*taken, *labels})] = value

    if ids is not None:
        add(*ids)
    if found.paths is not None and "path" not in labels:
        add("path", found.paths)
    if any(each.supervision == "partial" for each in model.outline.outer.values()):
        there = [[name for name, each in found.given.items() if each[row]] for row in range(len(found.rows))]
        add("given", np.array([" ".join(names) for names in there], dtype=str))
    return labels


def _categories(model: Model, name: str, encoders: Mapping[str, Encoder]) -> Sequence[object]:
    """Name the categories of a node as data do; nothing where they are numbers from 0, or where it has none."""
    variable = model.outline.outer[name]
    if variable.categories is None:
        return ()
    own = encoders[name].names if name in encoders else variable.values
    return own or ()


def posterior_columns(
    model: Model,
    table: TensorRows,
    encoders: Mapping[str, Encoder],
    samples: int,
    *,
    nodes: Sequence[str] | None = None,
    from_: Answer = "posterior",
) -> Predicted:
    """Infer unobserved nodes, all of them if None, for rows of any patterns: arrays [N, ...] by column name."""
    means: dict[str, list[Array]] = {}
    spreads: dict[str, list[Array]] = {}
    effective: list[torch.Tensor] = []
    broken: dict[int, str] = {}
    hidden = _unobserved(model)
    wanted = hidden if nodes is None else nodes
    with drawing_from(Generators(seed_for(model.spec.train.seed, VALIDATION, 2))), torch.no_grad():
        for index in table.chunks(chunk_rows(model, samples)):
            whole = table.part(index, frozenset(table.partial)).values
            found = model.inference(whole, samples, from_)
            broken |= {int(index[place]): why for place, why in found.broken.items()}
            effective.append(found.effective.cpu())
            if len(found.broken) == len(index):
                continue
            observed = join(model.outline, whole)
            sound = np.array([place not in found.broken for place in range(len(index))])
            for name in hidden:
                known = found.nodes[name] if name in found.nodes else _observed(observed[name])
                means.setdefault(name, []).append(known.mean.double().cpu().numpy()[sound])
                if name in wanted and model.outline.outer[name].categories is None:
                    spreads.setdefault(name, []).append(_spread(known, encoders.get(name))[sound])
    kept = np.array([row not in broken for row in range(table.count)])
    if not kept.any():
        raise RunError(f"no row has finite scores, so that nothing is written: {rows_words(broken)}")
    centers = {name: np.concatenate(found) for name, found in means.items()}
    gone = _absent_steps(model, table, np.flatnonzero(kept), centers)
    columns: dict[str, Array] = {}
    for name in wanted:
        spread = np.concatenate(spreads[name]) if name in spreads else None
        columns |= _columns_of(model, name, centers[name], spread, gone.get(name), encoders.get(name))
    return Predicted(columns, kept, broken, torch.cat(effective))


def _columns_of(
    model: Model, name: str, center: Array, spread: Array | None, gone: Array | None, encoder: Encoder | None
) -> dict[str, Array]:
    """Write what is known of one node as columns, in the words and units of the data.

    gone: marks steps that rows do not have.
    """
    if gone is not None:
        center[gone] = np.nan
    variable = model.outline.outer[name]
    if spread is None:
        best: Array = np.where(np.isnan(center).any(-1), MISSING, center.argmax(-1))
        names = variable.values if encoder is None else encoder.names
        known = best if names is None else np.asarray(np.array([*names, None], dtype=object)[best])
        return {name: known, f"{name}.probability": center}
    if gone is not None:
        spread[gone] = np.nan
    if encoder is None:
        return {name: center, f"{name}.sd": spread}
    cells = encoder.decode(center)
    middle = {f"{name}.mean": cells} if encoder.names is not None else {}
    return {name: encoder.named(cells), **middle, f"{name}.sd": spread}


def _absent_steps(model: Model, table: TensorRows, rows: Array, centers: Mapping[str, Array]) -> dict[str, Array]:
    """Mark the steps that rows do not have, [N, *steps] by outer name: by their counts, or the most probable ones.

    rows: the places of those that the centers are of.
    """
    outline = model.outline
    numbers: dict[str, Array] = {}
    for count in counts_of(outline.graphs):
        name = outline.outer_name.get(count, count)
        if name in centers:
            value = apart(outline, name, torch.from_numpy(centers[name]))[count]
        else:  # it is there in every row
            value = table.part(rows, frozenset()).values[count].double().cpu()
        numbers[count] = counted(outline.variables[count], settled(outline.variables[count], value)).numpy()
    found: dict[str, Array] = {}
    for name, stepped in outline.stepped.items():
        exists = [outline.graphs.nodes[node].exists for node in stepped.nodes]
        if any(exists):
            denied = [absent(each, numbers) for each in exists]
            gone = [np.zeros(len(rows), dtype=bool) if each is None else each for each in denied]
            found[name] = np.stack(gone, 1).reshape(-1, *stepped.steps)
    return found


def _observed(value: torch.Tensor) -> NodePosterior:
    """Make the posterior of what every row has observed: all of it at the value."""
    return NodePosterior.at(value, value.new_ones(1, len(value)))


def _spread(found: NodePosterior, encoder: Encoder | None) -> Array:
    """Give the standard deviation of a node about its mean, in the units of the data: [B, *cells].

    An angle's is that of the shorter way from the mean. A step's is over the samples that have it, NaN where none has.
    """
    if encoder is None:
        return np.asarray(found.sd.double().cpu().numpy())
    center = found.mean.double().cpu().numpy()
    total: Array = np.zeros(())
    without: Array = np.zeros(())  # the weight of the samples that do not have it
    for draw, weight in zip(found.samples.double().cpu(), found.weights.double().cpu().numpy(), strict=True):
        cells, middle = encoder.decode_near(draw.numpy(), center)
        weight, apart = weight.reshape(-1, *[1] * (cells.ndim - 1)), (cells - middle) ** 2
        total = total + weight * np.where(np.isnan(apart), 0, apart)
        without = without + weight * np.isnan(apart)
    spread: Array = np.sqrt(np.where(without < 1 - 1e-6, total, np.nan) / (1 - np.minimum(without, 0.999999)))
    return spread
