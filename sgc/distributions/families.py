"""The families that specs name: each line of the table, with the facts that its class states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgc.distributions.constraints import CONSTRAINTS, middles
from sgc.distributions.family import Family
from sgc.distributions.supports import SUPPORTS
from sgc.distributions.table import BY, LINES, Line
from sgc.distributions.zero_inflated import INFLATED, OF, can_be_inflated, zero_inflated


def _family(line: Line, facts: Mapping[str, Any]) -> Family:  # Any: what the data file holds
    constraints = {name: CONSTRAINTS[word] for name, word in {**facts["parameters"], **line.words}.items()}
    standard = line.standard or middles({head: constraints[head] for head in line.heads})
    return Family(
        name=line.name,
        constraints=constraints,
        heads=line.heads,
        standard=standard if line.has_standard else None,
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
        by=line.by,
        forms={form.by: _family(form, _FACTS[form.name]) for form in line.forms},
    )


_FACTS = json.loads(Path(__file__).with_name("families.json").read_text(encoding="utf-8"))
_TABLE = {line.name: _family(line, _FACTS[line.name]) for line in LINES}
_FORMS = {form.name: form for family in _TABLE.values() for form in family.forms.values()}
COUNTED: tuple[str, ...] = tuple(name for name, family in _TABLE.items() if can_be_inflated(family))

# by the name in a spec; that of ZeroInflated stands for it until a spec says of which family
FAMILIES: Mapping[str, Family] = _TABLE | {INFLATED: zero_inflated(_TABLE["Poisson"])}

# those that laws are asked of: every family, every form of one, and one inflated by each way to be one of counts
FORMS: Mapping[str, Family] = {
    **_FORMS,
    **{
        family.name: family
        for family in (
            zero_inflated(_TABLE["Binomial"].with_options({"total_count": 4})),
            *map(zero_inflated, _FORMS.values()),
        )
    },
}


def option_ranges(family: Family) -> dict[str, str]:
    """Say what each option of a family takes."""
    ranges = {name: option.range for name, option in family.options.items()}
    ranges |= {BY: f"{', '.join(family.forms)} or {family.by}"} if family.forms else {}
    return ranges | ({OF: f"a family of counts ({', '.join(COUNTED)})"} if family.inflates else {})
