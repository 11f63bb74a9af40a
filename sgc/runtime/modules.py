"""The modules of a model: networks whose first map is split by parent, and conditional densities with their heads.

Rows of several groups (patterns, or values of other leading sizes) that meet the same network are joined, passed once
and split again; a batch norm then sees all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional

from sgc.derivation.existence import denied
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.errors import ParameterError, UsageError
from sgc.networks.image_layers import Conv2d
from sgc.networks.layer import Joining, Shape, sequential
from sgc.networks.layers import Linear
from sgc.networks.scheduled_module import Moving
from sgc.networks.stack import Stack
from sgc.randomness import draws, number_type
from sgc.schedules import Schedule
from sgc.spec.outline import Constant, Density, FeatureOutline, Variable

Group = Sequence[Tensor]  # the values of a network's parents for one group of rows, each [*leading, *shape]


class ParentSum(nn.Module):
    """One linear map of several parents: weights of its own for each, applied at the parent's own size, then added.

    The same function as one linear layer on the parents side by side, but what does not vary over samples or categories
    is multiplied once. Each parent's weights start as those of a layer of its own, ±1/√(its size), so that a label of
    ten categories is not drowned by the pixels beside it.
    """

    def __init__(self, parents: Sequence[Shape], width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.sizes = [math.prod(shape) for shape in parents]
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(width, size)) for size in self.sizes])
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        for weight, size in zip(self.weights, self.sizes, strict=True):
            _start(weight, size)
        if self.bias is not None:
            _start(self.bias, sum(self.sizes))

    def forward(self, groups: Sequence[Group], rank: int) -> tuple[Tensor, list[tuple[int, ...]]]:
        """Map groups of parents to joined rows [R, width], and give each group's leading shape."""
        parts: list[list[Tensor]] = [[] for _ in groups]
        for j, (size, weight) in enumerate(zip(self.sizes, self.weights, strict=True)):
            bias = self.bias if j == 0 else None
            values = [group[j] for group in groups]
            leading = [tuple(value.shape[:rank]) for value in values]
            rows = [value.reshape(-1, size) for value in values]
            mapped = functional.linear(_cat(rows), weight, bias)
            for i, (part, lead) in enumerate(zip(_split(mapped, rows), leading, strict=True)):
                parts[i].append(part.reshape(*lead, -1))
        sums: list[Tensor] = []
        for each in parts:
            total = each[0]
            for part in each[1:]:
                total = total + part
            sums.append(total)
        flat = [total.reshape(-1, total.shape[-1]) for total in sums]
        return _cat(flat), [tuple(total.shape[:-1]) for total in sums]


class ParentConv(nn.Module):
    """One convolution of several parents: kernels of its own for each image, and of anything else a value a channel.

    The same function as one convolution of the images' channels side by side, with the rest spread over all places as
    channels of its own under a 1 × 1 kernel; but what does not vary over samples or categories is convolved once.
    """

    def __init__(self, parents: Sequence[Shape], conv: Conv2d) -> None:
        super().__init__()
        self.shapes, self.conv = [tuple(shape) for shape in parents], conv
        kernel = (conv.kernel_size, conv.kernel_size)
        sizes = [(shape[0], *kernel) if len(shape) == 3 else (math.prod(shape),) for shape in self.shapes]
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(conv.out_channels, *size)) for size in sizes])
        self.bias = nn.Parameter(torch.empty(conv.out_channels)) if conv.bias else None
        reaches = [1 / math.sqrt(math.prod(size)) for size in sizes]
        for weight, reach in zip(self.weights, reaches, strict=True):
            nn.init.uniform_(weight, -reach, reach)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -min(reaches), min(reaches))

    def forward(self, groups: Sequence[Group], rank: int) -> tuple[Tensor, list[tuple[int, ...]]]:
        """Map groups of parents to joined rows [R, channels, height, width], and give each group's leading shape."""
        parts: list[list[Tensor]] = [[] for _ in groups]
        with_bias = next(j for j, shape in enumerate(self.shapes) if len(shape) == 3)
        for j, (shape, weight) in enumerate(zip(self.shapes, self.weights, strict=True)):
            values = [group[j] for group in groups]
            rows = [value.reshape(-1, *(shape if len(shape) == 3 else (math.prod(shape),))) for value in values]
            bias = self.bias if j == with_bias else None
            if len(shape) == 3:
                mapped = functional.conv2d(_cat(rows), weight, bias, self.conv.stride, self.conv.padding)
            else:
                mapped = functional.linear(_cat(rows), weight)[..., None, None]
            for part, each, value in zip(parts, _split(mapped, rows), values, strict=True):
                part.append(each.reshape(*value.shape[:rank], *mapped.shape[1:]))
        sums = [sum(part[1:], part[0]) for part in parts]
        return _cat([total.flatten(0, rank - 1) for total in sums]), [tuple(total.shape[:rank]) for total in sums]


class ParentArguments(nn.Module):
    """A map that takes its parents as they are, each as an argument: rows of all of them in step."""

    def __init__(self, parents: Sequence[Shape], joining: Joining) -> None:
        super().__init__()
        self.shapes = [tuple(shape) for shape in parents]
        self.map = joining.joining_module(parents)

    def forward(self, groups: Sequence[Group], rank: int) -> tuple[Tensor, list[tuple[int, ...]]]:
        """Map groups of parents to joined rows [R, *output], and give each group's leading shape."""
        leading = [torch.broadcast_shapes(*(value.shape[:rank] for value in group)) for group in groups]
        arguments = [
            _cat([g[j].expand(*lead, *shape).reshape(-1, *shape) for g, lead in zip(groups, leading, strict=True)])
            for j, shape in enumerate(self.shapes)
        ]
        return self.map(*arguments), [tuple(lead) for lead in leading]


class Trunk(nn.Module):
    """A network without heads: its split first map, where it has one, and the layers after it."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.stack = stack
        self.first: ParentSum | ParentConv | ParentArguments | None = None
        match stack.first:
            case Linear(out_features=width, bias=bias):
                self.first = ParentSum(stack.parents, width, bias=bias)
            case Conv2d() as conv:
                self.first = ParentConv(stack.parents, conv)
            case Joining() as joining:
                self.first = ParentArguments(stack.parents, joining)
        self.rest = sequential(stack.rest, stack.entered)
        self.may_draw = any(_may_draw(module) for module in self.modules())

    def forward(self, groups: Sequence[Group], rank: int) -> tuple[Tensor, list[tuple[int, ...]]]:
        """Map groups of parents to joined rows [R, *output], and give each group's leading shape."""
        if not self.may_draw:
            return self._map(groups, rank)
        with draws():
            return self._map(groups, rank)

    def _map(self, groups: Sequence[Group], rank: int) -> tuple[Tensor, list[tuple[int, ...]]]:
        if self.first is not None:
            rows, leading = self.first(groups, rank)
        else:
            leading = [tuple(group[0].shape[:rank]) for group in groups]
            rows = _cat([group[0].reshape(-1, *self.stack.entered) for group in groups])
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
        if self.trunk is None:  # an empty network: the parents side by side
            return [_beside(group, rank) for group in groups]
        rows, leading = self.trunk(groups, rank)
        sizes = [math.prod(lead) for lead in leading]
        shape = self.outline.stack.output
        return [part.reshape(*lead, *shape) for part, lead in zip(rows.split(sizes), leading, strict=True)]


class Zeros(nn.Module):
    """What stands before the first step of a repeat: zeros, the same for every row."""

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
    """Whether a step of a repeat exists, 0 or 1: whether its count is above it, and what it stands in exists."""

    reads_values = True  # the count's own value, not what networks read of it

    def __init__(self, outline: FeatureOutline, counts: Sequence[int], i: int) -> None:
        super().__init__()
        self.outline = outline
        numbers = torch.tensor(list(map(float, counts)))
        self.register_buffer("above", (~denied(numbers, i)).to(numbers), persistent=False)
        self.i = i

    def forward(self, groups: Sequence[Group], rank: int) -> list[Tensor]:
        """Give 0 or 1, [*leading, 1], for each group; parents: the count's value, and whether what is around exists."""
        above = self.get_buffer("above")
        found = []
        for count, *around in groups:
            one_hot = count.dim() > rank
            there = (count @ above.to(count)) if one_hot else (~denied(count, self.i)).to(count)
            for each in around:
                there = there * each.reshape(each.shape[:rank])
            found.append(there.unsqueeze(-1))
        return found


class DensityModule(nn.Module, Moving):
    """One conditional density: its network, its heads, its constants; gives a distribution for each group of rows."""

    def __init__(self, outline: Density, variable: Variable, trunk: Trunk | None) -> None:
        super().__init__()
        self.outline, self.variable = outline, variable
        self.trunk = trunk
        width = sum(math.prod(shape) for shape in outline.heads.values())
        self.heads: nn.Module | None = None
        if outline.stack is not None:
            if outline.stack.heads is not None:
                self.heads = outline.stack.heads.module(outline.stack.output)
            elif trunk is None:
                self.heads = ParentSum(outline.stack.parents, width)
            else:
                self.heads = nn.Linear(math.prod(outline.stack.output), width)
        self.constants = nn.ParameterDict()
        self.constants_type = number_type()  # what they are rounded to, whatever comes later
        for name, constant in outline.constants.items():
            self._constant(name, constant)

    def _constant(self, name: str, constant: Constant) -> None:
        if isinstance(constant.value, str):
            return
        family, event = self.variable.family, self.variable.event
        start = constant.value.start if isinstance(constant.value, Schedule) else constant.value
        exact = torch.tensor(start, dtype=torch.float64, device="cpu")  # where its values can be looked at
        value = exact.to(self.constants_type)
        if not bool(value.isfinite().all()) or bool(((value == 0) & (exact != 0)).any()):
            raise self._not_held(name, start)
        if not constant.learn:
            self.register_buffer(f"fixed_{name}", value.to(torch.get_default_device()), persistent=False)
            return
        whole = family.fill(name, value, event).clone()
        try:
            raw = family.unconstrain(name, whole)
        except ValueError:
            raise self._not_held(name, start) from None
        self.constants[name] = nn.Parameter(raw.to(torch.get_default_device()))

    def _not_held(self, name: str, start: object) -> UsageError:
        number = f"is {start:g}, which" if isinstance(start, float) else "has a number that"
        kind = str(self.constants_type).removeprefix("torch.")
        return UsageError(
            f"node '{self.variable.name}': '{name}' {number} {kind} cannot hold or learn from: a run computes in the "
            f"type of its train.precision, sgc.compile in torch's default type"
        )

    @property
    def owner(self) -> DensityModule:
        """What holds the network: itself."""
        return self

    def named(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the values that parameters are taken from."""
        return values

    def stand_at(self, epoch: float) -> None:
        """Take the constants of an epoch, where schedules move them; to the bit what a number written there gives."""
        for name, constant in self.outline.constants.items():
            if isinstance(constant.value, Schedule):
                before = getattr(self, f"fixed_{name}")
                value = torch.tensor(constant.value.at(epoch), dtype=self.constants_type)
                setattr(self, f"fixed_{name}", value.to(before))  # in place it would spoil gradients not yet taken

    def parameters_of(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int
    ) -> list[dict[str, Tensor]]:
        """Give each group's parameters of the distribution: [*leading, *parameter shape], constants without leading.

        named: for each group, the values of the features that parameters are taken from.
        """
        found: list[dict[str, Tensor]] = [{} for _ in groups]
        family = self.variable.family
        if self.heads is not None:
            if self.trunk is None:
                rows, leading = self.heads(groups, rank)
            else:
                rows, leading = self.trunk(groups, rank)
                pixelwise = self.outline.stack is not None and self.outline.stack.heads is not None
                rows = self._by_head(self.heads(rows)) if pixelwise else self.heads(rows.flatten(1))
            if rows.dtype in (torch.bfloat16, torch.float16):
                rows = rows.float()  # densities are never scored in half precision
            sizes = [math.prod(lead) for lead in leading]
            widths = [math.prod(shape) for shape in self.outline.heads.values()]
            for i, (part, lead) in enumerate(zip(rows.split(sizes), leading, strict=True)):
                for raw, (head, shape) in zip(part.split(widths, -1), self.outline.heads.items(), strict=True):
                    found[i][head] = family.constrain(head, raw.reshape(*lead, *shape))
        for name, constant in self.outline.constants.items():
            for i, values in enumerate(named):
                found[i][name] = self._value(name, constant, values, rank)
        if self.variable.total == OWN_SUM:
            for made, values in zip(found, named, strict=True):
                made[TOTAL] = self._own_sum(values)
        return found

    def _own_sum(self, values: Mapping[str, Tensor]) -> Tensor:
        """Add up the node's own value. Raises: KeyError where it is not known."""
        name = self.variable.name
        if name not in values:
            raise KeyError(f"the value of '{name}' is missing: its {TOTAL} is its own sum")
        return values[name].sum(-1)

    def _by_head(self, images: Tensor) -> Tensor:
        """Lay images [R, channels, height, width] out as the heads side by side, [R, numbers of all heads].

        A head [channels, height, width, *more] has its channels together, for each of them what is more.
        """
        height, width = images.shape[-2:]
        counts = [math.prod(shape) // (height * width) for shape in self.outline.heads.values()]
        flat: list[Tensor] = []
        for part, shape in zip(images.split(counts, 1), self.outline.heads.values(), strict=True):
            more = math.prod(shape[len(self.variable.shape) :])
            flat.append(part.unflatten(1, (-1, more)).movedim(2, -1).flatten(1))
        return flat[0] if len(flat) == 1 else torch.cat(flat, 1)

    def _value(self, name: str, constant: Constant, named: Mapping[str, Tensor], rank: int) -> Tensor:
        family, event = self.variable.family, self.variable.event
        if isinstance(constant.value, str):
            value = named[constant.value]
            wanted = family.parameter_shape(name, event)
            value = family.constraints[name].floored(value)
            one_for_all = tuple(value.shape[rank:]) != wanted
            return value.reshape(*value.shape[:rank], *(1,) * len(wanted)) if one_for_all else value
        if constant.learn:
            return family.constrain(name, self.constants[name])
        fixed = getattr(self, f"fixed_{name}")
        assert isinstance(fixed, Tensor)
        return fixed

    def distribution(
        self, parameters: Mapping[str, Tensor], *, validate: bool = False, finite: bool = False
    ) -> Distribution:
        """Make the node's distribution: batch shape the leading dimensions, event the node's.

        Raises: ParameterError, which names the node.
        """
        return made(self.outline, self.variable, parameters, validate=validate, finite=finite)

    def forward(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int, *, finite: bool = False
    ) -> list[Distribution]:
        """Give the distribution of the node for each group, see `parameters_of` and `distribution`."""
        return [self.distribution(each, finite=finite) for each in self.parameters_of(groups, named, rank)]


def made(
    outline: Density,
    variable: Variable,
    parameters: Mapping[str, Tensor],
    *,
    validate: bool = False,
    finite: bool = False,
) -> Distribution:
    """Make the distribution of a node from its parameters. Raises: ParameterError, which names the node."""
    with naming(outline):
        return variable.family.distribution(parameters, variable.event, validate=validate, finite=finite)


@contextmanager
def naming(outline: Density) -> Iterator[None]:
    """Say whose parameter it is that cannot be."""
    try:
        yield
    except ParameterError as problem:
        raise problem if problem.of else ParameterError(problem.message, density_text(outline)) from problem


def density_text(outline: Density) -> str:
    """Write a conditional as formulas do: 'p(x | y, z)'."""
    given = f" | {', '.join(outline.reads)}" if outline.reads else ""
    return f"{'p' if outline.role == 'generative' else 'q'}({outline.node}{given})"


def _beside(group: Group, rank: int) -> Tensor:
    flat = [value.reshape(*value.shape[:rank], -1) for value in group]
    leading = torch.broadcast_shapes(*(tuple(each.shape[:-1]) for each in flat))
    return torch.cat([each.expand(*leading, each.shape[-1]) for each in flat], -1)


def _start(parameter: Tensor, size: int) -> None:
    """Draw a parameter as torch does that of a linear map of so many numbers, ±1/√size."""
    reach = 1 / math.sqrt(size)
    nn.init.uniform_(parameter, -reach, reach)


def _cat(rows: Sequence[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))


def _split(joined: Tensor, rows: Sequence[Tensor]) -> Sequence[Tensor]:
    return (joined,) if len(rows) == 1 else joined.split([len(each) for each in rows])


class DensityStep:
    """One step of a repeat: the networks of its first step, on parents of its own."""

    def __init__(self, first: DensityModule, outline: Density, variable: Variable) -> None:
        self.owner, self.outline, self.variable = first, outline, variable
        pairs = [(first.outline.constants[name].value, each.value) for name, each in outline.constants.items()]
        self.renamed = [(ours, own) for ours, own in pairs if isinstance(ours, str) and isinstance(own, str)]

    def named(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the values that parameters are taken from, by the names that the first step has for them."""
        me, first = self.variable, self.owner.variable
        itself = {first.name: values[me.name]} if me.total == OWN_SUM and me.name in values else {}
        return itself | {ours: values[own] for ours, own in self.renamed}

    def parameters_of(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int
    ) -> list[dict[str, Tensor]]:
        """Give each group's parameters, as `DensityModule` does."""
        return self.owner.parameters_of(groups, [self.named(values) for values in named], rank)

    def distribution(
        self, parameters: Mapping[str, Tensor], *, validate: bool = False, finite: bool = False
    ) -> Distribution:
        """Make the node's distribution, as `DensityModule` does."""
        return made(self.outline, self.variable, parameters, validate=validate, finite=finite)

    def __call__(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int, *, finite: bool = False
    ) -> list[Distribution]:
        """Give the distribution of the node for each group, as `DensityModule` does."""
        return [self.distribution(each, finite=finite) for each in self.parameters_of(groups, named, rank)]


AnyFeature = FeatureModule | Zeros | Existence
AnyDensity = DensityModule | DensityStep


def read_by(module: AnyFeature, values: Mapping[str, Tensor], network_inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Give a feature's parents: what networks read of them, or their own values where it takes these."""
    own = values if module.reads_values else network_inputs
    return [own[parent] for parent in module.outline.parents]
