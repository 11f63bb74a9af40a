"""The derivation: two graphs and an observation pattern -> a plan (Siddharth et al. 2017, Eqs. 3 to 9).

For a pattern O, the clamped nodes are C = X ∪ O and the rest L is proposed in the order of the recognition graph.
A node that is dropped where it is missing is clamped in every row, and makes no pattern: its term is that of the
elements that are there, the exact marginal of a leaf of p.

    r(l | c) = ∏_{v in L} q(v | pa)      the proposal
    w(l)     = ∏_{v in O} q(v | pa)      the importance weight
    f        = log p(c, l) − log r − log w

Where a node is a step of a repeat, its scores in p, r and w are masked by its counts: see `existence`.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from sgc.derivation.existence import Existence, Steps
from sgc.derivation.factors import SAMPLES, Charge, Factor, Paths, Proposal, Term, Weight, ingredients
from sgc.derivation.graph import Graphs, Role
from sgc.derivation.name_sets import NameSet, NameSets
from sgc.derivation.plan import Plan
from sgc.derivation.summation import share_axes, sweep
from sgc.errors import UsageError
from sgc.objectives.bound import Ingredients, Message
from sgc.objectives.expression_check import expression_of
from sgc.objectives.expressions import Expression, Mean, Score
from sgc.objectives.objective_words import ObjectiveWords


def patterns(graphs: Graphs) -> list[frozenset[str]]:
    """List every observation pattern, the unlabelled one first."""
    partial = graphs.partial
    sizes = range(len(partial) + 1)
    return [frozenset(chosen) for size in sizes for chosen in itertools.combinations(partial, size)]


def derive(
    graphs: Graphs, observed: Collection[str], words: ObjectiveWords, maybe_labelled: Collection[str] = ()
) -> Plan:
    """Derive the plan of rows that carry the labels of `observed`.

    maybe_labelled: enumerated nodes whose label each of the rows may carry or not. They are both proposed and among the
    weights; the runtime masks what does not count for a row. For a row this amounts to its own plan, see `row_groups`.

    Raises: ValueError where `observed` names a node that is not partially supervised, or drops what is missing.
    """
    wrong = sorted({*observed, *maybe_labelled} - set(graphs.partial))
    if wrong:
        allowed = ", ".join(graphs.partial) or "none"
        if wrong[0] in graphs.dropped:
            raise ValueError(
                f"'{wrong[0]}' is left out where it is missing and makes no pattern; nodes that do: {allowed}"
            )
        raise ValueError(f"'{wrong[0]}' is not partially supervised; the nodes that are: {allowed}")
    return _Derivation(graphs, frozenset(observed), words, frozenset(maybe_labelled) - set(observed)).plan()


class _Derivation:
    """The state of one derivation: what is clamped, and what each value varies over."""

    def __init__(
        self, graphs: Graphs, observed: frozenset[str], words: ObjectiveWords, maybe_labelled: frozenset[str]
    ) -> None:
        self.graphs, self.words, self.maybe_labelled = graphs, words, maybe_labelled
        nodes = graphs.nodes
        always = {n for n in nodes if nodes[n].supervision == "full" or nodes[n].dropped}
        self.clamped = frozenset(n for n in nodes if n in observed or n in always)
        order = [n for n in graphs.order("recognition") if n in nodes]
        self.observed = tuple(n for n in order if n in observed)
        self.existence = Existence(graphs, self.clamped, maybe_labelled)
        self.weighing = tuple(n for n in order if n in observed | maybe_labelled | self.existence.evidence.keys())
        self.latent = tuple(n for n in order if n not in self.clamped)
        if not words.bound.generative:  # what no label reads sums out to one
            read = graphs.ancestors(self.weighing, "recognition")
            self.latent = tuple(n for n in self.latent if n in read)
        self.order = tuple(order)
        self.dimensions = NameSets([*self.order, SAMPLES])
        # by name, sets as bits: where everything is enumerated they are very large
        self.dims = dict.fromkeys(graphs.inputs, 0)  # what a value varies over: enumerated nodes, the samples
        self.carried = dict.fromkeys(graphs.inputs, 0)  # the random proposals that a value depends on
        self.is_biased = dict.fromkeys(graphs.inputs, False)  # whether relaxed or averaged, or read from such
        for name in graphs.order("recognition"):  # parents first
            self.follow(name)

    def follow(self, name: str) -> None:
        """Find what a value varies over and carries, and whether it is biased, from what q reads for it."""
        if name in self.clamped:
            self.dims[name], self.carried[name], self.is_biased[name] = 0, 0, False
            return
        parents, node = self.graphs.parents(name, "recognition"), self.graphs.nodes.get(name)
        dims, carried, biased = self.union(parents), self.carriers(parents), self.biased(parents)
        if node is not None:
            own, estimator = self.dimensions.bits([name]), node.estimator
            dims |= self.dimensions.bits([SAMPLES]) if estimator.over_samples else 0
            dims = own if estimator.enumerates else dims
            carried = carried if estimator.averages else own
            biased = biased or estimator.tag == "biased"
        self.dims[name], self.carried[name], self.is_biased[name] = dims, carried, biased

    def union(self, names: Iterable[str]) -> int:
        """Give the dimensions that any of some values varies over."""
        return functools.reduce(operator.or_, (self.dims[name] for name in names), 0)

    def named(self, dims: int) -> NameSet:
        return self.dimensions.of(dims)

    def carriers(self, names: Iterable[str]) -> int:
        """Give the random proposals that some values carry."""
        return functools.reduce(operator.or_, (self.carried[name] for name in names), 0)

    def biased(self, names: Iterable[str]) -> bool:
        """Tell whether a relaxed or averaged value is among some names, or above them in q."""
        return any(self.is_biased[name] for name in names)

    def generative(self, name: str) -> Factor:
        parents = self.graphs.parents(name, "generative")
        return Factor(
            name, "generative", parents, self.named(self.union([name, *parents, *self.existence.counts(name)]))
        )

    def recognition(self, name: str, *, tail: bool = False) -> Factor:
        """Give q of a node; where `tail`, the probability that a count is above its last labelled step."""
        parents = self.graphs.parents(name, "recognition")
        above, last = "", self.existence.evidence.get(name, -1)
        if name not in self.maybe_labelled and last != -1:
            above = "i*" if last is None else str(last)
        dims = self.named(self.union(parents if tail else [name, *parents]))
        return Factor(name, "recognition", parents, dims, above, tail)

    def plan(self) -> Plan:
        proposals = tuple(map(self.proposal, self.latent))
        weights = tuple(self.weight(n) for n in self.weighing)
        known = self.clamped.union(self.latent)
        scored = [n for n in self.graphs.nodes if n in known]
        modelled = scored if self.words.bound.generative else []
        joint = tuple(self.generative(n) for n in modelled)
        untagged = [term for n in modelled for term in self.terms(n)]
        sizes = {p.node: p.support for p in proposals if p.estimator.enumerates}
        every = bool(proposals) and len(sizes) == len(proposals)
        given = ingredients(((t.node, t.role) for t in untagged), weights, enumerated=every)
        expression = expression_of(self.words.bound, given, self.words)
        self.check_closed_forms(untagged, expression)
        terms = self.tagged(untagged, weights, expression)
        spans = [p.factor.dims.bits for p in proposals if p.estimator.enumerates]
        spans += [w.factor.dims.bits for w in weights if w.varies] + [t.dims.bits for t in terms]
        swept = sweep(self.dimensions, spans, sizes, self.words.samples)
        needed = self.graphs.ancestors({*self.weighing, *self.latent}, "recognition")
        if joint:
            needed |= self.graphs.ancestors([f.node for f in joint], "generative")
        meeting = [
            *swept.unions,
            *(f.dims.bits for f in (*joint, *(p.factor for p in proposals))),
            *(p.dims.bits for p in proposals),
            *(p.factor.dims.bits | self.union(self.existence.counts(p.node)) for p in proposals),
        ]
        return Plan(
            observed=self.observed,
            clamped=tuple(n for n in self.graphs.nodes if n in self.clamped),
            proposals=proposals,
            weights=weights,
            joint=joint,
            terms=terms,
            charges=tuple(self.charges(weights, terms, expression)),
            order=self.order,
            enumerated=tuple(sizes),
            elimination=swept.order,
            largest=swept.largest,
            widest=tuple(n for n in sizes if n in swept.widest),
            operations=swept.operations,
            words=self.words,
            messages=tuple(self.messages(given)),
            axes=share_axes(self.dimensions, meeting, tuple(sizes)),
            needed=needed,
            maybe_labelled=self.maybe_labelled,
            exists={n: steps for n in scored if (steps := self.masks(n, known))},
            paths=self.paths() if self.words.gradient.weighs_paths else None,
            evidence=frozenset(self.existence.evidence.keys() & set(self.latent)),
        )

    def masks(self, name: str, known: Collection[str]) -> Steps:
        """Give what masks the scores of a node, by the counts that this plan has: `supervised` leaves counts out."""
        return tuple((count, i) for count, i in self.existence.masks(name) if count in known)

    def paths(self) -> Paths:
        """Find the features below draws."""
        drawn = tuple(name for name in self.latent if not self.graphs.nodes[name].estimator.enumerates)
        scored = [*self.clamped, *self.latent] if self.words.bound.generative else []

        def below(names: Iterable[str], role: Role) -> frozenset[str]:
            read = self.graphs.features_of(names, role)
            return frozenset(name for name in read if not self.graphs.sources([name]).isdisjoint(drawn))

        return Paths(
            drawn,
            below(drawn, "recognition"),
            below(scored, "generative"),
            below([*self.latent, *self.weighing], "recognition"),
        )

    def proposal(self, name: str) -> Proposal:
        node, factor = self.graphs.nodes[name], self.recognition(name)
        above_samples = bool(self.union(factor.parents) & self.dimensions.bits([SAMPLES]))
        return Proposal(factor, node.estimator, node.support, self.named(self.dims[name]), above_samples, node.experts)

    def weight(self, name: str) -> Weight:
        factor = self.recognition(name, tail=name not in self.clamped | self.maybe_labelled)
        carriers = self.carriers(factor.parents) | self.dimensions.bits({name} & self.maybe_labelled)
        return Weight(factor, tuple(self.dimensions.named(carriers)), self.biased(factor.parents))

    def terms(self, name: str) -> list[Term]:
        """List the terms of log p − log r of a node, not yet tagged."""
        factor, counts = self.generative(name), self.existence.counts(name)

        def term(role: str, dims: NameSet, reads: Sequence[str], why: Message) -> Term:
            return Term(name, role, dims, "", why, (*reads, *counts))

        if name in self.clamped:
            why = Message("where present" if self.graphs.nodes[name].dropped else "")
            return [term("generative", factor.dims, [name, *factor.parents], why)]
        proposal = self.recognition(name)
        estimator = self.graphs.nodes[name].estimator
        parents = [*factor.parents, *proposal.parents]
        both = self.named(self.union([*parents, *counts]))
        if estimator.averages:
            return [term("kl", both, [name, *parents], Message("the mean is scored by its expectations under q"))]
        refusal = Message("") if estimator.enumerates else self.refuse_kl(name)
        if not refusal.words and not estimator.enumerates:
            return [term("kl", both, parents, Message("closed form"))]
        dims = self.named(proposal.dims.bits | self.union(counts))
        return [
            term("generative", factor.dims, [name, *factor.parents], refusal),
            term("recognition", dims, [name, *proposal.parents], refusal),
        ]

    def check_closed_forms(self, terms: Sequence[Term], expression: Expression) -> None:
        """Refuse a bound that uses a closed-form KL where it is not averaged. Raises: UsageError."""
        closed = {Score(t.node, t.role) for t in terms if t.role == "kl"}
        closed -= {score for score in closed if self.graphs.nodes[score.node].estimator.averages}
        products = [
            scaled.part.weight if isinstance(scaled.part, Mean) else scaled.part.product for scaled in expression.parts
        ]
        if any(log in closed for product in products for log in product.logs):
            raise UsageError(
                f"the bound '{self.words.bound.name}': a KL divergence in closed form is under a logarithm or "
                "among weights, where it is not averaged: set closed_kl_refusal in its class"
            )

    def tagged(self, terms: Sequence[Term], weights: Sequence[Weight], expression: Expression) -> tuple[Term, ...]:
        """Say how each term is computed: by what it varies over, and what it is weighed by."""
        biased = {(t.node, t.role): self.biased(t.reads) for t in terms}
        dims = {(t.node, t.role): t.dims for t in terms}
        for weight in weights:
            dims[weight.factor.node, "label"], biased[weight.factor.node, "label"] = weight.factor.dims, weight.biased
        weighing = [(log.node, log.role if isinstance(log, Score) else "label") for log in expression.weights.logs]
        varying = any(dims[key] for key in weighing) if expression.weights.varies else False
        weighed = _tag(any(biased[k] for k in weighing), any(SAMPLES in dims[k] for k in weighing), True)

        def tag(term: Term) -> str:
            # normalised weights average what has no dimension to itself; others do not
            by = weighed if varying and (term.dims or not expression.normalised) else ""
            return _tag(
                biased[term.node, term.role] or by == "biased",
                SAMPLES in term.dims or by == "sampled",
                bool(term.dims),
            )

        return tuple(replace(term, tag=tag(term)) for term in terms)

    def charges(self, weights: Sequence[Weight], terms: Sequence[Term], expression: Expression) -> Iterator[Charge]:
        """Find what each draw can influence: through proposals, their masses, and factors of the weight."""
        drawn = [n for n in self.latent if self.graphs.nodes[n].estimator.charged]
        every = tuple((t.node, t.role) for t in terms)
        weighing = tuple(w.factor.node for w in weights)
        influenced = self.influenced(terms) if drawn else {}
        varying = {w.factor.node: 1 << i for i, w in enumerate(weights) if w.varies}
        vary = self.graphs.sets.bits(varying)
        for name in drawn:
            below = self.graphs.sets.named(self.below[name] & vary)
            varied = functools.reduce(operator.or_, (varying[node] for node in below), 0)
            weighed = not expression.weights.labels.isdisjoint(below)
            all_of_it = expression.couples or weighed  # ŵ couples every term to the draw
            charged = (1 << len(every)) - 1 if all_of_it else influenced[name]
            yield Charge(name, charged, every, varied, weighing, self.graphs.nodes[name].estimator.baseline_word)

    def influenced(self, terms: Sequence[Term]) -> Mapping[str, int]:
        """Name the terms that read a value, or something that is drawn below it in q, as bits."""
        terms_below: dict[str, int] = dict.fromkeys(self.graphs.order("recognition"), 0)
        for i, term in enumerate(terms):
            for name in term.reads:
                if name in terms_below:
                    terms_below[name] |= 1 << i
        readers = self.graphs.readers("recognition")
        for name in reversed(terms_below):
            for reader in readers.get(name, ()):
                terms_below[name] |= terms_below[reader] if reader not in self.clamped else 0
        return terms_below

    def refuse_kl(self, name: str) -> Message:
        """Say why log p(v) − log q(v) does not become a closed-form KL divergence; no words where it does."""
        node, bits = self.graphs.nodes[name], self.graphs.sets.bits
        if self.words.bound.closed_kl_refusal:
            return Message(self.words.bound.closed_kl_refusal)
        if self.words.kl == "sampled":
            return Message("kl: sampled")
        if self.words.gradient.stops_score and node.estimator.reparameterised:
            return Message(f"gradient: {self.words.gradient.name}")
        if node.estimator.kl_refusal:
            return Message(node.estimator.kl_refusal)
        if node.experts is not None and node.experts.mixes:
            return Message("a mixture has no closed form")
        if not node.closed_kl:
            return Message("its family has no closed form")
        if name in self.existence.evidence:
            return Message("labels of its steps restrict it")
        for others, words in (
            (self.observed_bits, "the label of {node} depends on it in q"),
            (self.evidence_bits, "the evidence of labels on {node} depends on it in q"),
            (bits(self.existence.counts(name)), "whether it exists depends on {node}, which is drawn after it"),
            (
                self.graphs.source_bits(self.graphs.parents(name, "generative")),
                "its prior reads {node}, which is drawn after it",
            ),
        ):
            dependent = self.first_below(name, others)
            if dependent:
                return Message(words, node=dependent)
        return Message("")

    @cached_property
    def observed_bits(self) -> int:
        """The nodes that are labelled."""
        return self.graphs.sets.bits(self.observed)

    @cached_property
    def evidence_bits(self) -> int:
        """The counts that have labelled steps."""
        return self.graphs.sets.bits(self.existence.evidence)

    def first_below(self, name: str, others: int) -> str:
        """Name the first of others in q that depends on a node; empty where none does."""
        depending = self.below[name] & others
        return next((n for n in self.order if depending >> self.graphs.sets.place[n] & 1), "") if depending else ""

    @cached_property
    def below(self) -> Mapping[str, int]:
        """What depends on a node in q, as bits."""
        return self.graphs.below_bits(self.clamped)

    def messages(self, given: Ingredients) -> Iterator[Message]:
        """Say what a user should know; also of rows that teach p nothing: inputs, and nothing observed below."""
        for warning in self.words.bound.warnings(given, self.words):
            yield Message(warning) if isinstance(warning, str) else warning
        fed = [n for n in self.latent if set(self.graphs.inputs) & set(self.graphs.parents(n, "generative"))]
        if self.words.bound.generative and fed and not self.clamped:
            yield Message("no node is observed, so these rows do not train p and their bound is at most 0")


def _tag(biased: bool, sampled: bool, enumerated: bool) -> str:
    if biased:
        return "biased"
    return "sampled" if sampled else "enumerated" if enumerated else "exact"
