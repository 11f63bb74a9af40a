"""The estimators of evaluation for nodes that training relaxes, averages or draws, and how large its tensors get."""

from __future__ import annotations

import math

from sgc.derivation.derive import derive
from sgc.derivation.factors import SAMPLES
from sgc.derivation.plan import Plan
from sgc.objectives.bounds import ELBO
from sgc.objectives.enumerate import Enumerate
from sgc.objectives.estimator import Estimator
from sgc.objectives.estimators import ENUMERABLE_BY_DEFAULT
from sgc.objectives.objective_words import ObjectiveWords
from sgc.objectives.pathwise import PATHWISE
from sgc.objectives.plain_draw import PlainDraw
from sgc.spec.outline import Outline

LARGEST_EXACT = 100_000  # numbers a row of the largest tensor, up to which evaluation enumerates drawn nodes


def exact_estimators(outline: Outline) -> dict[str, Estimator]:
    """Choose the estimators of evaluation: a node that training relaxes, averages or draws is enumerated or drawn.

    Enumerated where its support is small; a drawn one only where the sums over all of them stay small as well.
    """
    chosen: dict[str, Estimator] = {}
    drawn: list[str] = []
    for name, variable in outline.variables.items():
        if variable.estimator is None or variable.estimator.exact:
            continue
        size = variable.family.support_size(variable.event)
        if variable.family.pathwise:
            chosen[name] = PATHWISE
        elif size is not None and size <= ENUMERABLE_BY_DEFAULT:
            chosen[name] = Enumerate()
            drawn += [name] if variable.estimator.charged else []
        else:
            chosen[name] = PlainDraw()
    if drawn:
        plan = derive(outline.graphs.with_estimators(chosen), (), ObjectiveWords(bound=ELBO))
        chosen |= dict.fromkeys(drawn, PlainDraw()) if numbers_a_row(outline, plan) > LARGEST_EXACT else {}
    return chosen


def numbers_a_row(outline: Outline, plan: Plan) -> int:
    """Count the numbers of the largest tensor that a row needs: an intermediate sum, or a node's whole event."""
    size = {p.node: p.support for p in plan.proposals if p.estimator.enumerates} | {SAMPLES: plan.words.samples}
    events = (math.prod([size[d] for d in f.dims] + [*outline.variables[f.node].event]) for f in plan.joint)
    return max([plan.largest, *events])
