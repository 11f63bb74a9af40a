"""The preprocessing of a node in tensors: from the cells of the data to the node's values, and from means back.

It is what `sgc.data.encoder.Encoder` does with numpy, in operations that a graph can hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sgc.data.encoder import Encoder
from sgc.data.transforms.angle_transforms import Angle, Direction
from sgc.data.transforms.image_transforms import Crop, Resize
from sgc.data.transforms.transform import Fitted
from sgc.data.transforms.transforms import (
    AnyTransform,
    Binarize,
    Divide,
    Flatten,
    LogOnePlus,
    MuLaw,
    OneOf,
    Standardize,
    Sum,
)
from sgc.distributions.category_names import CategoryName
from sgc.errors import UsageError

Step = tuple[AnyTransform, Fitted]
COARSE = 2.0**12  # deviations from zero at which float32 rounds a cell to 2⁻¹² of a deviation
UNSIZED = (Resize, Sum)  # what came before them may have had any size, which no run records


@dataclass(frozen=True)
class Cells:
    """The cells of a node or an input: how a graph reads them, and how it writes means and deviations in their units.

    `event`: the model's, with the axis of categories behind it. `encoder`: of the run; None where there are no data.
    """

    name: str
    event: tuple[int, ...]
    categories: int | None
    encoder: Encoder | None = None
    spec_names: tuple[CategoryName, ...] | None = None
    dropped: bool = False  # whether a cell may be empty: NaN, or −1 for a place among categories

    @property
    def steps(self) -> list[Step]:
        """The transforms that the graph holds: those behind the last `resize` or `sum`."""
        if self.encoder is None:
            return []
        steps = list(zip(self.encoder.transforms, self.encoder.fitted, strict=True))
        return steps[len(self.before) :]

    @property
    def before(self) -> list[AnyTransform]:
        """The transforms that whoever calls the graph makes: up to the last `resize` or `sum`."""
        transforms = [] if self.encoder is None else list(self.encoder.transforms)
        last = max((i for i, transform in enumerate(transforms) if isinstance(transform, UNSIZED)), default=-1)
        return transforms[: last + 1]

    @property
    def names(self) -> tuple[CategoryName, ...] | None:
        """The names of the places 0, 1, …, where the data have some."""
        return self.spec_names if self.encoder is None else self.encoder.names

    @property
    def elements(self) -> tuple[str, ...]:
        """The names of the numbers of a row, as of genes or columns, in their order; none where nothing lists them."""
        if self.encoder is None or self.before:
            return ()
        names = self.encoder.elements or (self.encoder.columns if len(self.encoder.columns) > 1 else ())
        return names if self.shape == (len(names),) else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row's cells, as the graph reads them."""
        steps = () if self.encoder is None else self.encoder.variable.steps
        element = self.event[:-1] if self.categories is not None else self.event
        if self.encoder is None:
            return element
        shape = self.encoder.inner_shape
        for transform, fitted in reversed(self.steps):
            if isinstance(transform, Flatten):
                shape = tuple(fitted["shape"])
            elif isinstance(transform, Crop):
                shape = (*shape[:-2], *fitted["shape"])
            elif isinstance(transform, Angle):
                shape = shape[:-1]
            elif isinstance(transform, Direction):
                shape = (*shape[:-1], 2)
        return (*steps, *shape)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the cells: of numbers float32, or float64 where they vary little about a mean far from zero."""
        if self.categories is not None:
            return torch.int64
        moments = (fitted for transform, fitted in self.steps if isinstance(transform, Standardize))
        far = any(_is_far(torch.tensor(each["mean"]), torch.tensor(each["deviation"])) for each in moments)
        return torch.float64 if far else torch.float32

    def read(self, cells: Tensor, like: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Turn the cells of one row, [1, *shape], into its value, [1, *event]."""
        if self.categories is not None:
            places = cells.reshape(1, *self.event[:-1])
            if not self.dropped:
                return functional.one_hot(places, self.categories).to(like.dtype)
            value = functional.one_hot(places.clamp(min=0), self.categories).to(like.dtype)
            return torch.where((places < 0).unsqueeze(-1), torch.nan, value)
        steps = () if self.encoder is None else self.encoder.variable.steps
        values = cells.reshape(math.prod(steps), *cells.shape[1 + len(steps) :])
        for transform, fitted in self.steps:
            values = _applied(transform, fitted, values, uniforms)
        return values.to(torch.float32).reshape(1, *self.event).to(like.dtype)

    @property
    def draws(self) -> bool:
        """Whether reading draws: grey values become 0 or 1."""
        return any(isinstance(transform, Binarize) and transform.wants_grey for transform, _ in self.steps)

    def write(self, mean: Tensor) -> Tensor:
        """Turn the mean of one row, [1, *event], into cells, [1, *shape]; probabilities stay."""
        if self.categories is not None or self.encoder is None:
            return mean
        wide = mean.to(self.dtype) if self.dtype == torch.float64 else mean
        values = wide.reshape(math.prod(self.encoder.variable.steps), *self.encoder.inner_shape)
        for transform, fitted in reversed(self.steps):
            values = _undone(transform, fitted, values)
        return values.reshape(1, *self.shape)

    def write_deviation(self, deviation: Tensor) -> Tensor | None:
        """Give a deviation in the units of the cells; None where a transform is no scale."""
        if self.categories is not None or self.encoder is None:
            return deviation
        if any(isinstance(transform, Angle | Direction | MuLaw | LogOnePlus) for transform, _ in self.steps):
            return None
        values = deviation.reshape(math.prod(self.encoder.variable.steps), *self.encoder.inner_shape)
        for transform, fitted in reversed(self.steps):
            if isinstance(transform, Standardize):
                values = values * values.new_tensor(fitted["deviation"])
            else:
                values = _undone(transform, fitted, values)
        return values.reshape(1, *self.shape)

    def facts(self) -> dict[str, Any]:  # Any: what JSON can say
        """Say what a graph's caller must know of the cells."""
        facts: dict[str, Any] = {"shape": list(self.shape), "values": "numbers"}
        if self.categories is not None:
            facts |= {"values": "categories", "categories": self.categories}
        if self.dropped:
            facts["empty"] = "NaN" if self.categories is None else -1
        if self.names is not None:
            facts["names"] = list(self.names)
        if self.encoder is not None:
            facts["columns"] = list(self.encoder.columns)
        if self.steps:
            facts["in_the_graph"] = [_plain(transform) for transform, _ in self.steps]
        if self.before:
            facts["before_the_graph"] = [_plain(transform) for transform in self.before]
        return facts


def _is_far(mean: Tensor, deviation: Tensor) -> bool:
    return bool((mean.abs() > COARSE * deviation).any())


def _plain(transform: AnyTransform) -> Any:  # Any: what JSON can say
    return transform.model_dump(mode="json", by_alias=True, exclude_none=True)


def _applied(transform: AnyTransform, fitted: Fitted, values: Tensor, uniforms: Tensor | None) -> Tensor:
    """Apply a transform to [N, *event]; NaN stays NaN."""
    if isinstance(transform, Divide):
        return values / transform.divide
    if isinstance(transform, MuLaw):
        mu = torch.tensor(transform.mu_law, dtype=values.dtype)
        return values.sign() * ((mu * values.abs()).log1p() / mu.log1p())
    if isinstance(transform, Binarize):
        threshold = transform.binarize
        if isinstance(threshold, str):
            assert uniforms is not None
            ones = uniforms.reshape(values.shape) < values
        else:
            ones = values >= threshold
        return torch.where(values.isnan(), values, ones.to(values.dtype))
    if isinstance(transform, Crop):
        (rows, columns), (top, left) = transform.window(*fitted["shape"])
        return values[..., top : top + rows, left : left + columns]
    if isinstance(transform, Flatten):
        return values.reshape(len(values), -1)
    if isinstance(transform, Standardize):
        return (values - values.new_tensor(fitted["mean"])) / values.new_tensor(fitted["deviation"])
    if isinstance(transform, Angle):
        angle = _radians(values, transform.angle)
        return torch.stack([angle.cos(), angle.sin()], -1)
    if isinstance(transform, Direction):
        azimuth, elevation = _radians(values, transform.direction).unbind(-1)
        level = elevation.cos()
        vectors = torch.stack([-azimuth.sin() * level, elevation.sin(), azimuth.cos() * level], -1)
        return torch.where(values.isnan().any(-1, keepdim=True), torch.nan, vectors)
    if isinstance(transform, LogOnePlus):
        return values.log1p()
    if isinstance(transform, OneOf):
        return values  # places of names are read so already
    raise UsageError(f"the transform '{transform.name}' cannot be exported")


def _undone(transform: AnyTransform, fitted: Fitted, values: Tensor) -> Tensor:
    """Undo a transform of [N, *event], as far as it can be."""
    if isinstance(transform, Divide):
        return values * transform.divide
    if isinstance(transform, MuLaw):
        log = math.log1p(transform.mu_law)
        return values.sign() * (values.abs() * log).expm1() / transform.mu_law
    if isinstance(transform, Crop):
        (height, width), (rows, columns) = fitted["shape"], values.shape[-2:]
        _, (top, left) = transform.window(height, width)
        edges = (left, width - columns - left, top, height - rows - top)
        return functional.pad(values, edges, value=math.nan)
    if isinstance(transform, Flatten):
        return values.reshape(len(values), *fitted["shape"])
    if isinstance(transform, Standardize):
        return values * values.new_tensor(fitted["deviation"]) + values.new_tensor(fitted["mean"])
    if isinstance(transform, Angle):
        return _in_unit(torch.atan2(values[..., 1], values[..., 0]), transform.angle, positive=fitted["positive"])
    if isinstance(transform, Direction):
        x, y, z = values.unbind(-1)
        azimuth = _in_unit(torch.atan2(-x, z), transform.direction, positive=fitted["positive"])
        elevation = _in_unit(torch.atan2(y, (x**2 + z**2).sqrt()), transform.direction, positive=False)
        return torch.stack([azimuth, elevation], -1)
    if isinstance(transform, LogOnePlus):
        return values.expm1()
    assert isinstance(transform, Binarize | OneOf), transform.name
    return values


def _radians(values: Tensor, unit: str) -> Tensor:
    return values.double() * (math.pi / 180 if unit == "degrees" else 1.0)


def _in_unit(radians: Tensor, unit: str, *, positive: bool) -> Tensor:
    whole = 360.0 if unit == "degrees" else 2 * math.pi
    angle = radians * (whole / (2 * math.pi))
    return torch.where(angle < 0, angle + whole, angle) if positive else angle
