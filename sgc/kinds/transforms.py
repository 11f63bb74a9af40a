"""Transforms: what is done to a column of the data before a model sees it, and how it is undone in predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, final

from pydantic import Discriminator, Field, Tag

from sgc.kinds.base import Many, Named, Piece, tagged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[Any]

Fitted = Mapping[str, Any]
"""What a transform learned from the training rows; JSON can hold it (`Any` because JSON nests)."""

Uniforms = Callable[[tuple[int, ...]], "Numbers"]
"""Draws numbers in [0, 1), `(*event) -> (N, *event)`, one draw for each row that depends on that row's id alone."""


class Transform(Piece, ABC):
    """One step from a column to a node's values: `(N, *event) -> (N, *other)`. NaN, a missing value, stays NaN."""

    name: ClassVar[str]
    fits_categories: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    @property
    def wants_grey(self) -> bool:
        """Tell whether the values must lie in [0, 1] before this step."""
        return False

    @property
    def draws_anew(self) -> bool:
        """Tell whether the values stay grey and are drawn as often as they are used."""
        return False

    @abstractmethod
    def fit(self, values: Numbers) -> Fitted:
        """Learn from the training rows: `(N, *event) -> what apply and undo need`."""

    @abstractmethod
    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        """Take the step: `(N, *event) -> (N, *other)`. May write into `values`, which the caller owns."""

    @abstractmethod
    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        """Take the step back where it has a way back, without writing into `values`."""


@final
class Divide(Transform):
    """`{divide: 255}`: divide by a number, and multiply by it in predictions."""

    name: ClassVar[str] = "divide"
    divide: Annotated[float, Field(gt=0)]

    def fit(self, values: Numbers) -> Fitted:
        return {}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        values /= self.divide
        return values

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        scaled: Numbers = values * self.divide
        return scaled


def _binarize_form(value: object) -> str:
    return "<word>" if isinstance(value, str) else "<threshold>"


@final
class Binarize(Transform):
    """`{binarize: dynamic}`, `{binarize: static}` or `{binarize: 0.5}`: turn grey values into 0 and 1.

    `dynamic` takes each grey value in [0, 1] as a probability and draws anew at every use (Salakhutdinov and
    Murray 2008); `static` draws once, by row and seed; a number is a threshold: at or above it is 1.
    """

    name: ClassVar[str] = "binarize"
    binarize: Annotated[
        Annotated[Literal["dynamic", "static"], Tag("<word>")] | Annotated[float, Tag("<threshold>")],
        Discriminator(_binarize_form),
    ]

    @property
    def wants_grey(self) -> bool:
        return isinstance(self.binarize, str)

    @property
    def draws_anew(self) -> bool:
        return self.binarize == "dynamic"

    def fit(self, values: Numbers) -> Fitted:
        return {}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if self.binarize == "dynamic":
            return values
        if self.binarize == "static":
            ones = uniforms(values.shape[1:]) < values
        else:
            ones = values >= self.binarize
        np.copyto(values, ones, where=~np.isnan(values))
        return values

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        return values


@final
class Resize(Transform):
    """`{resize: [48, 42]}`: average the last two axes over areas, to this many rows and columns.

    What is missing counts for nothing; a cell is missing where all of its area is.
    """

    name: ClassVar[str] = "resize"
    resize: Annotated[Many[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]

    def fit(self, values: Numbers) -> Fitted:
        return {}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if values.ndim < 3:
            raise ValueError(f"'resize' wants rows and columns, found the shape {list(values.shape[1:])}")
        down = _overlap(values.shape[-2], self.resize[0]).astype(values.dtype)
        across = _overlap(values.shape[-1], self.resize[1]).astype(values.dtype).T
        if not len(values):
            return np.zeros((0, *values.shape[1:-2], *self.resize), dtype=values.dtype)
        resized = np.stack([down @ each @ across for each in values])
        missing = np.isnan(values)
        if missing.any():
            whole, share = np.where(missing, 0, values), (~missing).astype(values.dtype)
            for i in np.flatnonzero(missing.reshape(len(values), -1).any(axis=1)):
                there = down @ share[i] @ across
                resized[i] = np.where(there > 1e-6, down @ whole[i] @ across / np.maximum(there, 1e-6), np.nan)
        return resized

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        return values


def _overlap(found: int, wanted: int) -> Numbers:
    """Weigh each found cell by the share it has in each wanted one: `(wanted, found)`, each row sums to 1."""
    import numpy as np

    edges = np.arange(wanted + 1) * (found / wanted)
    start, end = edges[:-1, None], edges[1:, None]
    cell = np.arange(found)[None, :]
    shared: Numbers = np.clip(np.minimum(end, cell + 1) - np.maximum(start, cell), 0, None)
    return shared * (wanted / found)


@final
class Flatten(Named, Transform):
    """`flatten`: make one axis of all: `(N, *event) -> (N, D)`; undone in predictions."""

    name: ClassVar[str] = "flatten"
    fits_categories: ClassVar[bool] = True

    def fit(self, values: Numbers) -> Fitted:
        return {"shape": list(values.shape[1:])}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import math

        return values.reshape(len(values), math.prod(values.shape[1:]))

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        return values.reshape(len(values), *fitted["shape"])


@final
class Standardize(Named, Transform):
    """`standardize`: subtract each element's mean and divide by its deviation, both of the training rows.

    An element that is constant in training has the deviation 1. Undone in predictions.
    """

    name: ClassVar[str] = "standardize"
    learns: ClassVar[bool] = True

    def fit(self, values: Numbers) -> Fitted:
        import numpy as np

        mean = np.nanmean(values, axis=0, dtype=np.float64)
        deviation = np.nanstd(values, axis=0, dtype=np.float64)
        constant = np.nanmin(values, axis=0) == np.nanmax(values, axis=0)
        return {"mean": mean.tolist(), "deviation": np.where(constant, 1.0, deviation).tolist()}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        values -= np.asarray(fitted["mean"], dtype=values.dtype)
        values /= np.asarray(fitted["deviation"], dtype=values.dtype)
        return values

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        original: Numbers = values * np.asarray(fitted["deviation"]) + np.asarray(fitted["mean"])
        return original


TRANSFORMS: dict[str, type[Transform]] = {
    "divide": Divide,
    "binarize": Binarize,
    "resize": Resize,
    "flatten": Flatten,
    "standardize": Standardize,
}


def _kind(value: Any) -> str | None:  # any: whatever YAML can say
    if isinstance(value, Transform):
        return value.name
    words = value if isinstance(value, dict) else [value] if isinstance(value, str) else []
    return next((word for word in words if word in TRANSFORMS), None)


if TYPE_CHECKING:
    AnyTransform: TypeAlias = Divide | Binarize | Resize | Flatten | Standardize
else:
    AnyTransform = tagged(TRANSFORMS, "transform", _kind)
