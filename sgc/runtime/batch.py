"""Batches as users give them -> rows of one plan each, checked: names, shapes, types, ranges, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sgc.derivation.row_groups import Merging
from sgc.distributions.row_totals import faults_of_totals
from sgc.distributions.supports import Fault
from sgc.runtime import counts, steps
from sgc.runtime.given_values import same_but_ones, tensors_of, wrong_shape
from sgc.shared_rows import RowShare
from sgc.spec.outline import InputOutline, Outline, Variable


@dataclass(frozen=True)
class PatternRows:
    """Rows of a batch that share a plan: how many, their places in the batch, their values [B, *event].

    They carry the same labels, except for the maybe-labelled nodes, for which `labelled` says so row by row. Either all
    of them carry some label or none does.
    """

    observed: frozenset[str]
    size: int
    rows: Tensor | None  # places in the batch; None: all of it
    values: Mapping[str, Tensor]
    labelled: Mapping[str, Tensor] = field(default_factory=dict)  # [B] booleans
    share: RowShare | None = None  # of rows that several processes share out
    labelled_of_all: Mapping[str, Tensor] = field(default_factory=dict)  # `labelled` of the rows of all processes

    @property
    def has_labels(self) -> bool:
        return bool(self.observed or self.labelled)

    @property
    def places(self) -> list[int]:
        """The places of its rows in the batch."""
        return [int(row) for row in (range(self.size) if self.rows is None else self.rows.tolist())]

    def select(self, index: Tensor) -> PatternRows:
        """Take some of its rows, by their places in it: [n] integers."""
        rows = index if self.rows is None else self.rows[index.to(self.rows.device)]
        values, labelled = (
            {name: value.index_select(0, index.to(value.device)) for name, value in mapping.items()}
            for mapping in (self.values, self.labelled)
        )
        return PatternRows(self.observed, len(index), rows, values, labelled)


@dataclass(frozen=True)
class Share:
    """Rows of a batch that share a plan: their places, the labels that all of them carry, and those that some do."""

    places: np.ndarray
    observed: frozenset[str]
    labelled: Mapping[str, np.ndarray]  # [rows] booleans


def share_rows(merging: Merging, names: Sequence[str], present: np.ndarray) -> list[Share]:
    """Part rows by the labels they carry, those patterns together that share a plan.

    present: [B, names] booleans. Rows without any label stay by themselves.
    """
    maybe_labelled = [name for name in names if name in merging.nodes]
    apart = np.array([name not in merging.nodes for name in names], dtype=bool)
    shares: list[Share] = []
    alike, group = patterns_of(np.column_stack([present[:, apart], present.any(1)]))
    for code in range(len(alike)):
        places = np.flatnonzero(group == code)
        observed = frozenset(
            name for name, carried_here in zip(names, present[places[0]] & apart, strict=True) if carried_here
        )
        kinds, kind = patterns_of(present[places])
        if merging.worth(observed, frozenset(maybe_labelled), len(kinds), len(places)):
            labelled = {name: present[places, names.index(name)] for name in maybe_labelled}
            shares.append(Share(places, observed, labelled))
            continue
        for i, carried in enumerate(kinds):
            shown = frozenset(name for name, has_label in zip(names, carried, strict=True) if has_label)
            shares.append(Share(places[kind == i], shown, {}))
    return shares


def patterns_of(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the distinct rows of booleans, the one without any first, and which of them each row is."""
    if present.shape[1] < 63:  # as bits of a number they are sorted much faster
        codes = present @ (1 << np.arange(present.shape[1], dtype=np.int64))
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        return present[first], inverse.reshape(-1)
    patterns, inverse = np.unique(present[:, ::-1], axis=0, return_inverse=True)
    return patterns[:, ::-1], inverse.reshape(-1)


def prepare(
    outline: Outline, batch: Mapping[str, Any], like: Tensor
) -> tuple[list[PatternRows], int]:  # Any: see `tensor_of`
    """Check a batch and part it by observation pattern; give the parts and how many rows there are.

    batch: by node or input, [B, *event], or [B] integer categories; of a node of a repeat all steps by its outer name,
    [B, *steps, *event], or each step by its own name. Missing in a row: NaN, or −1 for integer categories, and all
    values of steps that the row does not have; a partial node that is absent is unlabelled. A node that drops missing
    values keeps NaN, element by element, in the rows of every pattern; absent, it is all NaN. like: a tensor of the
    type and on the device of the computation.

    Raises: ValueError or KeyError, naming the node, what came and what was wanted.
    """
    batch = tensors_of(outline, batch)
    known = [*outline.variables, *outline.inputs]
    values: dict[str, Tensor] = {}
    missing: dict[str, Tensor] = {}
    absent: dict[str, Tensor] = {}  # rows that do not have a step
    size: int | None = None
    by_node = steps.split(outline, batch)
    for name in counts.counts_first(outline, by_node):
        value = by_node[name]
        owner: Variable | InputOutline = outline.variables.get(name) or outline.inputs[name]
        if isinstance(owner, Variable) and owner.supervision == "none":
            raise ValueError(f"'{name}' is never observed (supervision: none), it cannot be given")
        gone = counts.absent_rows(outline, name, values)
        if gone is not None:
            absent[name], value = gone, counts.emptied(value, gone, categories=owner.categories is not None)
        values[name], missing[name] = row_values(name, owner, value, like)
        rows = len(values[name])
        if size is not None and rows != size:
            raise ValueError(f"'{name}' has {rows} rows, the others have {size}")
        size = rows
    if size is None:
        raise ValueError("the batch is empty")
    if size == 0:
        raise ValueError("the batch has no rows")
    for name in known:
        required = name in outline.inputs or outline.variables[name].supervision == "full"
        if required and name not in values:
            status = "an input" if name in outline.inputs else "supervision: full"
            raise KeyError(f"'{name}' is missing from the batch ({status})")
        lacking = missing[name] & ~absent[name] if name in absent else missing.get(name)
        if required and lacking is not None and bool(lacking.any()):
            row = int(lacking.nonzero()[0])
            raise ValueError(f"'{name}' is missing in row {row}, it must be there in every row")
    check_totals(outline, values)
    for name in outline.graphs.dropped:
        if name not in values:
            values[name] = like.new_full((size, *outline.variables[name].event), float("nan"))
    return _part(outline, counts.filled(outline, values), missing, size), size


def _part(
    outline: Outline, values: Mapping[str, Tensor], missing: Mapping[str, Tensor], size: int
) -> list[PatternRows]:
    """Part rows by their pattern of labels. values: [B, *event] by node; missing: [B] booleans."""
    partial = [name for name in outline.graphs.partial if name in values]
    fixed = {name: value for name, value in values.items() if name not in partial}
    if not partial:
        return [PatternRows(frozenset(), size, None, fixed)]
    present = torch.stack([~missing[name] for name in partial], 1).cpu().numpy()
    _, carried = counts.resolve_labels(outline, partial, present, counts.known_counts(outline, values))
    parts = []
    for share in share_rows(outline.merging, partial, carried):
        values_of_part = {**fixed, **{name: values[name] for name in partial if name in share.observed}}
        values_of_part |= {name: values[name].nan_to_num(0) for name in share.labelled}
        device = next(iter(values_of_part.values())).device if values_of_part else torch.device("cpu")
        labelled = {name: torch.from_numpy(mask).to(device) for name, mask in share.labelled.items()}
        if len(share.places) == size:
            parts.append(PatternRows(share.observed, size, None, values_of_part, labelled))
        else:
            rows = torch.from_numpy(share.places)
            chosen = {n: v[rows.to(v.device)] for n, v in values_of_part.items()}
            parts.append(PatternRows(share.observed, len(rows), rows, chosen, labelled))
    return parts


def row_values(name: str, owner: Variable | InputOutline, value: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Turn one entry of a batch into [B, *event] and a mask [B] of rows where something is missing.

    Axes of size 1 may be left out or present, as in data. Missing values of a node that drops them are NaN.
    """
    event = owner.event if isinstance(owner, Variable) else owner.shape
    count = owner.categories
    if count is not None:
        fits = same_but_ones(tuple(value.shape[1:]), event[:-1])
        if value.dim() and fits and (not value.is_floating_point() or tuple(value.shape[1:]) != event):
            return _categories(name, value.reshape(len(value), *event[:-1]), count, like)
    if value.dim() == 0 or not same_but_ones(tuple(value.shape[1:]), event):
        raise ValueError(wrong_shape(name, tuple(value.shape), owner))
    value = _in_type(name, value.reshape(len(value), *event), like)
    missing = torch.isnan(value.flatten(1)).any(1) if value.dim() > 1 else torch.isnan(value)
    check_support(name, owner, value)
    return value, missing


def _in_type(name: str, value: Tensor, like: Tensor) -> Tensor:
    """Give values in the type and on the device of a model. Raises: ValueError for one beyond its numbers."""
    converted = value.to(like.device, like.dtype)
    if value.dtype == torch.float64 and like.dtype == torch.float32:
        lost = torch.isinf(converted) & torch.isfinite(value.to(like.device))
        if bool(lost.any()):
            place = [int(i) for i in lost.nonzero()[0]]
            at = f" at {place[1:]}" if place[1:] else ""
            raise ValueError(
                f"'{name}': found {float(value[tuple(place)]):g} in row {place[0]}{at}, wanted a number that 32 bits "
                f"hold, up to {torch.finfo(like.dtype).max:.2g}"
            )
    return converted


def there(variable: Variable, value: Tensor) -> Tensor:
    """Mark the elements that have a value: [*leading, *event] -> booleans [*leading, *element shape]."""
    present = ~torch.isnan(value)
    return present.all(-1) if variable.family.event_dim else present


def _categories(name: str, value: Tensor, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    if value.is_floating_point():
        broken = ((value != value.round()) | (value.abs() > 2**31)) & ~torch.isnan(value)  # no cast holds more
        if bool(broken.any()):
            category = float(value[broken][0])
            raise ValueError(f"'{name}' has the category {category:g}, wanted integers from 0 to {count - 1}")
        value = torch.where(torch.isnan(value), -1, value)
    value = value.long()
    value = value.to(like.device)
    flat = value.flatten(1) if value.dim() > 1 else value.unsqueeze(1)
    missing = (flat == -1).any(1)
    wrong = (flat < -1) | (flat >= count)
    if bool(wrong.any()):
        row, place = (int(i) for i in wrong.nonzero()[0])
        category = int(flat[row, place])
        raise ValueError(f"'{name}' has category {category} in row {row}, wanted 0 to {count - 1} (−1: missing)")
    return one_hot(value, count, like.dtype), missing


def one_hot(value: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Lay categories out: [N, *event] integers -> [N, *event, count], NaN where one is missing (-1)."""
    laid = functional.one_hot(value.clamp(min=0), count).to(dtype)
    missing = value == -1
    return laid.masked_fill(missing.unsqueeze(-1), float("nan")) if bool(missing.any()) else laid


def check_totals(outline: Outline, values: Mapping[str, Tensor]) -> None:
    """Check values [B, *event] against the totals of their rows, where both are there; NaN, a missing value, passes.

    Raises: ValueError, naming the node, the first row that differs, the value and its total.
    """
    for name, value in values.items():
        variable = outline.variables.get(name)
        if variable is not None and variable.total in values:
            vector = bool(variable.family.event_dim)
            faults = faults_of_totals(value.detach(), values[variable.total], variable.total, vector=vector)
            _refuse(name, variable, faults)


def check_support(name: str, owner: Variable | InputOutline, value: Tensor) -> None:
    """Check values [B, *event] against the support of their node; NaN, a missing value, passes.

    Raises: ValueError, naming the node, the first row outside, the value and what was wanted.
    """
    _refuse(name, owner, owner.support.faults(value.detach()))


def _refuse(name: str, owner: Variable | InputOutline, faults: Iterable[Fault]) -> None:
    of = f" ({owner.family.name})" if isinstance(owner, Variable) else ""
    for fault in faults:
        place = [int(index) for index in fault.mask.nonzero()[0]]
        place_text = f" in row {place[0]}" + (f" at {place[1:]}" if len(place) > 1 else "")
        value_text = f"{float(fault.measured[tuple(place)]):.6g}{place_text}"
        raise ValueError(f"'{name}': {fault.text(value_text)}{of}")
