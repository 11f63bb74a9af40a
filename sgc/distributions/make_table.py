"""Write families.json, what the classes of the offered families say: `python -m sgc.distributions.make_table`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.distributions import Distribution, constraints, kl_divergence, transform_to

from sgc.distributions.table import LINES, Line, Option

PATH = Path(__file__).with_name("families.json")


def constraint_word(constraint: Any) -> str:  # torch does not export the classes of its constraints
    """Give a constraint of torch the word by which specs and messages know it.

    Raises: ValueError for a constraint that no offered family has had so far.
    """
    if constraints.is_dependent(constraint):
        return "dependent"
    kind = type(constraint).__name__.lstrip("_")
    bounds = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    if kind == "IndependentConstraint":
        assert constraint.reinterpreted_batch_ndims == 1, constraint
        return constraint_word(constraint.base_constraint) + "_vector"
    words = {
        ("Real", (None, None)): "real",
        ("GreaterThan", (0, None)): "positive",
        ("GreaterThanEq", (0, None)): "nonnegative",
        ("Interval", (0, 1)): "unit_interval",
        ("HalfOpenInterval", (0, 1)): "half_open_unit_interval",
        ("IntegerGreaterThan", (0, None)): "nonnegative_integer",
        ("Boolean", (None, None)): "boolean",
        ("OneHot", (None, None)): "one_hot",
        ("Simplex", (None, None)): "simplex",
        ("LowerCholesky", (None, None)): "lower_cholesky",
        ("PositiveDefinite", (None, None)): "positive_definite",
    }
    if (kind, bounds) not in words:
        raise ValueError(f"no word for the constraint {constraint!r}")
    return words[kind, bounds]


def support_word(family: type[Distribution], member: Distribution) -> str:
    """Give the support's word; bounds that depend on parameters are left out of it: 'interval', 'bounded_below'."""
    if not constraints.is_dependent(family.support):
        return constraint_word(family.support)
    kind = type(member.support).__name__.lstrip("_")
    return {
        "Interval": "interval",
        "GreaterThanEq": "bounded_below",
        "IntegerInterval": "integer_interval",
        "Multinomial": "multinomial",
    }[kind]


def has_closed_kl(q: Distribution, p: Distribution) -> bool:
    """Say whether torch has KL(q‖p), by asking: some are refused by their parameters, not by their type."""
    try:
        kl_divergence(q, p)
    except NotImplementedError:
        return False
    return True


def _member(line: Line, family: Any, offset: float) -> Distribution:
    settings = {name: _some_setting(option) for name, option in line.options.items()}
    if not line.heads:
        return family(**{name: torch.tensor(value) for name, value in line.standard.items()})  # type: ignore[no-any-return]
    parameters = {}
    for head in line.heads:
        constraint = family.arg_constraints[head]
        size = {0: (), 1: (2,), 2: (2, 2)}[constraint.event_dim]
        parameters[head] = transform_to(constraint)(torch.full(size, offset))
    return family(**parameters, **settings)  # type: ignore[no-any-return]


def _some_setting(option: Option) -> float:
    return max(option.low, 2) if option.default is None else option.default


def facts(line: Line) -> dict[str, object]:
    """Collect what its class says of one family."""
    family = getattr(torch.distributions, line.torch_class or line.name) if line.define is None else line.define()
    member = _member(line, family, 0.3)
    fixed = isinstance(family.arg_constraints, dict)  # otherwise they depend on the member's own parameters
    words = {name: constraint_word(c) if fixed else "dependent" for name, c in member.arg_constraints.items()}
    return {
        "parameters": {name: word for name, word in words.items() if name not in line.options},
        "support": support_word(family, member),
        "event_dim": len(member.event_shape),
        "has_rsample": bool(member.has_rsample),
        "closed_kl": has_closed_kl(member, _member(line, family, 0.7)),
    }


def render() -> str:
    """Give the file's whole text."""
    lines = [form for line in LINES for form in (line, *line.forms)]
    return json.dumps({line.name: facts(line) for line in lines}, indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
