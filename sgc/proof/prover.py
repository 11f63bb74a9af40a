"""Proving a spec: every pattern of its discrete twin against brute force, exactly and, where it draws, by its mean.

Exactly: every node is enumerated, and the bound of each row and the gradient of the loss agree up to rounding. Sampled:
the nodes that the spec draws are drawn as score functions; their loss and gradient are estimated many times and
compared with their expectation over all draws.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sgc.derivation.node_id import NodeId
from sgc.errors import RunError
from sgc.objectives.gradient import GRADIENTS
from sgc.objectives.gumbel_softmax import GumbelSoftmax
from sgc.objectives.own_objectives import OwnBound, OwnEstimator
from sgc.proof import twin as twins
from sgc.proof.brute_force import Factors
from sgc.proof.chosen_patterns import some, some_patterns, words_of
from sgc.proof.comparison import FALSE_ALARM, Difference, difference, distance, scores, t_limit
from sgc.proof.compiled_twin import REPEATS, ROWS, CompiledTwin
from sgc.proof.expert_proof import experts_differ
from sgc.proof.plain_spec import Raw, Row, clamped, partial, support
from sgc.proof.proof import Bias, Cooled, Exact, Proof, Sampled
from sgc.proof.twin import WIDTH, flat
from sgc.randomness import drawing_from, draws
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline as resolve
from sgc.spec.spec import Spec

MOST_SUMMED = 16  # nodes of two values whose joint values are summed
MOST_NODES = 200  # that q may propose in one pattern or another
COMPLETIONS = 2**12  # of all rows of a pattern together, unless it is a single row
EFFORT = 2**19  # completions of one row of each pattern, all patterns together
LISTED = 1024  # possible rows of a pattern among which some are chosen without repetition
PATTERNS, SAMPLED_PATTERNS = 256, 16
MOST_SAMPLES = 16
SAMPLED_ALPHA = 1.0  # the largest: more is proved exactly, and its noise would hide other errors in the means
ESTIMATES = 1000  # rows in each of the repeated estimates
SUSPICIOUS, MORE = 5.0, 4  # a larger |z| is checked again with so many times the draws
COLD = 0.05  # the temperature at which a relaxation has to come close to hard draws
SPREAD, GENTLE = 1.5, 0.8  # of the parameters: exact sums need them far from uniform, means without rare draws


def prove(spec: Spec, *, seed: int = 0) -> Proof:
    """Prove a spec on its discrete twin. The same seed gives the same numbers; no global state is changed.

    Raises: RunError if none of its patterns is small enough.
    """
    with _computing(seed):
        return _Prover(resolve(spec), seed).proof()


@contextmanager
def _computing(seed: int) -> Iterator[None]:
    """Compute in float64, drawing from a separate generator."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with drawing_from(torch.Generator().manual_seed(seed)):
            yield
    finally:
        torch.set_default_dtype(before)


def _randn(*shape: int) -> Tensor:
    """Draw from the generator of the proof."""
    with draws():  # not around a whole proof: it looks at each operation, for as long as many of them take
        return torch.randn(*shape)


class _Prover:
    def __init__(self, outline: Outline, seed: int) -> None:
        self.outline, self.seed = outline, seed
        self.random = random.Random(seed)
        self.plain = self.twin()
        self.inputs = {name: _randn(2, WIDTH) for name in self.plain.get("inputs", {})}
        self.moments = twins.moments(outline.objective)
        self.notes = list(step_words(outline, self.plain))
        gradient = GRADIENTS[outline.objective.gradient]
        if gradient.meaning:
            relation = (
                "another estimate of the same gradient" if gradient.same_expectation else "no gradient of the bound"
            )
            self.notes.append(f"gradient: {gradient.name} is {relation}, not drawn here")
        without_data = outline.spec.model_copy(update={"data": None})
        own = sorted(set(without_data.own_code(but=(OwnBound, OwnEstimator))))
        if own:
            self.notes.append(f"{', '.join(own)}: own code stays as it is written, a twin has none of it")
        self.patterns = self.choose_patterns()

    def twin(self, **options: Any) -> Raw:  # Any: as for `twins.twin`
        """Write the twin step by step."""
        return flat(self.outline, twins.twin(self.outline, **options))

    def compiled(self, plain: Raw, spread: float, drawn: Sequence[str] = ()) -> CompiledTwin:
        """Compile a twin. drawn: the nodes of the spec that it draws, by name in the file."""
        return CompiledTwin(self.outline, plain, self.inputs, self.steps(drawn), spread, self.seed)

    def steps(self, names: Sequence[str]) -> list[str]:
        """List the nodes of the twin, step by step, that have these names in the file."""
        return [name for name in self.plain["nodes"] if self.id(name).name in names]

    def id(self, flat: str) -> NodeId:
        """Give the name and step of a node of the twin."""
        node_id: NodeId | None = self.plain.get("ids", {}).get(flat)
        return node_id or NodeId(flat)

    def words_of(self, observed: Iterable[str]) -> str:
        """Say which rows a pattern of the twin is of."""
        return words_of(map(self.id, observed))

    # ---- what is compared

    def choose_patterns(self) -> list[tuple[str, ...]]:
        """Choose the patterns that can be summed: all of them, or the plainest and some others."""
        names, proposed = partial(self.plain), len(self.plain["nodes"]) - len(clamped(self.plain))
        if proposed > MOST_NODES:
            raise RunError(f"q proposes {proposed} nodes, at most {MOST_NODES} can be proved")
        chosen = some_patterns(names, PATTERNS, self.random)
        small = [pattern for pattern in chosen if proposed - len(pattern) <= MOST_SUMMED]
        if not small:
            least = proposed - max(map(len, chosen))
            raise RunError(f"{least} nodes or more are unobserved in every row, at most {MOST_SUMMED} can be summed")
        effort = sum(2 ** (proposed - len(pattern)) for pattern in small)
        proved = some(small, max(3, len(small) * EFFORT // effort), self.random)
        if len(proved) < 2 ** len(names):
            self.notes.append(f"{2 ** len(names) - len(proved):,} of {2 ** len(names):,} patterns are left out")
        if len(small) < len(chosen):
            self.notes.append(f"among these all with more than {MOST_SUMMED} unobserved nodes")
        return proved

    def rows(self, observed: Sequence[str], most: int = ROWS) -> list[Row]:
        """List rows of a pattern: all that are possible, or as many as are wanted, drawn."""
        free = len(self.plain["nodes"]) - len(clamped(self.plain)) - len(observed)
        most = min(most, max(1, COMPLETIONS >> free))
        sizes = {name: len(values) for name, values in self.inputs.items()}
        sizes |= {name: len(support(self.plain["nodes"][name])) for name in (*clamped(self.plain), *observed)}
        if math.prod(sizes.values()) > LISTED:
            return [{name: self.random.randrange(size) for name, size in sizes.items()} for _ in range(most)]
        every: list[Row] = [
            dict(zip(sizes, places, strict=True)) for places in itertools.product(*map(range, sizes.values()))
        ]
        return every if len(every) <= most else self.random.sample(every, most)

    # ---- the proof

    def proof(self) -> Proof:
        outline = self.outline
        exact = [line for epoch in self.moments for line in self.exact_lines(epoch)]
        sampled = self.sampled_lines(self.moments[-1])
        numbers = sum(line.numbers for line in sampled)
        if numbers:
            limit = t_limit(FALSE_ALARM / numbers, REPEATS - 1)
            sampled = [replace(line, limit=limit) for line in sampled]
        biased = twins.with_tag(outline, "biased")
        return Proof(
            name=outline.spec.name,
            nodes=tuple(dict.fromkeys(outline.spec.unrolled.id(name).name for name in outline.variables)),
            exact=(*exact, *self.expert_lines()),
            sampled=tuple(sampled),
            biases=tuple(bias for name in biased for bias in self.biases(name)),
            cooled=tuple(cooled for name in biased for cooled in self.cooled(name)),
            notes=tuple(dict.fromkeys(self.notes)),
            seed=self.seed,
            estimators=twins.estimators(outline),
        )

    def exact_lines(self, epoch: int) -> list[Exact]:
        """Compare every pattern separately, then rows of several in one batch."""
        twin = self.compiled(self.twin(epoch=epoch), SPREAD)
        factors = twin.factors()
        lines = [
            Exact(self.words_of(observed), epoch, *self.exact(twin, factors, self.rows(observed)))
            for observed in self.patterns
        ]
        if len(self.patterns) > 1:
            several = some(self.patterns, 8, self.random)
            mixed = [row for observed in several for row in self.rows(observed, max(2, ROWS // len(several)))]
            self.random.shuffle(mixed)
            result = self.exact(twin, factors, mixed)
            lines.append(Exact("rows of several patterns in one batch", epoch, *result, pattern=False))
        return lines

    def exact(self, twin: CompiledTwin, factors: Factors, rows: Sequence[Row]) -> tuple[Difference | None, str]:
        """Compare bound, loss and gradient of one batch: the largest difference, or how the objective failed."""
        mix = _randn(len(rows))
        try:
            out = twin.model.objective(twin.batch(rows), weights=mix)
            gradient = twin.gradient(out.loss)
        except Exception as problem:  # any failure of the compiled objective is a result of the proof
            return None, problem_words(problem)
        bounds, weighted = twin.bounds(factors, rows)
        loss = -(mix * weighted).sum() / len(rows)
        differences = [
            difference(out.bound, bounds, ["the bound"] * len(rows)),
            difference(out.loss[None], loss[None], ["the loss"]),
            difference(gradient, twin.gradient(loss), twin.parameter_names()),
        ]
        return max(differences, key=lambda d: d.size), ""

    def expert_lines(self) -> list[Exact]:
        """Compare each q of experts, on a twin of its own, with what is written by hand."""
        lines: dict[str, Exact] = {}
        for name, node in self.outline.graphs.nodes.items():
            known = self.outline.spec.unrolled.id(name).name
            if node.experts is None or known in lines:
                continue
            try:
                patterns, found = experts_differ(node.experts, self.seed)
            except Exception as problem:  # as for the exact comparison
                lines[known] = Exact(f"experts of {known}", 0, None, problem_words(problem), pattern=False)
            else:
                counted = f"{patterns} pattern{'s' * (patterns > 1)}"
                lines[known] = Exact(f"experts of {known}, {counted} of what is there", 0, found, pattern=False)
        return list(lines.values())

    # ---- means of draws

    def sampled_lines(self, epoch: int) -> list[Sampled]:
        """Compare the means of every pattern in which something is drawn, at the spec's samples and at two."""
        drawn = twins.with_tag(self.outline, "sampled")
        steps = set(self.steps(drawn))
        chosen = [observed for observed in self.patterns if steps - set(observed)]
        several = some(chosen, SAMPLED_PATTERNS, self.random)
        if len(several) < len(chosen):
            self.notes.append(f"{len(chosen) - len(several):,} patterns proved exactly, but not sampled")
        lines: list[Sampled] = []
        own = self.outline.objective.samples
        if several and self.largest_alpha(epoch) > SAMPLED_ALPHA:
            self.notes.append(f"sampled with alpha at most {SAMPLED_ALPHA:g}: what it adds is proved exactly")
        if several and own > MOST_SAMPLES:
            self.notes.append(f"sampled at {MOST_SAMPLES} samples in place of {own:,}")
        estimators = twins.score_functions(self.outline)
        for samples in sorted({2, min(own, MOST_SAMPLES)}):
            plain = self.twin(epoch=epoch, samples=samples, estimators=estimators, most_alpha=SAMPLED_ALPHA)
            twin = self.compiled(plain, GENTLE, drawn)
            small = [observed for observed in several if twin.most_rows(observed)]
            lines += [self.sampled(twin, epoch, observed) for observed in small]
            if len(small) < len(several):
                count = len(several) - len(small)
                self.notes.append(
                    f"{count} patterns not sampled at {samples} samples: their draws have too many outcomes"
                )
        return lines

    def sampled(self, twin: CompiledTwin, epoch: int, observed: tuple[str, ...]) -> Sampled:
        rows = self.rows(observed, twin.most_rows(observed))
        mix = _randn(len(rows))
        loss = -(mix * twin.expected(rows, observed)).sum() / len(rows)
        wanted = torch.cat([loss.detach()[None], twin.gradient(loss)])
        copies = max(1, ESTIMATES // len(rows))
        estimates = REPEATS * copies * len(rows)
        line = Sampled(self.words_of(observed), epoch, twin.samples, estimates, len(wanted), 0.0, "")
        try:
            score = scores(twin.estimates(rows, mix, copies), wanted).abs()
            if float(score.max()) > SUSPICIOUS:  # means of few draws have heavy tails, so that more draws decide
                score = scores(twin.estimates(rows, mix, MORE * copies), wanted).abs()
                line = replace(line, estimates=MORE * estimates)
        except Exception as problem:  # as for the exact comparison
            return replace(line, problem=problem_words(problem))
        worst = int(score.argmax())
        return replace(line, score=float(score[worst]), name=["the loss", *twin.parameter_names()][worst])

    def largest_alpha(self, epoch: float) -> float:
        """Give the largest α of the objective at an epoch, 0 if it has none."""
        alpha = self.twin(epoch=epoch)["objective"].get("alpha", 0.0)
        return max(alpha.values(), default=0.0) if isinstance(alpha, Mapping) else float(alpha)

    # ---- estimators with a bias

    def biases(self, name: str) -> list[Bias]:
        """Measure the bias of an estimator on rows without labels, at both ends of its schedule."""
        own = twins.estimators(self.outline)[name]
        words = [twins.own_words(own, epoch) for epoch in twins.moments({"estimator": own})]
        return [bias for written in words for bias in self.bias(name, written)]

    def cooled(self, name: str) -> list[Cooled]:
        """Measure a relaxed node at a low temperature; the Concrete density and straight-through have no such limit."""
        own = twins.estimators(self.outline)[name]
        if not isinstance(own, GumbelSoftmax) or own.density == "concrete":
            return []
        words = {own.name: {"temperature": COLD}}
        return [Cooled(name, words, bias.gradient) for bias in self.bias(name, words)]

    def bias(self, name: str, words: Any) -> list[Bias]:  # Any: plain data
        """Measure the bias of an estimator, as a list of one; or note why that is not possible."""
        if () not in self.patterns:
            return self.unmeasured(name, "too much is unobserved in rows without labels")
        samples = min(self.outline.objective.samples, MOST_SAMPLES)
        plain = self.twin(epoch=self.moments[-1], samples=samples, estimators={name: words})
        twin = self.compiled(plain, GENTLE, [name])
        rows = self.rows((), twin.most_rows(()))
        if not rows:
            return self.unmeasured(name, "its draws have too many outcomes")
        try:
            estimates = twin.estimates(rows, torch.ones(len(rows)), max(1, ESTIMATES // len(rows)))
        except Exception as problem:  # as for the exact comparison
            return self.unmeasured(name, problem_words(problem))
        loss = -twin.expected(rows, ()).mean()
        wanted = twin.gradient(loss)
        size = float(wanted.norm().clamp(min=1e-12))
        off, error = distance(estimates[:, 1:] - wanted)
        shift = estimates[:, 0] - loss.detach()
        in_nats = float(shift.mean()), float(shift.std() / math.sqrt(REPEATS))
        return [Bias(name, words, (off / size, error / size), in_nats)]

    def unmeasured(self, name: str, why: str) -> list[Bias]:
        self.notes.append(f"the bias of {name} is not measured: {why}")
        return []


def step_words(outline: Outline, plain: Raw) -> Iterator[str]:
    """Say how many steps of each repeat the twin has, where the spec has others."""
    if "written" in plain:
        own = {plate.name: plate.size for plate in plain["plates"]}
        for plate in outline.spec.unrolled.plates:
            if own[plate.name] != plate.size:
                yield f"{plate.name}: the twin has {own[plate.name]} of its {plate.size} steps"


def problem_words(problem: Exception) -> str:
    """Say in one line how the compiled objective failed."""
    lines = str(problem).splitlines()
    return f"{type(problem).__name__}{': ' + lines[0] if lines else ''}"
