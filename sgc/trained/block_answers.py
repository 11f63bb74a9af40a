"""Answers for one block of rows: each unobserved node in the units of the data, from the posterior or q."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sgc.data.columns import MISSING, Array
from sgc.data.encoder import Encoder
from sgc.derivation.existence import absent, counts_of
from sgc.randomness import Generators, drawing_from
from sgc.runtime.counts import counted
from sgc.runtime.inference import Answer
from sgc.runtime.model import Model
from sgc.runtime.posterior import NodePosterior
from sgc.runtime.steps import apart, join
from sgc.runtime.streams import PREDICTION, VALIDATION, TensorRows, seed_for


@dataclass(frozen=True)
class BlockAnswers:
    """Answers for the rows of a block with finite scores.

    `columns`: of these rows; none if there are no such rows. `answered` [N]: which rows they are. `broken`: the others
    by their place, each with the reason. `effective` [N]: see `Inference`.
    """

    columns: dict[str, Array]
    answered: Array
    broken: Mapping[int, str]
    effective: torch.Tensor


def unobserved(model: Model) -> list[str]:
    """Name the nodes that some row may lack, by outer name."""
    return [name for name, variable in model.outline.outer.items() if variable.supervision != "full"]


def answer_block(
    model: Model,
    table: TensorRows,
    encoders: Mapping[str, Encoder],
    samples: int,
    nodes: Sequence[str],
    from_: Answer,
    block: int = 0,
) -> BlockAnswers:
    """Infer unobserved nodes for the rows of a block, of any patterns.

    What is drawn follows from the seed of the run and the number of the block, whatever is drawn for other blocks.
    """
    seed = model.spec.train.seed
    draws = Generators(seed_for(seed, PREDICTION, block) if block else seed_for(seed, VALIDATION, 2))
    index = np.arange(table.count)
    with drawing_from(draws), torch.no_grad():
        values = table.part(index, frozenset(table.partial)).values
        inference = model.inference(values, samples, from_)
        sound = np.array([place not in inference.broken for place in range(table.count)])
        effective = inference.effective.cpu()
        if not sound.any():
            return BlockAnswers({}, sound, inference.broken, effective)
        observed = join(model.outline, values)
        means: dict[str, Array] = {}
        spreads: dict[str, Array] = {}
        for name in unobserved(model):
            posterior = inference.nodes[name] if name in inference.nodes else _observed(observed[name])
            means[name] = posterior.mean.double().cpu().numpy()[sound]
            if name in nodes and model.outline.outer[name].categories is None:
                spreads[name] = spread_in_units(posterior, encoders.get(name))[sound]
    gone = _absent_steps(model, table, np.flatnonzero(sound), means)
    columns: dict[str, Array] = {}
    for name in nodes:
        columns |= _columns_of(model, name, means[name], spreads.get(name), gone.get(name), encoders.get(name))
    return BlockAnswers(columns, sound, inference.broken, effective)


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
