"""What no class says of its family: which parameters get heads, the standard prior, options and supports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sgc.distributions import samplers
from sgc.distributions.densities import (
    BERNOULLI,
    CATEGORICAL,
    NORMAL,
    OWN,
    UNIFORM,
    Scoring,
    categories,
    exact,
    integers,
    positives,
    reals,
    shares,
)
from sgc.distributions.discretized_logistic import discretized_logistic, discretized_logistic_score
from sgc.distributions.multinomial import multinomial
from sgc.distributions.negative_binomial import mean_negative_binomial
from sgc.distributions.relaxation import BIT, ONE_HOT, Relaxation
from sgc.distributions.samplers import Sampler
from sgc.distributions.supports import Support
from sgc.distributions.von_mises import von_mises

Center = Literal["mean", "mean_or_infinite", "loc", "scale"]


@dataclass(frozen=True)
class Option:
    """A number that belongs to the family itself, is fixed in the spec and never learned."""

    type: Literal["int", "float"]
    low: float
    high: float = math.inf
    open_low: bool = False  # True: `low` itself is refused
    default: float | None = None  # None: the spec must give it
    bounds: Callable[[Support, float], Support] | None = None  # how it narrows the family's support

    def accepts(self, value: object) -> bool:
        """Say whether a value has the option's type and lies in its range; an int counts as a float."""
        if isinstance(value, bool) or not isinstance(value, int if self.type == "int" else (int, float)):
            return False
        return (self.low < value if self.open_low else self.low <= value) and value <= self.high

    @property
    def range(self) -> str:
        """Name what is accepted, for messages: 'an int ≥ 1', 'a float > 0'."""
        article = "an int" if self.type == "int" else "a float"
        upper = "" if self.high == math.inf else f" and ≤ {self.high:g}"
        return f"{article} {'>' if self.open_low else '≥'} {self.low:g}{upper}"


BY = "by"  # the option that chooses among the forms of a family


@dataclass(frozen=True)
class Line:
    """One family by hand. `heads` are the parameters that a network gives; empty: it is fixed or standard only.

    A family with `has_standard` has a standard member. Its parameters are `standard`, or in the middle of their sets:
    0 for real ones, 1 for positive ones, 1/2 in the unit interval.
    """

    name: str
    heads: tuple[str, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    has_standard: bool = True
    standard: Mapping[str, float] = field(default_factory=dict)
    center: Center = "mean"  # loc or scale, the median, where members have no mean; infinite where torch may give nan
    relaxation: Relaxation | None = None
    gaussian: bool = False  # whether the variance of its means over rows is compared with the 1 of a standard prior
    torch_class: str = ""  # "" where the name is torch's own
    define: Callable[[], Any] | None = None  # gives the class of members that are not torch's
    words: Mapping[str, str] = field(default_factory=dict)  # in place of torch's constraint words
    support: str = ""  # "" where torch's word is right
    scoring: Scoring = OWN  # densities, divergence and mean where the class's are not right in every precision
    sampler: Sampler | None = None  # draws its members, where the class draws wrongly at the edges
    by: str = ""  # the word for its parameters, of a family that has `forms` or is one of them
    forms: tuple[Line, ...] = ()  # the same family by other parameters


_COUNT = {"total_count": Option("int", 1, bounds=Support.up_to)}
_LEVELS = {"levels": Option("int", 2, 65536, bounds=lambda support, levels: support.up_to(levels - 1))}
_LEAST = {
    "scale": Option("float", 0.0, open_low=True, default=1.0, bounds=lambda support, end: support.within(end, math.inf))
}

# Left out, and why:
#   GeneralizedPareto                     its support moves with its parameters, and torch's density fails in float64
#   LKJCholesky                           can neither be reparameterised nor enumerated
#   LogisticNormal                        has no closed mean, and its parameters are one shorter than its values
#   LowRankMultivariateNormal             its factor has a shape of its own, and columns that start alike stay alike
#                                         where they are learned as constants
#   Wishart                               its values are matrices, and the least df depends on their size
#   RelaxedBernoulli, RelaxedOneHotCategorical   have no closed mean; Bernoulli and Categorical with gumbel_softmax draw
#                                         from them
#   OneHotCategorical                     is what Categorical is here; with StraightThrough, it is one of its estimators
#   Independent, MixtureSameFamily, TransformedDistribution   are ways to build families
# To use one of them nevertheless, name a class that builds on it as own code.
LINES: tuple[Line, ...] = (
    Line("Bernoulli", ("logits",), relaxation=BIT, support="grey", scoring=BERNOULLI),
    Line("Categorical", ("logits",), torch_class="OneHotCategorical", relaxation=ONE_HOT, scoring=CATEGORICAL),
    Line(
        "Binomial", ("logits",), _COUNT, scoring=exact(integers.binomial, integers.binomial_kl, integers.binomial_mean)
    ),
    Line("Multinomial", ("logits",), _COUNT, define=multinomial, scoring=exact(integers.multinomial)),
    Line("Poisson", ("rate",), scoring=exact(integers.poisson, integers.poisson_kl), sampler=samplers.poisson),
    Line(
        "Geometric",
        ("probs",),
        scoring=exact(integers.geometric, integers.geometric_kl, integers.geometric_mean),
        sampler=samplers.geometric,
    ),
    Line(
        "NegativeBinomial",
        ("total_count", "logits"),
        has_standard=False,
        scoring=exact(integers.negative_binomial, mean=integers.negative_binomial_mean),
        sampler=samplers.negative_binomial,
        by="logits",
        forms=(
            Line(
                "NegativeBinomial by mean",
                ("mean", "inverse_dispersion"),
                has_standard=False,
                define=mean_negative_binomial,
                scoring=exact(integers.negative_binomial_by_mean),
                sampler=samplers.negative_binomial_by_mean,
                by="mean",
            ),
        ),
    ),
    Line(
        "DiscretizedLogistic",
        ("loc", "scale"),
        _LEVELS,
        define=discretized_logistic,
        support="levels",
        scoring=exact(discretized_logistic_score),
    ),
    Line("Normal", ("loc", "scale"), gaussian=True, scoring=NORMAL, sampler=samplers.normal),
    Line(
        "MultivariateNormal",
        ("loc", "scale_tril"),
        gaussian=True,
        scoring=exact(reals.multivariate_normal, reals.multivariate_normal_kl),
        sampler=samplers.multivariate_normal,
    ),
    Line("Laplace", ("loc", "scale"), scoring=exact(reals.laplace, reals.laplace_kl), sampler=samplers.laplace),
    Line("Gumbel", ("loc", "scale"), scoring=exact(reals.gumbel, reals.gumbel_kl), sampler=samplers.gumbel),
    Line(
        "Cauchy",
        ("loc", "scale"),
        center="loc",
        scoring=exact(reals.cauchy, reals.cauchy_kl),
        sampler=samplers.cauchy,
    ),
    Line(
        "StudentT",
        ("df", "loc", "scale"),
        has_standard=False,
        center="loc",
        scoring=exact(reals.student_t),
        sampler=samplers.student_t,
    ),
    Line(
        "LogNormal",
        ("loc", "scale"),
        scoring=exact(positives.log_normal, reals.normal_kl),
        sampler=samplers.log_normal,
    ),
    Line("HalfNormal", ("scale",), scoring=exact(positives.half_normal, positives.half_normal_kl)),
    Line("HalfCauchy", ("scale",), center="scale", scoring=exact(positives.half_cauchy, positives.half_cauchy_kl)),
    Line("Exponential", ("rate",), scoring=exact(positives.exponential, positives.exponential_kl)),
    # torch closes these supports, and nearly every member has an infinite density at their ends
    Line(
        "Gamma",
        ("concentration", "rate"),
        support="positive",
        scoring=exact(positives.gamma, positives.gamma_kl),
        sampler=samplers.gamma,
    ),
    Line(
        "InverseGamma",
        ("concentration", "rate"),
        has_standard=False,
        scoring=exact(positives.inverse_gamma, positives.gamma_kl),
        sampler=samplers.inverse_gamma,
    ),
    Line("Weibull", ("scale", "concentration"), scoring=exact(positives.weibull), sampler=samplers.weibull),
    Line(
        "Chi2",
        ("df",),
        has_standard=False,
        support="positive",
        scoring=exact(positives.chi2, positives.chi2_kl),
        sampler=samplers.gamma,
    ),
    Line(
        "FisherSnedecor",
        ("df1", "df2"),
        has_standard=False,
        center="mean_or_infinite",
        scoring=exact(positives.fisher_snedecor),
        sampler=samplers.fisher_snedecor,
    ),
    # A bound that is learned has no useful gradient: Pareto's is an option, and Uniform gets no heads.
    Line("Pareto", ("alpha",), _LEAST, scoring=exact(positives.pareto, positives.pareto_kl), sampler=samplers.pareto),
    Line("Uniform", (), standard={"low": 0.0, "high": 1.0}, words={"low": "real", "high": "real"}, scoring=UNIFORM),
    Line(
        "Beta",
        ("concentration1", "concentration0"),
        support="open_unit_interval",
        scoring=exact(shares.beta, shares.beta_kl),
        sampler=samplers.beta,
    ),
    Line(
        "Kumaraswamy",
        ("concentration1", "concentration0"),
        support="open_unit_interval",
        scoring=exact(shares.kumaraswamy, mean=shares.kumaraswamy_mean),
        sampler=samplers.kumaraswamy,
    ),
    Line(
        "ContinuousBernoulli",
        ("logits",),
        scoring=exact(
            shares.continuous_bernoulli,
            shares.continuous_bernoulli_kl,
            shares.continuous_bernoulli_mean,
            prepare=categories.bernoulli_logits,
        ),
        sampler=samplers.continuous_bernoulli,
    ),
    Line(
        "Dirichlet",
        ("concentration",),
        support="open_simplex",
        scoring=exact(shares.dirichlet, shares.dirichlet_kl),
        sampler=samplers.dirichlet,
    ),
    # torch says 'real', but the density has period 2π and integrates to one over a turn. The uniform one would be the
    # natural standard; torch refuses its concentration 0.
    Line("VonMises", ("loc", "concentration"), define=von_mises, support="circle", scoring=exact(reals.von_mises)),
)
