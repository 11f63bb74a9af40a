"""Proving a spec: every pattern of its discrete twin against brute force, exactly and, where it draws, by its mean.

Exactly: every node enumerated, the bound of each row and the gradient of the loss, to rounding. Sampled: the nodes that
the spec draws are drawn as score functions, whose loss and gradient are estimated many times and compared with their
expectation over all draws.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sgc.derivation.graph import Role
from sgc.derivation.node_id import NodeId
from sgc.errors import RunError
from sgc.objectives.gradient import GRADIENTS
from sgc.objectives.gumbel_softmax import GumbelSoftmax
from sgc.objectives.own_objectives import OwnBound, OwnEstimator
from sgc.proof import twin as twins
from sgc.proof.brute_force import WRITTEN, Factors, Joint, Words
from sgc.proof.chosen_patterns import some, some_patterns, words_of
from sgc.proof.comparison import FALSE_ALARM, Difference, difference, scores, t_limit
from sgc.proof.draw_sums import LARGEST, Draws, expected, is_linear, tuples
from sgc.proof.plain_spec import Raw, Row, batch_of, clamped, partial, support
from sgc.proof.proof import Bias, Cooled, Exact, Proof, Sampled
from sgc.proof.unrolled_twin import CATEGORIES, WIDTH, flat, loaded, readers
from sgc.randomness import drawing_from, draws
from sgc.runtime.compiler import compile_spec
from sgc.runtime.model import Model
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec

MOST_SUMMED = 16  # nodes of two values whose joint values are summed
MOST_NODES = 200  # that q may propose in one pattern or another
COMPLETIONS = 2**12  # of all rows of a pattern together, but for a single row
EFFORT = 2**19  # completions of one row of each pattern, all patterns together
ROWS, LISTED = 16, 1024  # of one pattern, and among how many they are chosen without repetition
PATTERNS, SAMPLED_PATTERNS = 256, 16
MOST_SAMPLES = 16
SAMPLED_ALPHA = 1.0  # the largest: more is proved exactly, and its noise would drown what means could tell
TUPLES = 5000  # joint outcomes of the draws of all samples
REPEATS = 41  # estimates of the mean; their number less one is even
ESTIMATES = 1000  # rows in each
SUSPICIOUS, MORE = 5.0, 4  # a |z| above is looked at again with so many times the draws
FEW = 4  # parents whose weights are not made smaller
COLD = 0.05  # the temperature at which a relaxation has to come close to hard draws
SPREAD, GENTLE = 1.5, 0.8  # of the parameters: exact sums want them far from uniform, means without rare draws


def prove(spec: Spec, *, seed: int = 0) -> Proof:
    """Prove a spec on its discrete twin. The same seed gives the same numbers; nothing global is changed.

    Raises: RunError where no pattern of it is small enough.
    """
    with _computing(seed):
        return _Prover(outline(spec), seed).proof()


@contextmanager
def _computing(seed: int) -> Iterator[None]:
    """Compute in float64, drawing from a generator of its own."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with drawing_from(torch.Generator().manual_seed(seed)), draws():
            yield
    finally:
        torch.set_default_dtype(before)


class _Prover:
    def __init__(self, made: Outline, seed: int) -> None:
        self.made, self.seed = made, seed
        self.random = random.Random(seed)
        self.plain = self.twin()
        self.inputs = {name: torch.randn(2, WIDTH) for name in self.plain.get("inputs", {})}
        self.notes = list(step_words(made, self.plain))
        self.readers = readers(made)
        gradient = GRADIENTS[made.objective.gradient]
        if gradient.meaning:
            what = "another estimate of the same gradient" if gradient.same_expectation else "no gradient of the bound"
            self.notes.append(f"gradient: {gradient.name} is {what}, not drawn here")
        whole = made.spec.model_copy(update={"data": None})  # it needs no data
        own = sorted(set(whole.own_code(but=(OwnBound, OwnEstimator))))
        if own:
            self.notes.append(f"{', '.join(own)}: own code stays as it is written, a twin has none of it")
        self.patterns = self.choose_patterns()

    def twin(self, **options: Any) -> Raw:  # Any: as for `twins.twin`
        """Write the twin step by step."""
        return flat(self.made, twins.twin(self.made, **options))

    def steps(self, names: Sequence[str]) -> list[str]:
        """Name every step of some nodes of the twin."""
        return [each for each in self.plain["nodes"] if self.id(each).name in names]

    def id(self, flat: str) -> NodeId:
        """Give the name and step of a node of the twin."""
        found: NodeId | None = self.plain.get("ids", {}).get(flat)
        return found or NodeId(flat)

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
        small = [each for each in chosen if proposed - len(each) <= MOST_SUMMED]
        if not small:
            least = proposed - max(map(len, chosen))
            raise RunError(f"{least} nodes or more are unobserved in every row, at most {MOST_SUMMED} can be summed")
        effort = sum(2 ** (proposed - len(each)) for each in small)
        proved = some(small, max(3, len(small) * EFFORT // effort), self.random)
        if len(proved) < 2 ** len(names):
            self.notes.append(f"{2 ** len(names) - len(proved):,} of {2 ** len(names):,} patterns are left out")
        if len(small) < len(chosen):
            self.notes.append(f"among these all with more than {MOST_SUMMED} unobserved nodes")
        return proved

    def rows(self, observed: Sequence[str], most: int = ROWS) -> list[Row]:
        """List rows of a pattern: all that there are, or as many as are wanted, drawn."""
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

    def words(self, plain: Raw) -> Words:
        """Read the words of a twin, whose own bound is the spec's."""
        spec = self.made.spec
        return Words.of(plain, None if spec.maximised.name in WRITTEN else spec.maximised)

    def compiled(self, plain: Raw, spread: float) -> Model:
        """Compile a twin; its parameters are drawn by name, so that all twins of a proof have the same.

        A network of more than four parents gets smaller weights: saturated, it would change with rare draws alone.
        """
        model = compile_spec(loaded(self.made, plain.get("written", plain)))
        generator = torch.Generator().manual_seed(self.seed)
        parents = Counter(name.rpartition(".")[0] for name, _ in model.named_parameters() if ".weights." in name)
        with torch.no_grad():
            for name, parameter in sorted(model.named_parameters()):
                scale = spread / math.sqrt(max(1.0, parents[name.rpartition(".")[0]] / FEW))
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        return model

    # ---- the proof

    def proof(self) -> Proof:
        made = self.made
        exact = [line for epoch in twins.moments(made.objective) for line in self.exact_lines(epoch)]
        sampled = self.sampled_lines(twins.moments(made.objective)[-1])
        numbers = sum(line.numbers for line in sampled)
        if numbers:
            limit = t_limit(FALSE_ALARM / numbers, REPEATS - 1)
            sampled = [replace(line, limit=limit) for line in sampled]
        return Proof(
            name=made.spec.name,
            nodes=tuple(dict.fromkeys(made.spec.unrolled.id(name).name for name in made.variables)),
            exact=tuple(exact),
            sampled=tuple(sampled),
            biases=tuple(bias for name in twins.biased(made) for bias in self.biases(name)),
            cooled=tuple(cooled for name in twins.biased(made) for cooled in self.cooled(name)),
            notes=tuple(dict.fromkeys(self.notes)),
            seed=self.seed,
            estimators=twins.estimators(made),
        )

    def exact_lines(self, epoch: int) -> list[Exact]:
        """Compare every pattern on its own, then rows of several in one batch."""
        plain = self.twin(epoch=epoch)
        model = self.compiled(plain, SPREAD)
        factors = Factors(model, plain, self.inputs)
        lines = [
            Exact(self.words_of(observed), epoch, *self.exact(model, factors, self.rows(observed)))
            for observed in self.patterns
        ]
        if len(self.patterns) > 1:
            several = some(self.patterns, 8, self.random)
            mixed = [row for observed in several for row in self.rows(observed, max(2, ROWS // len(several)))]
            self.random.shuffle(mixed)
            found = self.exact(model, factors, mixed)
            lines.append(Exact("rows of several patterns in one batch", epoch, *found, pattern=False))
        return lines

    def exact(self, model: Model, factors: Factors, rows: Sequence[Row]) -> tuple[Difference | None, str]:
        """Compare bound, loss and gradient of one batch: the largest difference, or how the objective broke."""
        plain = factors.spec
        words, mix = self.words(plain), torch.randn(len(rows))
        try:
            out = model.objective(batch_of(plain, rows, self.inputs), weights=mix)
            gradient = gradient_of(model, out.loss)
        except Exception as problem:  # whatever breaks the compiled objective is what was looked for
            return None, problem_words(problem)
        bounds, weighted = self.bounds(factors, rows, words)
        loss = -(mix * weighted).sum() / len(rows)
        names = ["the bound"] * len(rows)
        found = [
            difference(out.bound, bounds, names),
            difference(out.loss[None], loss[None], ["the loss"]),
            difference(gradient, gradient_of(model, loss), self.parameter_names(model)),
        ]
        return max(found, key=lambda each: each.size), ""

    def bounds(self, factors: Factors, rows: Sequence[Row], words: Words) -> tuple[Tensor, Tensor]:
        """Sum the bound of each row by brute force, and again as the loss has it, at the words' kl_weight: [R] each."""
        places: dict[frozenset[str], list[int]] = {}
        for i, row in enumerate(rows):
            places.setdefault(frozenset(row), []).append(i)
        parts: list[Tensor] = []
        for group in places.values():
            joint = Joint(factors, [rows[i] for i in group])
            parts.append(torch.stack([joint.bound(replace(words, kl_weight=1.0)), joint.bound(words)]))
        order = torch.tensor([i for group in places.values() for i in group])
        bounds, weighted = torch.cat(parts, 1)[:, order.argsort()]
        return bounds, weighted

    def parameter_names(self, model: Model) -> list[str]:
        """Name the gradient that each entry of all parameters side by side belongs to."""
        names: list[str] = []
        for key, parameter in model.named_parameters():
            part, owner, *_ = key.split(".")
            name = owner.removesuffix("_").replace("/", ".")
            names += [f"the gradient of {self.owner_words(part, name)}"] * parameter.numel()
        return names

    def owner_words(self, part: str, name: str) -> str:
        if part == "features":
            return f"the feature {name}"
        role: Role = "generative" if part == "generative" else "recognition"
        parents = ", ".join(self.readers[name, role])
        return f"{part[0].replace('g', 'p').replace('r', 'q')}({name}{' | ' if parents else ''}{parents})"

    # ---- means of draws

    def sampled_lines(self, epoch: int) -> list[Sampled]:
        """Compare the means of every pattern in which something is drawn, at the spec's samples and at two."""
        drawn = self.steps(twins.drawn(self.made))
        chosen = [each for each in self.patterns if set(drawn) - set(each)]
        several = some(chosen, SAMPLED_PATTERNS, self.random)
        if len(several) < len(chosen):
            self.notes.append(f"{len(chosen) - len(several):,} patterns proved exactly, but not sampled")
        lines: list[Sampled] = []
        own = self.made.objective.samples
        if several and self.largest_alpha(epoch) > SAMPLED_ALPHA:
            self.notes.append(f"sampled with alpha at most {SAMPLED_ALPHA:g}: what it adds is proved exactly")
        if several and own > MOST_SAMPLES:
            self.notes.append(f"sampled at {MOST_SAMPLES} samples in place of {own:,}")
        for samples in sorted({2, min(own, MOST_SAMPLES)}):
            plain = self.twin(
                epoch=epoch,
                samples=samples,
                estimators=twins.score_functions(self.made),
                most_alpha=SAMPLED_ALPHA,
            )
            model = self.compiled(plain, GENTLE)
            small = [observed for observed in several if self.most_rows(plain, observed, drawn)]
            lines += [self.sampled(model, plain, epoch, observed, drawn) for observed in small]
            if len(small) < len(several):
                count = len(several) - len(small)
                self.notes.append(
                    f"{count} patterns not sampled at {samples} samples: their draws have too many outcomes"
                )
        return lines

    def sampled(self, model: Model, plain: Raw, epoch: int, observed: tuple[str, ...], drawn: Sequence[str]) -> Sampled:
        rows, samples = self.rows(observed, self.most_rows(plain, observed, drawn)), plain["objective"]["samples"]
        mix = torch.randn(len(rows))
        loss = -(mix * self.expected(model, plain, rows, observed, drawn)).sum() / len(rows)
        wanted = torch.cat([loss.detach()[None], gradient_of(model, loss)])
        copies = max(1, ESTIMATES // len(rows))
        line = Sampled(self.words_of(observed), epoch, samples, REPEATS * copies * len(rows), len(wanted), 0.0, "")
        try:
            draws = self.estimates(model, plain, rows, mix, copies)
            score = scores(draws, wanted).abs()
            if float(score.max()) > SUSPICIOUS:  # means of too few draws have heavy tails: more of them, and only these
                draws = self.estimates(model, plain, rows, mix, MORE * copies)
                score, line = scores(draws, wanted).abs(), replace(line, estimates=MORE * line.estimates)
        except Exception as problem:  # as for the exact comparison
            return replace(line, problem=problem_words(problem))
        worst = int(score.argmax())
        return replace(line, score=float(score[worst]), name=["the loss", *self.parameter_names(model)][worst])

    def largest_alpha(self, epoch: float) -> float:
        """Give the largest α of the objective at an epoch, 0 where it has none."""
        alpha = self.twin(epoch=epoch)["objective"].get("alpha", 0.0)
        return max(alpha.values(), default=0.0) if isinstance(alpha, Mapping) else float(alpha)

    def most_rows(self, plain: Raw, observed: Sequence[str], drawn: Sequence[str]) -> int:
        """Tell for how many rows every outcome of the draws can be summed, up to the usual number."""
        latent, linear = self.latent(plain, observed)
        if linear:
            return ROWS
        samples = plain["objective"]["samples"]
        found = tuples(Draws.count(plain, dict.fromkeys(latent, CATEGORIES), drawn), samples)
        each = found * samples * CATEGORIES ** sum(name not in drawn for name in latent)
        return 0 if found > TUPLES else min(ROWS, LARGEST // each)  # 0: for none

    def latent(self, plain: Raw, observed: Sequence[str]) -> tuple[list[str], bool]:
        """Name what a pattern does not observe, and tell whether its bound is a plain mean over particles."""
        latent = [name for name in plain["nodes"] if name not in clamped(plain) and name not in observed]
        return latent, is_linear(plain, self.words(plain), observed, latent)

    def expected(
        self, model: Model, plain: Raw, rows: Sequence[Row], observed: Sequence[str], drawn: Sequence[str]
    ) -> Tensor:
        """Sum the bound of rows of one pattern over every draw, [R]."""
        joint, words = Joint(Factors(model, plain, self.inputs), rows), self.words(plain)
        if self.latent(plain, observed)[1]:
            return joint.bound(words)
        return expected(joint, words, drawn, plain["objective"]["samples"])

    def estimates(self, model: Model, plain: Raw, rows: Sequence[Row], mix: Tensor, copies: int) -> Tensor:
        """Estimate the loss of some rows and its gradient many times, independently: [repeats, 1 + parameters]."""
        batch = batch_of(plain, list(rows) * copies, self.inputs)
        found: list[Tensor] = []
        for _ in range(REPEATS):
            loss = model.objective(batch, weights=mix.repeat(copies)).loss
            found.append(torch.cat([loss.detach()[None], gradient_of(model, loss)]))
        return torch.stack(found)

    # ---- estimators with a bias

    def biases(self, name: str) -> list[Bias]:
        """Measure how far off a biased estimator is on rows without labels, at both ends of its schedule."""
        own = twins.estimators(self.made)[name]
        words = [twins.own_words(own, epoch) for epoch in twins.moments({"estimator": own})]
        return [bias for each in words for bias in self.bias(name, each)]

    def cooled(self, name: str) -> list[Cooled]:
        """Measure a relaxed node once it is cold. Neither the Concrete density nor straight-through has that limit."""
        own = twins.estimators(self.made)[name]
        if not isinstance(own, GumbelSoftmax) or own.density == "concrete":
            return []
        words = {own.name: {"temperature": COLD}}
        return [Cooled(name, words, found.gradient) for found in self.bias(name, words)]

    def bias(self, name: str, words: Any) -> list[Bias]:  # Any: plain data
        """Measure how far off an estimator is, a list of one; or note why that could not be done."""
        if () not in self.patterns:
            return self.unmeasured(name, "too much is unobserved in rows without labels")
        samples = min(self.made.objective.samples, MOST_SAMPLES)
        last = twins.moments(self.made.objective)[-1]
        plain, drawn = self.twin(epoch=last, samples=samples, estimators={name: words}), self.steps([name])
        model, rows = self.compiled(plain, GENTLE), self.rows((), self.most_rows(plain, (), drawn))
        if not rows:
            return self.unmeasured(name, "its draws have too many outcomes")
        try:
            draws = self.estimates(model, plain, rows, torch.ones(len(rows)), max(1, ESTIMATES // len(rows)))
        except Exception as problem:  # as for the exact comparison
            return self.unmeasured(name, problem_words(problem))
        loss = -self.expected(model, plain, rows, (), drawn).mean()
        wanted = gradient_of(model, loss)
        size = float(wanted.norm().clamp(min=1e-12))
        off, error = distance(draws[:, 1:] - wanted)
        shift = draws[:, 0] - loss.detach()
        value = float(shift.mean()), float(shift.std() / math.sqrt(REPEATS))
        return [Bias(name, words, (off / size, error / size), value)]

    def unmeasured(self, name: str, why: str) -> list[Bias]:
        self.notes.append(f"the bias of {name} is not measured: {why}")
        return []


def distance(draws: Tensor) -> tuple[float, float]:
    """Estimate the length of the mean of n draws, [n, K], and its standard error; noise adds nothing to it."""
    n, mean = len(draws), draws.mean(0)
    square = float((n * mean.square().sum() - draws.square().sum() / n) / (n - 1))
    length = math.sqrt(max(square, 0.0))
    along = draws @ (mean / mean.norm().clamp(min=1e-300))
    return length, float(along.std() / math.sqrt(n))


def gradient_of(model: Model, value: Tensor) -> Tensor:
    """Differentiate a scalar by every parameter, side by side, [K]; zeros where it does not read one."""
    parameters = list(model.parameters())
    if not value.requires_grad:
        return torch.cat([torch.zeros(p.numel()) for p in parameters])
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in zip(parameters, found, strict=True)]
    )


def step_words(made: Outline, plain: Raw) -> Iterator[str]:
    """Say how many steps of each repeat the twin has, where the spec has others."""
    if "written" in plain:
        own = {plate.name: plate.size for plate in plain["plates"]}
        for plate in made.spec.unrolled.plates:
            if own[plate.name] != plate.size:
                yield f"{plate.name}: the twin has {own[plate.name]} of its {plate.size} steps"


def problem_words(problem: Exception) -> str:
    """Say in one line how the compiled objective broke."""
    lines = str(problem).splitlines()
    return f"{type(problem).__name__}{': ' + lines[0] if lines else ''}"
