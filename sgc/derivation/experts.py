"""Experts in q: conditionals of one node, each of parents of its own, whose densities are multiplied or mixed.

    product              q(z | ·) ∝ [p(z)] ∏_e q_e(z | pa_e)            over those that speak (Wu and Goodman 2018)
    mixture              q(z | ·) = 1/K Σ_e (∝ [p(z)] q_e(z | pa_e))     over the K that speak (Shi et al. 2019)
    mixture_of_products  q(z | ·) = 1/K Σ_A (∝ [p(z)] ∏_{e in A} q_e)    over the K sets of them that are not empty
                                                                        (Sutter et al. 2021)

An expert speaks in the rows where something of each of its parents is there; in rows where none does q is p(z). Which
do is a matter of the row: all patterns of missing parents share a plan and the networks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

Combination = Literal["product", "mixture", "mixture_of_products"]


@dataclass(frozen=True)
class Expert:
    """One conditional among several: its name in the file, and its parents.

    needs: for each parent that may be missing the nodes behind it, of which some element has to be there.
    """

    name: str
    parents: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Experts:
    """The experts of a node, and how they are combined. prior: whether each product has p(z) as a factor as well."""

    members: tuple[Expert, ...]
    combine: Combination = "product"
    prior: bool = True

    @property
    def mixes(self) -> bool:
        """Whether q is a mixture, and no member of its family."""
        return self.combine != "product"

    @property
    def products(self) -> tuple[tuple[int, ...], ...]:
        """The places of the experts of each product: one of all of them, or those that are mixed."""
        places = range(len(self.members))
        if self.combine == "product":
            return (tuple(places),)
        sizes = range(1, 2 if self.combine == "mixture" else len(self.members) + 1)
        return tuple(chosen for size in sizes for chosen in itertools.combinations(places, size))

    @property
    def may_be_silent(self) -> bool:
        """Whether there may be rows in which no expert speaks."""
        return all(member.needs for member in self.members)
