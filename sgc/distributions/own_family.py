"""An own family: a class derived from torch.distributions.Distribution, named by import path, and its facts in words.

`{python: module:Class, parameters: {loc: real}, support: real, draws: pathwise}`
"""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sgc.distributions.constraints import CONSTRAINTS, middles
from sgc.distributions.family import Family
from sgc.distributions.supports import SUPPORTS
from sgc.errors import UsageError
from sgc.own_code import OwnCode, OwnPiece, raised
from sgc.piece import Maybe
from sgc.randomness import Generators, drawing_from, draws

if TYPE_CHECKING:
    from torch import Tensor

Constraint = Literal[
    "real",
    "positive",
    "nonnegative",
    "unit_interval",
    "half_open_unit_interval",
    "real_vector",
    "positive_vector",
    "simplex",
    "lower_cholesky",
    "positive_definite",
]
Support = Literal[
    "real",
    "positive",
    "nonnegative",
    "unit_interval",
    "circle",
    "boolean",
    "integer_interval",
    "nonnegative_integer",
    "positive_integer",
    "real_vector",
    "simplex",
]


@final
class OwnFamily(OwnPiece):
    """A family of the user's own: its class by import path, and the facts that a checker needs.

    `parameters`: each one's constraint. `draws`: pathwise (the class has rsample) or sampled. `upper`: the largest
    value of an integer_interval, which begins at 0. `event_dim`: 1 where the values, or parameters, are vectors. Its
    standard prior has 0 for what is real, 1 for what is positive, 1/2 in the unit interval.
    """

    parameters: Annotated[dict[str, Constraint], Field(min_length=1)] = Field(
        description="The set that each parameter lies in.",
        examples=[{"loc": "real", "scale": "positive"}],
    )
    support: Support = Field(
        description="The set that values lie in.",
        examples=["real"],
    )
    draws: Literal["pathwise", "sampled"] = Field(
        description="`pathwise`: the class has `rsample`; `sampled`: it has `sample` alone.",
        examples=["pathwise"],
    )
    upper: Maybe[Annotated[int, Field(ge=1, le=10_000_000)]] = Field(
        None,
        description="The largest value of an `integer_interval`, which begins at 0.",
        examples=[9],
    )
    event_dim: Maybe[Literal[0, 1]] = Field(
        None,
        description="1 where a value is a vector.",
        examples=[1],
    )

    @field_validator("parameters", mode="after")
    @classmethod
    def _names(cls, parameters: dict[str, Constraint]) -> dict[str, Constraint]:
        for name in parameters:
            if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or name == "validate_args":
                raise _at(name, f"'{name}' cannot be a parameter's name")
        return parameters

    @model_validator(mode="after")
    def _consistent(self) -> OwnFamily:
        if self.upper is not None and not SUPPORTS[self.support].wants_upper:
            raise _at("upper", "forbidden: only the support 'integer_interval' has 'upper'")
        if self.event_dim == 0 and self._vectors:
            raise _at("event_dim", f"0 beside '{self._vectors[0]}', which makes the values vectors: wanted 1")
        return self

    @property
    def _vectors(self) -> list[str]:
        """The words that make the values vectors."""
        supports = [self.support] if SUPPORTS[self.support].vector else []
        return [*supports, *(word for word in self.parameters.values() if CONSTRAINTS[word].dims)]

    @property
    def dimensions(self) -> int:
        """How many dimensions one value has."""
        return int(bool(self._vectors)) if self.event_dim is None else self.event_dim

    def family(self, code: OwnCode) -> Family:
        """Give the family, from the facts alone."""
        constraints = {name: CONSTRAINTS[word] for name, word in self.parameters.items()}
        return Family(
            name=self.python,
            constraints=constraints,
            heads=tuple(self.parameters),
            standard=middles(constraints),
            support=SUPPORTS[self.support].up_to(self.upper),
            event_dim=self.dimensions,
            pathwise=self.draws == "pathwise",
            closed_kl=False,
            options={},
            torch_class="",
            center="mean",
            define=OwnMembers(code, tuple((name, constraint.dims == 2) for name, constraint in constraints.items())),
        )


def _at(key: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("excludes", "{message}", {"key": key, "message": message})


@final
@dataclass(frozen=True)
class OwnMembers:
    """The maker of the class of an own family's members, which is imported on first use, and never without trust."""

    code: OwnCode
    parameters: tuple[tuple[str, bool], ...]  # names, and which are matrices

    def __call__(self) -> Any:  # Any: the user's class
        """Give the class. Raises: UsageError, see `OwnCode.load`."""
        return _member_class(self)


@functools.cache
def _member_class(members: OwnMembers) -> Any:  # Any: the user's class
    """Derive a class from the user's that takes its parameters by name, and expands by expanding them.

    torch's own `expand` copies only what it knows, and refuses a class with its own constructor.
    """
    import torch
    from torch.distributions import Distribution

    own: Any = members.code.load(Distribution)
    taken = inspect.signature(own).parameters
    takes_all = any(parameter.kind == parameter.VAR_KEYWORD for parameter in taken.values())
    validates = takes_all or "validate_args" in taken
    lacks = [] if takes_all else [name for name, _ in members.parameters if name not in taken]
    if lacks:
        listed = ", ".join(taken) or "none"
        raise UsageError(f"'{members.code.path}': takes no parameter '{lacks[0]}'; it takes {listed}")
    matrices = dict(members.parameters)

    class Member(own):  # type: ignore[misc]
        def __init__(self, *values: Any, validate_args: bool | None = None, **parameters: Tensor) -> None:
            self._given = {**dict(zip(taken, values, strict=False)), **parameters}  # by place where the class makes one
            super().__init__(**self._given, **({"validate_args": validate_args} if validates else {}))

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            inner = {name: len(self.event_shape) + matrices[name] for name in self._given}
            wide = {
                name: value.expand(*batch_shape, *value.shape[value.dim() - inner[name] :])
                for name, value in self._given.items()
            }
            expanded = Member(validate_args=False, **wide)
            expanded._validate_args = self._validate_args
            return expanded

    assert issubclass(Member, torch.distributions.Distribution)
    Member.__name__, Member.__qualname__, Member.__module__ = own.__name__, own.__qualname__, own.__module__
    return Member


def try_member(family: Family, *, wants_mean: bool) -> None:
    """Make one member of an own family and compare it with its facts, before anything is trained.

    wants_mean: whether the model needs the mean.

    Raises: UsageError, which says what was tried, where the class cannot be imported or is not as declared.
    """
    import torch

    event, rows = (2,) * family.event_dim, 3
    _check_constraints(family, event)
    # of several parameters the later are the larger: a class may want its first below its second
    places = enumerate(family.constraints)
    raw = {name: torch.full((rows, *family.raw_shape(name, event)), 0.5 * place) for place, name in places}
    parameters = {name: family.constrain(name, value.requires_grad_()) for name, value in raw.items()}
    method = "rsample" if family.pathwise else "sample"
    shapes: dict[str, tuple[int, ...]] = {}
    step = f"made of {', '.join(parameters)}"
    try:
        with drawing_from(Generators(0)), draws(), torch.enable_grad():
            member = family.distribution(parameters, event)
            shapes |= {"batch_shape": tuple(member.batch_shape), "event_shape": tuple(member.event_shape)}
            if family.pathwise and not member.has_rsample:
                raise UsageError(f"'{family.name}': declared with draws: pathwise, and its has_rsample is False")
            step = method
            value = getattr(member, method)()
            shapes[method] = tuple(value.shape)
            if family.pathwise and not value.requires_grad:
                raise UsageError(f"'{family.name}': declared with draws: pathwise, and its rsample has no gradient")
            step = "log_prob"
            shapes[step] = tuple(family.log_prob(member, value).shape)
            step = "expand"
            member.expand((2, rows))
            if wants_mean:
                step = "mean"
                shapes[step] = tuple(family.mean(member).shape)
    except UsageError:
        raise
    except (Exception, SystemExit) as problem:  # whatever the user's class may raise
        raise UsageError(f"'{family.name}': tried {step}: {raised(problem)}") from None
    shape_of_rows = (rows, *event)
    wanted = {
        "batch_shape": (rows,),
        "event_shape": event,
        "log_prob": (rows,),
        method: shape_of_rows,
        "mean": shape_of_rows,
    }
    for name, shape in shapes.items():
        if shape != wanted[name]:
            about = f"for parameters of shape {list(shape_of_rows)} and event_dim {family.event_dim}"
            raise UsageError(f"'{family.name}': its {name} is {list(shape)}, wanted {list(wanted[name])} {about}")


def _check_constraints(family: Family, event: tuple[int, ...]) -> None:
    """Compare the declared constraints with those of the class, where it has some. Raises: UsageError."""
    import torch
    from torch.distributions import constraints

    known = family.members().arg_constraints
    for name, constraint in family.constraints.items() if isinstance(known, Mapping) else ():
        raw = torch.linspace(-20, 20, 9).reshape(9, *[1] * len(family.raw_shape(name, event)))
        value = family.constrain(name, raw.expand(9, *family.raw_shape(name, event)))
        wanted = known.get(name)
        if wanted is not None and not constraints.is_dependent(wanted) and not bool(wanted.check(value).all()):
            raise UsageError(
                f"'{family.name}': '{name}' is declared as {constraint.word}, and the class wants {wanted}"
            )
