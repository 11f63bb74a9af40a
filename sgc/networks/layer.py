"""A layer of the table: how it is written, and what it says of a row's shape. Shapes are without the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from sgc.distributions.supports import NONNEGATIVE, REAL, Support
from sgc.piece import Piece
from sgc.schedules import Number, is_schedule, number

if TYPE_CHECKING:
    from torch import nn

    Share = Number
else:
    Share = number(ge=0, lt=1)

Shape = tuple[int, ...]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Kernel = Annotated[int, Field(ge=1, le=1024)]


class ShapeFault(Exception):
    """A shape that a layer cannot take; the text says what came and what was wanted."""


def shape_text(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def dropped_range(incoming: Support) -> Support:
    """Say where numbers lie of which some are set to zero and the others made larger, as while training."""
    return NONNEGATIVE if NONNEGATIVE.contains(incoming) else REAL


class Layer(Piece):
    """A layer in the table; abstract."""

    name: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:  # Any: whatever YAML can say
        if isinstance(value, str):
            return {}
        if not (isinstance(value, dict) and list(value) == [cls.name]):
            return value
        inner = value[cls.name]
        main = next(iter(cls.model_fields), "")
        return {main: inner} if main and (not isinstance(inner, dict) or is_schedule(inner)) else inner

    @model_serializer(mode="wrap")
    def _wrap(self, inner: SerializerFunctionWrapHandler) -> Any:  # Any: plain data
        options = inner(self)
        return {self.name: options} if options else self.name

    @property
    def unsteady(self) -> str:
        """Name what does not give the same again of the same rows while training; an empty string where all does."""
        return ""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape this layer makes. Raises: ShapeFault."""
        return shape

    def output_range(self, incoming: Support) -> Support:
        """Say where every number lies that it makes of numbers in `incoming`: anywhere, unless a layer says better."""
        return REAL

    def parameter_count(self, shape: Shape) -> int:
        """Count its parameters on an input of `shape`."""
        return 0

    def module(self, shape: Shape) -> nn.Module:
        """Build it for rows [R, *shape]."""
        raise TypeError(f"{self.name} is abstract")


class BatchNorm(Layer):
    """Normalise by the mean and the variance of a batch, those it has learned in evaluation; abstract."""

    eps: Annotated[float, Field(gt=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1

    @property
    def unsteady(self) -> str:
        """Name the layer: what it has learned moves each time."""
        return self.name

    def parameter_count(self, shape: Shape) -> int:
        return 2 * shape[0]

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)(shape[0], eps=self.eps, momentum=self.momentum)
        return made
