"""A transform: one step from a column of the data to the values of its node, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias, final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from sgc.piece import Piece

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sgc.distributions.category_names import CategoryName

    Numbers: TypeAlias = NDArray[Any]

Fitted = Mapping[str, Any]
"""What a transform learned from the training rows; JSON can hold it (`Any` because JSON nests)."""

Learning: TypeAlias = Generator[None, "Numbers | None", Fitted]
"""What takes in the training rows in order, `(n, *event)` at a time, and at last None, and returns what it learned."""

Uniforms = Callable[[tuple[int, ...]], "Numbers"]
"""Draws numbers in [0, 1), `(*event) -> (N, *event)`, one draw for each row that depends on that row's id alone."""


def _finite_numbers(value: Any) -> Any:  # Any: a number, or lists of lists of them
    import numpy as np

    try:
        numbers = np.asarray(value)
    except ValueError:
        numbers = np.asarray(None)  # lists of unlike lengths
    if numbers.dtype.kind not in "if" or not np.isfinite(numbers).all():
        raise PydanticCustomError("numbers", "expected a finite number for each element, in lists as the row has them")
    return value


FiniteNumbers = Annotated[Any, AfterValidator(_finite_numbers)]
"""A number, or one for each element of a row, nested as the row is (`Any` because JSON nests)."""


class Learned(Piece):
    """What a transform keeps of the training rows."""


class Transform(Piece, ABC):
    """One step from a column to a node's values: `(N, *event) -> (N, *other)`. NaN, a missing value, stays NaN."""

    name: ClassVar[str]
    fits_categories: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    learned: ClassVar[type[Learned]] = Learned
    """What `fit` gives, as a run keeps it."""
    points: ClassVar[bool] = False
    """Whether the results are unit vectors, so that the angle between two of them has a meaning."""

    @property
    def reads_names(self) -> tuple[CategoryName, ...] | None:
        """The names that the column has for 0, 1, …; None where the step is for numbers."""
        return None

    @property
    def turns(self) -> tuple[float, ...]:
        """A whole turn of each column that is an angle, in its unit, 0 for another; nothing where none is."""
        return ()

    @property
    def wants_grey(self) -> bool:
        """Whether the values must lie in [0, 1] before this step."""
        return False

    @property
    def draws_anew(self) -> bool:
        """Whether the values stay grey, to be drawn as 0 or 1 at every use."""
        return False

    def fit(self, values: Numbers) -> Fitted:
        """Learn what `apply` and `undo` need from the training rows, `(N, *event)`; of most steps it is nothing.

        Without `learns`, `values` are the first few rows, and only their shape matters.
        """
        return {}

    @abstractmethod
    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        """Apply the step: `(N, *event) -> (N, *other)`. It may write into `values`."""

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        """Undo the step, without writing into `values`; they stay as they are where it cannot be undone."""
        return values

    def nearest(self, values: Numbers, about: Numbers) -> Numbers:
        """Give those of several equivalent values that are nearest to `about`; both as `undo` gives them."""
        return values


class Learner(Transform, ABC):
    """A step that learns from all training rows in one pass over them, so that they need not be in memory at once."""

    learns: ClassVar[bool] = True

    @final
    def fit(self, values: Numbers) -> Fitted:
        return self.fit_chunks([values])

    @final
    def fit_chunks(self, chunks: Iterable[Numbers]) -> Fitted:
        """Learn from the training rows in order, `(n, *event)` at a time; no element is missing in all of them."""
        learning = self.learning()
        next(learning)
        for values in chunks:
            learning.send(values)
        return learned(learning)

    @abstractmethod
    def learning(self) -> Learning:
        """Take in the training rows, as they are sent, and return what was learned; no element is missing in all."""


def learned(learning: Learning) -> Fitted:
    """Say that there are no more rows, and give what was learned."""
    try:
        learning.send(None)
    except StopIteration as end:
        fitted: Fitted = end.value
        return fitted
    raise AssertionError("learns on after the last row")
