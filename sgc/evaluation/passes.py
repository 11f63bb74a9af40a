"""Passes over rows for a measurement: rows whose scores are not finite are left out, each with the term at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sgc.runtime.batch import PatternRows
from sgc.runtime.finiteness import explain_rows, sums_without_failures
from sgc.runtime.sums import Sums

M = TypeVar("M")
Reasons = dict[int, str]  # of each row that is left out, by its place


def not_finite(sums: Sums, bounds: Tensor) -> Reasons:
    """Find the rows whose bounds, [B], are not finite, and say which term of the sums makes them so."""
    return explain_rows(sums.group, ~torch.isfinite(bounds))


def finite_passes(
    run: Callable[[PatternRows], tuple[M, Reasons]], parts: Sequence[PatternRows], index: np.ndarray, broken: Reasons
) -> Iterator[tuple[np.ndarray, PatternRows, M]]:
    """Run parts of the rows at these places, [n], again without the rows whose scores are not finite.

    run: gives a result, and the rows of the part whose scores are not finite. broken: takes in the rows left out.

    Yields: the places of a part's rows, the part, and its result.
    """
    finished, failed = sums_without_failures(lambda group: [run(part) for part in group], parts)
    broken |= {int(index[place]): reason for place, reason in failed.items()}
    for part, (result, wrong) in finished:
        places = index[part.places]
        if not wrong:
            yield places, part, result
            continue
        broken |= {int(places[i]): reason for i, reason in wrong.items()}
        kept_rows = [i for i in range(part.size) if i not in wrong]
        if kept_rows:
            yield from finite_passes(run, [part.select(torch.tensor(kept_rows))], index, broken)
