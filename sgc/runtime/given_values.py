"""A caller's value of a node -> a tensor: a tensor has the model's own values, anything else is read as data are.

The model's own value of a category is its place or its one-hot row; data have its name where the spec has one. The
marks of empty cells in the data are missing values here too, unless transforms lie between the data and the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.data.arrays import array_column
from sgc.data.columns import Origin, SourceColumn, read_categories, read_numbers
from sgc.data.empty_cells import MARKS, Mark
from sgc.data.encoder import Encoder
from sgc.data.large_columns import EncodedColumn
from sgc.data.new_rows import read_arrays
from sgc.data.source_columns import marks_of
from sgc.data.variables import Variable as Described
from sgc.errors import DataError, suggest
from sgc.networks.layer import shape_text
from sgc.runtime.data_variables import data_variables
from sgc.runtime.steps import owner_of
from sgc.spec.outline import InputOutline, Outline, Variable

Owner = Variable | InputOutline


def tensors_of(outline: Outline, given: Mapping[str, Any]) -> dict[str, Tensor]:  # Any: see tensor_of
    """Turn what is given by node or input into tensors.

    Raises: ValueError where it is no mapping by name, or see `tensor_of`; KeyError for a name that nothing has.
    """
    check_names(outline, given)
    return {name: tensor_of(outline, name, value) for name, value in given.items()}


def encode(outline: Outline, encoders: Mapping[str, Encoder] | None, data: Any) -> dict[str, Tensor]:
    """Turn data as training takes them into a batch: see `Model.encode`. Any: a mapping to arrays, or a data frame."""
    spec = outline.spec
    rows, present = read_arrays(spec.data, data_variables(outline), encoders, data, seed=spec.train.seed)
    places = np.arange(len(rows), dtype=np.int64)
    batch: dict[str, Tensor] = {}
    for name, value in rows.values.items():
        if name in present:
            batch[name] = torch.from_numpy(value.take(places) if isinstance(value, EncodedColumn) else value)
    return batch


def row_weights(given: Any, size: int, like: Tensor) -> Tensor:  # Any: a tensor, or what array_column takes
    """Take a weight for each row, [B]. Raises: ValueError for another shape, or what is no finite number."""
    weights: Tensor
    if isinstance(given, Tensor):
        weights = real("weights", given)
    else:
        try:
            column = array_column("weights", given)
            weights = torch.from_numpy(
                read_numbers(Origin("weights", (column,), np.arange(len(column), dtype=np.int64)))
            )
        except DataError as error:
            raise ValueError(str(error)) from None
    if tuple(weights.shape) != (size,):
        raise ValueError(f"weights have shape {list(weights.shape)}, wanted [{size}]")
    weights = weights.to(like.device, like.dtype)
    wrong = ~torch.isfinite(weights)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"weights: found {float(weights[row]):g} in row {row}, wanted a finite number")
    return weights


def real(name: str, value: Tensor) -> Tensor:
    """Take a dense tensor of numbers, which may take part in gradients. Raises: ValueError."""
    if value.is_meta:
        raise ValueError(f"'{name}' is a tensor on the device 'meta', which has no values")
    if value.layout != torch.strided or value.is_nested or value.is_quantized:
        raise ValueError(f"'{name}' is a sparse, nested or quantised tensor, wanted a dense one")
    if value.is_complex():
        raise ValueError(f"'{name}' has values of the type {str(value.dtype).removeprefix('torch.')}, wanted numbers")
    return value.clone() if value.is_inference() and not torch.is_inference_mode_enabled() else value


def check_names(outline: Outline, given: object) -> None:
    """Check that something is a mapping by names that the model has. Raises: ValueError or KeyError."""
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise ValueError(f"found a batch of the type '{kind}', wanted a mapping by node, or a data frame")
    for name in given:
        if not isinstance(name, str):
            kind = type(name).__name__
            raise ValueError(f"found the key {name!r} of the type '{kind}', wanted the name of a node or input")
        check_known(outline, name)


def check_known(outline: Outline, name: str) -> None:
    """Check that a name is that of a node, of all its steps, of one of them, or of an input. Raises: KeyError."""
    known = [*outline.variables, *outline.inputs]
    if name not in known and name not in outline.stepped:
        raise KeyError(f"no node or input named '{name}'; {suggest(name, [*outline.outer, *known])}")


def tensor_of(outline: Outline, name: str, given: Any) -> Tensor:  # Any: a tensor, or what array_column takes
    """Turn what is given of a node or input, the rows first, into a tensor of numbers, or of categories' places.

    Missing is NaN, or -1 where categories are given as integers.

    Raises: ValueError for what is neither numbers nor text, no such category, or another shape.
    """
    owner = owner_of(outline, name)
    event = owner.event if isinstance(owner, Variable) else owner.shape

    def laid_out(column: SourceColumn) -> bool:
        shape = tuple(column.values.shape[1:])
        if same_but_ones(shape, event[:-1]) or column.values.dtype.kind not in "biuf":
            return False
        if not same_but_ones(shape, event):
            raise DataError(wrong_shape(name, column.values.shape, owner))
        return True

    return _tensor(outline, name, given, laid_out)


def intervened_tensor_of(outline: Outline, name: str, given: Any) -> Tensor:  # Any: as above, or what one row may hold
    """Turn a value that is held into a tensor, as `tensor_of` does: of one row, or of all. Raises: ValueError."""
    owner, names = owner_of(outline, name), names_of(outline, name) or ()
    event = owner.event if isinstance(owner, Variable) else owner.shape
    numbered = any(not isinstance(name, str) for name in names)

    def laid_out(column: SourceColumn) -> bool:
        values = column.values
        if values.dtype.kind not in "biuf":
            return False
        one_hot = values.shape == event and values.dtype.kind == "f" and not numbered
        return (one_hot and np.allclose(values.sum(-1), 1, atol=1e-3)) or values.shape[1:] == event

    if isinstance(given, Tensor) or (np.ndim(given) and not isinstance(given, str)):
        return _tensor(outline, name, given, laid_out)
    return _tensor(outline, name, [given], laid_out)[0]


def _tensor(outline: Outline, name: str, given: Any, laid_out: Callable[[SourceColumn], bool]) -> Tensor:
    """See `tensor_of`; `laid_out` tells whether numbers of a node with categories are its one-hot rows."""
    owner, reading = owner_of(outline, name), _reading(outline, name)
    if isinstance(given, Tensor):
        return _marked(name, given, owner, reading.marks)
    try:
        column = replace(array_column(name, given), marks=reading.marks)
        return torch.from_numpy(np.ascontiguousarray(_read(name, column, owner.categories, reading, laid_out)))
    except DataError as error:
        raise ValueError(str(error)) from None


def names_of(outline: Outline, name: str) -> tuple[Any, ...] | None:  # Any: as Variable.values
    """Give the names of a node's categories or places in the data: its own, or those of its transform; or None."""
    return _reading(outline, name).names


@dataclass(frozen=True)
class _Reading:
    """How cells of a node are read: the marks of empty ones, the names of its categories or places, and their key."""

    marks: tuple[Mark, ...]
    names: tuple[Any, ...] | None  # Any: as Variable.values
    key: str


def _reading(outline: Outline, name: str) -> _Reading:
    owner, data = owner_of(outline, name), outline.spec.data
    column = None if data is None else data.columns.get(outline.outer_name.get(name, name))
    transforms = () if column is None else column.transforms
    latent = isinstance(owner, Variable) and owner.supervision == "none"
    plain = all(transform.reads_names is not None for transform in transforms)
    marks = MARKS if latent or not plain else marks_of(data)
    named = transforms[0].reads_names if transforms and plain else None
    return _Reading(marks, owner.values or named, "values" if owner.values else "one_of")


def _read(
    name: str,
    column: SourceColumn,
    categories: int | None,
    reading: _Reading,
    laid_out: Callable[[SourceColumn], bool],
) -> np.ndarray:
    origin = Origin(name, (column,), np.arange(len(column), dtype=np.int64))
    if reading.names is None if categories is None else laid_out(column):
        return read_numbers(origin)
    count = categories or len(reading.names or ())
    places = read_categories(origin, Described(name, categories=count, values=reading.names), key=reading.key)
    return places if categories is not None else np.where(places < 0, np.nan, places.astype(np.float64))


def _marked(name: str, value: Tensor, owner: Owner, marks: tuple[Mark, ...]) -> Tensor:
    """Take a tensor of numbers; a mark of empty cells that is no place of a category is missing."""
    value = real(name, value)
    for mark in _numbers(marks):
        if owner.categories is not None and mark in range(owner.categories):
            continue
        gone = value == mark
        if bool(gone.any()):
            integers = owner.categories is not None and not value.is_floating_point()
            value = value if integers or value.is_floating_point() else value.double()
            value = value.masked_fill(gone, -1 if integers else torch.nan)
    return value


def _numbers(marks: tuple[Mark, ...]) -> list[float]:
    numbers = []
    for mark in marks:
        try:
            numbers.append(float(mark))
        except ValueError:
            continue
    return numbers


def same_but_ones(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether two shapes differ by axes of size 1 at most, which an array of data need not have.

    >>> same_but_ones((28, 28), (1, 28, 28)), same_but_ones((2, 3), (3, 2))
    (True, False)
    """
    return [size for size in shape if size != 1] == [size for size in wanted if size != 1]


def wrong_shape(name: str, shape: tuple[int, ...], owner: Owner) -> str:
    """Say which shape a node's values have, and which they should."""
    event = owner.event if isinstance(owner, Variable) else owner.shape
    wanted = f"[B, {', '.join(map(str, event))}]" if event else "[B]"
    if owner.categories is not None:
        wanted += f" or integer categories [B{''.join(f', {n}' for n in event[:-1])}]"
    return f"'{name}' got shape {shape_text(tuple(shape))}, wanted {wanted}"
