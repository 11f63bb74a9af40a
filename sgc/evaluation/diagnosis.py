"""A diagnosis of a model on rows: each term of its bound, its weights, active units, and collapsed nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.derivation.plan import EachNode
from sgc.evaluation.collapse import active_units, collapsed, unit_nodes
from sgc.evaluation.mean_terms import Means, TermMeans, effective_samples
from sgc.evaluation.passes import Reasons, finite_passes, not_finite
from sgc.objectives.bounds import ELBO
from sgc.objectives.expressions import Score
from sgc.randomness import Generators, drawing_from
from sgc.report.plated_plan import over_all_steps
from sgc.report.plates import plated
from sgc.runtime.batch import PatternRows
from sgc.runtime.inference import mean_of
from sgc.runtime.model import Model
from sgc.runtime.posterior import Posterior
from sgc.runtime.streams import VALIDATION, seed_for
from sgc.runtime.sums import Sums


@dataclass(frozen=True)
class Diagnosis:
    """Means over rows: the terms of the ELBO by kind of row, node and role; effective samples by pattern of labels.

    `active_units` and the number of all `units`, for each Normal node that is latent in rows without labels.
    """

    terms: dict[str, Means]
    effective_samples: dict[str, float]
    active_units: dict[str, int]
    units: dict[str, int]
    collapsed: list[str]
    words: dict[tuple[str, str], str]  # the term of each node and role, as `inspect` writes it

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        return {
            "terms": self.terms,
            "effective_samples_by_pattern": self.effective_samples,
            "active_units": self.active_units,
            "units": self.units,
            "collapsed": self.collapsed,
        }


class Diagnostician:
    """Makes a diagnosis pass by pass during an evaluation, without drawing from its generators."""

    def __init__(self, model: Model, samples: int, seed: int) -> None:
        self.model, self.samples, self.seed = model, samples, seed
        self.bound = model.spec.maximised
        self.terms = TermMeans(model.outline)
        self.means: dict[str, list[Tensor]] = {name: [] for name in unit_nodes(model)}
        self.words: dict[tuple[str, str], str] = {}
        self.view = plated(model.outline)
        self.passes = 0
        self.broken: Reasons = {}  # rows that are left out with their labels

    def hidden(self, elbo: Sums, posterior: Posterior, iwae: Sums) -> None:
        """Take in rows without their labels: the ELBO at one sample, and the particles of log p(x)."""
        weights = effective_samples(iwae)
        if not self.model.plan((), exact=True).expression.weights.logs:  # all samples have the same weight
            weights = torch.full_like(weights, self.samples)
        self._add(elbo, weights)
        for name, means in self.means.items():
            means.append(mean_of(posterior, name, weighted=False))

    def labelled(self, parts: list[PatternRows], index: np.ndarray) -> None:
        """Take in the same rows with their labels, by pattern: the ELBO and the weights of the spec's bound.

        index: the places of the rows. Rows whose terms are not finite with their labels are left out.
        """
        self.passes += 1
        with drawing_from(Generators(seed_for(self.seed, VALIDATION, 1 + self.passes))):
            for part in parts:
                for _, _, (elbo, own) in finite_passes(self._with_labels, [part], index, self.broken):
                    self._add(elbo, effective_samples(own))

    def _with_labels(self, part: PatternRows) -> tuple[tuple[Sums, Sums], Reasons]:
        (elbo,) = self.model.sums([part], exact=True, bound=ELBO, samples=self.samples)
        own = elbo
        if self.bound != ELBO:
            (own,) = self.model.sums([part], exact=True, samples=self.samples)
        wrong = not_finite(elbo, elbo.value())
        return (elbo, own), {row: f"with its labels, {reason}" for row, reason in wrong.items()}

    def _add(self, elbo: Sums, effective: Tensor) -> None:
        self.terms.add(elbo, effective)
        plan, outline = elbo.plan, self.model.outline
        alone, folded = EachNode(plan), over_all_steps(self.view, plan)
        scores = [Score(term.node, term.role) for term in plan.terms]
        for score in [*scores, *(Score(weight.factor.node, "label") for weight in plan.weights)]:
            node, role, name = score.node, score.role, outline.outer_name.get(score.node, score.node)
            if name == node or node == outline.stepped[name].nodes[:2][-1]:  # the second step has one before it
                writer = alone if name == node else folded
                self.words[name, role] = f"label of {name}" if role == "label" else writer.score(score)

    def diagnosis(self) -> Diagnosis:
        """Average over the rows taken in."""
        terms = self.terms.means()
        joined = {name: torch.cat(means) for name, means in self.means.items()}
        return Diagnosis(
            terms=terms,
            effective_samples=self.terms.effective_samples(),
            active_units={name: active_units(means) for name, means in joined.items()},
            units={name: means[0].numel() for name, means in joined.items()},
            collapsed=collapsed(terms),
            words=self.words,
        )
