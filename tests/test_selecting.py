"""Which observation patterns are shown and searched: those that the rules of the data's labels can make."""

from __future__ import annotations

from typing import Any

from sgc.report.shown_patterns import searched, shown, together
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

Raw = dict[str, Any]  # Any: plain data


def labelled(rules: Raw) -> Outline:
    node = {"distribution": "Categorical", "categories": 2, "supervision": "partial"}
    q = {"recognition": {"parents": ["x"], "network": {"mlp": [2]}}}
    columns = {name: {"column": name} for name in ("x", "a", "b", "c")}
    return outline(
        load(
            {
                "version": 1,
                "data": {"source": "npz", "file": "none.npz", "columns": columns, "labels": rules},
                "nodes": {
                    "x": {
                        "distribution": "Normal",
                        "supervision": "full",
                        "generative": {"parents": ["a", "b", "c"], "network": {"mlp": [2]}},
                    },
                    **{name: {**node, **q} for name in ("a", "b", "c")},
                },
            }
        )
    )


def test_patterns_are_those_that_the_rules_of_labels_can_make() -> None:
    free = labelled({})
    assert len(shown(free)[0]) == len(searched(free, 4)) == 8
    joined = labelled({"b": {"same_rows_as": "a"}, "a": {"fraction": 0.5}})
    assert together(joined) == [{"a", "b"}, {"c"}]
    assert shown(joined) == ([frozenset(), {"a", "b"}, {"c"}, {"a", "b", "c"}], 0)
    never = labelled({"c": {"count": 0}, "b": {"same_rows_as": "c"}})
    assert [set(each) for each in searched(never, 4)] == [set(), {"a"}]
