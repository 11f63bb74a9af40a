"""Operations that are done alike to the same tensors, and those that give a tensor again that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import torch
from torch import Tensor

from sgc.tape.memory_views import layout_of
from sgc.tape.operations import BEGINS
from sgc.tape.recording import Call, renamed

aten = torch.ops.aten

COMPARED = 1024  # elements of a constant, up to which others are looked for that are the same
NEUTRAL = {aten.sub.Tensor: 0, aten.div.Tensor: 1, aten.mul.Tensor: 1}  # as second operand they leave every bit


def shared(
    calls: Sequence[Call], tensors: Sequence[Tensor], still: Set[int], changed: Set[int]
) -> tuple[list[Call], dict[int, int]]:
    """Leave out calls that give what is there; name the slots that take the place of theirs.

    tensors: as recorded, by slot. still: the constants whose values never change. changed: slots whose memory some call
    changes in place.
    """
    names = _equal_constants(tensors, sorted(still - changed))
    seen = {call.taken[0] for call in calls if call.function is aten.as_strided.default}
    views: dict[int, Call] = {}
    first: dict[object, Call] = {}
    others: list[Call] = []
    for recorded in calls:
        call = renamed(recorded, names)
        if call.draws or call.function is aten.clone.default or {*call.taken, *call.given} & changed:
            others.append(call)  # a clone is made to be memory of its own
            continue
        source = _copied(call, tensors, still, views, seen) if len(call.given) == 1 else None
        if source is not None and source not in changed:
            names[call.given[0]] = source
            continue
        if call.function is aten.as_strided.default:
            views[call.given[0]] = call
        key = (call.function, _hashable(call.args), _hashable(tuple(call.kwargs.items())))
        if key in first:
            names |= dict(zip(call.given, first[key].given, strict=True))
        else:
            first[key] = call
            others.append(call)
    return others, names


def _equal_constants(tensors: Sequence[Tensor], slots: Sequence[int]) -> dict[int, int]:
    """Map small tensors that stand among the constants more than once to the first of them."""
    first: dict[object, int] = {}
    names: dict[int, int] = {}
    for slot in slots:
        tensor = tensors[slot]
        if 0 < tensor.numel() <= COMPARED and tensor.device.type == "cpu":
            numbers = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))
            same = first.setdefault((bytes(numbers.view(torch.uint8).tolist()), layout_of(tensor)), slot)
            names |= {slot: same} if same != slot else {}
    return names


def _copied(
    call: Call, tensors: Sequence[Tensor], still: Set[int], views: Mapping[int, Call], seen: Set[int]
) -> int | None:
    """Find the tensor that a call gives again: all of its parts joined, less 0, or divided by 1.

    seen: slots that other tensors see the memory of, which has to begin where theirs does.
    """
    (given,) = call.given
    source: int | None = None
    if call.function is aten.cat.default and (len(call.taken) == 1 or call.args[1:] in ((), (0,))):
        source = call.taken[0] if len(call.taken) == 1 else _tiled(call.taken, tensors, views)
    elif call.function in NEUTRAL and len(call.taken) == 2 and not call.kwargs and call.taken[1] in still:
        other, neutral = tensors[call.taken[1]], NEUTRAL[call.function]
        # -0.0 is another number here: -0.0 less -0.0 is 0.0
        source = call.taken[0] if bool(((other == neutral) & ~other.signbit()).all()) else None
    if source is None:
        return None
    *alike, offset, kind = layout_of(tensors[source])
    *wanted, start, kind_wanted = layout_of(tensors[given])
    begins = (offset - start) * kind.itemsize % BEGINS == 0
    same = alike == wanted and kind == kind_wanted and (offset == start or (begins and given not in seen))
    return source if same else None


def _tiled(parts: Sequence[int], tensors: Sequence[Tensor], views: Mapping[int, Call]) -> int | None:
    """Find the tensor that parts, in order, are all rows of."""
    roots = {views[part].taken[0] for part in parts if part in views}
    if len(roots) != 1 or not all(part in views for part in parts):
        return None
    (root,) = roots
    whole = tensors[root]
    offset = whole.storage_offset()
    for part in parts:
        if tensors[part].storage_offset() != offset or not tensors[part].is_contiguous():
            return None
        offset += tensors[part].numel()
    return root if offset - whole.storage_offset() == whole.numel() else None


def _hashable(value: object) -> object:
    """Give an argument by its type, too: 1, 1.0 and True are not the same to an operation."""
    if isinstance(value, tuple):
        return tuple(map(_hashable, value))
    return type(value), (repr(value) if isinstance(value, float) else value)
