"""Which operations of torch a tape may do for several tensors at once, and write where they are wanted, bit for bit.

What is computed for each element by itself, or for each row by itself, may be computed for more of them in one
operation where each comes out the same however many stand beside it. That is so of nearly all operations. In a few,
torch computes most elements by vectors of a processor and the last ones, fewer than a vector has, one by one, by code
that rounds differently: `is_even` says which. What they are done for stays as it is; only where they write may change.
Products of matrices round differently with where their operands begin: `heeds_place`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

import torch

from sgc.tape.recording import Call

aten = torch.ops.aten

ELEMENTWISE = {
    aten.abs.default,
    aten.add.Tensor,
    aten.addcdiv.default,
    aten.addcmul.default,
    aten.bitwise_and.Tensor,
    aten.bitwise_not.default,
    aten.bitwise_or.Tensor,
    aten.clamp.default,
    aten.clamp_max.default,
    aten.clamp_min.default,
    aten.digamma.default,
    aten.div.Tensor,
    aten.eq.Scalar,
    aten.eq.Tensor,
    aten.erf.default,
    aten.exp.default,
    aten.expm1.default,
    aten.ge.Scalar,
    aten.ge.Tensor,
    aten.gt.Scalar,
    aten.gt.Tensor,
    aten.le.Scalar,
    aten.le.Tensor,
    aten.lgamma.default,
    aten.log.default,
    aten.log1p.default,
    aten.logical_and.default,
    aten.logical_not.default,
    aten.logical_or.default,
    aten.lt.Scalar,
    aten.lt.Tensor,
    aten.masked_fill.Scalar,
    aten.maximum.default,
    aten.minimum.default,
    aten.mul.Scalar,
    aten.mul.Tensor,
    aten.ne.Scalar,
    aten.ne.Tensor,
    aten.neg.default,
    aten.pow.Tensor_Scalar,
    aten.reciprocal.default,
    aten.relu.default,
    aten.sigmoid_backward.default,
    aten.sgn.default,
    aten.sign.default,
    aten.sqrt.default,
    aten.sub.Tensor,
    aten.tanh.default,
    aten.threshold_backward.default,
    aten.where.self,
}
UNEVEN = {
    aten.rsqrt.default,
    aten.sigmoid.default,
    aten.softplus.default,
    aten.softplus_backward.default,
    aten.tanh_backward.default,
}
EVEN_POWERS = {0, 0.5, 1, 2, 3, -1, -2}  # that are computed without a logarithm
INDIFFERENT = {  # of those that are not joined: the same wherever the memory that they read begins
    aten._foreach_norm.Scalar,
    aten._to_copy.default,
    aten.add.Scalar,
    aten.cat.default,
    aten.clone.default,
    aten.copy_.default,
    aten.cumsum.default,
    aten.div.Scalar,
    aten.gather.default,
    aten.index_select.default,
    aten.linalg_vector_norm.default,
    aten.log_sigmoid_backward.default,
    aten.log_sigmoid_forward.default,
    aten.mean.default,
    aten.mean.dim,
    aten.rsub.Scalar,
    aten.stack.default,
    aten.sum.default,
}
BEGINS = 16  # bytes, at whose multiples all products begin alike
BY_ROW = {  # the place among the arguments of the dimension that a row is
    aten._log_softmax.default: 1,
    aten._softmax.default: 1,
    aten._log_softmax_backward_data.default: 2,
    aten._softmax_backward_data.default: 2,
}
OF_ROWS = {  # one number a row: (values, dim or [dim], keepdim)
    aten.all.dim,
    aten.amax.default,
    aten.logsumexp.default,
    aten.sum.dim_IntList,
}
LONG = 32768  # elements, from which on several threads share the sum of one row, and round it as they share it
ALONE_IN_ORDER = {aten._softmax_backward_data.default}  # of which one thread alone computes all rows alike
OF_ALL = {aten._is_all_true.default, aten.amax.default, aten.all.default}
OUT_OF_PLACE = {aten.logical_and_.default: aten.logical_and.default}
EMPTY = {aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default}


def is_even(call: Call) -> bool:
    """Tell whether an element, or a row, comes out the same however many stand beside it."""
    if call.function is aten.pow.Tensor_Scalar:
        return call.args[1] in EVEN_POWERS
    return call.function not in UNEVEN and call.kwargs.get("alpha", 1) == 1


def heeds_place(function: Any) -> bool:  # Any: an operation of torch
    """Tell whether the bits of a result may depend on where the memory that is read begins, and on strides of 1s."""
    return function not in ELEMENTWISE | UNEVEN | BY_ROW.keys() | OF_ROWS | OF_ALL | INDIFFERENT


class Kind(Enum):
    """How an operation may be joined with others like it."""

    ELEMENTWISE = "each element by itself"
    BY_ROW = "each row by itself, of as many elements"
    OF_ROWS = "a number for each row"
    OF_ALL = "one answer that holds for all, and is only asked for"
    OTHER = "not at all"


@dataclass(frozen=True)
class WritingForm:
    """The form of an operation that writes into a tensor that is there.

    name: by which it takes that tensor. more: arguments that it takes beyond those of the operation.
    """

    function: Any  # an operation of torch
    name: str
    more: tuple[int, ...] = ()


@cache
def writing_form(function: Any) -> WritingForm | None:  # Any: an operation of torch
    """Find the form of an operation that writes into a tensor that is there.

    None where torch has none, or only one that computes a tensor and copies it.
    """
    if function is aten.relu.default:
        return WritingForm(aten.clamp_min.out, "out", (0,))  # by which torch computes it
    if function is aten.mul.Scalar:
        return WritingForm(aten.mul.out, "out")
    wanted = [(argument.name, str(argument.type)) for argument in function._schema.arguments]
    for overload in function.overloadpacket.overloads():
        form = getattr(function.overloadpacket, overload)
        written = [a.name for a in form._schema.arguments if a.kwarg_only and a.alias_info and a.alias_info.is_write]
        others = [(a.name, str(a.type)) for a in form._schema.arguments if a.name not in written]
        if len(written) == 1 and others == wanted and torch.Tag.generated not in form.tags:
            return WritingForm(form, written[0])
    return None
