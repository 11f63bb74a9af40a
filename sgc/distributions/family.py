"""A family of distributions: what a checker may know without torch, and its densities, draws and views."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

from sgc.distributions import densities, samplers
from sgc.distributions.constraints import CONSTRAINTS, Constraint
from sgc.distributions.densities import Scoring
from sgc.distributions.multinomial import counted_multinomial
from sgc.distributions.points import Point
from sgc.distributions.relaxation import Relaxation
from sgc.distributions.row_totals import TOTAL
from sgc.distributions.samplers import Sampler
from sgc.distributions.supports import MULTINOMIAL, NONNEGATIVE_INTEGER, UNIT_INTERVAL, Support
from sgc.distributions.table import Center, Option
from sgc.distributions.views import flagged_shape, with_flags
from sgc.errors import ParameterError, UsageError, is_about_memory
from sgc.randomness import draws

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions import Distribution

MOST_VALUES = 10**18  # as far as the values of an event are counted


@final
@dataclass(frozen=True)
class Family:
    """A family of distributions over events of any shape, independent over elements of `event_dim` dimensions.

    `support` is that of every member, up to bounds that a spec gives as parameters, see `Support.moved`.
    """

    name: str
    constraints: Mapping[str, Constraint]  # every parameter that a spec may fix
    heads: tuple[str, ...]  # those that a network gives; empty: no network and nothing learned
    standard: Mapping[str, float] | None  # a matrix's number is that multiple of the identity
    support: Support
    event_dim: int
    pathwise: bool
    closed_kl: bool
    options: Mapping[str, Option]
    torch_class: str
    center: Center
    define: Callable[[], Any] | None = None  # gives the class of members that are not torch's; Any: of torch's
    scoring: Scoring = densities.OWN
    sampler: Sampler | None = None
    settings: Mapping[str, float] = field(default_factory=dict)  # options of this member of the table, by with_options
    relaxation: Relaxation | None = None  # what `relaxed`, `harden` and `concrete_log_prob` need
    gaussian: bool = False
    taken: tuple[str, ...] = ()  # parameters that rows give, see `counted`: no network gives them, and no spec
    stands_for: Mapping[str, str] = field(default_factory=dict)  # where a parameter is for another head than the last
    by: str = ""  # the word for its parameters, where the family has `forms`
    forms: Mapping[str, Family] = field(default_factory=dict)  # the same family by other parameters, by their word
    inflates: bool = False  # whether it has the zeros of another family, and more

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.settings.items()))))

    # ---- facts, without torch

    @property
    def alternatives(self) -> Mapping[str, str]:
        """The head in whose place each parameter without a head may be given: the last one, unless it is said."""
        others = [name for name in self.constraints if self.heads and name not in (*self.heads, *self.taken)]
        return {name: self.stands_for.get(name, self.heads[-1]) for name in others}

    @property
    def multiplies(self) -> bool:
        """Whether products of members' densities are again members', in closed form: those of diagonal Normals."""
        return self.gaussian and not self.event_dim

    @property
    def finite(self) -> bool:
        """Whether `enumerate` and `support_size` work: not where single numbers only make a value together."""
        return self.support.finite and self.event_dim == int(self.support.vector)

    def counted(self) -> Family:
        """Give the family of members whose total_count is no option but a number of each row, from 0 up.

        Its support has no end that is the same for all rows: values are compared with their row's total where both are
        known.
        """
        assert TOTAL in self.options, self.name
        return replace(
            self,
            constraints={**self.constraints, TOTAL: CONSTRAINTS["nonnegative_integer"]},
            options={name: option for name, option in self.options.items() if name != TOTAL},
            taken=(TOTAL,),
            support=MULTINOMIAL if self.event_dim else NONNEGATIVE_INTEGER,
            define=counted_multinomial if self.event_dim else None,
        )

    def with_options(self, options: Mapping[str, object]) -> Family:
        """Give the family with its options set; those left out keep their defaults.

        Raises: ValueError for an unknown option, one out of range, or one without a default that is missing.
        """
        for name, value in options.items():
            if name not in self.options:
                raise ValueError(f"{self.name} has no option {name!r}; it has {', '.join(self.options) or 'none'}")
            if not self.options[name].accepts(value):
                raise ValueError(f"{name} of {self.name} is {value!r}; wanted {self.options[name].range}")
        settings: Any = {**self.settings, **options}  # Any: `accepts` has seen that these are numbers
        bound = replace(self, settings=settings)
        support = self.support
        for name, option in self.options.items():
            value = bound.setting(name)
            support = support if option.bounds is None else option.bounds(support, value)
        return replace(bound, support=support)

    def setting(self, name: str) -> float:
        """Give an option's value. Raises: ValueError if it has no default and was not set."""
        value = self.settings.get(name, self.options[name].default)
        if value is None:
            raise ValueError(f"{self.name} needs {name}: {self.options[name].range}")
        return value

    def event_shape(self, shape: tuple[int, ...], categories: int | None) -> tuple[int, ...]:
        """Give the event of a node: its shape, and for Categorical the categories behind it.

        Raises: ValueError where categories are missing or not wanted, or the shape has too few dimensions.
        """
        if self.support.categorical:
            if categories is None:
                raise ValueError(f"{self.name} needs categories, an int ≥ 2")
            return (*shape, categories)
        if categories is not None:
            raise ValueError(f"{self.name} has no categories; only Categorical has")
        if len(shape) < self.event_dim:
            raise ValueError(f"a value of {self.name} is a vector; its shape needs at least one dimension")
        return shape

    def parameter_shape(self, parameter: str, event: tuple[int, ...]) -> tuple[int, ...]:
        """Give the constrained shape of a parameter: the event's, and [*event, n] for the matrices of an event of n.

        A total is one number for each element, be that a vector.
        """
        if parameter in self.taken:
            return self.element_shape(event)
        return (*event, event[-1]) if self.constraints[parameter].dims == 2 else event

    def raw_shape(self, parameter: str, event: tuple[int, ...]) -> tuple[int, ...]:
        """Give the unconstrained shape of a parameter: the event's; of a matrix the n(n+1)/2 entries, row by row."""
        if self.constraints[parameter].dims < 2:
            return event
        return (*event[:-1], event[-1] * (event[-1] + 1) // 2)

    def head_shapes(self, event: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Give the shape of each head before `constrain`, see `raw_shape`."""
        return {head: self.raw_shape(head, event) for head in self.heads}

    def view_shape(self, event: tuple[int, ...], *, flagged: bool = False) -> tuple[int, ...]:
        """Give the shape of what `look` returns, `look_flagged` if `flagged`: the event's, [*event, 2] for angles."""
        view = self.support.view.shape(event)
        return flagged_shape(view) if flagged else view

    @staticmethod
    def view_range(support: Support, *, flagged: bool = False) -> Support:
        """Give the set of the numbers that `look`, or if `flagged` `look_flagged`, makes of values in `support`."""
        return support.viewed.joined(UNIT_INTERVAL) if flagged else support.viewed

    def element_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of the elements, each missing or present as a whole: of vectors without their last axis."""
        return event[: len(event) - self.event_dim]

    def support_size(self, event: tuple[int, ...]) -> int | None:
        """Count the values of the whole event, up to `MOST_VALUES`; None: infinitely many, or no enumeration."""
        if not self.finite:
            return None
        size, elements = self.support.size(event), math.prod(self.element_shape(event))
        # a picture of bits has more values than Python writes digits of
        many = size > 1 and elements > math.log(MOST_VALUES, size)
        return MOST_VALUES if many else int(size**elements)

    # ---- parameters

    def constrain(self, parameter: str, raw: Tensor) -> Tensor:
        """Map a head to its parameter. raw: [*leading, *head shape] -> [*leading, *parameter shape]."""
        return self.constraints[parameter].constrain(raw)

    def unconstrain(self, parameter: str, value: Tensor) -> Tensor:
        """Invert `constrain`, for the start of a learned constant; `fill` makes the value's shape.

        Raises: ValueError for a value that `constrain` cannot give.
        """
        raw = self.constraints[parameter].unconstrain(value)
        if not raw.isfinite().all():
            word = self.constraints[parameter].word
            raise ValueError(f"{parameter} of {self.name} cannot start at {value.tolist()}; wanted {word}")
        return raw

    def fill(self, parameter: str, value: Tensor, event: tuple[int, ...]) -> Tensor:
        """Spread a value over its parameter's whole shape, as a view.

        value: (), anything that broadcasts, or [*leading, *parameter shape]; a number for a matrix is that multiple of
        the identity. Returns: [*leading, *parameter shape].
        """
        import numpy as np
        import torch

        shape = self.parameter_shape(parameter, event)
        if self.constraints[parameter].dims == 2 and value.dim() == 0:
            value = value * torch.eye(event[-1], dtype=value.dtype, device=value.device)
        if value.shape[max(0, value.dim() - len(shape)) :] == shape:
            return value
        return value.expand(np.broadcast_shapes(value.shape, shape))

    # ---- distributions

    def members(self) -> Any:  # Any: a class of torch's distributions
        """Give the class that the distribution of one element is made of."""
        import torch

        return getattr(torch.distributions, self.torch_class) if self.define is None else self.define()

    def distribution(
        self, parameters: Mapping[str, Tensor], event: tuple[int, ...], *, validate: bool = False, finite: bool = False
    ) -> Distribution:
        """Make the distribution of a whole event.

        parameters: constrained, each as `fill` takes it. They are the heads and what rows give; a parameter without a
        head may replace a head, see `alternatives`: probs for logits, covariance_matrix for scale_tril. Returns: batch
        shape the leading dimensions, broadcast, and event shape the event. Distributions are made here alone.

        Raises: ParameterError for a parameter that no member has: what torch's class refuses, where `validate` all
        that it knows of; where `finite`, anything that leaves its set.
        """
        import torch

        filled = self.scoring.prepare({name: self.fill(name, value, event) for name, value in parameters.items()})
        settings = {name: self.setting(name) for name in self.options}
        if finite and (misfit := self._misfit(parameters, event)):
            raise ParameterError(misfit)
        try:
            element: Distribution = self.members()(**filled, **settings, validate_args=validate)
        except ValueError as problem:  # some classes make others, which look at their parameters whatever is asked
            raise ParameterError(self._misfit(parameters, event) or str(problem).splitlines()[0]) from problem
        dims = len(event) - self.event_dim
        return torch.distributions.Independent(element, dims, validate_args=validate) if dims else element

    def draw(self, distribution: Distribution, leading: tuple[int, ...], *, pathwise: bool = False) -> Point:
        """Draw values, with a gradient if `pathwise`: [*leading, *event], leading what the batch shape expands to.

        They lie inside the support, but are scored where they were drawn, see `Point`. Where a parameter is NaN, so is
        the draw.

        Raises: ParameterError where torch draws and a parameter is not finite.
        """
        import torch

        expanded = distribution.expand(leading)
        with torch.set_grad_enabled(pathwise and torch.is_grad_enabled()), draws():
            try:
                if self.sampler is not None:
                    return samplers.draw(self.sampler, densities.element_of(expanded))
                return Point(expanded.rsample() if pathwise else expanded.sample())
            except (RuntimeError, ValueError) as problem:  # torch's samplers look at their parameters
                if is_about_memory(problem):
                    raise
                element = densities.element_of(distribution)
                heads = {name: getattr(element, name) for name in self.heads if hasattr(element, name)}
                misfit = self._misfit(heads, tuple(distribution.event_shape))
                raise ParameterError(misfit or str(problem).splitlines()[0]) from problem

    def _misfit(self, parameters: Mapping[str, Tensor], event: tuple[int, ...]) -> str:
        """Say which parameter leaves its set, with its value and the last of its leading dimensions, that of rows."""
        for name, value in parameters.items():
            filled = self.fill(name, value.detach(), event)
            misfit = self.constraints[name].misfit(filled)
            if misfit is not None:
                place, wanted = misfit
                rows = filled.dim() - len(self.parameter_shape(name, event)) - 1
                row = f" in row {place[rows]}" if rows >= 0 and filled.shape[rows] > 1 else ""
                return f"'{name}' is {float(filled[place].reshape(-1)[0]):.6g}{row}, wanted {wanted}"
        return ""

    def log_prob(self, distribution: Distribution, value: Tensor | Point, present: Tensor | None = None) -> Tensor:
        """Score a value, in nats, summed over the event, or over those of its elements that are `present`.

        Categorical and Bernoulli are linear in the value, Σ_k y_k log π_k, so that relaxed and grey values have a
        score; one they give no probability scores about the type's minimum, so that 0 · log 0 is 0.

        value: [*leading, *event], or a draw, whose density may be that of its log, see `Point`; distribution:
        [*leading]; they broadcast -> [*leading].
        present: booleans [*leading, *element shape]; the values of other elements are never read. A vector family's
        element is the whole vector.
        """
        import torch

        score = self.scoring.log_prob
        if isinstance(value, Point):
            assert present is None, "draws are whole"
            exact = value.exact if self.relaxation is None else ()  # that of a relaxed draw is `concrete_log_prob`'s
            return score(distribution, value.value, *exact)
        if present is None:
            return score(distribution, value)
        element = densities.element_of(distribution)
        mask = present.reshape(*present.shape, *(1,) * self.event_dim)
        # never scored and masked after: the gradient of an infinite score is no number, and 0 times it is none either
        safe = torch.where(mask, value, self.inside(distribution, value))
        terms = torch.where(present, score(element, safe), 0.0)
        return densities.sum_last(terms, len(distribution.event_shape) - self.event_dim)

    def inside(self, distribution: Distribution, like: Tensor) -> Tensor:
        """Give a value that this member scores finitely, of the type of `like`; it broadcasts with an event."""
        import torch

        if self.support.by_parameters:  # its ends may be a network's
            element = densities.element_of(distribution)
            return torch.as_tensor((element.low + element.high) / 2).to(like)
        return like.new_tensor(self.support.legal(distribution.event_shape[-1:] if self.event_dim else ()))

    def mean(self, distribution: Distribution) -> Tensor:
        """Give the mean, [*leading, *event]: probabilities for Bernoulli and Categorical, the direction for VonMises.

        The median where members have no mean (Cauchy, StudentT, HalfCauchy); infinite where a positive one diverges.

        Raises: UsageError for an own family whose class has none.
        """
        import torch

        if self.scoring.mean is not None:
            return self.scoring.mean(distribution)
        element = densities.element_of(distribution)
        if self.center == "mean_or_infinite":
            return torch.nan_to_num(element.mean, nan=torch.inf, posinf=torch.inf)
        try:
            center: Tensor = getattr(element, self.center)
        except NotImplementedError:
            raise UsageError(f"'{self.name}' has no {self.center}, which is needed here") from None
        return center

    def variance(self, distribution: Distribution) -> Tensor:
        """Give the variance of each element, [*leading, *event]; infinite where it diverges.

        Raises: NotImplementedError where members do not say theirs: angles, and own families whose class has none.
        """
        import torch

        if self.support.periodic:  # torch's is 1 - |E exp(ix)|, which is no variance
            raise NotImplementedError(f"{self.name} has no variance")
        spread: Tensor = densities.element_of(distribution).variance
        return torch.nan_to_num(spread, nan=torch.inf, posinf=torch.inf)

    def kl(self, q: Distribution, p: Distribution) -> Tensor:
        """Give KL(q‖p) in nats, summed over the event; batch shapes broadcast -> [*leading].

        Raises: NotImplementedError where the family has no closed form, see `closed_kl`.
        """
        if self.scoring.kl is None:
            raise NotImplementedError(f"{self.name} has no closed-form KL")
        return self.scoring.kl(q, p)

    def enumerate(self, event: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """List the whole support, [K, *event] with K = support_size(event), the last element running fastest."""
        import torch

        assert self.finite, self.name
        values = self.support.values(event).to(device, dtype)
        places = [torch.arange(len(values), device=device)] * math.prod(self.element_shape(event))
        return values[torch.cartesian_prod(*places)].reshape(-1, *event)

    def relaxed(self, distribution: Distribution, temperature: Tensor | float, leading: tuple[int, ...]) -> Point:
        """Draw from the Concrete relaxation, reparameterised: [*leading, *event], in the simplex or in [0, 1].

        leading: what the batch shape expands to. Source: Maddison et al. 2017; Jang et al. 2017.
        """
        assert self.relaxation is not None, self.name
        logits = densities.element_of(distribution).logits.expand(*leading, *distribution.event_shape)
        with draws():
            return self.relaxation.draw(logits, temperature)

    def harden(self, relaxed: Tensor) -> Tensor:
        """Round a relaxed draw to the value of the support that it is nearest to: [*leading, *event]."""
        assert self.relaxation is not None, self.name
        return self.relaxation.nearest(relaxed)

    def concrete_log_prob(self, distribution: Distribution, relaxed: Point, temperature: Tensor | float) -> Tensor:
        """Score a relaxed draw by the Concrete density of its logs, in nats, summed over the event.

        relaxed: [*leading, *event] as it was drawn; distribution: [*leading], whose logits it has -> [*leading]. It is
        the density of the value itself plus Σ log y_k, of a bit plus log y + log(1 − y). That does not depend on the
        logits, so it cancels in every bound. Source: Maddison et al. 2017, Appendices B and C.3.
        """
        assert self.relaxation is not None, self.name
        logits, (log,) = densities.element_of(distribution).logits, relaxed.exact
        elements = self.relaxation.score(logits, log, temperature)
        return densities.sum_last(elements, len(distribution.event_shape) - self.event_dim)

    def look(self, value: Tensor) -> Tensor:
        """Give what networks read of a value: see `Support.view`."""
        return self.support.look(value)

    def look_flagged(self, value: Tensor, present: Tensor, event: tuple[int, ...]) -> Tensor:
        """Give the view with zeros where an element is missing, and behind it as many flags, see `with_flags`.

        value: [*leading, *event], present: booleans [*leading, *element shape] -> [*leading, *view_shape(flagged)].
        """
        import torch

        mask = present.reshape(*present.shape, *(1,) * self.event_dim)
        return with_flags(self.look(torch.where(mask, value, 0.0)), present, len(self.view_shape(event)))
