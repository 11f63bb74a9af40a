"""The repeats and parts of a spec in words and as plain data: how often, what is in them, what they carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sgc.report.plates import Plated
from sgc.report.step_ranges import count_name
from sgc.spec.outline import Variable
from sgc.spec.scopes import Plate
from sgc.spec.unrolled import PartOf

Rows = list[tuple[str, ...]]


def repeat_rows(view: Plated) -> Rows:
    """List the repeats: name, count, content, carries and their direction."""
    rows: Rows = []
    for repeat in repeats_json(view):
        lists = (("", repeat["nodes"]), ("features ", repeat["features"]))
        held = [f"{word}{', '.join(inside)}" for word, inside in lists if inside]
        carried = [f"{carry['name']} ({carry['direction']})" for carry in repeat["carries"]]
        carries = f"carries {', '.join(carried)}" if carried else ""
        rows.append((repeat["name"], repeat["text"], f"holds {'; '.join(held)}" if held else "", carries))
    return rows


def repeats_json(view: Plated) -> list[dict[str, Any]]:  # Any: plain data
    """Give the repeats as plain data; names in them are as they are called there."""
    names = view.names
    repeats = []
    for plate in view.plates:
        here = [name for name in (*view.outline.variables, *view.outline.features) if _innermost(view, name) == plate]
        carried = {carry.name: carry for carry in view.carries}
        cut = len(plate.name) + 1
        repeats.append(
            {
                "name": plate.name,
                "count": plate.count or plate.size,
                "steps": plate.size,
                "text": count_words(view, plate),
                "nodes": [name[cut:] for name in here if name in view.outline.variables],
                "features": [name[cut:] for name in here if name in view.outline.features and name not in carried],
                "carries": [
                    {"name": name[cut:], "direction": "backward" if carried[name].backward else "forward"}
                    for name in here
                    if name in carried
                ],
                "within": names.plates(here[0])[-2].name if here and len(names.plates(here[0])) > 1 else None,
            }
        )
    return repeats


def count_words(view: Plated, plate: Plate) -> str:
    """Say how many steps a repeat has: `k (1 to 3)`, or `8`."""
    if not plate.count:
        return str(plate.size)
    low, high = _range(view.outline.variables[plate.count], plate)
    return f"{count_name(plate)} ({low} to {high})"


def _range(counter: Variable, plate: Plate) -> tuple[int, int]:
    if counter.values is not None:
        return min(counter.values), max(counter.values)
    return 0, plate.size


def _innermost(view: Plated, name: str) -> Plate | None:
    around = view.names.plates(name)
    return around[-1] if around else None


def part_rows(view: Plated) -> Rows:
    """List the parts: name, the spec it is, its weights, what is bound."""
    rows: Rows = []
    for part in parts_json(view):
        weights = f"weights {part['weights']}" if part["weights"] else "weights of its own"
        bound = ", ".join(f"{own} = {name}" for own, name in part["bind"].items())
        frozen = ", frozen" if part["freeze"] else ""
        rows.append((part["name"], part["spec"], f"{weights}{frozen}", f"binds {bound}" if bound else ""))
    return rows


def parts_json(view: Plated) -> list[dict[str, Any]]:  # Any: plain data
    """Give the parts as plain data."""
    written = dict(_parts(view.names.unrolled.written, ""))
    return [_part_json(part, written.get(part.name, {})) for part in view.names.unrolled.parts]


def _part_json(part: PartOf, written: Mapping[str, Any]) -> dict[str, Any]:  # Any: plain data
    weights = written.get("weights") or (None if part.weights is None else part.weights.name)
    scope = part.name.rpartition(".")[0]
    bind = written.get("bind") or {own: name.removeprefix(f"{scope}.") for own, name in part.bound.items()}
    return {
        "name": part.name,
        "spec": part.own.get("name", ""),
        "weights": weights,
        "freeze": part.freeze,
        "bind": bind,
    }


def _parts(written: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:  # Any: plain data
    """Walk through the parts of a spec as they are written, by their whole names."""
    for name, part in (written.get("use") or {}).items():
        yield f"{prefix}{name}", part
        inner = part.get("spec")
        yield from _parts(inner if isinstance(inner, dict) else {}, f"{prefix}{name}.")
    for name, body in (written.get("repeat") or {}).items():
        yield from _parts(body, f"{prefix}{name}.")
