"""The base of every layer: how it is written, its shape rule, its size, its module. Shapes are without the batch."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, create_model, model_serializer, model_validator

from sgc.distributions.supports import NONNEGATIVE, REAL, Support
from sgc.networks.scheduled_module import dropout
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
Epsilon = Annotated[float, Field(gt=0)]


class ShapeFault(Exception):
    """A shape that a layer cannot take; the text says what it got and what it wanted."""


def shape_text(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


class Layer(Piece):
    """A layer; abstract. Unless it builds a module of its own, its fields are the options of a class of `torch.nn`.

    Its name is that of its class, unless it says another.
    """

    name: ClassVar[str]
    channels: ClassVar[str] = ""  # the option of torch that is the length of the input's first axis; empty: none
    support: ClassVar[Support] = REAL  # where every number lies that it makes

    def __init_subclass__(cls, **options: Any) -> None:  # Any: pydantic's
        super().__init_subclass__(**options)
        cls.name = vars(cls).get("name", cls.__name__)

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
        """Name what gives other values for the same rows each time in training; empty: nothing does."""
        return ""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape that this layer makes. Raises: ShapeFault."""
        return shape

    def output_range(self, incoming: Support) -> Support:
        """Return where every number lies that it makes of numbers in `incoming`."""
        return self.support

    def parameter_count(self, shape: Shape) -> int:
        """Count its parameters on an input of `shape`."""
        return 0

    def module(self, shape: Shape) -> nn.Module:
        """Build it for rows [R, *shape]."""
        from torch import nn

        options = {key: getattr(self, key) for key in type(self).model_fields}
        if self.channels:
            options[self.channels] = shape[0]
        built: nn.Module = getattr(nn, self.name)(**options)
        return built


def shapes_through(layers: Sequence[Layer], shape: Shape) -> list[Shape]:
    """List the shapes along layers: what comes to each of them, and what comes out of the last. Raises: ShapeFault."""
    return list(itertools.accumulate(layers, lambda came, layer: layer.output_shape(came), initial=shape))


def count_through(layers: Sequence[Layer], shape: Shape) -> int:
    """Count the parameters of layers, the first of them on an input of `shape`. Raises: ShapeFault."""
    return sum(layer.parameter_count(came) for layer, came in zip(layers, shapes_through(layers, shape), strict=False))


def sequential(layers: Sequence[Layer], shape: Shape) -> nn.Sequential:
    """Build the modules of layers in sequence, for rows [R, *shape]."""
    from torch import nn

    shapes = shapes_through(layers, shape)
    return nn.Sequential(*(layer.module(came) for layer, came in zip(layers, shapes, strict=False)))


L = TypeVar("L", bound=Layer)


def layer_kind(base: type[L], name: str, **facts: Any) -> type[L]:  # Any: of the base's class variables
    """Make a layer of a kind. name: of its class in `torch.nn`; facts: the class variables of `base` that it has."""
    kind = create_model(name, __base__=base, __module__=base.__module__)
    for key, value in facts.items():
        setattr(kind, key, value)
    return kind


class Rearranging(Layer):
    """A layer that makes no number but those it gets, or what lies between them; abstract."""

    def output_range(self, incoming: Support) -> Support:
        return incoming.element


class Dropping(Layer):
    """Zero some values with probability p in training, and scale up the others; abstract."""

    p: Share = 0.5

    @property
    def unsteady(self) -> str:
        """Name the layer, unless it never zeroes anything."""
        return "" if self.p == 0 else self.name

    def output_range(self, incoming: Support) -> Support:
        return NONNEGATIVE if NONNEGATIVE.contains(incoming) else REAL

    def module(self, shape: Shape) -> nn.Module:
        return dropout(self.name, self.p)


class ScaledByChannel(Layer):
    """A norm that learns a scale and a shift for each channel; abstract."""

    channels: ClassVar[str] = "num_features"

    def parameter_count(self, shape: Shape) -> int:
        return 2 * shape[0]


class BatchNorm(ScaledByChannel):
    """Normalise by the mean and the variance of a batch, in evaluation by learned ones; abstract."""

    eps: Epsilon = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    affine: bool = True

    def parameter_count(self, shape: Shape) -> int:
        return super().parameter_count(shape) if self.affine else 0

    @property
    def unsteady(self) -> str:
        """Name the layer: what it has learned moves with every batch."""
        return self.name


class Joining(Layer):
    """A layer that takes a tensor [R, *shape] for each parent, where it is the first of a network; abstract."""

    @abstractmethod
    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape that it makes of inputs of these shapes. Raises: ShapeFault."""

    def joined_count(self, shapes: Sequence[Shape]) -> int:
        """Count its parameters on inputs of these shapes."""
        return 0

    @abstractmethod
    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        """Build it: a module of as many arguments, [R, *shape] each."""

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        """Return where every number lies that it makes of inputs in `incoming`."""
        return REAL

    def output_shape(self, shape: Shape) -> Shape:
        return self.joined_shape([shape])

    def parameter_count(self, shape: Shape) -> int:
        return self.joined_count([shape])

    def module(self, shape: Shape) -> nn.Module:
        return self.joining_module([shape])
