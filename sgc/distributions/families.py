"""The families of distributions: what a checker may know without torch, and their densities, draws and views."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sgc.distributions import densities, samplers
from sgc.distributions.constraints import CONSTRAINTS, Constraint, Matrix
from sgc.distributions.densities import Scoring
from sgc.distributions.enumeration import enumerate_product
from sgc.distributions.multinomial import counted_multinomial
from sgc.distributions.points import Point
from sgc.distributions.relaxation import Relaxation
from sgc.distributions.row_totals import TOTAL
from sgc.distributions.samplers import Sampler
from sgc.distributions.supports import MULTINOMIAL, NONNEGATIVE_INTEGER, SUPPORTS, UNIT_INTERVAL, Bound, Support
from sgc.distributions.table import LINES, Center, Line, Option
from sgc.errors import ParameterError, UsageError, is_about_memory
from sgc.randomness import draws

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions import Distribution


@final
@dataclass(frozen=True)
class Family:
    """A family of distributions over events of any shape, independent over elements of `event_dim` dimensions.

    `support` is that of every member, up to bounds that a spec gives as parameters, see `support_of`.
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
    relaxation: Relaxation | None = None
    gaussian: bool = False
    taken: tuple[str, ...] = ()  # parameters that rows give, by `counted`: no network, and no number of a spec

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.settings.items()))))

    # ---- facts, without torch

    @property
    def finite(self) -> bool:
        """Whether `enumerate` and `support_size` work: not where single numbers only make a value together."""
        return self.support.finite and self.event_dim == int(self.support.vector)

    @property
    def relaxable(self) -> bool:
        """Whether `relaxed`, `harden` and `concrete_log_prob` work."""
        return self.relaxation is not None

    @property
    def parameterisations(self) -> tuple[tuple[str, ...], ...]:
        """List the sets of parameters that make a distribution, that of the heads first.

        A parameter without a head stands in for the last head: probs for logits, covariance_matrix for scale_tril.
        What rows give stands in each.
        """
        if not self.heads:
            return (tuple(self.constraints),)
        others = [name for name in self.constraints if name not in (*self.heads, *self.taken)]
        return ((*self.heads, *self.taken), *((*self.heads[:-1], name, *self.taken) for name in others))

    def counted(self) -> Family:
        """Give the family of members whose total_count is no option but a number of each row, from 0 up.

        Its support has no end that is the same for all rows: values are held to their row's total where both are known.
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

    def support_of(self, fixed: Mapping[str, Bound]) -> Support:
        """Give the support of members some of whose parameters are fixed: numbers, or one for each element."""
        return self.support.moved(fixed)

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
        return (*event, event[-1]) if self._dims(parameter) == 2 else event

    def raw_shape(self, parameter: str, event: tuple[int, ...]) -> tuple[int, ...]:
        """Give the unconstrained shape of a parameter: the event's; of a matrix the n(n+1)/2 entries, row by row."""
        if self._dims(parameter) < 2:
            return event
        return (*event[:-1], event[-1] * (event[-1] + 1) // 2)

    def head_shapes(self, event: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Give the shape of each head before `constrain`, see `raw_shape`."""
        return {head: self.raw_shape(head, event) for head in self.heads}

    def view_shape(self, event: tuple[int, ...], *, flagged: bool = False) -> tuple[int, ...]:
        """Give the shape of what `look` returns: the event's, [*event, 2] for angles; `flagged`, its first axis twice.

        A scalar with its flag is a vector of two.
        """
        seen = self.support.view.shape(event)
        return (2 * (seen[0] if seen else 1), *seen[1:]) if flagged else seen

    @staticmethod
    def view_range(support: Support, *, flagged: bool = False) -> Support:
        """Say where every number lies that `look` makes of values in `support`; `flagged`, that `look_flagged` does."""
        return support.seen.joined(UNIT_INTERVAL) if flagged else support.seen

    def element_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of what is missing or there as one: the event's, without the dimensions of a vector family."""
        return event[: len(event) - self.event_dim]

    def support_size(self, event: tuple[int, ...]) -> int | None:
        """Count the values of the whole event; None: infinitely many, or no enumeration."""
        if not self.finite:
            return None
        size: int = self.support.size(event) ** math.prod(event[: len(event) - self.event_dim])
        return size

    def _dims(self, parameter: str) -> int:
        return self.constraints[parameter].dims

    # ---- parameters

    def constrain(self, parameter: str, raw: Tensor) -> Tensor:
        """Map a head to its parameter. raw: [*leading, *head shape] -> [*leading, *parameter shape]."""
        return self.constraints[parameter].constrain(raw)

    def floored(self, parameter: str, value: Tensor) -> Tensor:
        """Keep a computed parameter that lies in its set inside it, whatever rounding did, see `Constraint.floored`."""
        return self.constraints[parameter].floored(value)

    def unconstrain(self, parameter: str, value: Tensor) -> Tensor:
        """Invert `constrain`, for the start of a learned constant; `fill` makes the value's shape.

        Raises: ValueError for a value that `constrain` cannot give.
        """
        raw = self.constraints[parameter].unconstrain(value)
        if not raw.isfinite().all():
            wanted = self.constraints[parameter].word
            raise ValueError(f"{parameter} of {self.name} cannot start at {value.tolist()}; wanted {wanted}")
        return raw

    def fill(self, parameter: str, value: Tensor, event: tuple[int, ...]) -> Tensor:
        """Spread a value over its parameter's whole shape, as a view.

        value: (), anything that broadcasts, or [*leading, *parameter shape]; a number for a matrix is that multiple of
        the identity. Returns: [*leading, *parameter shape].
        """
        import torch

        shape = self.parameter_shape(parameter, event)
        if self._dims(parameter) == 2 and value.dim() == 0:
            value = value * torch.eye(event[-1], dtype=value.dtype, device=value.device)
        if value.shape[max(0, value.dim() - len(shape)) :] == shape:
            return value
        return value.expand(torch.broadcast_shapes(value.shape, shape))

    # ---- distributions

    def members(self) -> Any:  # Any: a class of torch's distributions
        """Give the class that the distribution of one element is made of."""
        import torch

        return getattr(torch.distributions, self.torch_class) if self.define is None else self.define()

    def distribution(
        self,
        parameters: Mapping[str, Tensor],
        event: tuple[int, ...],
        *,
        validate: bool = False,
        finite: bool = False,
    ) -> Distribution:
        """Make the distribution of a whole event.

        parameters: one of `parameterisations`, constrained, each as `fill` takes it. Returns: batch shape the leading
        dimensions, broadcast, and event shape the event. This is the one place where distributions are made.

        Raises: ParameterError for a parameter that no member has: what torch's class refuses, where `validate` all
        that it knows of; where `finite`, anything that leaves its set.
        """
        import torch

        filled = self.scoring.prepare({name: self.fill(name, value, event) for name, value in parameters.items()})
        settings = {name: self.setting(name) for name in self.options}
        misfit = self._misfit(parameters, event) if finite else ""
        if misfit:
            raise ParameterError(misfit)
        try:
            element: Distribution = self.members()(**filled, **settings, validate_args=validate)
        except ValueError as problem:  # some classes make others, which look at their parameters whatever is asked
            raise ParameterError(self._misfit(parameters, event) or str(problem).splitlines()[0]) from problem
        dims = len(event) - self.event_dim
        return torch.distributions.Independent(element, dims, validate_args=validate) if dims else element

    def draw(self, distribution: Distribution, leading: tuple[int, ...], *, pathwise: bool = False) -> Point:
        """Draw values, with a gradient if `pathwise`: [*leading, *event], leading what the batch shape expands to.

        Inside the support, but scored where they are, see `Point`. Always returns; no number where a parameter is none.

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
                raise ParameterError(self._member_misfit(distribution) or str(problem).splitlines()[0]) from problem

    def _member_misfit(self, distribution: Distribution) -> str:
        """Say which parameter of a member leaves its set."""
        element, event = densities.element_of(distribution), tuple(distribution.event_shape)
        return self._misfit({name: getattr(element, name) for name in self.heads if hasattr(element, name)}, event)

    def _misfit(self, parameters: Mapping[str, Tensor], event: tuple[int, ...]) -> str:
        """Say which parameter leaves its set, with its value and the last of its leading dimensions, that of rows."""
        for name, value in parameters.items():
            whole = self.fill(name, value.detach(), event)
            constraint = self.constraints[name]
            wanted = None if isinstance(constraint, Matrix) else constraint.elements
            faults = [] if wanted is None else [fault.mask for fault in wanted.faults(whole)]
            masks = [~whole.isfinite(), *faults]
            wrong = next((mask for mask in masks if bool(mask.any())), None)
            if wrong is None:
                continue
            place = tuple(int(each) for each in wrong.nonzero()[0])
            rows = whole.dim() - len(self.parameter_shape(name, event)) - 1
            row = f" in row {place[rows]}" if rows >= 0 and whole.shape[rows] > 1 else ""
            number = whole[place].reshape(-1)[0]
            allowed = wanted.range if wanted is not None else "finite numbers"
            return f"'{name}' is {float(number):.6g}{row}, wanted {allowed}"
        return ""

    def log_prob(self, distribution: Distribution, value: Tensor | Point, present: Tensor | None = None) -> Tensor:
        """Score a value, in nats, summed over the event, or over those of its elements that are `present`.

        Categorical and Bernoulli are linear in the value, Σ_k y_k log π_k, so that relaxed and grey values have a
        score; one they give no probability scores about the type's minimum, so that 0 · log 0 is 0.

        value: [*leading, *event], or a draw, whose density may be that of its log, see `Point`; distribution:
        [*leading]; they broadcast -> [*leading].
        present: booleans [*leading, *element shape]; what stands at other elements is never looked at. A vector
        family's element is the whole vector.
        """
        import torch

        score = self.scoring.log_prob
        if isinstance(value, Point):
            assert present is None, "draws are whole"
            exact = () if self.relaxable else value.exact  # that of a relaxed draw is `concrete_log_prob`'s
            return score(distribution, value.value, *exact)
        if present is None:
            return score(distribution, value)
        element = densities.element_of(distribution)
        there = present.reshape(*present.shape, *(1,) * self.event_dim)
        # never scored and masked after: the gradient of an infinite score is no number, and 0 times it is none either
        safe = torch.where(there, value, self.inside(distribution, value))
        terms = torch.where(present, score(element, safe), 0.0)
        dims = len(distribution.event_shape) - self.event_dim
        return terms.sum(tuple(range(-dims, 0))) if dims else terms

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

        average = self.scoring.mean
        if average is not None:
            return average(distribution)
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
        divergence = self.scoring.kl
        if divergence is None:
            raise NotImplementedError(f"{self.name} has no closed-form KL")
        return divergence(q, p)

    def enumerate(self, event: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """List the whole support, [K, *event] with K = support_size(event), the last element running fastest."""
        assert self.finite, self.name
        return enumerate_product(self.support.values(event).to(device, dtype), event)

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

    def concrete_log_prob(self, distribution: Distribution, relaxed: Point, temperature: float) -> Tensor:
        """Score a relaxed draw by the Concrete density of its logs, in nats, summed over the event.

        relaxed: [*leading, *event] as it was drawn; distribution: [*leading], whose logits it has -> [*leading]. Beside
        the density of the value itself, Σ log y_k is missing, of a bit log y + log(1 − y): whatever the logits are, so
        that it leaves every bound. Source: Maddison et al. 2017, Appendices B and C.3.
        """
        assert self.relaxation is not None, self.name
        logits, (log,) = densities.element_of(distribution).logits, relaxed.exact
        elements = self.relaxation.score(logits, log, temperature)
        dims = len(distribution.event_shape) - self.event_dim
        return elements.sum(tuple(range(-dims, 0))) if dims else elements

    def look(self, value: Tensor) -> Tensor:
        """Give the view that networks read.

        A value, log(1 + value) of counts, levels between -1 and 1, or an angle's (cos, sin) at the end.
        """
        return self.support.look(value)

    def look_flagged(self, value: Tensor, present: Tensor, event: tuple[int, ...]) -> Tensor:
        """Give the view with zeros where an element is missing, and behind it as many flags: one where it is there.

        They stand side by side on the event's first axis, so that a picture keeps its rows and columns.

        value: [*leading, *event], present: booleans [*leading, *element shape] -> [*leading, *view_shape(flagged)].
        """
        import torch

        inner = (1,) * self.event_dim
        seen = self.look(torch.where(present.reshape(*present.shape, *inner), value, 0.0))
        more = seen.dim() - present.dim()
        flags = present.reshape(*present.shape, *(1,) * more).expand(seen.shape)
        dims = len(self.view_shape(event)) or 1
        both = [torch.where(flags, seen, 0.0), flags.to(seen.dtype)]
        return torch.cat([part.unsqueeze(-1) for part in both] if not self.view_shape(event) else both, -dims)


def _family(line: Line, facts: Mapping[str, Any]) -> Family:  # Any: what the data file holds
    return Family(
        name=line.name,
        constraints={name: CONSTRAINTS[word] for name, word in {**facts["parameters"], **line.words}.items()},
        heads=line.heads,
        standard=line.standard,
        support=SUPPORTS[line.support or facts["support"]],
        event_dim=facts["event_dim"],
        pathwise=facts["has_rsample"],
        closed_kl=facts["closed_kl"] and line.scoring.kl is not None,
        options=line.options,
        torch_class=line.torch_class or line.name,
        define=line.define,
        center=line.center,
        relaxation=line.relaxation,
        gaussian=line.gaussian,
        scoring=line.scoring,
        sampler=line.sampler,
    )


_FACTS = json.loads(Path(__file__).with_name("families.json").read_text(encoding="utf-8"))
FAMILIES: Mapping[str, Family] = {line.name: _family(line, _FACTS[line.name]) for line in LINES}
