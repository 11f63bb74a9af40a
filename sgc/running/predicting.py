"""Predictions for new rows: the posterior of each unobserved node, row by row, transforms undone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgc.data.encoder import Encoder
from sgc.data.prediction import read_rows
from sgc.errors import UsageError
from sgc.running.folder import RunFolder, json_text, npz_bytes, open_run, write_whole
from sgc.running.measure import chunk_rows
from sgc.runtime.data import data_variables
from sgc.runtime.layout import reseed
from sgc.runtime.model import Model
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for

ENDINGS = (".csv", ".npz", ".json")


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
    units of the data. Nodes that a row has observed come back as they are.

    trust: allow own code that the run's spec names.

    Returns: how many rows, which nodes. Raises: SpecError, UsageError, DataError. Any: what JSON can say.
    """
    check_ending(output, ENDINGS)
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    encoders = folder.encoders()
    rows = read_rows(model.spec.data, data_variables(model.outline), encoders, data)
    table = TensorRows(rows, model.outline, model.like).drawn_once(model.spec.train.seed)
    columns = posterior_columns(model, table, encoders, samples or model.spec.evaluate.samples)
    if output.suffix == ".npz":
        write_whole(output, npz_bytes({name: _without_objects(value) for name, value in columns.items()}))
    else:
        write_whole(output, _text(columns, rows.rows, output.suffix).encode())
    return {"file": str(output), "rows": table.count, "nodes": _unobserved(model)}


def _unobserved(model: Model) -> list[str]:
    return [name for name, variable in model.outline.variables.items() if variable.supervision != "full"]


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
            for name in hidden:
                if name in found:
                    mean = found[name].mean
                    weights = found[name].weights.reshape(*found[name].weights.shape, *[1] * (mean.dim() - 1))
                    spread = (weights * (found[name].samples - mean) ** 2).sum(0).clamp(min=0).sqrt()
                else:  # every row of the chunk has it observed
                    mean, spread = whole[name], torch.zeros_like(whole[name])
                means.setdefault(name, []).append(mean.double().numpy())
                spreads.setdefault(name, []).append(spread.double().numpy())
    columns: dict[str, np.ndarray] = {}
    for name in hidden:
        center, width = np.concatenate(means[name]), np.concatenate(spreads[name])
        variable = model.outline.variables[name]
        encoder = encoders.get(name)
        if variable.categories is not None:
            best: np.ndarray = center.argmax(-1)
            columns[name] = best if encoder is None else encoder.decode(best)
            columns[f"{name}.probability"] = center
        elif encoder is not None:
            columns[name] = encoder.decode(center)
            columns[f"{name}.sd"] = np.abs(encoder.decode(center + width) - columns[name])
        else:
            columns[name], columns[f"{name}.sd"] = center, width
    return columns


def _text(columns: Mapping[str, np.ndarray], ids: np.ndarray, ending: str) -> str:
    flat: dict[str, np.ndarray] = {"row": ids}
    for name, value in columns.items():
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
        writer.writerow([cell_text(cell) for cell in row])
    return buffer.getvalue()
