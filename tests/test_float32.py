"""Densities and divergences as users run them, in float32, against 50 digits, from tiny to huge parameters.

The oracle is each family's textbook formula in mpmath, its gradient by central differences there; nothing of it is
shared with the package. A score, a gradient in the value or in a parameter, a closed divergence and a mean may be off
by 1e-3 and by 1e-4 of the right number, no more. At the corners of the grid float32 rounds a parameter or a value
first: the oracle is given the rounded numbers. The points are drawn once, by a fixed seed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from mpmath import mp, mpf

from sgc.distributions.densities.log_gamma import deviance, log_peak
from sgc.distributions.families import FAMILIES, FORMS
from sgc.distributions.family import Family

NUMBERS = 400  # that are looked at for each case: values and slopes of densities, and again of divergences
ABSOLUTE, RELATIVE = 1e-3, 1e-4
LARGEST = 1e37  # what float32 holds
STEP = mpf(10) ** -18

Number = Any  # Any: mpmath has no types
Point = dict[str, Any]  # parameters by name: a float, or a list of them

POSITIVE = [1e-6, 1e-3, 0.3, 1.0, 7.5, 1e3, 1e5, 1e7, 1e10]
SCALES = [1e-6, 1e-2, 0.7, 30.0, 1e6]
PLACES = [-1e4, -0.3, 0.0, 2.0, 1e3]
LOGITS = [-1e4, -80.0, -30.0, -16.0, -1e-3, 0.0, 0.4, 17.0, 30.0, 1e4]
PROBS = [1e-20, 1e-6, 0.3, 0.5, 0.9, 1 - 2**-20]


@pytest.fixture(autouse=True)
def _fifty_digits() -> Iterator[None]:
    with mp.workdps(50):
        yield


EVERY = {**FAMILIES, **FORMS}


@dataclass(frozen=True)
class Case:
    """One family in one parameterisation: its textbook density, values worth a look, and what else has a formula."""

    name: str
    grid: Mapping[str, Sequence[Any]]
    density: Callable[..., Number]  # (value, **parameters)
    values: Callable[..., Sequence[Any]]  # (**parameters)
    kl: Callable[[Any, Any], Number] | None = None  # of two points, as namespaces
    mean: Callable[..., Any] | None = None
    options: Mapping[str, float] = field(default_factory=dict)
    differentiable: bool = True  # in the value

    @property
    def family(self) -> Family:
        return EVERY[self.name].with_options(self.options)

    @property
    def label(self) -> str:
        return "-".join([self.name, *self.grid])


# ---- textbook formulas, one line each


def log_factorial(n: Number) -> Number:
    return mp.loggamma(n + 1)


def log_choose(n: Number, k: Number) -> Number:
    return log_factorial(n) - log_factorial(k) - log_factorial(n - k)


def log_beta(a: Number, b: Number) -> Number:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def log_softmax(logits: Sequence[Number]) -> list[Number]:
    top = max(logits)
    total = top + mp.log(sum(mp.exp(each - top) for each in logits))
    return [each - total for each in logits]


def log_sigmoid(logits: Number) -> Number:
    return -mp.log1p(mp.exp(-logits)) if logits > 0 else logits - mp.log1p(mp.exp(logits))


def binomial(k: Number, logits: Number, n: int) -> Number:
    return log_choose(mpf(n), k) + k * log_sigmoid(logits) + (n - k) * log_sigmoid(-logits)


def log_odds(probs: Number) -> Number:
    return mp.log(probs) - mp.log1p(-probs)


def negative_binomial(k: Number, r: Number, log_p: Number, log_q: Number) -> Number:
    return mp.loggamma(k + r) - mp.loggamma(r) - log_factorial(k) + k * log_p + r * log_q


def negative_binomial_by_mean(k: Number, m: Number, theta: Number) -> Number:
    return negative_binomial(k, theta, mp.log(m) - mp.log(m + theta), -mp.log1p(m / theta))


def inflated(k: Number, gate_logits: Number, score: Number) -> Number:
    inside = log_sigmoid(-gate_logits) + score
    return mp.log(mp.exp(log_sigmoid(gate_logits)) + mp.exp(inside)) if k == 0 else inside


def gamma(x: Number, a: Number, b: Number) -> Number:
    return a * mp.log(b) - mp.loggamma(a) + (a - 1) * mp.log(x) - b * x


def gamma_kl(a: Number, b: Number, c: Number, d: Number) -> Number:
    """Of Gamma(a, b) from Gamma(c, d)."""
    return (a - c) * mp.psi(0, a) - mp.loggamma(a) + mp.loggamma(c) + c * (mp.log(b) - mp.log(d)) + a * (d - b) / b


def dirichlet(x: Sequence[Number], a: Sequence[Number]) -> Number:
    return (
        mp.loggamma(sum(a))
        - sum(mp.loggamma(each) for each in a)
        + sum((each - 1) * mp.log(y) for each, y in zip(a, x, strict=True))
    )


def dirichlet_kl(a: Sequence[Number], c: Sequence[Number]) -> Number:
    total = mp.psi(0, sum(a))
    return (
        mp.loggamma(sum(a))
        - mp.loggamma(sum(c))
        + sum(mp.loggamma(v) - mp.loggamma(u) + (u - v) * (mp.psi(0, u) - total) for u, v in zip(a, c, strict=True))
    )


def normal(x: Number, loc: Number, scale: Number) -> Number:
    return -(((x - loc) / scale) ** 2) / 2 - mp.log(scale) - mp.log(2 * mp.pi) / 2


def normal_kl(q: Any, p: Any) -> Number:
    return mp.log(p.scale / q.scale) + (q.scale**2 + (q.loc - p.loc) ** 2) / (2 * p.scale**2) - mpf(1) / 2


def student(x: Number, df: Number, loc: Number, scale: Number) -> Number:
    constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(df * mp.pi) / 2 - mp.log(scale)
    return constant - (df + 1) / 2 * mp.log1p(((x - loc) / scale) ** 2 / df)


def snedecor(x: Number, a: Number, b: Number) -> Number:
    """a, b: half the degrees of freedom."""
    return a * mp.log(a / b) + (a - 1) * mp.log(x) - (a + b) * mp.log1p(a / b * x) - log_beta(a, b)


def continuous_log_mass(logits: Number) -> Number:
    """log ∫ e^{l x} over the unit interval."""
    return mp.log(mp.expm1(logits) / logits) if logits else mpf(0)


def continuous_mean(logits: Number) -> Number:
    return 1 / -mp.expm1(-logits) - 1 / logits if logits else mpf(1) / 2


def cell(v: Number, loc: Number, scale: Number, levels: int) -> Number:
    half = mpf(levels - 1) / 2
    x, h = (v - half) / half, mpf(1) / (levels - 1)
    if v == 0:
        return log_sigmoid((x + h - loc) / scale)
    if v == levels - 1:
        return -mp.log1p(mp.exp((x - h - loc) / scale))
    a, b = (x + h - loc) / scale, (x - h - loc) / scale
    return log_sigmoid(a) + log_sigmoid(-b) + mp.log(-mp.expm1(b - a))


def gumbel_kl(q: Any, p: Any) -> Number:
    ratio = q.scale / p.scale
    return (
        -mp.log(ratio)
        + mp.euler * (ratio - 1)
        + mp.exp((p.loc - q.loc) / p.scale + mp.loggamma(1 + ratio))
        - 1
        + (q.loc - p.loc) / p.scale
    )


def laplace_kl(q: Any, p: Any) -> Number:
    gap = abs(q.loc - p.loc)
    return mp.log(p.scale / q.scale) + gap / p.scale + q.scale / p.scale * mp.exp(-gap / q.scale) - 1


def cauchy_kl(q: Any, p: Any) -> Number:
    return mp.log(((q.scale + p.scale) ** 2 + (q.loc - p.loc) ** 2) / (4 * q.scale * p.scale))


def bernoulli_kl(a: Number, b: Number) -> Number:
    """Of two log-odds."""
    one = mp.exp(log_sigmoid(a)) * (log_sigmoid(a) - log_sigmoid(b))
    return one + mp.exp(log_sigmoid(-a)) * (log_sigmoid(-a) - log_sigmoid(-b))


def multivariate(x: Sequence[Number], loc: Sequence[Number], scale_tril: Sequence[Sequence[Number]]) -> Number:
    z: list[Number] = []
    for i, row in enumerate(scale_tril):
        z.append((x[i] - loc[i] - sum(row[j] * z[j] for j in range(i))) / row[i])
    return -sum(each**2 for each in z) / 2 - sum(
        mp.log(row[i] * mp.sqrt(2 * mp.pi)) for i, row in enumerate(scale_tril)
    )


def multivariate_kl(q: Any, p: Any) -> Number:
    size = len(q.loc)
    a, b = (
        mp.matrix([[v if j <= i else 0 for j, v in enumerate(row)] for i, row in enumerate(each)])
        for each in (q.scale_tril, p.scale_tril)
    )
    solved, gap = b**-1 * a, b**-1 * (mp.matrix(p.loc) - mp.matrix(q.loc))
    trace = sum(solved[i, j] ** 2 for i in range(size) for j in range(size))
    logs = sum(mp.log(b[i, i] / a[i, i]) for i in range(size))
    return (trace + sum(each**2 for each in gap) - size) / 2 + logs


def von_mises(x: Number, loc: Number, concentration: Number) -> Number:
    """log I₀ by its asymptotic series where mpmath's own would sum for ever."""
    k = concentration
    if k < 2000:
        log_bessel = mp.log(mp.besseli(0, k))
    else:
        term, total = mpf(1), mpf(1)
        for n in range(1, 25):
            term *= mpf(2 * n - 1) ** 2 / (8 * n * k)
            total += term
        log_bessel = k - mp.log(2 * mp.pi * k) / 2 + mp.log(total)
    return k * mp.cos(x - loc) - mp.log(2 * mp.pi) - log_bessel


def away(loc: float, scale: float) -> list[float]:
    return [loc + z * scale for z in (-20.0, -1.7, -0.4, 0.0, 0.2, 2.6)]


def around(mean: float, deviation: float) -> list[float]:
    return [*(mean + z * deviation for z in (-2.0, 0.1, 3.0)), 0.3 * mean, 4 * mean]


def counts(mean: float) -> list[float]:
    mean = min(mean, 1e10)
    return [0.0, 1.0, 25.0, *(max(0.0, round(each)) for each in around(mean, math.sqrt(mean)))]


def expit(logits: float) -> float:
    return 1 / (1 + math.exp(-logits)) if logits > -700 else 0.0


def shares(*rows: Sequence[float]) -> list[list[float]]:
    """Normalise rows of the simplex in float32."""
    return [(torch.tensor(row) / torch.tensor(row).sum()).tolist() for row in rows]


def triangles(size: int = 2) -> list[list[list[float]]]:
    return [[[a, 0.0], [c, b]] for a in (1e-3, 0.8, 1e4) for b in (1e-3, 2.0, 1e4) for c in (-0.4, 5.0)]


TRIALS = [3, 1000, 2_000_000, 10_000_000]
LOC_SCALE = {"loc": PLACES, "scale": SCALES}

CASES: list[Case] = [
    Case(
        "Bernoulli",
        {"logits": LOGITS},
        lambda x, logits: x * log_sigmoid(logits) + (1 - x) * log_sigmoid(-logits),
        lambda logits: [0.0, 1.0, 0.3],
        lambda q, p: bernoulli_kl(q.logits, p.logits),
        lambda logits: mp.exp(log_sigmoid(logits)),
    ),
    *(
        Case(
            "Binomial",
            {"logits": LOGITS},
            lambda k, logits, n=n: binomial(k, logits, n),
            lambda logits, n=n: [k for k in (*counts(n * expit(logits)), n - 1.0, float(n)) if k <= n],
            lambda q, p, n=n: n * bernoulli_kl(q.logits, p.logits),
            lambda logits, n=n: n * mp.exp(log_sigmoid(logits)),
            {"total_count": n},
            differentiable=False,
        )
        for n in TRIALS
    ),
    Case(
        "Binomial",
        {"probs": PROBS},
        lambda k, probs: binomial(k, log_odds(probs), TRIALS[2]),
        lambda probs: [k for k in (*counts(TRIALS[2] * probs), TRIALS[2] - 1.0) if k <= TRIALS[2]],
        lambda q, p: TRIALS[2] * bernoulli_kl(log_odds(q.probs), log_odds(p.probs)),
        lambda probs: TRIALS[2] * probs,
        {"total_count": TRIALS[2]},
        differentiable=False,
    ),
    *(
        Case(
            "Multinomial",
            {"logits": [[0.3, -0.5, 1.0], [-80.0, 0.0, 30.0], [1e4, 1e4 + 1, 1e4 - 2], [-20.0, 0.0, 0.1]]},
            lambda k, logits, n=n: (
                log_factorial(n)
                - sum(log_factorial(each) for each in k)
                + sum(each * log for each, log in zip(k, log_softmax(logits), strict=True))
            ),
            lambda logits, n=n: [
                [n // 3, n // 2, n - n // 3 - n // 2],
                [0, 0, n],
                [n // 5, n // 10, n - n // 5 - n // 10],
            ],
            mean=lambda logits, n=n: [n * mp.exp(each) for each in log_softmax(logits)],
            options={"total_count": n},
            differentiable=False,
        )
        for n in TRIALS[1:]
    ),
    Case(
        "Categorical",
        {
            "logits": [
                [0.3, -0.5, 1.0],
                [-80.0, 0.0, 30.0],
                [1e6, 1e6 + 1, 1e6 - 2],
                [-20.0, 0.0, 1e4],
                [0.0, 0.0, 1e-6],
            ]
        },
        lambda x, logits: sum(each * log for each, log in zip(x, log_softmax(logits), strict=True)),
        lambda logits: [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]],
        lambda q, p: sum(
            mp.exp(a) * (a - b) for a, b in zip(log_softmax(q.logits), log_softmax(p.logits), strict=True)
        ),
        lambda logits: [mp.exp(each) for each in log_softmax(logits)],
    ),
    Case(
        "Poisson",
        {"rate": [1e-20, *POSITIVE]},
        lambda k, rate: k * mp.log(rate) - rate - log_factorial(k),
        lambda rate: counts(rate),
        lambda q, p: q.rate * mp.log(q.rate / p.rate) + p.rate - q.rate,
        lambda rate: rate,
        differentiable=False,
    ),
    Case(
        "Geometric",
        {"probs": PROBS},
        lambda k, probs: mp.log(probs) + k * mp.log1p(-probs),
        lambda probs: counts(1 / probs - 1),
        lambda q, p: mp.log(q.probs / p.probs) + (1 / q.probs - 1) * (mp.log1p(-q.probs) - mp.log1p(-p.probs)),
        lambda probs: 1 / probs - 1,
        differentiable=False,
    ),
    Case(
        "Geometric",
        {"logits": [each for each in LOGITS if abs(each) < 70]},
        lambda k, logits: log_sigmoid(logits) + k * log_sigmoid(-logits),
        lambda logits: counts(math.exp(-logits)),
        lambda q, p: (
            log_sigmoid(q.logits)
            - log_sigmoid(p.logits)
            + mp.exp(-q.logits) * (log_sigmoid(-q.logits) - log_sigmoid(-p.logits))
        ),
        lambda logits: mp.exp(-logits),
        differentiable=False,
    ),
    Case(
        "NegativeBinomial",
        {"total_count": POSITIVE, "logits": [*LOGITS, -13.1]},
        lambda k, total_count, logits: negative_binomial(k, total_count, log_sigmoid(logits), log_sigmoid(-logits)),
        lambda total_count, logits: counts(total_count * math.exp(min(logits, 30))),
        mean=lambda total_count, logits: total_count * mp.exp(logits),
        differentiable=False,
    ),
    Case(
        "NegativeBinomial",
        {"total_count": POSITIVE, "probs": PROBS},
        lambda k, total_count, probs: negative_binomial(k, total_count, mp.log(probs), mp.log1p(-probs)),
        lambda total_count, probs: counts(total_count * probs / (1 - probs)),
        mean=lambda total_count, probs: total_count * probs / (1 - probs),
        differentiable=False,
    ),
    Case(
        "NegativeBinomial by mean",
        {"mean": POSITIVE, "inverse_dispersion": POSITIVE},
        lambda k, mean, inverse_dispersion: negative_binomial_by_mean(k, mean, inverse_dispersion),
        lambda mean, inverse_dispersion: counts(mean),
        mean=lambda mean, inverse_dispersion: mean,
        differentiable=False,
    ),
    Case(
        "NegativeBinomial by mean",
        {"mean": POSITIVE, "dispersion": POSITIVE},
        lambda k, mean, dispersion: negative_binomial_by_mean(k, mean, 1 / dispersion),
        lambda mean, dispersion: counts(mean),
        mean=lambda mean, dispersion: mean,
        differentiable=False,
    ),
    Case(
        "ZeroInflated",
        {"rate": POSITIVE, "gate_logits": LOGITS},
        lambda k, rate, gate_logits: inflated(k, gate_logits, k * mp.log(rate) - rate - log_factorial(k)),
        lambda rate, gate_logits: counts(rate),
        mean=lambda rate, gate_logits: mp.exp(log_sigmoid(-gate_logits)) * rate,
        differentiable=False,
    ),
    Case(
        "ZeroInflated Binomial",
        {"logits": LOGITS, "gate_logits": LOGITS},
        lambda k, logits, gate_logits: inflated(k, gate_logits, binomial(k, logits, 4)),
        lambda logits, gate_logits: [0.0, 1.0, 4.0],
        mean=lambda logits, gate_logits: 4 * mp.exp(log_sigmoid(logits) + log_sigmoid(-gate_logits)),
        differentiable=False,
    ),
    Case(
        "ZeroInflated NegativeBinomial by mean",
        {"mean": POSITIVE[::2], "inverse_dispersion": POSITIVE[::2], "gate_logits": LOGITS[::2]},
        lambda k, mean, inverse_dispersion, gate_logits: inflated(
            k, gate_logits, negative_binomial_by_mean(k, mean, inverse_dispersion)
        ),
        lambda mean, inverse_dispersion, gate_logits: counts(mean),
        mean=lambda mean, inverse_dispersion, gate_logits: mp.exp(log_sigmoid(-gate_logits)) * mean,
        differentiable=False,
    ),
    *(
        Case(
            "DiscretizedLogistic",
            {"loc": [-1.2, -0.3, 0.0, 0.501, 30.0], "scale": SCALES},
            lambda v, loc, scale, levels=levels: cell(v, loc, scale, levels),
            lambda loc, scale, levels=levels: [0, 1, levels // 2, round(0.75 * levels), levels - 2, levels - 1],
            options={"levels": levels},
            differentiable=False,
        )
        for levels in (4, 256, 65536)
    ),
    Case(
        "Normal",
        LOC_SCALE,
        normal,
        away,
        normal_kl,
        lambda loc, scale: loc,
    ),
    Case(
        "MultivariateNormal",
        {"loc": [[0.0, 0.0], [1e3, -0.3]], "scale_tril": triangles()},
        multivariate,
        lambda loc, scale_tril: [
            [loc[0] + a * scale_tril[0][0], loc[1] + b * scale_tril[1][1] + a * scale_tril[1][0]]
            for a, b in ((0.2, -0.6), (3.0, 1.4))
        ],
        multivariate_kl,
        lambda loc, scale_tril: loc,
    ),
    Case(
        "Laplace",
        LOC_SCALE,
        lambda x, loc, scale: -mp.log(2 * scale) - abs(x - loc) / scale,
        lambda loc, scale: [each for each in away(loc, scale) if each != loc],
        laplace_kl,
        lambda loc, scale: loc,
    ),
    Case(
        "Gumbel",
        LOC_SCALE,
        lambda x, loc, scale: -(x - loc) / scale - mp.exp(-(x - loc) / scale) - mp.log(scale),
        away,
        gumbel_kl,
        lambda loc, scale: loc + mp.euler * scale,
    ),
    Case(
        "Cauchy",
        LOC_SCALE,
        lambda x, loc, scale: -mp.log(mp.pi * scale) - mp.log1p(((x - loc) / scale) ** 2),
        lambda loc, scale: [*away(loc, scale), loc + 1e6 * scale],
        cauchy_kl,
        lambda loc, scale: loc,
    ),
    Case("StudentT", {"df": POSITIVE, **LOC_SCALE}, student, lambda df, loc, scale: away(loc, scale)),
    Case(
        "LogNormal",
        {"loc": [-30.0, -0.3, 0.0, 40.0], "scale": [1e-5, 1e-2, 0.7, 5.0]},
        lambda x, loc, scale: normal(mp.log(x), loc, scale) - mp.log(x),
        lambda loc, scale: [math.exp(each) for each in away(loc, scale) if abs(each) < 80],
        normal_kl,
        lambda loc, scale: mp.exp(loc + scale**2 / 2),
    ),
    Case(
        "HalfNormal",
        {"scale": SCALES},
        lambda x, scale: mp.log(2) + normal(x, 0, scale),
        lambda scale: [0.0, 0.3 * scale, 2.6 * scale, 30 * scale],
        lambda q, p: mp.log(p.scale / q.scale) + (q.scale / p.scale) ** 2 / 2 - mpf(1) / 2,
        lambda scale: scale * mp.sqrt(2 / mp.pi),
    ),
    Case(
        "HalfCauchy",
        {"scale": SCALES},
        lambda x, scale: mp.log(2 / (mp.pi * scale)) - mp.log1p((x / scale) ** 2),
        lambda scale: [0.0, 0.3 * scale, 2.6 * scale, 1e6 * scale],
        lambda q, p: mp.log((q.scale + p.scale) ** 2 / (4 * q.scale * p.scale)),
    ),
    Case(
        "Exponential",
        {"rate": POSITIVE},
        lambda x, rate: mp.log(rate) - rate * x,
        lambda rate: [1e-3 / rate, 0.3 / rate, 1 / rate, 50 / rate],
        lambda q, p: mp.log(q.rate / p.rate) + p.rate / q.rate - 1,
        lambda rate: 1 / rate,
    ),
    Case(
        "Gamma",
        {"concentration": POSITIVE, "rate": SCALES},
        lambda x, concentration, rate: gamma(x, concentration, rate),
        lambda concentration, rate: [
            *(each / rate for each in around(concentration, math.sqrt(concentration))),
            1e-20,
            1e-3 / rate,
        ],
        lambda q, p: gamma_kl(q.concentration, q.rate, p.concentration, p.rate),
        lambda concentration, rate: concentration / rate,
    ),
    Case(
        "InverseGamma",
        {"concentration": POSITIVE, "rate": SCALES},
        lambda x, concentration, rate: gamma(1 / x, concentration, rate) - 2 * mp.log(x),
        lambda concentration, rate: [
            rate / each for each in (*around(concentration, math.sqrt(concentration)), 1e-3) if each > 0
        ],
        lambda q, p: gamma_kl(q.concentration, q.rate, p.concentration, p.rate),
        lambda concentration, rate: rate / (concentration - 1) if concentration > 1 else mp.inf,
    ),
    Case(
        "Weibull",
        {"scale": SCALES, "concentration": [1e-3, 0.3, 1.0, 7.5, 1e3, 1e6]},
        lambda x, scale, concentration: (
            mp.log(concentration)
            - concentration * mp.log(scale)
            + (concentration - 1) * mp.log(x)
            - (x / scale) ** concentration
        ),
        lambda scale, concentration: [
            scale * math.exp(each / concentration) for each in (-3.0, -0.2, 0.01, 1.5) if abs(each / concentration) < 60
        ],
        mean=lambda scale, concentration: scale * mp.gamma(1 + 1 / concentration) if concentration > 0.1 else None,
    ),
    Case(
        "Chi2",
        {"df": POSITIVE},
        lambda x, df: gamma(x, df / 2, mpf(1) / 2),
        lambda df: [*around(df, math.sqrt(2 * df)), 1e-20, 1e-3],
        lambda q, p: gamma_kl(q.df / 2, mpf(1) / 2, p.df / 2, mpf(1) / 2),
        lambda df: df,
    ),
    Case(
        "FisherSnedecor",
        {"df1": POSITIVE, "df2": POSITIVE},
        lambda x, df1, df2: snedecor(x, df1 / 2, df2 / 2),
        lambda df1, df2: [1e-6, 0.2, 0.999, 1.0, 1.001, 6.0, 1e6],
        mean=lambda df1, df2: df2 / (df2 - 2) if df2 > 2 else mp.inf,
    ),
    *(
        Case(
            "Pareto",
            {"alpha": POSITIVE},
            lambda x, alpha, scale=scale: mp.log(alpha) + alpha * mp.log(scale) - (alpha + 1) * mp.log(x),
            lambda alpha, scale=scale: [
                scale * (1 + 1e-6),
                *(scale * math.exp(each / alpha) for each in (0.3, 1.0, 5.0) if each / alpha < 60),
            ],
            lambda q, p: mp.log(q.alpha / p.alpha) + p.alpha / q.alpha - 1,
            lambda alpha, scale=scale: alpha * scale / (alpha - 1) if alpha > 1 else mp.inf,
            {"scale": scale},
        )
        for scale in (1.0, 0.0078125)
    ),
    Case(
        "Uniform",
        {"low": [-1e6, -1e-6, 0.0], "high": [1e-6, 0.3, 1e6]},
        lambda x, low, high: -mp.log(high - low),
        lambda low, high: [low + 0.4 * (high - low)],
        lambda q, p: mp.log((p.high - p.low) / (q.high - q.low)) if p.low <= q.low and q.high <= p.high else mp.inf,
        lambda low, high: (low + high) / 2,
    ),
    Case(
        "Beta",
        {"concentration1": POSITIVE, "concentration0": POSITIVE},
        lambda x, concentration1, concentration0: dirichlet([x, 1 - x], [concentration1, concentration0]),
        lambda concentration1, concentration0: [
            1e-20,
            1e-4,
            0.5,
            1 - 2**-20,
            *around(
                concentration1 / (concentration1 + concentration0),
                math.sqrt(concentration1 * concentration0 / (concentration1 + concentration0 + 1))
                / (concentration1 + concentration0),
            ),
        ],
        lambda q, p: dirichlet_kl([q.concentration1, q.concentration0], [p.concentration1, p.concentration0]),
        lambda concentration1, concentration0: concentration1 / (concentration1 + concentration0),
    ),
    Case(
        "Kumaraswamy",
        {"concentration1": POSITIVE, "concentration0": POSITIVE},
        lambda x, concentration1, concentration0: (
            mp.log(concentration1 * concentration0)
            + (concentration1 - 1) * mp.log(x)
            + (concentration0 - 1) * mp.log(-mp.expm1(concentration1 * mp.log(x)))
        ),
        lambda concentration1, concentration0: [1e-20, 1e-4, 0.5, 1 - 2**-20],
        mean=lambda concentration1, concentration0: mp.exp(
            mp.log(concentration0) + log_beta(1 + 1 / concentration1, concentration0)
        ),
    ),
    Case(
        "ContinuousBernoulli",
        {"logits": LOGITS},
        lambda x, logits: logits * x - continuous_log_mass(logits),
        lambda logits: [0.0, 1e-6, 0.3, 0.5, 1 - 2**-20, 1.0],
        lambda q, p: (
            continuous_mean(q.logits) * (q.logits - p.logits)
            - continuous_log_mass(q.logits)
            + continuous_log_mass(p.logits)
        ),
        continuous_mean,
    ),
    Case(
        "ContinuousBernoulli",
        {"probs": PROBS},
        lambda x, probs: log_odds(probs) * x - continuous_log_mass(log_odds(probs)),
        lambda probs: [0.0, 1e-6, 0.3, 1 - 2**-20],
        mean=lambda probs: continuous_mean(log_odds(probs)),
    ),
    *(
        Case(
            "Dirichlet",
            {"concentration": [[scale * each for each in row] for scale in POSITIVE[:-1] for row in rows]},
            lambda x, concentration: dirichlet(x, concentration),
            lambda concentration: shares(concentration, [1.0] * len(concentration), [1e-20, *concentration[1:]]),
            lambda q, p: dirichlet_kl(q.concentration, p.concentration),
            lambda concentration: [each / sum(concentration) for each in concentration],
        )
        for rows in ([[1.0, 1.0, 1.0], [0.2, 3.0, 1.0], [1.0, 1.0, 1e-4]], [[1.0] * 19 + [2.0]])
    ),
    Case(
        "VonMises",
        {"loc": [-3.0, 0.0, 0.3], "concentration": POSITIVE},
        von_mises,
        lambda loc, concentration: [
            loc + each for each in (-2.5, 1e-3, 0.3 / math.sqrt(concentration), 2 / math.sqrt(concentration), 20.0)
        ],
        lambda *_: None,
        lambda loc, concentration: loc,
    ),
]


# ---- numbers


def rounded(value: Any) -> Any:
    """Give what float32 makes of a number, or of each of a list."""
    return torch.tensor(value, dtype=torch.float32).tolist()


def exact(value: Any) -> Any:
    return [exact(each) for each in value] if isinstance(value, list) else mpf(value)


def flat(value: Any) -> list[Any]:
    return [number for each in value for number in flat(each)] if isinstance(value, list) else [value]


def with_number(value: Any, place: int, number: Number) -> Any:
    """Replace one number of a list of lists, or the number itself."""
    numbers = iter([*flat(value)[:place], number, *flat(value)[place + 1 :]])

    def fill(each: Any) -> Any:
        return [fill(one) for one in each] if isinstance(each, list) else next(numbers)

    return fill(value)


def slopes(function: Callable[..., Number], arguments: Mapping[str, Any], name: str) -> list[Number]:
    """Differentiate by each number of one argument; above a triangle's diagonal, where a 0 stays, the slope is left."""
    found = []
    for place, number in enumerate(flat(arguments[name])):
        step = STEP * (abs(number) or 1)
        ends = [function(**{**arguments, name: with_number(arguments[name], place, number + s)}) for s in (step, -step)]
        found.append((ends[0] - ends[1]) / (2 * step))
    return found


@dataclass
class Namespace:
    """Parameters as attributes."""

    point: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.point[name]


def points(grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    return [dict(zip(grid, map(rounded, each), strict=True)) for each in itertools.product(*grid.values())]


def some(items: Sequence[Any], numbers: int) -> list[Any]:
    """Draw as many as the numbers that each of them has allow."""
    most = max(NUMBERS // numbers, 4)
    return list(items) if len(items) <= most else random.Random(0).sample(list(items), most)


def within(family: Family, value: Any) -> bool:
    """Say whether float32 left a value inside of its support."""
    numbers = flat(value)
    if not all(math.isfinite(each) and abs(each) < 1e30 for each in numbers):
        return False
    if family.name in ("Beta", "Kumaraswamy", "Dirichlet"):
        return all(0 < each < 1 for each in numbers)
    if family.name in ("LogNormal", "Gamma", "InverseGamma", "Weibull", "Chi2", "FisherSnedecor"):
        return all(each > 1e-37 for each in numbers)
    return family.name != "Pareto" or numbers[0] >= family.setting("scale")


def tensors(rows: Sequence[Point], name: str) -> torch.Tensor:
    return torch.tensor([row[name] for row in rows], dtype=torch.float32).requires_grad_()


def compare(case: Case, what: str, rows: Sequence[Any], got: torch.Tensor, wanted: Sequence[Any]) -> list[str]:
    """Name what is off. got: [rows], wanted: a number for each of its numbers."""
    wrong = []
    for row, ours, theirs in zip(rows, got.tolist(), wanted, strict=True):
        for one, right in zip(flat(ours), flat(theirs), strict=True):
            if right is None or abs(right) > LARGEST:
                continue
            if not abs(one - right) <= ABSOLUTE + RELATIVE * abs(right):
                wrong.append(f"{case.label} {what} at {row}: {one:.7g}, right {mp.nstr(right, 8)}")
    return wrong


def told(wrong: Sequence[str], of: int) -> None:
    assert not wrong, f"{len(wrong)} of {of} numbers are off:\n" + "\n".join(wrong[:12])


def scored(name: str, value: float, **parameters: float) -> torch.Tensor:
    family = FAMILIES[name]
    return family.log_prob(
        family.distribution({n: torch.tensor(v) for n, v in parameters.items()}, ()), torch.tensor(value)
    )


def test_scores_that_were_off_by_nats() -> None:
    """float32 scored the first +3.94, Poisson −8.00 and the logits of −30 2.769; their values are scipy's."""
    stats = pytest.importorskip("scipy.stats")
    for count, mean, value in ((1e7, 20, 25), (1e6, 100, 100)):
        logits = torch.tensor(mean / count).log().item()
        right = stats.nbinom.logpmf(value, count, 1 / (1 + math.exp(logits)))
        assert abs(scored("NegativeBinomial", value, total_count=count, logits=logits).item() - right) < 1e-3
    assert abs(scored("NegativeBinomial", 25, total_count=1e7, logits=math.log(2e-6)).item() + 3.11) < 5e-3
    assert abs(scored("Poisson", 1_001_000, rate=1e6).item() - stats.poisson.logpmf(1_001_000, 1e6)) < 1e-3
    assert abs(scored("Poisson", 1_001_000, rate=1e6).item() + 8.33) < 5e-3
    steep = torch.tensor(-30.0, requires_grad=True)
    family = FAMILIES["ContinuousBernoulli"]
    score = family.log_prob(family.distribution({"logits": steep}, ()), torch.tensor(0.0))
    assert abs(score.item() - math.log(30)) < 1e-4
    assert abs(torch.autograd.grad(score, steep)[0].item() + 1 / 30) < 1e-6
    for name, right, parameters, event in (
        ("Dirichlet", 101.490, {"concentration": (1e5, 1.0)}, (20,)),
        ("Beta", 6.5285, {"concentration1": (1e6, 1.0), "concentration0": (1e6, 1.0)}, ()),
    ):
        q, p = (
            FAMILIES[name].distribution({n: torch.tensor(both[side]) for n, both in parameters.items()}, event)
            for side in (0, 1)
        )
        assert abs(FAMILIES[name].kl(q, p).item() - right) < 2e-3


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_parameters_at_an_end_of_their_set_score_and_learn(kind: torch.dtype) -> None:
    """0 · log 0 is 0, and what rounding saturated has a gradient: a Sigmoid is 1 in float32 from 17 on."""
    for name, value, right, parameters, options in (
        ("Poisson", 0.0, 0.0, {"rate": 0.0}, {}),
        ("Poisson", 2.0, -math.inf, {"rate": 0.0}, {}),
        ("Binomial", 0.0, 0.0, {"probs": 0.0}, {"total_count": 5}),
        ("Binomial", 5.0, 0.0, {"probs": 1.0}, {"total_count": 5}),
        ("Binomial", 4.0, -math.inf, {"probs": 1.0}, {"total_count": 5}),
        ("Geometric", 0.0, 0.0, {"probs": 1.0}, {}),
        ("Geometric", 1.0, -math.inf, {"probs": 1.0}, {}),
        ("NegativeBinomial", 0.0, 0.0, {"total_count": 2.0, "probs": 0.0}, {}),
        ("NegativeBinomial", 0.0, 0.0, {"total_count": 0.0, "probs": 0.5}, {}),
        ("NegativeBinomial by mean", 0.0, 0.0, {"mean": 0.0, "inverse_dispersion": 2.0}, {}),
        ("NegativeBinomial by mean", 3.0, -math.inf, {"mean": 0.0, "inverse_dispersion": 2.0}, {}),
        ("NegativeBinomial by mean", 1.0, -1.0, {"mean": 1.0, "dispersion": 0.0}, {}),  # a Poisson
        ("ZeroInflated", 0.0, -3.0, {"rate": 3.0, "gate": 0.0}, {}),
        ("ZeroInflated", 0.0, 0.0, {"rate": 0.0, "gate": 0.25}, {}),
        ("ZeroInflated", 1.0, -math.inf, {"rate": 0.0, "gate": 0.25}, {}),
        ("Bernoulli", 1.0, 0.0, {"probs": 1.0}, {}),
        ("Bernoulli", 0.0, 0.0, {"probs": 0.0}, {}),
        ("ContinuousBernoulli", 0.0, None, {"probs": 0.0}, {}),
        ("Categorical", [0.0, 1.0], 0.0, {"probs": [0.0, 1.0]}, {}),
        ("Multinomial", [0.0, 3.0], 0.0, {"probs": [0.0, 1.0]}, {"total_count": 3}),
    ):
        family = EVERY[name].with_options(options)
        given = {key: torch.tensor(each, dtype=kind, requires_grad=True) for key, each in parameters.items()}
        observed = torch.tensor(value, dtype=kind)
        member = family.distribution(given, tuple(observed.shape))
        score = family.log_prob(member, observed)
        assert right is None or score.item() == pytest.approx(right, abs=1e-9), (name, parameters)
        if score.isfinite():
            slopes = torch.autograd.grad(score, list(given.values()), allow_unused=True)
            assert all(slope is None or bool(slope.isfinite().all()) for slope in slopes), (name, parameters)


@mp.workdps(400)  # 1e300 log 1e300 leaves no digit of fifty
def test_peaks_and_deviances_are_right_from_the_smallest_to_the_largest_number() -> None:
    """In float64 to 1e-9, in float32, for devices that have no float64, to 1e-4 of them; their slopes are so too."""
    sizes = [0.0, 1e-300, 1e-9, 0.3, 1.0, 9.9, 19.9, 20.1, 1e3, 99_999.0, 1e5, 1e9, 1e18, 1e300]
    for dtype, near, largest in ((torch.float64, 1e-9, 1e301), (torch.float32, 1e-4, 1e30)):
        for size in (each for each in sizes if each < largest and not 0 < each < 1 / largest):
            x = torch.tensor(size, dtype=dtype, requires_grad=True)
            peak, number = log_peak(x), mpf(x.item())
            right = number * mp.log(number) - number - mp.loggamma(number + 1) if size else mpf(0)
            assert abs(peak.item() - right) <= near * (1 + abs(right)), size
            if size:
                right = mp.log(number) - mp.psi(0, number + 1)
                slope = torch.autograd.grad(peak, x)[0].item()
                assert abs(slope - right) <= near * (1e-3 + abs(right)), size
            for ratio in (1e-9, 0.5, 0.999, 1.0, 1.001, 2.0, 1e9):
                mean = torch.tensor(max(size, 1e-9) * ratio, dtype=dtype, requires_grad=True)
                if not 0 < mean.item() < math.inf:
                    continue
                found, exact_mean = deviance(x, mean.log(), mean), mpf(mean.item())
                right = (number * mp.log(number / exact_mean) if size else 0) + exact_mean - number
                assert abs(found.item() - right) <= near * (1 + abs(right)), (size, ratio)


def test_peaks_and_deviances_know_their_derivatives() -> None:
    x = torch.tensor([0.4, 3.0, 2e5], dtype=torch.float64, requires_grad=True)
    log_mean = torch.tensor([[0.1], [1.2], [12.3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_peak, x)
    assert torch.autograd.gradcheck(deviance, (x, log_mean))
    assert torch.autograd.gradcheck(lambda x, m: deviance(x, m.log(), m), (x, log_mean.detach().exp().requires_grad_()))


EACH_CASE = pytest.mark.parametrize("case", [pytest.param(case, id=case.label) for case in CASES])


def test_every_family_has_its_case_by_every_head() -> None:
    assert set(EVERY) == {case.name for case in CASES}
    for name, family in EVERY.items():
        assert not family.heads or set(family.heads) in [
            set(case.grid) - set(case.options) for case in CASES if case.name == name
        ]
        assert not family.closed_kl or any(case.kl for case in CASES if case.name == name)


@EACH_CASE
def test_scores_and_their_gradients_are_right_in_float32(case: Case) -> None:
    family = case.family
    rows = [
        {"value": value, **point}
        for point in points(case.grid)
        for value in map(rounded, case.values(**point))
        if within(family, value)
    ]
    rows = some(rows, sum(len(flat(each)) for each in rows[0].values()))
    event = (len(rows[0]["value"]),) if family.event_dim else ()
    parameters = {name: tensors(rows, name) for name in case.grid}
    value = tensors(rows, "value")
    score = family.log_prob(family.distribution(parameters, event), value)
    assert score.dtype == torch.float32
    named = {**parameters, **({"value": value} if case.differentiable else {})}
    gradients = dict(zip(named, torch.autograd.grad(score.sum(), list(named.values()), allow_unused=True), strict=True))

    def density(value: Any, **point: Any) -> Number:
        return case.density(value, **point)

    right = [{name: exact(each) for name, each in row.items()} for row in rows]
    wrong = compare(case, "density", rows, score, [density(**row) for row in right])
    for name in named:
        found = gradients[name]
        found = torch.zeros_like(named[name]) if found is None else found
        if name == "scale_tril":
            found = found.tril()
        wanted = [slopes(density, row, name) for row in right]
        wrong += compare(
            case, f"slope by {name}", rows, found.flatten(1) if found.dim() > 1 else found[:, None], wanted
        )
    told(wrong, len(rows) * (1 + len(named)))


@pytest.mark.parametrize("case", [pytest.param(c, id=c.label) for c in CASES if c.kl and EVERY[c.name].closed_kl])
def test_closed_divergences_and_their_gradients_are_right_in_float32(case: Case) -> None:
    family, every = case.family, points(case.grid)
    numbers = 4 * sum(len(flat(each)) for each in every[0].values())
    pairs = some([(q, p) for q in every for p in every], numbers)
    # neighbours in every number, which nearly cancel
    pairs += [(q, {n: rounded(_nudged(v)) for n, v in q.items()}) for q in some(every, numbers)]
    event = ()
    if family.event_dim:
        event = (len(flat(pairs[0][0]["loc" if "loc" in case.grid else next(iter(case.grid))])),)
    q = {name: tensors([a for a, _ in pairs], name) for name in case.grid}
    p = {name: tensors([b for _, b in pairs], name) for name in case.grid}
    kl = family.kl(family.distribution(q, event), family.distribution(p, event))
    assert kl.dtype == torch.float32
    names = [f"{side}_{name}" for side in "qp" for name in case.grid]
    inputs = [*q.values(), *p.values()]
    gradients = torch.autograd.grad(kl.sum(), inputs, allow_unused=True)

    def divergence(**both: Any) -> Number:
        sides = [Namespace({name: both[f"{side}_{name}"] for name in case.grid}) for side in "qp"]
        assert case.kl is not None
        return case.kl(*sides)

    right = [
        {**{f"q_{n}": exact(v) for n, v in a.items()}, **{f"p_{n}": exact(v) for n, v in b.items()}} for a, b in pairs
    ]
    values = [divergence(**row) for row in right]
    wrong = compare(case, "KL", pairs, kl, values)
    finite = [i for i, each in enumerate(values) if abs(each) < LARGEST]
    for name, tensor, found in zip(names, inputs, gradients, strict=True):
        found = torch.zeros_like(tensor) if found is None else found
        if name.endswith("scale_tril"):
            found = found.tril()
        found = found.flatten(1) if found.dim() > 1 else found[:, None]
        wanted = [slopes(divergence, right[i], name) for i in finite]
        wrong += compare(case, f"slope of KL by {name}", [pairs[i] for i in finite], found[finite], wanted)
    told(wrong, len(pairs) * (1 + len(names)))


def _nudged(value: Any) -> Any:
    return [_nudged(each) for each in value] if isinstance(value, list) else value * (1 - 2**-10)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.label) for case in CASES if case.mean])
def test_means_are_right_in_float32(case: Case) -> None:
    family, rows = case.family, points(case.grid)
    first = rows[0][next(iter(case.grid))]
    event = (len(first),) if family.event_dim else ()
    distribution = family.distribution({name: tensors(rows, name) for name in case.grid}, event)
    mean = family.mean(distribution)
    assert case.mean is not None
    wanted = [case.mean(**{name: exact(each) for name, each in row.items()}) for row in rows]
    told(compare(case, "mean", rows, mean, wanted), len(rows))
