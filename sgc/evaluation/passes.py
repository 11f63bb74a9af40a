"""Passes over rows for a measurement: those whose scores are not finite are left out, and told by their term."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from sgc.runtime.batch import PatternRows
from sgc.runtime.finiteness import explain_rows, sums_without_failures
from sgc.runtime.posterior import Posterior
from sgc.runtime.sums import Sums


class Measured(Protocol):
    """What a pass found of some rows."""

    def broken(self) -> dict[int, str]:
        """Say of each row whose scores are not finite by which term, by its place among them."""
        ...


M = TypeVar("M", bound=Measured)


@dataclass(frozen=True)
class Scored:
    """The sums of one pass whose bounds, [B], are to be finite."""

    sums: Sums
    bound: Tensor

    def broken(self) -> dict[int, str]:
        return explain_rows(self.sums.group, ~torch.isfinite(self.bound))


@dataclass(frozen=True)
class Hidden:
    """Rows without their labels: the ELBO of each at one sample, and particles of which log p(x) is made."""

    elbo: Scored
    evidence: Scored
    posterior: Posterior

    def broken(self) -> dict[int, str]:
        return self.evidence.broken() | self.elbo.broken()


@dataclass(frozen=True)
class Classified:
    """Rows without their labels under q alone, whose predictions are looked at one by one."""

    posterior: Posterior

    def broken(self) -> dict[int, str]:
        return {}


def finite_passes(
    run: Callable[[PatternRows], M],
    parts: Sequence[PatternRows],
    index: np.ndarray,
    broken: dict[int, str],
) -> Iterator[tuple[np.ndarray, PatternRows, M]]:
    """Run parts of the rows at these places, [n]; the rows that break one are left out, and it is run again.

    broken: takes the reason of each row that is left out, by its place.

    Yields: the places of a part's rows, the part, and what was found of them.
    """
    done, failed = sums_without_failures(lambda some: [run(part) for part in some], parts)
    broken |= {int(index[place]): reason for place, reason in failed.items()}
    for part, found in done:
        places = index[part.places]
        wrong = found.broken()
        if not wrong:
            yield places, part, found
            continue
        broken |= {int(places[i]): reason for i, reason in wrong.items()}
        rest = [i for i in range(part.size) if i not in wrong]
        if rest:
            yield from finite_passes(run, [part.select(torch.tensor(rest))], index, broken)
