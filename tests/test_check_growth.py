"""Work and memory of `check` and `inspect` grow about as fast as the spec: each kind of large spec, and twice as much.

Work is lines run in this package, memory the peak of what Python holds: both are the same on every machine and in every
run. Twice the size may take 2.5 times as much; what grows with the square comes near 4 once its part is the largest.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import sgc
from sgc.errors import SpecError
from sgc.report.independence_notes import notes
from sgc.report.json_report import inspect_json
from sgc.report.text_report import inspect_text
from sgc.report.warning_notes import warnings
from sgc.spec.loader import load
from sgc.spec.resolver import outline

Raw = dict[str, Any]  # Any: plain data
PACKAGE = str(Path(sgc.__file__).parent)
MLP = {"mlp": [3]}


def normal(status: str, p: tuple[str, ...] = (), q: tuple[str, ...] | None = None, **options: Any) -> Raw:
    node: Raw = {"distribution": "Normal", "supervision": status}
    if p:
        node["generative"] = {"parents": list(p), "network": MLP}
    if q is not None:
        node["recognition"] = {"parents": list(q), "network": MLP, **options}
    return node


def spec(**sections: Any) -> Raw:
    return {"version": 1, "nodes": {}, **sections}


def steps(count: int, **q: Any) -> Raw:
    """A repeat whose q and p read a carry: seen through it, every step reads every step before it."""
    carry = {"h": {"parents": ["x", "z"], "network": {"gru": 3}}}
    z, x = normal("none", ("prev.h",), ("prev.h", "x"), **q), normal("full", ("z", "prev.h"))
    return spec(repeat={"t": {"count": count, "carry": carry, "nodes": {"z": z, "x": x}}}, objective={"samples": 2})


def enumerated_steps(count: int) -> Raw:
    """The same with steps that are enumerated: all of them meet, in more dimensions than a tensor has."""
    made = steps(count, estimator="enumerate")
    made["repeat"]["t"]["nodes"]["z"] |= {"distribution": "Categorical", "categories": 3}
    return made


def nested(depth: int) -> Raw:
    made = spec(nodes={"z": normal("none", (), ("x",)), "x": normal("full", ("z",))})
    for _ in range(depth):
        made = spec(nodes={"z": normal("none", (), ("x",)), "x": normal("full", ("z",))}, use={"p": {"spec": made}})
    return made


def labels(count: int) -> Raw:
    names = [f"y{i}" for i in range(count)]
    reads = {name: ("x", *names[max(0, i - 1) : i]) for i, name in enumerate(names)}
    nodes = {name: normal("partial", (), reads[name]) for name in names}
    for node in nodes.values():
        node |= {"distribution": "Categorical", "categories": 3}
    nodes = {"x": normal("full", tuple(names)), **nodes}
    rules: Raw = {name: {"same_rows_as": "y0"} for name in names} | {"y0": {"count": 10}}  # so there are two patterns
    columns = {name: {"column": name} for name in nodes}
    return spec(nodes=nodes, data={"source": "npz", "file": "rows.npz", "columns": columns, "labels": rules})


def derived(nodes: Raw) -> Raw:
    return spec(recognition={"parents": "auto", "network": MLP}, nodes=nodes)


def leaves(count: int) -> Raw:
    return derived({"z": normal("none"), **{f"x{i}": normal("full", ("z",)) for i in range(count)}})


def hub(count: int) -> Raw:
    seen = {f"x{i}": normal("full", (f"a{i}",)) for i in range(count)}
    return derived({"z": normal("none"), **{f"a{i}": normal("none", ("z",)) for i in range(count)}, **seen})


def links(count: int) -> Raw:
    chain = {f"z{i}": normal("none", (f"z{i - 1}",) if i else ()) for i in range(count)}
    return derived({**chain, "x": normal("full", (f"z{count - 1}",))})


def mean_field(count: int) -> Raw:
    """A q that leaves out what each latent depends on: notes on all of them."""
    chain = {f"z{i}": normal("none", (f"z{i - 1}",) if i else (), (f"x{i}",)) for i in range(count)}
    return spec(nodes={**chain, **{f"x{i}": normal("full", (f"z{i}",)) for i in range(count)}})


FAMILIES: dict[str, tuple[Callable[[int], Raw], int]] = {
    "steps": (steps, 60),
    "steps that are drawn by score": (lambda n: steps(n, estimator="score_function"), 100),
    "steps that are enumerated": (enumerated_steps, 100),
    "labels chained in q": (labels, 20),
    "leaves, q derived": (leaves, 60),
    "a hub of latents, q derived": (hub, 40),
    "a chain, q derived": (links, 60),
    "a q that leaves out much": (mean_field, 40),
}


def looked_at(made: Raw) -> None:
    found = outline(load(made))
    notes(found), warnings(found), inspect_text(found), inspect_json(found)


def lines_run(task: Callable[[], object]) -> int:
    """Count the lines of this package that a task runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:  # Any: a function like this one
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        task()
    finally:
        sys.settrace(before)
    return count


def peak(task: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("family", FAMILIES)
def test_twice_the_spec_takes_about_twice_the_work(family: str) -> None:
    make, size = FAMILIES[family]
    looked_at(make(2))  # what is loaded once
    small, large = (lines_run(lambda n=n: looked_at(make(n))) for n in (size, 2 * size))  # type: ignore[misc]
    assert large < 2.5 * small


@pytest.mark.parametrize(
    "family",
    ["steps that are drawn by score", "steps that are enumerated", "leaves, q derived", "a q that leaves out much"],
)
def test_twice_the_spec_takes_about_twice_the_memory(family: str) -> None:
    make, size = FAMILIES[family]
    looked_at(make(size))  # what is kept once, such as compiled patterns, is not this spec's
    gc.collect()
    small, large = (peak(lambda n=n: looked_at(make(n))) for n in (2 * size, 4 * size))  # type: ignore[misc]
    assert large < 2.7 * small  # 2.8 where each draw held the names of all that it can influence


def test_parts_in_parts_do_not_double_the_work_with_each_level() -> None:
    """Each level is a spec of its own, checked once with all that stands in it; at most 20 levels stand in each other.

    So the work grows with the square of the depth, and so it is held: 4 times for twice the levels, where doubling with
    each of them would be 128 times as much.
    """
    looked_at(nested(2))
    small, large = (lines_run(lambda n=n: looked_at(nested(n))) for n in (7, 14))  # type: ignore[misc]
    assert large < 5 * small


def test_a_list_of_a_megabyte_is_refused_before_it_is_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("version: 1\nnodes: [" + "1, " * 330_000 + "]\n")
    with pytest.raises(SpecError) as caught:
        load(file)
    (fault,) = caught.value.faults
    assert (fault.line, fault.column, fault.message) == (2, 149_994, "more than 50000 values")
