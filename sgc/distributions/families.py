"""The families that specs name: each line of the table, with the facts that its class states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgc.distributions.constraints import CONSTRAINTS, middles
from sgc.distributions.family import Family
from sgc.distributions.supports import SUPPORTS
from sgc.distributions.table import LINES, Line


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
    )


_FACTS = json.loads(Path(__file__).with_name("families.json").read_text(encoding="utf-8"))
FAMILIES: Mapping[str, Family] = {line.name: _family(line, _FACTS[line.name]) for line in LINES}
