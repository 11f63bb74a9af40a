"""Plans that cannot run: tensors of too many dimensions, or too large for the memory of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from torch import Tensor

from sgc.derivation.cost import count_text
from sgc.derivation.plan import Plan
from sgc.errors import RunError
from sgc.runtime import steps
from sgc.spec.outline import Outline

DIMENSIONS = 64  # of a tensor, at most: torch's own limit


def check_capacity(outline: Outline, plan: Plan, depth: int, rows: int, like: Tensor) -> None:
    """Refuse a plan whose sums over enumerated nodes do not fit into a tensor or into memory.

    depth: leading dimensions for enumerated nodes. like: a tensor of the type and on the device of the computation.

    Raises: RunError, which names the nodes that meet, and what to do instead.
    """
    event = max(len(variable.event) for variable in outline.variables.values())
    if depth + 2 + event > DIMENSIONS:
        raise RunError(
            f"{steps.rows_text(outline, plan)}: {depth} enumerated nodes meet in one tensor, and a tensor has at most "
            f"{DIMENSIONS} dimensions, those of samples, rows and values among them; {_advice(outline, plan.widest)}"
        )
    size, memory = plan.largest * rows * like.element_size(), _memory(like)
    if size > memory:
        raise RunError(
            f"{steps.rows_text(outline, plan)}: not enough memory: the largest sum over enumerated nodes has "
            f"{count_text(plan.largest)} numbers a row, with {rows} rows {count_text(size)} bytes, and this machine "
            f"has {count_text(memory)}; {_advice(outline, plan.widest)}"
        )


def _advice(outline: Outline, nodes: Iterable[str]) -> str:
    names = steps.outer_names(outline, nodes)
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"draw some of them: give estimator score_function or gumbel_softmax to nodes among {shown}"


def _memory(like: Tensor) -> int:
    """Give the bytes of this machine's memory for tensors on the CPU: elsewhere torch refuses what is too large."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if like.device.type == "cpu" else sys.maxsize
    except (AttributeError, ValueError, OSError):  # not known on every system
        return sys.maxsize
