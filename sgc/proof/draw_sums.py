"""The exact expectation of a bound at S samples over all draws, where some discrete nodes are drawn.

A node with enumerated parents in q is drawn separately for each sample, row and combination of their values; the nodes
that are not drawn are summed within each sample. Normalised weights couple the particles, so the expectation is over
all outcomes of all draws together; samples are exchangeable, so that each multiset of outcomes is summed once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sgc.proof.brute_force import Joint, Words, product
from sgc.proof.plain_spec import Raw, carriers, evidence, ordered, parents_of, seen_through

LARGEST = 2**20  # numbers in one part of the particles of all rows


def spreads(spec: Raw, latent: Collection[str], drawn: Collection[str]) -> dict[str, list[str]]:
    """Name, for each drawn node, its enumerated ancestors in q: it is drawn separately for each of their values."""
    ancestors: dict[str, list[str]] = {}
    for name in ordered(spec, "recognition"):
        if name in latent and name in drawn:
            parents = seen_through(spec, parents_of(spec, name, "recognition")) & set(latent)
            above = [ancestors[parent] if parent in drawn else [parent] for parent in parents]
            ancestors[name] = sorted(set(itertools.chain(*above)))
    return ancestors


def is_linear(spec: Raw, words: Words, observed: Collection[str], latent: Collection[str]) -> bool:
    """Tell whether a bound is a plain mean over particles: its expectation is then the bound with all nodes summed."""
    if words.bound in ("iwae", "own"):
        return not latent
    varying = any(carriers(spec, name, latent) for name in (*observed, *evidence(spec, observed)))
    if words.bound == "density" or not varying:
        return True
    return words.bound == "elbo" and words.weights == "none" and words.label_term == "mean_log"


@dataclass(frozen=True)
class Draws:
    """All outcomes of one sample's draws, as places of their particles among the completions of a row.

    index: [O, E] for O outcomes and E joint values of what is summed. decided: for each drawn node, one particle of E
    for each of its C draws, [C].
    """

    index: Tensor
    decided: Mapping[str, Tensor]

    @staticmethod
    def count(spec: Raw, sizes: Mapping[str, int], drawn: Collection[str]) -> int:
        """Count the outcomes of one sample. sizes: of the supports of what is not observed."""
        ancestors = spreads(spec, list(sizes), drawn)
        slots = {name: math.prod(sizes[ancestor] for ancestor in above) for name, above in ancestors.items()}
        return math.prod(sizes[name] ** min(count, 64) for name, count in slots.items())

    @staticmethod
    def of(spec: Raw, sizes: Mapping[str, int], drawn: Collection[str]) -> Draws:
        """List the outcomes of one sample."""
        ancestors = spreads(spec, list(sizes), drawn)
        summed = [name for name in sizes if name not in ancestors]
        grid = product([sizes[name] for name in summed])
        place = {name: grid[:, i][None] for i, name in enumerate(summed)}
        slots: list[int] = []
        slot_of: dict[str, Tensor] = {}  # the slot of the draw of a node at each particle, [E]
        decided: dict[str, Tensor] = {}
        for name, above in ancestors.items():
            code = torch.zeros(len(grid), dtype=torch.long)
            for other in above:
                code = code * sizes[other] + place[other][0]
            combinations = math.prod(sizes[other] for other in above)
            slot_of[name] = len(slots) + code
            decided[name] = torch.stack([(code == c).int().argmax() for c in range(combinations)])
            slots += [sizes[name]] * combinations
        outcomes = product(slots)
        place |= {name: outcomes[:, slot] for name, slot in slot_of.items()}
        index = torch.zeros(len(outcomes), len(grid), dtype=torch.long)
        for name, size in sizes.items():
            index = index * size + place[name]
        return Draws(index, decided)

    def log_probability(self, log_q: Mapping[str, Tensor]) -> Tensor:
        """Give the logarithm of each outcome's probability, [R, O]. log_q: of the drawn nodes, [R, P]."""
        rows = next(iter(log_q.values())).shape[0]
        total = torch.zeros(rows, len(self.index))
        for name, at in self.decided.items():
            total = total + log_q[name][:, self.index[:, at]].sum(-1)
        return total


def tuples(outcomes: int, samples: int) -> int:
    """Count the multisets of outcomes that S samples can have."""
    return math.comb(outcomes + samples - 1, samples)


def expected(joint: Joint, words: Words, drawn: Collection[str], samples: int) -> Tensor:
    """Give E L̂ of each row, [R], over every outcome of the draws of S samples; differentiable.

    joint: of rows that have all inputs. drawn: the nodes that are drawn; other nodes that are not observed are summed.
    """
    sizes = dict(zip(joint.free, joint.sizes, strict=True))
    drawn = [name for name in joint.order if name in drawn and name in sizes]
    if not drawn:
        return joint.bound(words)
    draws = Draws.of(joint.spec, sizes, drawn)
    chosen = list(itertools.combinations_with_replacement(range(len(draws.index)), samples))
    repeats = [math.prod(math.factorial(multiset.count(k)) for k in set(multiset)) for multiset in chosen]
    log_orders = torch.tensor([math.log(math.factorial(samples) / count) for count in repeats])
    sets = torch.tensor(chosen)  # [M, S]
    log_q = {name: joint.log_mass[name].reshape(len(joint.rows), -1) for name in drawn}
    log_probability = draws.log_probability(log_q)[:, sets].sum(-1) + log_orders
    at = draws.index[sets].flatten(1)  # [M, S·E]
    particles = joint.particles(apart=drawn).changed(lambda part: part[:, at])
    bounds = replace(particles, log_mass=particles.log_mass - math.log(samples)).bound(words)
    return (log_probability.exp() * bounds).sum(-1)
