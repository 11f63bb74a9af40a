"""The encoder of a node: from a source's cells to the node's values and back, fitted on training rows only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sgc.data.arrays import array_columns
from sgc.data.columns import MISSING, Array, Origin, Rows, read_categories, read_numbers
from sgc.data.element_names import by_name
from sgc.data.encoder_record import EncoderRecord, SupportRecord, VariableRecord
from sgc.data.row_draws import stream, uniforms_by_row
from sgc.data.transforms.transform import Fitted, Learner
from sgc.data.transforms.transforms import AnyTransform
from sgc.data.value_checks import check_present, check_support
from sgc.data.variables import Variable
from sgc.distributions.category_names import CategoryName
from sgc.distributions.supports import GREY, REAL

CHUNK = 1 << 22  # numbers that are summed at a time in fitting, whether all are in memory or not

Json = dict[str, Any]  # Any: JSON nests


@dataclass(frozen=True)
class Encoder:
    """What turns a node's columns into its values.

    `fitted` holds what each of the `transforms` learned; `inner_shape` is the event's shape after them, which may
    differ from the node's in axes of size 1; `seed` fixes a static binarisation by row. `elements` are the names of the
    numbers of a row, as of genes, by which new rows are matched; empty where nothing names them.
    """

    variable: Variable
    columns: tuple[str, ...]
    transforms: tuple[AnyTransform, ...]
    fitted: tuple[Fitted, ...]
    inner_shape: tuple[int, ...]
    seed: int
    elements: tuple[str, ...] = ()

    @property
    def draws_anew(self) -> bool:
        """Whether the values are grey, to be drawn as 0 or 1 at every use."""
        return any(transform.draws_anew for transform in self.transforms)

    def encode(self, raw: Any, rows: Rows | None = None) -> Array:  # Any: whatever numpy can read as an array
        """Turn cells `(N, *raw)` into values: float32, or int64 categories, `(N, *event)`.

        `rows`, `(N,)`, are the row ids, 0 … N - 1 unless given.

        Raises:
            DataError: cells that cannot be the node's.
        """
        name = self.columns[0] if self.columns else self.variable.name
        column = by_name(array_columns({name: raw})[name], self.elements)
        places = np.arange(len(column), dtype=np.int64)
        origin = Origin(self.variable.name, (column,), places, self.variable.steps)
        cells = read_cells(origin, self.variable, self.transforms)
        return self.encode_cells(cells, origin if rows is None else replace(origin, rows=rows))

    def encode_cells(self, cells: Array, origin: Origin) -> Array:
        """Turn cells as `read_cells` gives them into values; writes into `cells`.

        Raises:
            DataError: names the file and the first row whose value cannot be the node's.
        """
        origin = origin.fold()
        values = transformed(self.variable.fold(cells), self.variable, self.transforms, self.fitted, origin, self.seed)
        return _finish(values, self.variable, self.transforms, origin)

    def decode(self, values: Array) -> Array:
        """Turn values `(N, *event)` back into cells: scales undone, categories by name (missing ones as None).

        Of a node of numbers whose column holds names the cells are their places, 0, 1, …; see `named`.
        """
        if self.variable.categories is None:
            return self.decode_near(values, values)[0]
        indices = np.asarray(values).astype(np.int64)
        return indices if self.names is None else _pick(self.names, indices)

    def decode_near(self, values: Array, about: Array) -> tuple[Array, Array]:
        """Turn two arrays of numbers back into cells; angles of `values` come back in the turn nearest to `about`'s."""
        cells, others = self._inner(values), self._inner(about)
        for transform, fitted in zip(reversed(self.transforms), reversed(self.fitted), strict=True):
            others = transform.undo(others, fitted)
            cells = transform.nearest(transform.undo(cells, fitted), others)
        return self.variable.unfold(cells), self.variable.unfold(others)

    def decode_to_points(self, values: Array) -> Array:
        """Turn numbers back as far as unit vectors, if a transform makes them, or else into cells."""
        cells = self._inner(values)
        for transform, fitted in zip(reversed(self.transforms), reversed(self.fitted), strict=True):
            if transform.points:
                break
            cells = transform.undo(cells, fitted)
        return self.variable.unfold(cells)

    def _inner(self, values: Array) -> Array:
        """Give values, `(N, *steps, *event)`, a row for each step and the shape that the transforms gave them."""
        rows = len(values) * math.prod(self.variable.steps)
        return np.asarray(values).astype(np.float64).reshape(rows, *self.inner_shape)

    def of_step(self) -> Encoder:
        """Give the encoder of one step of a node of a repeat, `(N, *event)`; it is the same for all steps."""
        return replace(self, variable=replace(self.variable, steps=(), exists=()))

    def named(self, cells: Array) -> Array:
        """Give the name nearest to each decoded number, None where it is missing; without names, give the cells.

        A number half-way between two names takes the even place, as rounding does.
        """
        if self.names is None or self.variable.categories is not None:
            return cells
        last = len(self.names) - 1
        return _pick(self.names, np.where(np.isnan(cells), MISSING, np.clip(np.round(cells), 0, last)).astype(np.int64))

    @property
    def names(self) -> tuple[CategoryName, ...] | None:
        """The names that the column has for 0, 1, …: the node's own, or those of its transforms."""
        named = (transform.reads_names for transform in self.transforms if transform.reads_names is not None)
        return self.variable.values or next(named, None)

    def state(self) -> Json:
        """Return the encoder in JSON's types; `Encoder.from_state` builds it again."""
        variable = asdict(self.variable)
        del variable["exists"]  # the columns of counts give it
        del variable["total"]  # the spec gives it
        variable["support"] = SupportRecord(**self.variable.support.plain())
        record = EncoderRecord(
            variable=VariableRecord(**variable),
            columns=self.columns,
            transforms=self.transforms,
            fitted=tuple(dict(learned) for learned in self.fitted),
            inner_shape=self.inner_shape,
            seed=self.seed,
            **({"elements": self.elements} if self.elements else {}),
        )
        return record.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_state(cls, state: Json | EncoderRecord) -> Encoder:
        """Build the encoder that gave this state.

        Raises: ValidationError where it is not valid; ValueError where its parts do not fit together.
        """
        record = state if isinstance(state, EncoderRecord) else EncoderRecord.model_validate(state)
        variable = record.variable.variable()
        facts = (record.columns, record.transforms, record.fitted, record.inner_shape, record.seed)
        encoder = cls(variable, *facts, record.elements or ())
        if _without_ones(record.inner_shape) != _without_ones(record.variable.shape):
            shapes = f"{list(record.inner_shape)} does not fit the node's shape {list(record.variable.shape)}"
            raise ValueError(f"key 'inner_shape': {shapes}")
        try:
            encoder.decode(np.zeros((1, *variable.laid)))
        except (ValueError, IndexError) as problem:
            raise ValueError(f"key 'fitted': does not fit the node's shape ({problem})") from None
        return encoder


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _pick(names: Sequence[CategoryName], places: Array) -> Array:
    """Give the name of each place, `(N, *event)` of Python objects; None of -1."""
    listed = np.array([*names, None], dtype=object)
    return np.asarray(listed[np.where(places == MISSING, len(names), places)])


def read_cells(origin: Origin, variable: Variable, transforms: Sequence[AnyTransform]) -> Array:
    """Read an origin's rows: categories as int64 indices, anything else as numbers; missing ones are -1 or NaN.

    Where the first of the `transforms` reads names, numbers are the places of the names. If a node's value is missing
    as a whole, one empty cell makes its row empty; in a repeat, `(N, *steps, *event)`, its step. The caller may write
    into the result.

    Raises:
        DataError: a cell that is no number or category, infinite, or missing where every row has a value; other steps.
    """
    origin.check_steps()
    names = transforms[0].reads_names if transforms else None
    if names is not None:
        cells = _read_names(origin, variable, names, last=len(transforms) == 1)
    elif variable.categories is not None:
        cells = read_categories(origin, variable)
    else:
        cells = read_numbers(origin)
        check_support(cells, REAL, origin)
    if variable.supervision != "partial":
        check_present(cells, origin, variable.supervision)
    elif variable.whole and cells.ndim > 1 + len(variable.steps):
        cells = np.ascontiguousarray(cells)
        steps = variable.fold(cells)  # a view
        hide(steps, ~has_value(steps, whole=True))
    return cells


def _read_names(origin: Origin, variable: Variable, names: tuple[CategoryName, ...], *, last: bool) -> Array:
    """Read names as their places: indices of categories, or numbers. `last`: no other transform changes these."""
    if variable.values is not None:
        raise origin.error(
            "'one_of' beside the node's own 'values', which already name the categories in the data: leave it out"
        )
    if variable.categories not in (None, len(names)):
        raise origin.error(f"'one_of' names {len(names)} categories, and the node has {variable.categories}")
    places = np.arange(len(names), dtype=np.float32)
    if variable.categories is None and last and not variable.support.vector and any(variable.support.faults(places)):
        raise origin.error(f"'one_of' gives 0 to {len(names) - 1}, and the node wants {variable.support.range}")
    cells = read_categories(origin, replace(variable, categories=len(names), values=names), key="one_of")
    return cells if variable.categories is not None else np.where(cells == MISSING, np.nan, cells.astype(np.float32))


def fit_encoder(
    variable: Variable, transforms: Sequence[AnyTransform], cells: Array, origin: Origin, seed: int
) -> tuple[Encoder, Array]:
    """Fit an encoder on the training rows' cells and encode them; writes into `cells`.

    Raises:
        DataError: as `Encoder.encode_cells`; or nothing to fit on.
    """
    fitted: list[Fitted] = []
    size = rows_at_a_time(cells.shape[1:]) * math.prod(variable.steps)
    values, origin = variable.fold(cells), origin.fold()
    for transform in transforms:
        if transform.learns:
            check_fits(transform, values, variable, origin)
        spans = range(0, max(1, len(values)), size)
        fitted.append(learn(transform, (values[start : start + size] for start in spans), origin))
        values = transformed(values, variable, (transform,), fitted[-1:], origin, seed)
    facts = (origin.names, tuple(transforms), tuple(fitted), values.shape[1:], seed)
    encoder = Encoder(variable, *facts, origin.elements)
    return encoder, _finish(values, variable, transforms, origin)


def fit_in_chunks(
    variable: Variable,
    transforms: Sequence[AnyTransform],
    chunks: Callable[[], Iterator[tuple[Array, Origin]]],
    origin: Origin,
    seed: int,
) -> Encoder:
    """Fit the encoder that `fit_encoder` would, to the bit, on cells that are never in memory at once.

    `chunks` goes through the cells of all training rows, those of `origin`, as many at a time as `rows_at_a_time` says;
    each chunk is written into. Each transform that learns takes a pass over them.

    Raises:
        DataError: as `fit_encoder`, except for values that only the node's shape and support forbid.
    """
    fitted: list[Fitted] = []

    def before(count: int) -> Iterator[Array]:
        for cells, chunk_origin in chunks():
            own = chunk_origin.fold()
            values = transformed(variable.fold(cells), variable, transforms[:count], fitted, own, seed)
            if count < len(transforms) and transforms[count].learns:
                check_fits(transforms[count], values, variable, own)
            yield values

    for count, transform in enumerate(transforms):
        fitted.append(learn(transform, before(count), origin))
    inner = next(before(len(transforms))).shape[1:]
    return Encoder(variable, origin.names, tuple(transforms), tuple(fitted), inner, seed, origin.elements)


def rows_at_a_time(shape: tuple[int, ...]) -> int:
    """Count the rows of a chunk of cells of this shape."""
    return max(1, CHUNK // max(1, math.prod(shape)))


def learn(transform: AnyTransform, chunks: Iterator[Array], origin: Origin) -> Fitted:
    """Fit a transform on the training rows' values; one that does not learn sees only the first chunk."""

    def watched() -> Iterator[Array]:
        known: Any = False  # Any: an array of booleans but at first
        for values in chunks:
            known = known | ~np.isnan(values).all(axis=0)
            yield values
        if not np.all(known):
            raise origin.error(f"no training row has a value for '{transform.name}' to be fitted on")

    if not transform.learns:
        return transform.fit(next(chunks))
    try:
        with np.errstate(all="ignore"):
            if isinstance(transform, Learner):
                return transform.fit_chunks(watched())
            return transform.fit(np.concatenate(list(watched())))
    except ValueError as error:  # numbers that the transform cannot be fitted on
        raise origin.error(str(error)) from error


def check_fits(transform: AnyTransform, values: Array, variable: Variable, origin: Origin) -> None:
    """Check that values are what a transform is for. Raises: DataError."""
    if variable.categories is not None and not transform.fits_categories:
        raise origin.error(f"the transform '{transform.name}' is for numbers, and this node's values are categories")
    if transform.wants_grey:
        check_support(values, GREY, origin)


def transformed(
    values: Array,
    variable: Variable,
    transforms: Sequence[AnyTransform],
    fitted: Sequence[Fitted],
    origin: Origin,
    seed: int,
) -> Array:
    """Apply transforms to cells with a row for each step; may write into them. Raises: DataError."""

    def uniforms(shape: tuple[int, ...]) -> Array:
        drawn = uniforms_by_row(origin.ids, (*variable.steps, *shape), stream(seed, "binarize", variable.name))
        return variable.fold(drawn)

    for transform, learned in zip(transforms, fitted, strict=True):
        check_fits(transform, values, variable, origin)
        try:
            with np.errstate(all="ignore"):  # a number that is too large is reported with its row, see `_finish`
                values = transform.apply(values, learned, uniforms)
        except ValueError as error:  # shapes that the transform cannot take
            raise origin.error(str(error)) from error
    return values


def _finish(values: Array, variable: Variable, transforms: Sequence[AnyTransform], origin: Origin) -> Array:
    """Give transformed values the node's shape and type, steps first, and check them against its support."""
    shape, wanted = values.shape[1:], variable.shape
    if _without_ones(shape) != _without_ones(wanted):
        hint = _shape_hint(shape, wanted, transforms)
        raise origin.error(f"found rows of the shape {list(shape)}, wanted {list(wanted)}{hint}")
    dtype = np.int64 if variable.categories is not None else np.float32
    with np.errstate(over="ignore"):
        shaped = np.ascontiguousarray(values.astype(dtype, copy=False).reshape(len(values), *wanted))
    if variable.categories is None:
        _check_size(values, shaped, origin, transforms)
        check_support(shaped, variable.support, origin)
    shaped = variable.unfold(shaped)
    # a view would keep the whole of its base in memory
    return shaped if shaped.base is None else shaped.copy()


def _check_size(values: Array, shaped: Array, origin: Origin, transforms: Sequence[AnyTransform]) -> None:
    """Check that no number is too large for its type. Raises: DataError."""
    if not shaped.size or np.isfinite((shaped.min(), shaped.max())).all():
        return
    mask = np.isinf(shaped)
    if mask.any():
        where = f" after {transforms[-1].name}" if transforms else ""
        flat, most = values.reshape(shaped.shape), float(np.finfo(shaped.dtype).max)
        message = f"found {{found}}{where}, wanted a number that {8 * shaped.itemsize} bits hold, up to {most:.2g}"
        origin.fail(message, mask, flat)


def _shape_hint(shape: tuple[int, ...], wanted: tuple[int, ...], transforms: Sequence[AnyTransform]) -> str:
    if math.prod(shape) == math.prod(wanted) and len(wanted) == 1:
        return "; is the transform flatten missing?"
    maker = next((transform.name for transform in transforms if transform.points), None)
    return "" if maker is None else f"; the transform '{maker}' makes vectors: give the node the shape {list(shape)}"


def missing_values(variable: Variable, size: int) -> Array:
    """Make the values of a node that is missing in all rows: `(size, *event)` of NaN, or of -1 for categories."""
    if variable.categories is not None:
        return np.full((size, *variable.laid), MISSING, dtype=np.int64)
    return np.full((size, *variable.laid), np.nan, dtype=np.float32)


def hide(cells: Array, hidden: Array) -> None:
    """Overwrite the cells of these rows, `(N,)` booleans, as missing."""
    cells[hidden] = MISSING if cells.dtype.kind == "i" else np.nan


def has_value(cells: Array, *, whole: bool = False) -> Array:
    """Tell for each row, `(N,)`, whether any of its elements has a value; `whole`: whether all have."""
    present = np.asarray(cells != MISSING if cells.dtype.kind == "i" else ~np.isnan(cells))
    flat = present.reshape(len(cells), math.prod(cells.shape[1:]))
    return np.asarray(flat.all(axis=1) if whole else flat.any(axis=1))
