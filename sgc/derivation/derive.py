"""The derivation: two graphs and an observation pattern -> a plan (Siddharth et al. 2017, Eqs. 3 to 9).

For a pattern O, the clamped nodes are C = X ∪ O and the rest L is proposed in the order of the recognition graph.
A node that is dropped where it is missing is clamped in every row, and makes no pattern: its term is that of the
elements that are there, the exact marginal of a leaf of p.

    r(l | c) = ∏_{v in L} q(v | pa)      the proposal
    w(l)     = ∏_{v in O} q(v | pa)      the importance weight
    f        = log p(c, l) − log r − log w
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence

from sgc.derivation.graph import Graphs
from sgc.derivation.plan import SAMPLES, Cost, Factor, ObjectiveWords, Plan, Proposal, Term, Weight

RELAXED = ("gumbel_softmax", "straight_through")


def patterns(graphs: Graphs) -> list[frozenset[str]]:
    """List every observation pattern, the unlabelled one first."""
    partial = graphs.partial
    sizes = range(len(partial) + 1)
    return [frozenset(chosen) for size in sizes for chosen in itertools.combinations(partial, size)]


def derive(graphs: Graphs, observed: Collection[str], words: ObjectiveWords) -> Plan:
    """Derive the plan of rows that carry the labels of `observed`.

    Raises: ValueError where `observed` names a node that is not partially supervised, or drops what is missing.
    """
    wrong = sorted(set(observed) - set(graphs.partial))
    if wrong:
        allowed = ", ".join(graphs.partial) or "none"
        if wrong[0] in graphs.dropped:
            raise ValueError(
                f"'{wrong[0]}' is left out where it is missing and makes no pattern; nodes that do: {allowed}"
            )
        raise ValueError(f"'{wrong[0]}' is not partially supervised; the nodes that are: {allowed}")
    return _Derivation(graphs, frozenset(observed), words).plan()


class _Derivation:
    """The state of one derivation: what is clamped, and over which dimensions each value varies."""

    # each answer about a name is worked out once: many paths lead to the same ancestors
    def __init__(self, graphs: Graphs, observed: frozenset[str], words: ObjectiveWords) -> None:
        self.graphs, self.words = graphs, words
        nodes = graphs.nodes
        always = {n for n in nodes if nodes[n].supervision == "full" or nodes[n].dropped}
        self.clamped = frozenset(n for n in nodes if n in observed or n in always)
        order = [n for n in graphs.order("recognition") if n in nodes]
        self.observed = tuple(n for n in order if n in observed)
        self.latent = tuple(n for n in order if n not in self.clamped)
        if words.bound == "supervised":  # what no label reads sums out to one
            read = graphs.ancestors(self.observed, "recognition")
            self.latent = tuple(n for n in self.latent if n in read)
        self.order = tuple(order)
        self._dims: dict[str, frozenset[str]] = {}
        self._carriers: dict[str, frozenset[str]] = {}
        self._biased: dict[str, bool] = {}

    def dims(self, name: str) -> frozenset[str]:
        """Name the dimensions that a value varies over: enumerated nodes, and the samples."""
        if name not in self._dims:
            self._dims[name] = self.find_dims(name)
        return self._dims[name]

    def find_dims(self, name: str) -> frozenset[str]:
        if name in self.graphs.inputs or name in self.clamped:
            return frozenset()
        if name in self.graphs.features:
            return self.union(self.graphs.features[name])
        estimator = self.graphs.nodes[name].estimator
        if estimator == "enumerate":
            return frozenset({name})
        above = self.union(self.graphs.parents(name, "recognition"))
        return above if estimator == "mean" else above | {SAMPLES}

    def union(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset().union(*(self.dims(name) for name in names))

    def carriers(self, names: Iterable[str]) -> frozenset[str]:
        """Return the random proposals that a list of parents carries; features and means are seen through."""
        return frozenset().union(*(self.carried(name) for name in names))

    def carried(self, name: str) -> frozenset[str]:
        if name not in self._carriers:
            found: frozenset[str] = frozenset()
            if name in self.graphs.features:
                found = self.carriers(self.graphs.features[name])
            elif name in self.graphs.nodes and name not in self.clamped:
                averaged = self.graphs.nodes[name].estimator == "mean"
                found = self.carriers(self.graphs.parents(name, "recognition")) if averaged else frozenset({name})
            self._carriers[name] = found
        return self._carriers[name]

    def biased(self, names: Iterable[str]) -> bool:
        """Tell whether a relaxed or averaged value stands among these names, or above them in q."""
        return any(self.is_biased(name) for name in names)

    def is_biased(self, name: str) -> bool:
        if name not in self._biased:
            found = False
            if name in self.graphs.features:
                found = self.biased(self.graphs.features[name])
            elif name in self.graphs.nodes and name not in self.clamped:
                own = self.graphs.nodes[name].estimator in (*RELAXED, "mean")
                found = own or self.biased(self.graphs.parents(name, "recognition"))
            self._biased[name] = found
        return self._biased[name]

    def generative(self, name: str) -> Factor:
        parents = self.graphs.parents(name, "generative")
        return Factor(name, "generative", parents, self.union([name, *parents]))

    def recognition(self, name: str) -> Factor:
        parents = self.graphs.parents(name, "recognition")
        return Factor(name, "recognition", parents, self.union([name, *parents]))

    def plan(self) -> Plan:
        proposals = tuple(
            Proposal(self.recognition(n), self.graphs.nodes[n].estimator, self.graphs.nodes[n].support, self.dims(n))
            for n in self.latent
        )
        weights = tuple(self.weight(n) for n in self.observed)
        scored = [n for n in self.graphs.nodes if n in self.clamped or n in self.latent]
        joint = () if self.words.bound == "supervised" else tuple(self.generative(n) for n in scored)
        terms: tuple[Term, ...] = ()
        if self.words.bound != "supervised":
            weighing = self.words.bound != "elbo" or self.words.weights == "normalized"
            varying = weighing and any(w.varies for w in weights)
            terms = tuple(term for n in scored for term in self.terms(n, varying))
        sizes = {p.node: p.support for p in proposals if p.estimator == "enumerate"}
        spans = [p.factor.dims for p in proposals if p.estimator == "enumerate"]
        spans += [w.factor.dims for w in weights if w.varies] + [t.dims for t in terms]
        order, largest, work = _elimination(spans, sizes, self.words.samples)
        plan = Plan(
            observed=self.observed,
            clamped=tuple(n for n in self.graphs.nodes if n in self.clamped),
            proposals=proposals,
            weights=weights,
            joint=joint,
            terms=terms,
            costs=tuple(self.cost(p.node, weights, terms) for p in proposals if p.estimator == "score_function"),
            order=self.order,
            enumerated=tuple(sizes),
            elimination=order,
            largest=largest,
            operations=work,
            words=self.words,
            warnings=(),
        )
        return plan.with_warnings(self.warnings(plan))

    def weight(self, name: str) -> Weight:
        factor = self.recognition(name)
        carriers = self.carriers(factor.parents)
        return Weight(factor, tuple(n for n in self.order if n in carriers), self.biased(factor.parents))

    def terms(self, name: str, varying: bool) -> list[Term]:
        factor = self.generative(name)
        if name in self.clamped:
            why = "where present" if self.graphs.nodes[name].dropped else ""
            return [self.term(name, "generative", factor.dims, [name, *factor.parents], why, varying)]
        proposal = self.recognition(name)
        estimator = self.graphs.nodes[name].estimator
        both = self.union([*factor.parents, *proposal.parents])
        readers = [name, *factor.parents, *proposal.parents]
        if estimator == "mean":
            return [self.term(name, "kl", both, readers, "the mean is scored by its expectations under q", varying)]
        refusal = self.refuse_kl(name)
        if not refusal and estimator != "enumerate":
            return [self.term(name, "kl", both, readers[1:], "closed form", varying)]
        why = "" if estimator == "enumerate" else refusal
        first = self.term(name, "generative", factor.dims, [name, *factor.parents], why, varying)
        second = self.term(name, "recognition", proposal.dims, [name, *proposal.parents], why, varying)
        return [first, second]

    def term(self, name: str, role: str, dims: frozenset[str], reads: Sequence[str], why: str, varying: bool) -> Term:
        # normalised weights average what has no dimension to itself; those of the density bound do not
        weighed = varying and (bool(dims) or self.words.bound == "density")
        if self.biased(reads) or (weighed and self.weights_biased()):
            tag = "biased"
        elif SAMPLES in dims or (weighed and self.weights_sampled()):
            tag = "sampled"
        else:
            tag = "enumerated" if dims else "exact"
        return Term(name, role, dims, tag, why, tuple(reads))

    def cost(self, name: str, weights: Sequence[Weight], terms: Sequence[Term]) -> Cost:
        """Work out what a draw can influence: through proposals, their masses, and factors of the weight."""
        below = self.graphs.below(name, self.clamped)
        reached = {name, *(n for n in below if n not in self.clamped)}
        labels = tuple(w.factor.node for w in weights if w.varies and w.factor.node in below)
        bound = self.words.bound
        weighed = bool(labels) and (bound != "elbo" or self.words.weights == "normalized")
        all_of_it = bound == "iwae" or weighed  # ŵ couples every term to the draw
        found = [t for t in terms if all_of_it or reached & self.graphs.variables(t.reads)]
        coupled = bound in ("iwae", "supervised") or (bound == "elbo" and weighed)
        baseline = self.graphs.nodes[name].baseline
        return Cost(name, tuple((t.node, t.role) for t in found), labels, coupled, baseline)

    def weights_sampled(self) -> bool:
        return any(SAMPLES in self.recognition(n).dims for n in self.observed)

    def weights_biased(self) -> bool:
        return any(self.biased(self.graphs.parents(n, "recognition")) for n in self.observed)

    def refuse_kl(self, name: str) -> str:
        """Say why log p(v) − log q(v) does not become a closed-form KL divergence; empty where it does."""
        if self.words.bound == "iwae":
            return "iwae takes no closed form"
        if self.words.kl == "sampled":
            return "kl: sampled"
        node = self.graphs.nodes[name]
        if self.words.gradient == "stl" and node.estimator == "pathwise":
            return "gradient: stl"
        if node.concrete and node.estimator == "gumbel_softmax":
            return "density: concrete"
        if not self.graphs.nodes[name].closed_kl:
            return "its family has no closed form"
        below = self.graphs.below(name, self.clamped)
        labelled = [n for n in self.observed if n in below]
        if labelled:
            return f"the label of {labelled[0]} depends on it in q"
        prior = self.graphs.variables(self.graphs.parents(name, "generative"))
        looped = [n for n in self.order if n in prior & below]
        return f"its prior reads {looped[0]}, which is drawn after it" if looped else ""

    def warnings(self, plan: Plan) -> list[str]:
        found: list[str] = []
        rows = plan.rows_text()
        words = self.words
        normalised = words.bound == "elbo" and words.weights == "normalized"
        for weight in plan.weights:
            enumerated = any(d != SAMPLES for w in plan.weights for d in w.factor.dims)
            if weight.varies and normalised and words.samples == 1 and not enumerated:
                through = " and ".join(weight.carriers)
                found.append(
                    f"{rows}: the weight {weight.factor} varies with {through}, but with 1 sample the normalised "
                    "weights are all 1 and do nothing: set objective.samples above 1"
                )
        if words.bound == "iwae" and plan.proposals and all(p.estimator == "enumerate" for p in plan.proposals):
            unless = " but through alpha" if plan.weights else ""
            found.append(
                f"{rows}: every proposed node is enumerated, so iwae does not contain q{unless}: it stays untrained"
            )
        if words.bound == "density" and plan.weights:
            found.append(f"{rows}: the density bound can train {plan.weights[0].factor} away from the label")
        if words.bound != "supervised" and not plan.observed:
            found += self.nothing_below_inputs(rows)
        return found

    def nothing_below_inputs(self, rows: str) -> list[str]:
        """Warn of rows that teach p nothing: inputs above latents that have no observed node below them."""
        fed = [n for n in self.latent if set(self.graphs.inputs) & set(self.graphs.parents(n, "generative"))]
        if fed and not self.clamped:
            return [f"{rows}: no node is observed, so they teach p nothing and their bound is at most 0"]
        return []


def _elimination(
    spans: Sequence[frozenset[str]], sizes: dict[str, int], samples: int
) -> tuple[tuple[str, ...], int, int]:
    """Choose the order in which enumerated dimensions are summed out: the smallest intermediate first.

    Returns the order, the elements of the largest intermediate for a row, and the elements touched in all.
    """
    size = {**sizes, SAMPLES: samples}
    left = [set(span) for span in spans]
    order: list[str] = []
    largest, work = 1, 0
    remaining = list(sizes)
    while remaining:
        joined = {name: set().union({name}, *(span for span in left if name in span)) for name in remaining}
        best = min(remaining, key=lambda name: math.prod(size[d] for d in joined[name]))
        union = joined[best]
        elements = math.prod(size[d] for d in union)
        largest, work = max(largest, elements), work + elements
        left = [span for span in left if best not in span] + [union - {best}]
        order.append(best)
        remaining.remove(best)
    if any(SAMPLES in span for span in left):
        largest, work = max(largest, samples), work + samples
    return tuple(order), largest, work
