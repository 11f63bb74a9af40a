"""A data set: rows of node values, split, and without the labels that training may not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sgc.data.block_pass import keep_rows, part_store, pass_over
from sgc.data.block_store import BlockStore
from sgc.data.columns import Array, Origin, SourceColumn
from sgc.data.columns import Rows as RowIds
from sgc.data.element_names import matched
from sgc.data.encoder import Encoder, fit_encoder, has_value, hide, rows_at_a_time
from sgc.data.existing_steps import check_known_counts, mark_absent
from sgc.data.fingerprint import Fingerprint, Hashes, fingerprint
from sgc.data.label_fields import LabelRule, Split
from sgc.data.labels import choose_labels, label_notes
from sgc.data.large_columns import EncodedColumn, LargeCells, absent, in_blocks, read_or_note
from sgc.data.row_weights import WEIGHT, check_some, read_weights
from sgc.data.source_columns import Part, gather
from sgc.data.sources.source_section import DataSection
from sgc.data.split import divide_rows
from sgc.data.transforms.transforms import AnyTransform
from sgc.data.variables import Variable
from sgc.distributions.row_totals import faults_of_totals
from sgc.errors import DataError


@dataclass(frozen=True)
class Rows:
    """Rows of values by node: float32 `(N, *event)`, or int64 categories; missing is NaN, or -1.

    Of a node of a repeat the steps come first, `(N, *steps, *event)`; a step that a row does not have is missing.
    Values that are too large for memory are a column that gives the same values when they are taken.

    `rows`, `(N,)`, are the row ids in their file, from 0. The nodes in `dynamic` hold grey values; 0 or 1 is drawn anew
    from them at every use. `weights`, `(N,)`, are what rows count; None: all alike. `store` holds the blocks that
    values are read from; None: all are in memory, or mapped.
    """

    values: Mapping[str, Array | EncodedColumn]
    rows: RowIds
    dynamic: frozenset[str] = frozenset()
    weights: Array | None = None
    store: BlockStore | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class DataSet:
    """The parts of a data set; validation and test keep all their labels and may have no rows.

    `labelled_rows` are, by partial node, the ids of the training rows whose label was kept; of a node with `missing:
    drop`, only where a rule hides rows. `fingerprint` is of the cells that the values were made of. `notes` are what a
    user should know of the labels.
    """

    train: Rows
    validation: Rows
    test: Rows
    encoders: Mapping[str, Encoder]
    labelled_rows: Mapping[str, RowIds]
    fingerprint: Fingerprint
    notes: tuple[str, ...] = ()


def open_dataset(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    *,
    beside: Path,
    seed: int,
    arrays: Any = None,  # Any: a mapping to whatever numpy reads as an array, or a data frame; pandas is optional
    fitted: Mapping[str, Encoder] | None = None,
    weight: str | None = None,
    resumed: Callable[[], Mapping[str, Encoder]] | None = None,
) -> DataSet:
    """Open the data of a spec: read, split, choose labels, overwrite the others, fit encoders on training rows, encode.

    `beside` is the folder of the spec file. `seed` draws static binarisations, and labels whose rule has no seed.
    `arrays` take the place of the source: a mapping by node, or a data frame by column (by node where `data` is None).
    `fitted` encoders, of an earlier run, are used as they are. `weight` is the column of what training and validation
    rows count; under `fitted` encoders, where nothing is trained, it is not read. `resumed` gives those of a run that
    goes on, which are used for nodes that stay in their files: nothing of these is read to fit or check them again.

    A node that is too large for memory is read in passes, one of which checks it. Under a `fitted` encoder its training
    rows are not read, since that run has checked them; its fingerprint is then of a few rows, evenly spaced. Files and
    arrays that are read later must not change.

    Raises:
        DataError: names the file and the row where they are known.
    """
    parts = gather(data, variables, beside=beside, arrays=arrays, weight=weight, weighing=fitted is None)
    if fitted is not None:
        elements = {name: encoder.elements for name, encoder in fitted.items()}
        parts = (_by_name(parts[0], elements), parts[1] and _by_name(parts[1], elements))
    train, test = (part and _of_rows(part, variables, data, fitted) for part in parts)
    assert train is not None
    split = data.split if data is not None else Split()
    rules: Mapping[str, LabelRule] = data.labels if data is not None else {}
    named = split.stratify or split.group
    division = divide_rows(train.size, split, train.others[named] if named is not None else None)
    if test is not None and split.test:
        raise DataError("split: the source has a test part of its own: leave out 'test'")

    # labels first: an encoder must not be fitted on values that training may not see
    origins = {
        name: Origin(name, train.nodes[name], division.train, variable.steps)
        for name, variable in variables.items()
        if name in train.nodes
    }
    partial = [name for name in origins if variables[name].supervision == "partial"]
    steps = {name: _transforms(data, name, fitted) for name in origins}
    labels = {name: read_or_note(origins[name], variables[name], steps[name]) for name in partial}
    present = {n: cells.present() if isinstance(cells, LargeCells) else has_value(cells) for n, cells in labels.items()}
    held = {name: cells for name, cells in labels.items() if not isinstance(cells, LargeCells)}
    labelled = choose_labels(rules, present, held, variables, division, beside=beside, seed=seed)
    for name, label_cells in labels.items():
        hidden = ~np.isin(division.train, labelled[name])
        if isinstance(label_cells, LargeCells):
            labels[name] = replace(label_cells, hidden=hidden)
        else:
            hide(label_cells, hidden)

    encoders: dict[str, Encoder] = {}
    waiting: dict[str, LargeCells] = {}  # for the one pass over what stays in its files
    values: dict[str, Array | EncodedColumn] = {}
    for name, variable in variables.items():
        if name not in origins:
            values[name] = absent(variable, len(division.train))
            continue
        cells = labels.pop(name) if name in labels else read_or_note(origins[name], variable, steps[name])
        if fitted is not None:
            encoders[name] = fitted[name]
            values[name] = _encoded(cells, origins[name], fitted[name], checked=False)
        elif in_blocks(origins[name].columns) is not None and isinstance(cells, LargeCells):
            waiting[name] = cells
        elif isinstance(cells, LargeCells):
            encoders[name] = cells.fit(steps[name], seed)
            values[name] = _encoded(cells, origins[name], encoders[name])
        else:
            encoders[name], values[name] = fit_encoder(variable, steps[name], cells, origins[name], seed)

    stores = [part_store(train), None if test is None else part_store(test)]
    notes = [store.note() for store in stores if store is not None and store.together]
    keep_rows(stores[0], division, labelled if fitted is None else {}, trains=fitted is None)
    known_before = resumed() if resumed is not None and any(store is not None for store in stores) else None
    again = fitted is not None or known_before is not None
    hashed: dict[tuple[int, str], Hashes] = {}
    for source, part, unread in ((parts[0], train, waiting), (parts[1], test, {})):
        if not again and source is not None and part is not None:
            hashed |= pass_over(source, part, unread, encoders, variables, steps, seed)
    encoders |= {name: known_before[name] for name in waiting if known_before is not None}
    values |= {name: EncodedColumn(encoders[name], cells) for name, cells in waiting.items()}
    values = {name: values[name] for name in variables}
    encoders = {name: encoders[name] for name in variables if name in encoders}

    if not again:
        _check_totals(values, variables, train.nodes, division.train)
    known = fingerprint({"train": parts[0], "test": parts[1]}, division, variables, spaced=again, hashed=hashed)
    weights: dict[str, Array] = {}
    if weight is not None and fitted is None:
        column = train.others[weight]
        weights["train"] = read_weights(column, division.train)
        weights["validation"] = read_weights(column, division.validation)
        check_some(weights["train"], column, "training")
        check_some(weights["validation"], column, "validation")
        known = known.beside(WEIGHT, column)
    validation = encode_rows(train, variables, encoders, division.validation)
    test_rows = division.test if test is None else np.arange(test.size, dtype=np.int64)
    counted = [
        name for name, variable in variables.items() if variable.supervision == "partial" and not variable.dropped
    ]
    none = {name: np.zeros(0, dtype=np.int64) for name in counted}
    return DataSet(
        train=Rows(values, division.train, dynamic_nodes(encoders), weights.get("train"), stores[0]),
        validation=replace(validation, weights=weights.get("validation")),
        test=encode_rows(test or train, variables, encoders, test_rows),
        encoders=encoders,
        labelled_rows={**none, **{name: ids for name, ids in labelled.items() if name in none or name in rules}},
        fingerprint=known,
        notes=() if fitted is not None else (*notes, *label_notes(rules, values, variables)),
    )


def _by_name(part: Part, elements: Mapping[str, tuple[str, ...]]) -> Part:
    return replace(part, nodes=matched(part.nodes, elements))


def _of_rows(
    part: Part, variables: Mapping[str, Variable], data: DataSection | None, fitted: Mapping[str, Encoder] | None
) -> Part:
    """Give the part with the steps marked that its rows do not have. Raises: DataError."""
    marked = mark_absent(part, variables, lambda name: _transforms(data, name, fitted))
    check_known_counts(marked, variables)
    return marked


def encode_rows(part: Part, variables: Mapping[str, Variable], encoders: Mapping[str, Encoder], rows: RowIds) -> Rows:
    """Encode these rows of a part and hide nothing; a node without a column is missing in all of them.

    Raises:
        DataError: names the file and the row.
    """
    values: dict[str, Array | EncodedColumn] = {}
    for name, variable in variables.items():
        columns: tuple[SourceColumn, ...] = part.nodes.get(name, ())
        if columns and name in encoders:
            origin = Origin(name, columns, rows, variable.steps)
            encoder = encoders[name]
            cells = read_or_note(origin, variable, encoder.transforms)
            values[name] = _encoded(cells, origin, encoder, checked=in_blocks(columns) is None)
        else:
            values[name] = absent(variable, len(rows))
    if part_store(part) is None:
        _check_totals(values, variables, part.nodes, rows)
    return Rows(values, rows, dynamic_nodes(encoders), store=part_store(part))


def _encoded(
    cells: Array | LargeCells, origin: Origin, encoder: Encoder, *, checked: bool = True
) -> Array | EncodedColumn:
    """Encode cells. Large ones are encoded when they are taken, and without `checked` only checked then too."""
    if not isinstance(cells, LargeCells):
        return encoder.encode_cells(cells, origin)
    column = EncodedColumn(encoder, cells)
    return column.checked() if checked or column.is_held else column


def dynamic_nodes(encoders: Mapping[str, Encoder]) -> frozenset[str]:
    """Name the nodes whose values are drawn anew at every use."""
    return frozenset(name for name, encoder in encoders.items() if encoder.draws_anew)


def _transforms(data: DataSection | None, node: str, fitted: Mapping[str, Encoder] | None) -> tuple[AnyTransform, ...]:
    """Give the steps of a node: those of an earlier run where there is one."""
    if fitted is not None:
        if node not in fitted:
            raise DataError(f"node '{node}' has no encoder among those of the run")
        return fitted[node].transforms
    return data.columns[node].transforms if data is not None and node in data.columns else ()


def _check_totals(
    values: Mapping[str, Array | EncodedColumn],
    variables: Mapping[str, Variable],
    columns: Mapping[str, tuple[SourceColumn, ...]],
    rows: RowIds,
) -> None:
    """Check encoded counts, `(N, *steps, *event)`, against the totals of their rows; a missing value passes.

    columns: those that each node was read from, in these rows of them.

    Raises:
        DataError: names the file, the first row that differs, the value and its total.
    """
    for name, variable in variables.items():
        if not variable.total or name not in columns:
            continue
        origin = Origin(name, columns[name], rows, variable.steps)
        size = rows_at_a_time(variable.laid)
        for start in range(0, len(rows), size):
            index = np.arange(start, min(start + size, len(rows)), dtype=np.int64)
            counts, totals = (
                column.take(index) if isinstance(column, EncodedColumn) else column[index]
                for column in (values[name], values[variable.total])
            )
            for fault in faults_of_totals(counts, totals, variable.total, vector=variable.support.vector):
                origin.fail(fault.text("{found}"), fault.mask, fault.measured, start)
