"""Predictions for new rows: the posterior of each unobserved node, row by row, transforms undone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgc.data.columns import MISSING
from sgc.data.encoder import Encoder
from sgc.data.prediction import read_rows
from sgc.derivation.existence import counts_of
from sgc.errors import UsageError
from sgc.language.outline import Outline
from sgc.running.folder import RunFolder, json_text, npz_bytes, open_run, write_whole
from sgc.running.measure import chunk_rows
from sgc.running.turning import settled
from sgc.runtime.data import data_variables
from sgc.runtime.existence import counted
from sgc.runtime.layout import reseed
from sgc.runtime.model import Model
from sgc.runtime.posterior import NodePosterior
from sgc.runtime.steps import apart, join
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for

ENDINGS = (".csv", ".npz", ".json")
SUFFIXES = (".probability", ".mean", ".sd")  # of a column beside a node's own


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written. Raises: UsageError."""
    if path.suffix not in endings:
        raise UsageError(f"{path}: cannot write '{path.suffix or 'a file without an ending'}': {', '.join(endings)}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")


def predict_run(
    run: Path,
    data: Path,
    output: Path,
    *,
    checkpoint: str = "best",
    samples: int | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Write the posterior of every unobserved node for the rows of a new file.

    output: `.csv` (a line a row), `.npz` (arrays by name) or `.json`. For a category: its most probable value, under
    the node's name, and the probability of each. For numbers: posterior mean and standard deviation (`.sd`) in the
    units of the data; where the column holds names (`one_of`), the name nearest to the mean, and the mean (`.mean`) and
    its deviation in places of the list. Nodes that a row has observed come back as they are. Of a node of a repeat an
    array has the steps first, a table a column for each, named as the step's node; a step that a row does not have is
    empty (NaN, and of categories without names -1), by its count or else the most probable one. Of pictures in files,
    `path` says which one a row is.

    trust: allow own code that the run's spec names.

    Returns: how many rows, which nodes. Raises: SpecError, UsageError, DataError. Any: what JSON can say.
    """
    check_ending(output, ENDINGS)
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    encoders = folder.encoders()
    found = read_rows(model.spec.data, data_variables(model.outline), encoders, data)
    rows = found.rows
    table = TensorRows(rows, model.outline, model.like).drawn_once(model.spec.train.seed)
    columns = posterior_columns(model, table, encoders, samples or model.spec.evaluate.samples)
    if found.paths is not None and "path" not in columns:
        columns = {"path": found.paths, **columns}
    if output.suffix == ".npz":
        write_whole(output, npz_bytes({name: _without_objects(value) for name, value in columns.items()}))
    else:
        write_whole(output, _text(columns, rows.rows, output.suffix, model.outline).encode())
    return {"file": str(output), "rows": table.count, "nodes": _unobserved(model)}


def _unobserved(model: Model) -> list[str]:
    return [name for name, variable in model.outline.outer.items() if variable.supervision != "full"]


def _without_objects(column: np.ndarray) -> np.ndarray:
    """Write names of categories as text, unless they are all numbers: an archive holds no Python objects."""
    if column.dtype != object:
        return column
    cells = column.ravel().tolist()
    plain = all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells)
    made: np.ndarray = np.array(cells if plain else [cell_text(cell) for cell in cells])
    return made.reshape(column.shape)


def cell_text(cell: object) -> str:
    """Write a cell as a spec would.

    >>> cell_text(True), cell_text("a"), cell_text(1.5)
    ('true', 'a', '1.5')
    """
    return str(cell).lower() if isinstance(cell, bool) else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def posterior_columns(
    model: Model, table: TensorRows, encoders: Mapping[str, Encoder], samples: int
) -> dict[str, np.ndarray]:
    """Infer every unobserved node for rows of any patterns: arrays [N, ...] by column name."""
    means: dict[str, list[np.ndarray]] = {}
    spreads: dict[str, list[np.ndarray]] = {}
    hidden = _unobserved(model)
    with torch.random.fork_rng(), torch.no_grad():
        reseed(seed_for(model.spec.train.seed, VALIDATION, 2), model.like.device)
        for index in table.chunks(chunk_rows(model, samples)):
            whole = table.part(index, frozenset(table.partial)).values
            found = model.infer(whole, samples=samples)
            observed = join(model.outline, whole)
            for name in hidden:
                known = found[name] if name in found else _observed(observed[name])
                means.setdefault(name, []).append(known.mean.double().numpy())
                if model.outline.outer[name].categories is None:
                    spreads.setdefault(name, []).append(_spread(known, encoders.get(name)))
    centers = {name: np.concatenate(found) for name, found in means.items()}
    absent = _absent_steps(model, table, centers)
    columns: dict[str, np.ndarray] = {}
    for name in hidden:
        center, gone = centers[name], absent.get(name)
        if gone is not None:
            center[gone] = np.nan
        variable = model.outline.outer[name]
        encoder = encoders.get(name)
        if variable.categories is not None:
            best: np.ndarray = np.where(np.isnan(center).any(-1), MISSING, center.argmax(-1))
            columns[name] = best if encoder is None else encoder.decode(best)
            columns[f"{name}.probability"] = center
        else:
            cells = center if encoder is None else encoder.decode(center)
            columns[name] = cells if encoder is None else encoder.named(cells)
            if encoder is not None and encoder.names is not None:
                columns[f"{name}.mean"] = cells
            columns[f"{name}.sd"] = np.concatenate(spreads[name])
            if gone is not None:
                columns[f"{name}.sd"][gone] = np.nan
    return columns


def _absent_steps(model: Model, table: TensorRows, centers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mark the steps that rows do not have, [N, *steps] by outer name: by their counts, or the most probable ones."""
    outline = model.outline
    numbers: dict[str, np.ndarray] = {}
    for count in counts_of(outline.graphs):
        name = outline.outer_name.get(count, count)
        if name in centers:
            value = apart(outline, name, torch.from_numpy(centers[name]))[count]
        else:  # it is there in every row
            value = table.part(np.arange(table.count), frozenset()).values[count].double().cpu()
        numbers[count] = counted(outline.variables[count], settled(outline.variables[count], value)).numpy()
    found: dict[str, np.ndarray] = {}
    for name, stepped in outline.stepped.items():
        exists = [outline.graphs.nodes[node].exists for node in stepped.nodes]
        if any(exists):
            gone = [np.any([numbers[count] <= step for count, step in each], axis=0) for each in exists]
            found[name] = np.stack(gone, 1).reshape(-1, *stepped.steps)
    return found


def _observed(value: torch.Tensor) -> NodePosterior:
    """Make the posterior of what every row has observed: all of it at the value."""
    return NodePosterior.at(value, value.new_ones(1, len(value)))


def _spread(found: NodePosterior, encoder: Encoder | None) -> np.ndarray:
    """Give the standard deviation of a node about its mean, in the units of the data: [B, *cells].

    An angle's is that of the shorter way from the mean. A step's is over the samples that have it, NaN where none has.
    """
    center = found.mean.double().numpy()
    total: np.ndarray = np.zeros(())
    without: np.ndarray = np.zeros(())  # the weight of the samples that do not have it
    for draw, weight in zip(found.samples, found.weights.double().numpy(), strict=True):
        cells, middle = draw.double().numpy(), center
        if encoder is not None:
            cells, middle = encoder.decode_near(cells, center)
        weight, apart = weight.reshape(-1, *[1] * (cells.ndim - 1)), (cells - middle) ** 2
        total = total + weight * np.where(np.isnan(apart), 0, apart)
        without = without + weight * np.isnan(apart)
    spread: np.ndarray = np.sqrt(np.where(without < 1 - 1e-6, total, np.nan) / (1 - np.minimum(without, 0.999999)))
    return spread


def _text(columns: Mapping[str, np.ndarray], ids: np.ndarray, ending: str, outline: Outline) -> str:
    flat: dict[str, np.ndarray] = {"row": ids}
    for whole, values in columns.items():
        for name, value in _by_step(whole, values, outline).items():
            if value.ndim == 1:
                flat[name] = value
            else:
                wide = value.reshape(len(value), -1)
                flat |= {f"{name}[{i}]": wide[:, i] for i in range(wide.shape[1])}
    if ending == ".json":
        return json_text({name: value.tolist() for name, value in {"row": ids, **columns}.items()})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(flat)
    for row in zip(*(value.tolist() for value in flat.values()), strict=True):
        writer.writerow([_csv_cell(cell) for cell in row])
    return buffer.getvalue()


def _by_step(column: str, value: np.ndarray, outline: Outline) -> dict[str, np.ndarray]:
    """Give each step of a node of a repeat a column, named as its node: `digit.at.sd` as `digit.at@1.sd`, ..."""
    owner, suffix = next(((column[: len(column) - len(s)], s) for s in SUFFIXES if column.endswith(s)), (column, ""))
    if column in outline.stepped or column in outline.outer:
        owner, suffix = column, ""
    if owner not in outline.stepped:
        return {column: value}
    stepped = outline.stepped[owner]
    flat = value.reshape(len(value), len(stepped.nodes), *value.shape[1 + len(stepped.steps) :])
    return {f"{node}{suffix}": flat[:, i] for i, node in enumerate(stepped.nodes)}


def _csv_cell(cell: object) -> str:
    """Write a cell of a table; what is missing is empty."""
    return "" if cell is None or cell != cell else cell_text(cell)
