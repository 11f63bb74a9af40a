"""The steps of a node of a repeat, as rows of their own: what is fitted and encoded is alike in all of them."""

from __future__ import annotations

import math

from sgc.data.columns import Array, Origin
from sgc.data.variables import Variable


def check_steps(origin: Origin, variable: Variable) -> None:
    """Check that rows have the steps first, and as many as the node. Raises: DataError."""
    steps, count = variable.steps, len(variable.steps)
    column = origin.columns[0]
    found = column.values.shape[1:] if len(origin.columns) == 1 else (len(origin.columns),)
    if tuple(found[:count]) == steps:
        return
    wanted = " × ".join(map(str, steps)) + " steps"
    if len(origin.columns) > 1:
        raise origin.error(f"found a list of {len(origin.columns)} columns, wanted {wanted}, a column for each")
    if len(found) < count:
        raise origin.error(f"found rows of the shape {list(found)}, wanted {wanted} first")
    raise origin.error(
        f"found {' × '.join(map(str, found[:count]))} steps, wanted {' × '.join(map(str, steps))}, "
        f"in rows of the shape {list(found)}"
    )


def fold(cells: Array, variable: Variable) -> Array:
    """Give every step a row of its own: `(N, *steps, *event)` -> `(N · steps, *event)`."""
    if not variable.steps:
        return cells
    return cells.reshape(len(cells) * math.prod(variable.steps), *cells.shape[1 + len(variable.steps) :])


def unfold(cells: Array, variable: Variable) -> Array:
    """Undo `fold`."""
    if not variable.steps:
        return cells
    return cells.reshape(len(cells) // math.prod(variable.steps), *variable.steps, *cells.shape[1:])
