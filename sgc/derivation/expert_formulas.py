"""What experts make of q, as text and as LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sgc.derivation.factors import Factor, Proposal

Write = Callable[[Factor], str]


def combined_text(proposal: Proposal, write: Write) -> str:
    """Say how experts make up q of a node: 'q ∝ p(z) q(z | image) q(z | tags), of those that are there'.

    write: one factor.
    """
    experts, (prior, factors) = proposal.experts, _factors(proposal, write)
    assert experts is not None
    there = ", of those that are there" if any(member.needs for member in experts.members) else ""
    if experts.may_be_silent and not experts.prior:
        there += f", or {write(_p(proposal))}"
    if not experts.mixes:
        return f"q ∝ {' '.join([*prior, *factors])}{there}"
    what = "a mixture of" if experts.combine == "mixture" else "a mixture of all products of"
    each = f", each times {prior[0]}" if prior else ""
    return f"q is {what} {', '.join(factors)}{there}{each}"


def combined_latex(proposal: Proposal, write: Write) -> str:
    """Write q of a node by its experts, those that are there: a line with the sign & where it is aligned."""
    experts, (prior, factors) = proposal.experts, _factors(proposal, write)
    assert experts is not None
    left = write(proposal.factor)
    if not experts.mixes:
        right = r" \, ".join([*prior, *factors])
        return rf"{left} &\propto {right}"
    size = "|A| = 1" if experts.combine == "mixture" else r"|A| \ge 1"
    product = r" \, ".join([*prior, r"\prod_{e \in A} q_e"])
    named = ", ".join(f"q_{{{place}}} = {factor}" for place, factor in enumerate(factors, 1))
    return rf"{left} &= \frac{{1}}{{K}} \sum_{{A : {size}}} \frac{{1}}{{Z_A}} {product}, \quad {named}"


def _p(proposal: Proposal) -> Factor:
    """Give p of a node without parents."""
    return replace(proposal.factor, role="generative", parents=())


def _factors(proposal: Proposal, write: Write) -> tuple[list[str], list[str]]:
    """Write p, where it is a factor of q, and the factor of each expert."""
    experts, q = proposal.experts, proposal.factor
    assert experts is not None
    prior = [write(_p(proposal))] if experts.prior else []
    return prior, [write(replace(q, parents=member.parents)) for member in experts.members]
