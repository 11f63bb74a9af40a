"""A transform: one step from a column of the data to the values of its node, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
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

Uniforms = Callable[[tuple[int, ...]], "Numbers"]
"""Draws numbers in [0, 1), `(*event) -> (N, *event)`, one draw for each row that depends on that row's id alone."""


def _finite_numbers(value: Any) -> Any:  # Any: a number, or lists of lists of them
    import numpy as np

    try:
        found = np.asarray(value)
    except ValueError:
        found = np.asarray(None)  # lists of unlike lengths
    if found.dtype.kind not in "if" or not np.isfinite(found).all():
        raise PydanticCustomError("numbers", "expected a finite number for each element, in lists as the row has them")
    return value


FiniteNumbers = Annotated[Any, AfterValidator(_finite_numbers)]
"""A number, or one for each element of a row, nested as the row is (`Any` because JSON nests)."""


class Learned(Piece):
    """What a transform keeps of the training rows; of most it is nothing."""


class Transform(Piece, ABC):
    """One step from a column to a node's values: `(N, *event) -> (N, *other)`. NaN, a missing value, stays NaN."""

    name: ClassVar[str]
    fits_categories: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    learned: ClassVar[type[Learned]] = Learned
    """What `fit` gives, as a run keeps it."""
    points: ClassVar[bool] = False
    """Whether what comes out are unit vectors, so that an angle between two of them means something."""

    @property
    def reads_names(self) -> tuple[CategoryName, ...] | None:
        """Give the names that stand in the column for 0, 1, …; None where the step is for numbers."""
        return None

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
        """Learn from the training rows: `(N, *event) -> what apply and undo need`.

        Without `learns` it takes nothing but the shape of a row from them, and is given the first few.
        """

    @abstractmethod
    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        """Take the step: `(N, *event) -> (N, *other)`. May write into `values`, which the caller owns."""

    @abstractmethod
    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        """Take the step back where it has a way back, without writing into `values`."""

    def nearest(self, values: Numbers, about: Numbers) -> Numbers:
        """Give, where several values mean the same, those nearest to `about`; both as `undo` gives them."""
        return values


class Learner(Transform, ABC):
    """A step that learns from all training rows in one pass over them, so that they need not be in memory at once."""

    learns: ClassVar[bool] = True

    @final
    def fit(self, values: Numbers) -> Fitted:
        return self.fit_chunks([values])

    @abstractmethod
    def fit_chunks(self, chunks: Iterable[Numbers]) -> Fitted:
        """Learn from the training rows in order, `(n, *event)` at a time; no element is missing in all of them."""
