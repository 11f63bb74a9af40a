"""Draws for the rows of a process that are those which one process would make for all rows.

torch's generators give one sequence of numbers, of which a row takes what the rows before it leave. So every process
makes the draw of the whole batch and keeps its rows: the generator stands at the same place everywhere, and a row has
the same draw wherever it is. Where a draw follows from parameters by row, and so may take more numbers or fewer, the
parameters of all rows are gathered first. torch is imported inside the functions.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from sgc.errors import UsageError
from sgc.shared_rows import Found, RowLayout

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@cache
def _kinds() -> tuple[set[Any], set[Any]]:  # Any: operations of torch
    """List the draws that fill a tensor whatever it holds, and those that follow from the numbers of tensors."""
    import torch

    aten = torch.ops.aten
    fills = {aten.normal_, aten.uniform_, aten.exponential_, aten.cauchy_, aten.log_normal_, aten.geometric_}
    fills |= {aten.random_, aten.bernoulli_}
    by_value = {aten.bernoulli, aten.multinomial, aten.normal, aten.poisson, aten.binomial}
    return fills, by_value | {aten._standard_gamma, aten._sample_dirichlet}


def shared_draw(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator | None, layout: RowLayout
) -> Any:  # Any: an operation of torch, what it takes and gives
    """Make a draw for the rows of this process. Raises: UsageError where rows are not found in it."""
    import torch

    aten, packet = torch.ops.aten, function.overloadpacket
    fills, by_value = _kinds()
    if packet is aten.native_dropout:
        return _dropped(generator, layout, *args)
    if packet in (aten.rand_like, aten.randn_like):
        like = torch.empty_like(*args, **kwargs)
        fill = aten.uniform_ if packet is aten.rand_like else aten.normal_
        return _filled(like, lambda whole: fill(whole, generator=generator), layout)
    if function is aten.bernoulli.p:
        like, p = torch.empty_like(args[0]), args[1]
        return _filled(like, lambda whole: whole.bernoulli_(p, generator=generator), layout)
    if function is aten.bernoulli_.Tensor:
        return args[0].copy_(_by_value(aten.bernoulli, (args[1].expand_as(args[0]),), {}, generator, layout))
    more = {name: value for name, value in kwargs.items() if name != "generator"}
    if packet in fills:
        return _filled(args[0], lambda whole: packet(whole, *args[1:], **more, generator=generator), layout)
    if packet in by_value and any(isinstance(argument, torch.Tensor) for argument in args):
        return _by_value(packet, args, more, generator, layout)
    names = [argument.name for argument in function._schema.arguments]
    if "size" in names:
        return _made(function, names, args, more, generator, layout)
    if packet is aten.randperm:
        return aten.randperm.generator(*args, generator=generator, **more)
    raise UsageError(f"torch's {packet.__name__} draws for rows of several processes in a way that is not known")


def _filled(tensor: Tensor, fill: Any, layout: RowLayout) -> Tensor:  # Any: a function of a tensor
    """Fill a tensor with draws: those of all rows are made, and its own are kept."""
    found = layout.find(tensor.shape)
    if found is None:
        result: Tensor = fill(tensor)
        return result
    import torch

    # made from no tensor: a tape would take it for one that reads what is filled here
    whole = torch.empty(_whole_shape(found, tensor.shape), dtype=tensor.dtype, device=tensor.device)
    fill(whole)
    return tensor.copy_(_own(found, whole, tensor.shape))


def _made(
    function: Any, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any], generator: Any, layout: RowLayout
) -> Any:  # Any: as above
    """Make a new tensor of draws."""
    place = names.index("size")
    positional = place < len(args)
    shape = tuple(args[place] if positional else kwargs["size"])
    found = layout.find(shape)
    size = list(shape if found is None else _whole_shape(found, shape))
    if positional:
        args = (*args[:place], size, *args[place + 1 :])
    else:
        kwargs = {**kwargs, "size": size}
    if "generator" not in names:
        function = getattr(function.overloadpacket, {"low": "low_generator"}.get(function._overloadname, "generator"))
    whole = function(*args, **kwargs, generator=generator)
    return whole if found is None else _own(found, whole, shape)


def _by_value(
    packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: Any, layout: RowLayout
) -> Any:  # Any: as above
    """Draw by parameters: those of all rows are gathered."""
    import torch

    places = [layout.find(a.shape) if isinstance(a, torch.Tensor) else None for a in args]
    wholes = [
        argument if found is None else gathered(argument, found) for argument, found in zip(args, places, strict=True)
    ]
    whole = packet(*wholes, **kwargs, generator=generator)
    found = next((place for place in places if place is not None), None)
    if found is None:
        return whole
    shape = list(whole.shape)
    if found.flat:
        shape[0] = shape[0] * math.prod(found.here) // math.prod(found.whole)
    else:
        shape[found.axis : found.axis + len(found.here)] = found.here
    return _own(found, whole, shape)


def _dropped(
    generator: Any, layout: RowLayout, value: Tensor, p: float, train: bool | None
) -> tuple[Tensor, Tensor]:  # Any: as above
    """Give what dropout leaves and what it kept, as `sgc.randomness` does for all rows."""
    import torch

    if train is False or p == 0:
        return value.clone(), torch.ones_like(value, dtype=torch.bool)
    mask = _filled(torch.empty_like(value), lambda whole: whole.bernoulli_(1 - p, generator=generator), layout)
    return value * mask * (1 / (1 - p) if p < 1 else 0.0), mask.bool()


def _whole_shape(found: Found, shape: Any) -> tuple[int, ...]:  # Any: torch.Size
    """Give the shape of a tensor of all rows."""
    shape = tuple(shape)
    if found.flat:
        return (shape[0] // math.prod(found.here) * math.prod(found.whole), *shape[1:])
    return (*shape[: found.axis], *found.whole, *shape[found.axis + len(found.here) :])


def _own(found: Found, whole: Tensor, shape: Any) -> Tensor:  # Any: as above
    """Take the rows of this process from a tensor of all rows."""
    flat = _rows_first(found, whole, math.prod(found.whole))
    return flat.index_select(found.axis, found.layout.index.to(whole.device)).reshape(tuple(shape))


def _rows_first(found: Found, tensor: Tensor, rows: int) -> Tensor:
    """Make one dimension of the leading ones."""
    return tensor.reshape(*tensor.shape[: found.axis], rows, -1)


def gathered(tensor: Tensor, found: Found) -> Tensor:
    """Give a tensor of all rows from the rows that each process has."""
    import torch

    number, axis = math.prod(found.here), found.axis
    flat = _rows_first(found, tensor, number)
    every: Tensor = torch.ops.sgc.gathered(flat)  # [processes, ...]
    every = every.movedim(0, axis).flatten(axis, axis + 1)
    whole = every.index_select(axis, found.layout.order.to(tensor.device))
    return whole.reshape(_whole_shape(found, tensor.shape))
