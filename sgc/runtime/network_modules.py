"""The networks of a model, whose first map is split by parent, and the modules of its features.

Rows of several groups (patterns, or values of other leading sizes) that meet the same network are joined, passed once
and split again; a batch norm then sees all of them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sgc.derivation.existence import denied
from sgc.errors import UsageError
from sgc.networks.image_layers import Conv2d
from sgc.networks.layer import Joining, Shape, sequential
from sgc.networks.layers import Linear
from sgc.networks.stack import Stack
from sgc.randomness import draws
from sgc.shared_rows import groups_are_shared, rows_joined
from sgc.spec.outline import FeatureOutline

Group = Sequence[Tensor]  # the values of a network's parents for one group of rows, each [*leading, *shape]
Joined = tuple[Tensor, list[tuple[int, ...]]]  # rows of all groups, [R, *shape], and each group's leading shape


class ParentMaps(nn.Module):
    """A map of several parents: one with weights of its own for each, applied at the parent's own size, then added.

    What does not vary over samples or categories is mapped once. Each parent's weights start as those of a layer of its
    own, ±1/√(the numbers that it reads), so that a label of ten categories is not drowned by the pixels beside it.
    """

    def __init__(self, shapes: Sequence[Shape], width: int, sizes: Sequence[Shape], bias_reach: float | None) -> None:
        """Make the weights. shapes: of parents' rows. sizes: of each parent's weights for one of `width` outputs."""
        super().__init__()
        self.shapes = shapes
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(width, *size)) for size in sizes])
        self.bias = None if bias_reach is None else nn.Parameter(torch.empty(width))
        for weight, size in zip(self.weights, sizes, strict=True):
            reach = 1 / math.sqrt(math.prod(size))
            nn.init.uniform_(weight, -reach, reach)
        if self.bias is not None and bias_reach is not None:
            nn.init.uniform_(self.bias, -bias_reach, bias_reach)

    @abstractmethod
    def of_parent(self, j: int, rows: Tensor, weight: Tensor) -> Tensor:
        """Map rows of a parent, [R, *shape] -> [R, width, ...]; one of them adds the bias."""

    def forward(self, groups: Sequence[Group], rank: int) -> Joined:
        """Map groups of parents to joined rows [R, width, ...]."""
        parts: list[list[Tensor]] = [[] for _ in groups]
        for j, (shape, weight) in enumerate(zip(self.shapes, self.weights, strict=True)):
            values = [group[j] for group in groups]
            rows = [value.reshape(-1, *shape) for value in values]
            mapped = self.of_parent(j, _joined(rows), weight)
            for part, rows_of_group, value in zip(parts, _split(mapped, rows), values, strict=True):
                part.append(rows_of_group.reshape(*value.shape[:rank], *mapped.shape[1:]))
        sums = [sum(part[1:], part[0]) for part in parts]
        joined = _joined([total.flatten(0, rank - 1) for total in sums])
        return joined, [tuple(total.shape[:rank]) for total in sums]


class ParentSum(ParentMaps):
    """The same function as one linear layer on the parents side by side."""

    def __init__(self, parents: Sequence[Shape], width: int, *, bias: bool = True) -> None:
        sizes = [(math.prod(shape),) for shape in parents]
        super().__init__(sizes, width, sizes, 1 / math.sqrt(sum(size for (size,) in sizes)) if bias else None)

    def of_parent(self, j: int, rows: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(rows, weight, self.bias if j == 0 else None)


class ParentConv(ParentMaps):
    """The same function as one convolution of the images' channels side by side.

    Anything else than an image is spread over all places, as channels of its own under a 1 × 1 kernel.
    """

    def __init__(self, parents: Sequence[Shape], conv: Conv2d) -> None:
        shapes = [tuple(shape) if len(shape) == 3 else (math.prod(shape),) for shape in parents]
        kernel = (conv.kernel_size, conv.kernel_size)
        sizes = [(shape[0], *kernel) if len(shape) == 3 else shape for shape in shapes]
        least = min(1 / math.sqrt(math.prod(size)) for size in sizes)
        super().__init__(shapes, conv.out_channels, sizes, least if conv.bias else None)
        self.conv, self.first_image = conv, next(j for j, shape in enumerate(shapes) if len(shape) == 3)

    def of_parent(self, j: int, rows: Tensor, weight: Tensor) -> Tensor:
        if len(self.shapes[j]) == 1:
            return functional.linear(rows, weight)[..., None, None]
        bias = self.bias if j == self.first_image else None
        return functional.conv2d(rows, weight, bias, self.conv.stride, self.conv.padding)


class ParentArguments(nn.Module):
    """A map that takes its parents as they are, each as an argument: rows of all of them in step."""

    def __init__(self, parents: Sequence[Shape], joining: Joining) -> None:
        super().__init__()
        self.shapes = [tuple(shape) for shape in parents]
        self.map = joining.joining_module(parents)

    def forward(self, groups: Sequence[Group], rank: int) -> Joined:
        """Map groups of parents to joined rows [R, *output]."""
        leading = [_leading(group, rank) for group in groups]
        arguments = [
            _joined([g[j].expand(*lead, *shape).reshape(-1, *shape) for g, lead in zip(groups, leading, strict=True)])
            for j, shape in enumerate(self.shapes)
        ]
        return self.map(*arguments), leading


class Trunk(nn.Module):
    """A network without heads: its split first map, where it has one, and the layers after it."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.stack = stack
        self.first: ParentMaps | ParentArguments | None = None
        match stack.first:
            case Linear(out_features=width, bias=bias):
                self.first = ParentSum(stack.parents, width, bias=bias)
            case Conv2d() as conv:
                self.first = ParentConv(stack.parents, conv)
            case Joining() as joining:
                self.first = ParentArguments(stack.parents, joining)
        self.rest = sequential(stack.rest, stack.entered)
        self.may_draw = any(_may_draw(module) for module in self.modules())

    def forward(self, groups: Sequence[Group], rank: int) -> Joined:
        """Map groups of parents to joined rows [R, *output]."""
        if not self.may_draw:
            return self._map(groups, rank)
        with draws():
            return self._map(groups, rank)

    def _map(self, groups: Sequence[Group], rank: int) -> Joined:
        if not groups_are_shared():
            return self._map_rows(groups, rank)
        with rows_joined([_leading(group, rank) for group in groups]):
            return self._map_rows(groups, rank)

    def _map_rows(self, groups: Sequence[Group], rank: int) -> Joined:
        if self.first is not None:
            rows, leading = self.first(groups, rank)
        else:
            leading = [tuple(group[0].shape[:rank]) for group in groups]
            rows = _joined([group[0].reshape(-1, *self.stack.entered) for group in groups])
        try:
            return self.rest(rows), leading
        except ValueError:
            if self.training and len(rows) == 1:
                raise UsageError("a batch norm needs more than one row to train on: set train.batch_size") from None
            raise


def _may_draw(module: nn.Module) -> bool:
    """Tell whether a layer draws: dropout does, and a class of the user's own may."""
    known = type(module).__module__.partition(".")[0] in ("torch", "sgc")
    return not known or isinstance(module, nn.Dropout | nn.Dropout2d)


class FeatureModule(nn.Module):
    """A deterministic node: what a network makes of its parents."""

    reads_values = False

    def __init__(self, outline: FeatureOutline, trunk: Trunk | None) -> None:
        super().__init__()
        self.outline = outline
        self.trunk = trunk

    def forward(self, groups: Sequence[Group], rank: int) -> list[Tensor]:
        """Map each group's parents to the feature, [*leading, *output]."""
        if self.trunk is None:
            return [_side_by_side(group, rank) for group in groups]
        rows, leading = self.trunk(groups, rank)
        sizes = [math.prod(lead) for lead in leading]
        shape = self.outline.stack.output
        return [part.reshape(*lead, *shape) for part, lead in zip(rows.split(sizes), leading, strict=True)]


class Zeros(nn.Module):
    """The carry before the first step of a repeat: zeros, the same for every row."""

    reads_values = False

    def __init__(self, outline: FeatureOutline) -> None:
        super().__init__()
        self.outline = outline
        self.register_buffer("zeros", torch.zeros(outline.stack.output), persistent=False)

    def forward(self, groups: Sequence[Group], rank: int) -> list[Tensor]:
        """Give zeros, [1, ..., 1, *shape], to each group."""
        zeros = self.get_buffer("zeros")
        return [zeros.reshape(*(1,) * rank, *zeros.shape) for _ in groups]


class Existence(nn.Module):
    """Whether a step of a repeat exists, 0 or 1: its count is above it, and the step around it exists."""

    reads_values = True  # the count's own value, not what networks read of it

    def __init__(self, outline: FeatureOutline, counts: Sequence[int], i: int) -> None:
        super().__init__()
        self.outline = outline
        numbers = torch.tensor(list(map(float, counts)))
        self.register_buffer("above", (~denied(numbers, i)).to(numbers), persistent=False)
        self.i = i

    def forward(self, groups: Sequence[Group], rank: int) -> list[Tensor]:
        """Give 0 or 1, [*leading, 1]; parents: the count's value, and whether the step around exists."""
        above = self.get_buffer("above")
        existence = []
        for count, *around in groups:
            one_hot = count.dim() > rank
            exists = (count @ above.to(count)) if one_hot else (~denied(count, self.i)).to(count)
            for outer in around:
                exists = exists * outer.reshape(outer.shape[:rank])
            existence.append(exists.unsqueeze(-1))
        return existence


AnyFeature = FeatureModule | Zeros | Existence


def read_by(module: AnyFeature, values: Mapping[str, Tensor], network_inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Give a feature's parents: what networks read of them, or their own values where it takes these."""
    own = values if module.reads_values else network_inputs
    return [own[parent] for parent in module.outline.parents]


def _side_by_side(group: Group, rank: int) -> Tensor:
    """Give the parents flat, one after the other: what an empty network is."""
    flat = [value.reshape(*value.shape[:rank], -1) for value in group]
    leading = np.broadcast_shapes(*(tuple(value.shape[:-1]) for value in flat))
    return torch.cat([value.expand(*leading, value.shape[-1]) for value in flat], -1)


def _leading(group: Group, rank: int) -> tuple[int, ...]:
    """Give the leading shape of a group, to which those of its parents broadcast."""
    return np.broadcast_shapes(*(tuple(value.shape[:rank]) for value in group))


def _joined(rows: Sequence[Tensor]) -> Tensor:
    """Concatenate rows; of a single tensor no copy is made."""
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))


def _split(joined: Tensor, rows: Sequence[Tensor]) -> Sequence[Tensor]:
    return (joined,) if len(rows) == 1 else joined.split([len(group) for group in rows])
