"""The stochastic computation graph of a plan: values, draws and scores, each with what it reads, down to the bound.

A draw stands for the distribution it is drawn from too: q's parameters belong to it. The terms that a
`score_function` draw is charged with run against the edges and are kept apart. Source: Schulman et al. 2015.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sgc.derivation.factors import Charge, Proposal, Weight
from sgc.derivation.graph import GraphNode, Graphs, Role, reach
from sgc.derivation.plan import EachNode, Plan
from sgc.derivation.styled_letters import plain, style
from sgc.objectives.expressions import Scale

Kind = Literal["clamped", "input", "feature", "draw", "score", "label", "weight", "bound"]
WEIGHT, BOUND = "the weight", "the bound"  # their ids: no node has a space in its name


@dataclass(frozen=True)
class Step:
    """One node of the computation: what it is, what it reads, and whose parameters it has of its own."""

    id: str  # the name of a value or draw, else as "kl of z"
    kind: Kind
    styled: str  # its text, with factors in styled letters
    reads: tuple[str, ...] = ()  # ids
    scale: str = ""  # its factor in the bound, such as α
    owners: tuple[Role, ...] = ()  # generative: θ, recognition: φ
    tag: str = ""  # exact, enumerated, sampled or biased; of a draw, that of its estimator
    why: str = ""
    proposal: Proposal | None = None  # of a draw
    baseline: str = ""  # of a draw by score_function

    @property
    def text(self) -> str:
        """What it is, in words or as a formula."""
        return plain(self.styled)

    @property
    def scaled(self) -> str:
        """The text as it is in the bound, with factors in styled letters."""
        return f"{self.scale}{'' if self.scale in ('', '-') else ' '}{self.styled}"

    @property
    def biased(self) -> bool:
        return self.tag == "biased"

    @property
    def how(self) -> str:
        """Say how a draw gives its values: `enumerate, 10 values`."""
        if self.proposal is None:
            return ""
        support = f", {self.proposal.support} values" if self.proposal.estimator.enumerates else ""
        return self.proposal.estimator.name + support + (f", baseline {self.baseline}" if self.baseline else "")


@dataclass(frozen=True)
class Computation:
    """The steps of a plan, each after all that it reads, and what draws are charged with: (score or bound, draw).

    title: which rows it is for, if in other words than the plan's.
    """

    plan: Plan
    steps: tuple[Step, ...]
    charges: tuple[tuple[str, str], ...]
    title: str = ""

    @property
    def rows(self) -> str:
        """Which rows it is for, in words."""
        return self.title or self.plan.rows_text()

    @cached_property
    def step(self) -> dict[str, Step]:
        """The steps by id."""
        return {step.id: step for step in self.steps}

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """What each step reads, as (read, reader)."""
        return tuple((read, step.id) for step in self.steps for read in step.reads)

    def layers(self) -> list[list[str]]:
        """Return the ids in generations: each step one below the last of what it reads."""
        depth: dict[str, int] = {}
        for step in self.steps:
            depth[step.id] = 1 + max((depth[read] for read in step.reads), default=-1)
        return [[name for name in depth if depth[name] == i] for i in range(max(depth.values()) + 1)]


def computation(graphs: Graphs, plan: Plan) -> Computation:
    """Expand a plan into its stochastic computation graph, without values that nothing reads."""
    scores = list(_scores(plan))
    labels = [_label(plan, weight) for weight in plan.weights]
    baselines = {charge.node: charge.baseline for charge in plan.charges}
    draws = {p.node: _draw(p, baselines.get(p.node, "")) for p in plan.proposals}
    steps = (*scores, *labels, *draws.values())
    read = reach((name for step in steps for name in step.reads), lambda name: graphs.features.get(name, ()))
    values = [Step(name, "input", name) for name in graphs.inputs if name in read]
    clamped = [graphs.nodes[name] for name in plan.order if name in read and name in plan.clamped]
    values += [Step(name, "clamped", name) for name in _by_step(clamped)]
    for name in graphs.order("recognition"):
        if name in draws:
            values.append(draws[name])
        elif name in read and name in graphs.features:
            values.append(Step(name, "feature", name, _once(graphs.features[name])))
    weights = _weights(plan, labels)
    ids = [step.id for step in (*scores, *labels, *weights)]
    bound = Step(BOUND, "bound", "L", tuple(ids))
    charges = [(name, charge.node) for charge in plan.charges for name in _charged(plan, charge)]
    return Computation(plan, (*values, *scores, *labels, *weights, bound), tuple(charges))


def _id(role: str, node: str) -> str:
    return f"{role} of {node}"


def _draw(proposal: Proposal, baseline: str) -> Step:
    factor = proposal.factor
    return Step(
        factor.node,
        "draw",
        f"{factor.node} ~ {style(str(factor), 'recognition')}",
        _once(factor.parents),
        owners=("recognition",),
        tag=proposal.estimator.tag,
        proposal=proposal,
        baseline=baseline,
    )


def _scores(plan: Plan) -> Iterator[Step]:
    owners: dict[str, tuple[Role, ...]] = {
        "generative": ("generative",),
        "recognition": ("recognition",),
        "kl": ("recognition", "generative"),
    }
    writer = EachNode(plan, styled=True)
    for term in plan.terms:
        name = _id(term.role, term.node)
        own, reads = owners[term.role], _once(term.reads)
        yield Step(name, "score", writer.term(term), reads, owners=own, tag=term.tag, why=writer.reason(term))


def _label(plan: Plan, weight: Weight) -> Step:
    node = weight.factor.node
    label_scale = plan.expression.scale_of(node)
    scale = "-" if label_scale == Scale(-1.0) else EachNode(plan).scale(label_scale)
    reads = _once(weight.factor.parents if weight.factor.tail else (node, *weight.factor.parents))
    text, tag = EachNode(plan, styled=True).label_term(weight), weight.tag
    return Step(_id("label", node), "label", text, reads, scale, ("recognition",), tag, weight.why)


def _weights(plan: Plan, labels: list[Step]) -> list[Step]:
    """Make the step of what every term is multiplied by, where there is one."""
    weight, normalised = plan.expression.weights, plan.expression.normalised
    if plan.expression.couples:
        return []
    chosen = [step for step, w in zip(labels, plan.weights, strict=True) if w.factor.node in weight.labels]
    text = f"{weight.symbol}/Z" if normalised else weight.symbol
    tags = [step.tag for step in chosen]
    tag = next((tag for tag in ("biased", "sampled", "enumerated", "exact") if tag in tags), "")
    return [Step(WEIGHT, "weight", text, tuple(step.id for step in chosen), tag=tag)] if chosen else []


def _charged(plan: Plan, charge: Charge) -> list[str]:
    if plan.charges_whole(charge):
        return [BOUND]
    labels = [_id("label", node) for node in charge.labels]
    return [*(_id(role, node) for node, role in charge.terms), *labels]


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _by_step(nodes: Sequence[GraphNode]) -> list[str]:
    """List the steps of each repeated node in their order, by its first step."""
    first: dict[str, int] = {}
    for i, node in enumerate(nodes):
        first.setdefault(node.id.name, i)
    return [node.name for node in sorted(nodes, key=lambda node: (first[node.id.name], node.id.index))]
