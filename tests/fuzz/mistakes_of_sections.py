"""Mistakes in nodes themselves, in repeats, parts and names, and in the other sections of a spec."""

from __future__ import annotations

import re
from typing import Any

from drawn_specs import Path
from planting import NOWHERE, Planted, Planting, at, has


def unknown_node_key(planting: Planting) -> Planted | None:
    path = planting.node("full", "partial", "none")
    if path is None:
        return None
    at(planting.spec, path)["colour"] = 3
    return Planted("unknown key of a node", (*path, "colour"), "unknown key 'colour'", str(path[-1]), key=True)


def unknown_family(planting: Planting) -> Planted | None:
    path = planting.node("none")
    if path is None:
        return None
    at(planting.spec, path)["distribution"] = "Norml"
    return Planted("unknown family", (*path, "distribution"), "unknown family 'Norml'", str(path[-1]))


def no_status(planting: Planting) -> Planted | None:
    path = planting.node("full", "none")
    if path is None:
        return None
    del at(planting.spec, path)["supervision"]
    return Planted("no status", path, "missing key 'supervision'", str(path[-1]), key=True)


def wrong_event(planting: Planting) -> Planted | None:
    """Write what a value of a node is wrongly: what hangs on it is told nothing."""
    path = planting.node("full", "partial", "none")
    if path is None:
        return None
    node = at(planting.spec, path)
    bad: list[tuple[str, Any, Path, bool, str]] = [
        ("shape", 2, (), False, "expected a list"),
        ("shape", [2, 0], (1,), False, "expected an integer"),
        ("supervision", "ful", (), False, "unknown supervision"),
    ]
    if "values" in node:
        bad = [
            ("values", 3, (), False, "expected a list"),
            ("values", [1, 2, 1], (2,), False, "duplicate category"),
        ]
    elif "categories" in node:
        bad = [("categories", 1, (), False, "expected an integer"), ("categories", "2", (), False, "expected ")]
    else:
        bad += [("categories", 3, (), True, "only Categorical has 'categories'")]
    key, value, below, at_key, says = planting.rng.choice(bad)
    node[key] = value
    return Planted(f"wrong {key}", (*path, key, *below), says, str(path[-1]), key=at_key)


def column(planting: Planting) -> Planted | None:
    """Give a column or a label to nothing, or to what has none; or leave a column out."""
    if "data" not in planting.spec or ("data",) in planting.taken:
        return None
    planting.taken.add(("data",))
    columns, labels = planting.spec["data"]["columns"], planting.spec["data"]["labels"]
    names = [name for name in columns if name in ("g", "k", "y", "img")]
    name = planting.rng.choice(names)
    match planting.rng.randrange(4):
        case 0:
            columns[NOWHERE] = {"column": "a"}
            return Planted("column", ("data", "columns", NOWHERE), "no node or input named", "data", key=True)
        case 1:
            labels[NOWHERE] = {"count": 3}
            return Planted("label", ("data", "labels", NOWHERE), "no node named", "data", key=True)
        case 2:
            labels["g"] = {"count": 3}
            says = "is not partially supervised"
            return Planted("label", ("data", "labels", "g"), says, "data", key=True, needs=frozenset("g"))
    del columns[name]
    place = ("inputs" if name == "img" else "nodes", name)
    return Planted("no column", place, "has no column", "data", key=True, needs=frozenset([name]))


def no_recognition(planting: Planting) -> Planted | None:
    path = planting.node("partial", "none")
    if path is None or "recognition" not in at(planting.spec, path) or derived(planting, path):
        return None
    del at(planting.spec, path)["recognition"]
    planting.taken.add(path)
    needs = frozenset(["recognition"])  # which would derive it
    return Planted("no recognition", path, "missing key 'recognition'", str(path[-1]), key=True, needs=needs)


def forbidden_recognition(planting: Planting) -> Planted | None:
    path = planting.node("full")
    if path is None:
        return None
    at(planting.spec, path)["recognition"] = {}
    return Planted("q of a full node", (*path, "recognition"), "forbidden: ", str(path[-1]), key=True)


def wrong_estimator(planting: Planting) -> Planted | None:
    path = planting.node("partial", "none")
    if path is None or "recognition" not in at(planting.spec, path):
        return None
    node = at(planting.spec, path)
    family = node["distribution"]
    node["recognition"]["estimator"] = "pathwise" if family in ("Categorical", "Bernoulli") else "enumerate"
    says, place = f"(a mixture of )?{family}s?' cannot have the estimator", (*path, "recognition", "estimator")
    return Planted("estimator", place, says, str(path[-1]))


def wrong_parameter(planting: Planting) -> Planted | None:
    path = planting.node("full", "none")
    if path is None or at(planting.spec, path)["distribution"] not in ("Normal", "Laplace"):
        return None
    key, value, says = planting.rng.choice(
        [
            ("scale", -1, "must be greater than 0"),
            ("scal", 1, "unknown parameter 'scal'"),
            ("scale", {"start": 0}, "must be greater than 0"),
            ("loc", [1, 2, 3, 4, 5], r"got shape \[5\]"),
            ("loc", NOWHERE, f"no node, feature or input named '{NOWHERE}'"),
            ("scale", "wide", "'scale' of |no node, feature or input named 'wide'"),  # of which parts know nothing
        ]
    )
    p = at(planting.spec, path).setdefault("generative", {})
    p["parameters"] = {key: value}
    below: Path = ("start",) if isinstance(value, dict) else ()
    if "generative" in at(planting.drawing.spec, path) or path[-1] in [
        own for own, _ in planting.drawing.parts.values()
    ]:
        place = (*path, "generative", "parameters", key, *below)
        return Planted("parameter", place, says, str(path[-1]), key=key == "scal")
    return None


def derived(planting: Planting, path: Path) -> bool:
    """Tell whether q's parents of a node are derived."""
    return not {"parents", "experts"} & at(planting.drawing.spec, path).get("recognition", {}).keys()


def count(planting: Planting) -> Planted | None:
    """Count a repeat by what cannot count it, or not at all."""
    places = [("repeat", "t"), ("repeat", "t", "repeat", "u")]
    free = [p for p in places if (*p, "count") not in planting.taken and has(planting.spec, p)]
    if not free:
        return None
    path = planting.rng.choice(free)
    planting.taken.add((*path, "count"))
    value, says = planting.rng.choice(
        [
            (NOWHERE, "no node named"),
            ("g", "cannot count"),
            ("h", "is one of the features"),
            (0, "expected "),
            ("", ""),
        ]
    )
    at(planting.spec, path)["count"] = value
    return Planted("count", (*path, "count"), says, "count of " + str(path[-1]))


def bind(planting: Planting) -> Planted | None:
    free = [path for path in planting.drawing.parts if path not in planting.taken]
    if not free:
        return None
    path = planting.rng.choice(free)
    planting.taken.add(path)
    own, host = planting.drawing.parts[path]
    part = at(planting.spec, path)
    word, owner = (NOWHERE, host), own.removesuffix("x")
    if planting.rng.random() < 0.5:
        part["bind"] = {own: word[0]}
        return Planted("bound to nothing", (*path, "bind", own), "no node, feature or input named", owner)
    part["bind"] = {own: host, NOWHERE: "g"}
    names = frozenset(f"{owner}{letter}" for letter in "xzf")  # of the part, which has to be right
    place = (*path, "bind", NOWHERE)
    return Planted("binds nothing", place, "no node or input named", owner, key=True, needs=names)


def top(planting: Planting) -> Planted | None:
    """Write a word of another section, or outside of every section, wrongly."""
    stl = "gradient" in planting.spec["objective"]
    choices: list[tuple[Path, Any, Path, bool, str]] = [
        (("carry",), {"r": {"parents": ["g"], "network": {"gru": 3}}}, (), True, "unknown key 'carry'"),
        (("objective", "sampels"), 3, (), True, "unknown key"),
        (("objective", "alpha"), {NOWHERE: 1}, (NOWHERE,), True, "no node named"),
        (("objective", "alpha"), {"g": 1}, ("g",), True, "is not partially supervised"),
        (("evaluate",), {"metrics": {NOWHERE: "error"}}, ("metrics", NOWHERE), True, "no node named"),
        (("train",), {"optimizer": {"name": "SGD", "eps": 1e-3}}, ("optimizer", "eps"), True, "forbidden: "),
        (("train",), {"category_weights": {NOWHERE: "balanced"}}, ("category_weights", NOWHERE), True, "no node"),
        (("networks", "spare"), {"mpl": [3]}, ("mpl",), True, "unknown network 'mpl'"),
        (("networks", "spare"), {"layers": [{"Linear": 0}]}, ("layers", 0, "Linear"), False, "expected "),
        (("inputs", "spare"), {"categories": 3, "values": [1, 2]}, ("values",), True, "beside"),
        (("inputs", "spare"), {"values": ["a", "a"]}, ("values", 1), False, "duplicate category"),
    ]
    if stl or planting.spec["objective"]["bound"] == "elbo":
        choices = [each for each in choices if each[0][0] != "objective" or each[0][1] != "gradient"]
    free = [each for each in choices if each[0] not in planting.taken]
    path, value, below, key, says = planting.rng.choice(free)
    planting.taken.add(path)
    if path[0] == "inputs" and "data" in planting.spec:
        planting.spec["data"]["columns"][path[1]] = {"column": "spare"}
    here = planting.spec
    for part in path[:-1]:
        here = here.setdefault(part, {})
    here[path[-1]] = value
    return Planted(f"{path}", (*path, *below), re.escape(says), ".".join(map(str, path)), key=key)


def stl(planting: Planting) -> Planted | None:
    """Leave out a score whose mean is not 0."""
    if planting.spec["objective"]["bound"] != "iwae" or ("objective", "gradient") in planting.taken:
        return None
    planting.taken.add(("objective", "gradient"))
    planting.spec["objective"]["gradient"] = "stl"
    return Planted("stl", ("objective", "gradient"), "'stl' leaves out a score", "gradient")


def derived_beside_a_repeat(planting: Planting) -> Planted | None:
    if "recognition" in planting.spec or "repeat" not in planting.spec:
        return None
    planting.spec["recognition"] = "auto"
    return Planted("auto", ("recognition",), "forbidden beside 'repeat' and 'use'", "recognition", key=True)


def name(planting: Planting) -> Planted | None:
    """Give a name that is none, is kept, or stands for something else, in a repeat or beside it."""
    levels: list[Path] = [(), ("repeat", "t"), ("repeat", "t", "repeat", "u")]
    level = planting.rng.choice([each for each in levels if has(planting.spec, each)])
    section = planting.rng.choice(["features", "nodes"])
    words = {"9a": "is not a name", "a b": "is not a name"} | ({"prev": "is kept for"} if level else {})
    word, says = planting.rng.choice(list(words.items()))
    if (*level, "name") in planting.taken:
        return None
    planting.taken.add((*level, "name"))
    new = {
        "features": {"parents": ["img"], "network": {"mlp": [3]}},
        "nodes": {"distribution": "Normal", "supervision": "full"},
    }
    at(planting.spec, level).setdefault(section, {})[word] = new[section]
    if section == "nodes" and not level and "data" in planting.spec:
        planting.spec["data"]["columns"][word] = {"column": "a"}
    return Planted(f"name {word}", (*level, section, word), says, word, key=True)


MISTAKES = (
    unknown_node_key,
    unknown_family,
    no_status,
    wrong_event,
    column,
    no_recognition,
    forbidden_recognition,
    wrong_estimator,
    wrong_parameter,
    count,
    bind,
    top,
    stl,
    derived_beside_a_repeat,
    name,
)
