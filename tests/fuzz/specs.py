"""Random specs, valid and faulty, through `check` and `inspect`: each is a spec or faults in words, and soon.

A quarter are drawn from the whole language, a quarter are such specs with pieces moved, lost, renamed or replaced, a
quarter such specs with more keys of the language, each key of its schema in turn, and a quarter the specs of this
project with letters, lines and values changed. By hand: `python tests/fuzz/specs.py SEED COUNT`.
"""

from __future__ import annotations

import copy
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bounded import TooLong, bounded
from schema_keys import keys, with_key
from typer.testing import CliRunner

from sgc.cli import app
from sgc.distributions.families import COUNTED, FAMILIES
from sgc.errors import LISTED
from sgc.objectives.estimators import ESTIMATORS

Raw = dict[str, Any]

SPECS = Path(__file__).resolve().parent.parent.parent / "specs"
SHAPES: Sequence[list[int]] = ([], [], [2], [2], [3], [1], [1, 8, 8], [3, 4, 4], [4, 2])
EVENT = ("distribution", "shape", "categories", "values")
WORDS = ("x", "y", "z", "w", "h", "g", "k", "s", "m", "t", "u", "q", "site", "prev", "exists", "trunk")
JUNK: Sequence[Any] = (
    *(None, True, 0, -1, 1, 2, 3, 1.5, 1e300, float("nan"), float("inf"), 10**8, 10**30, "", "a.b", "x", "prev.x"),
    *([], {}, [1], ["x"], ["x", "x"], [[]], [None], {"a": 1}, {"x": {"parents": ["x"]}}, {"mlp": []}, {"gru": 3}),
    *({"combine": "sum"}, {"combine": "max"}, {"from": 1, "to": 0.5, "epochs": 3}, {"start": 1, "learn": True}),
    *({"spec": "part.yaml"}, {"parents": "auto"}, "auto", "enumerate", "2024-01-01", "<<", "\x1b[31m", "\u202e"),
    *("é" * 9, "a" * 300),
)


@dataclass(frozen=True)
class Case:
    """A spec as text, how it was made, and the words after `sgc` that it is given to."""

    seed: int
    kind: str
    text: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a case. wrong: empty where it was a spec, or faults in words."""

    case: Case
    status: int
    seconds: float  # of a processor
    wrong: str = ""


class _Drawing:
    """Draws one spec; `wild` is how often something is chosen that need not fit."""

    def __init__(self, rng: random.Random, wild: float) -> None:
        self.rng, self.wild = rng, wild
        self.trunk = False  # whether there is a shared network

    def often(self, share: float) -> bool:
        return self.rng.random() < share

    def odd(self) -> bool:
        return self.often(self.wild)

    def some(self, names: Sequence[str], most: int = 3) -> list[str]:
        chosen = self.rng.sample(names, min(len(names), self.rng.randint(1, most))) if names else []
        return [*chosen, self.rng.choice(WORDS)] if self.odd() else chosen

    def spec(self, depth: int = 0) -> Raw:
        """Draw a whole spec; depth: how many others it is a part of."""
        rng = self.rng
        inputs = {name: self.input() for name in rng.sample(["site", "age"], rng.choice([0, 0, 1, 2]))}
        names = rng.sample(["x", "y", "z", "w", "v"], rng.randint(1, 4))
        status = self.statuses(names)
        full = [name for name in names if status[name] == "full"]
        features = rng.sample(["h", "g"], rng.choice([0, 0, 1, 2])) if full else []
        readable = [*names, *inputs] if self.odd() else [*full, *inputs]
        spec: Raw = {"version": 1}
        if inputs:
            spec["inputs"] = inputs
        if self.often(0.2):
            spec["networks"] = {"trunk": {"mlp": [3]} if self.often(0.5) else self.network()}
            self.trunk = True
        if features:
            spec["features"] = {n: self.reader([*readable, *features[:i]], True) for i, n in enumerate(features)}
        spec["nodes"] = {}
        outside: list[str] = []
        if self.often(0.35):
            counter = ["k"] if self.often(0.4) else []
            if counter:
                spec["nodes"]["k"] = {"distribution": "Categorical", "values": [1, 2], "supervision": "full"}
            spec["repeat"] = {"t": self.repeat([*full, *features, *inputs], counter)}
            body = spec["repeat"]["t"]["nodes"]
            outside = [f"t.{name}" for name, node in body.items() if node["supervision"] == "full" or self.odd()]
        spec["nodes"] |= self.nodes(names, status, list(inputs), [*inputs, *features, *outside])
        if depth < 2 and self.often(0.2 if depth else 0.15):
            spec["use"] = {f"p{i}": self.part(spec["nodes"], depth) for i in range(rng.choice([1, 1, 2]))}
        if self.often(0.15) and (self.odd() or not ("repeat" in spec or "use" in spec)):
            spec["recognition"] = rng.choice(["auto", {"parents": "auto", "network": self.network()}])
            for node in spec["nodes"].values():
                if isinstance(node.get("recognition"), dict) and not self.odd():
                    node["recognition"].pop("parents", None)
        if self.often(0.4):
            spec["objective"] = self.objective([name for name in names if status[name] == "partial"] or names)
        if self.often(0.2):
            observed = [name for name in names if status[name] != "none" or self.odd()] or names
            spec["data"] = self.data([*observed, *inputs], [name for name in observed if status[name] == "partial"])
        if self.often(0.2):
            spec["train"] = self.train()
        if self.often(0.1):
            spec["evaluate"] = {"samples": 10, "metrics": {rng.choice(names): rng.choice(["error", "rmse", "angle"])}}
        if self.odd() and self.often(0.3):
            spec[rng.choice(["carry", "count", "bind", "weights"])] = rng.choice([{"s": self.reader(names, True)}, 3])
        return spec

    def statuses(self, names: Sequence[str]) -> dict[str, str]:
        status = {name: self.rng.choice(["full", "full", "partial", "none", "none"]) for name in names}
        if "full" not in status.values() and not self.odd():
            status[names[0]] = "full"
        return status

    def input(self) -> Raw:
        return self.rng.choice([{"values": ["A", "B"]}, {"categories": 3}, {"shape": [2]}, {}])

    def nodes(self, names: Sequence[str], status: dict[str, str], p: Sequence[str], q: Sequence[str]) -> Raw:
        """Draw nodes, p down the list and q up it, so that few close a cycle. p, q: what else they may read there."""
        made: Raw = {}
        for i, name in enumerate(names):
            node = self.variable()
            node["supervision"] = status[name]
            fixed = (node["distribution"], status[name]) == ("Uniform", "full")
            if self.often(0.7) and not fixed:
                node["generative"] = self.conditional(node, [*names[:i], *p])
            if status[name] == "partial" and self.often(0.15):
                node["missing"] = "drop"
            elif status[name] != "full" or (self.odd() and self.often(0.3)):
                seen = [n for n in names if status[n] == "full" and n != name]
                later = [n for n in names[i + 1 :] if n not in seen]
                node["recognition"] = self.conditional(node, [*seen, *q, *later], q=True)
            made[name] = node
        return made

    def variable(self) -> Raw:
        rng = self.rng
        family = rng.choice([*FAMILIES, *["Normal"] * 12, *["Categorical"] * 9, *["Bernoulli"] * 4])
        node: Raw = {"distribution": family, "shape": list(rng.choice(SHAPES))}
        numbers = FAMILIES[family].options.items()
        options: Raw = {key: rng.choice([2, 3, 5]) for key, each in numbers if each.default is None}
        if FAMILIES[family].inflates:
            options["of"] = rng.choice([*COUNTED, {"NegativeBinomial": {"by": "mean"}}])
        options |= {"by": "mean"} if FAMILIES[family].forms and self.often(0.5) else {}
        if options or self.odd():
            node["distribution"] = {family: options}
        if family == "Categorical":
            node |= rng.choice([{"categories": rng.randint(2, 12)}, {"values": ["a", "b"]}, {"values": [1, 2, 3]}])
        if self.odd() and self.often(0.3):
            node["distribution"] = rng.choice(["normal", "Norml", {"python": "mine:Own"}, {"Normal": {"a": 1}}])
        return {key: each for key, each in node.items() if each != []}

    def conditional(self, node: Raw, names: Sequence[str], *, q: bool = False) -> Raw:
        """Draw p or q of a node."""
        rng, choice = self.rng, node["distribution"]
        family = FAMILIES.get(choice if isinstance(choice, str) else next(iter(choice)))
        found: Raw = {}
        if names and (q or self.often(0.8)) and (self.odd() or family is None or family.heads):
            normal = family is not None and family.multiplies
            found = self.experts(names) if q and normal and self.often(0.3) else self.reader(names, feature=False)
        elif not q and self.often(0.3):
            found = {"learn": True}
        if family is not None and "experts" not in found and self.often(0.15) and (self.odd() or len(family.heads) > 1):
            value: list[Any] = [0.5, 1, {"start": 1.0}, {"start": 0.3, "learn": True}]
            value += [[0.1, 0.2], *names] if self.odd() else []
            keys = ["loc", "scale", "logits", "rate", "probs", "low"] if self.odd() else list(family.constraints)
            found["parameters"] = {rng.choice(keys): rng.choice(value)}
        if q and self.often(0.4):
            small = "shape" not in node and family is not None and family.relaxation
            fitting: list[Any] = ["score_function", "mean", "straight_through"] if small else ["score_function"]
            fitting += ["enumerate", {"gumbel_softmax": {"temperature": 0.5}}] if small else []
            found["estimator"] = rng.choice(list(ESTIMATORS) if self.odd() else fitting)
        return found

    def experts(self, names: Sequence[str]) -> Raw:
        """Draw some experts: named after what they read, or with parents of their own."""
        rng = self.rng
        found: Raw = {name: {"network": self.network()} for name in self.some(names)}
        if self.often(0.4):
            found["more"] = self.reader(names, feature=False)
        if self.odd() and self.often(0.5):
            found[rng.choice(["9a", "no.such", "z z"])] = rng.choice([{}, {"parents": []}, {"network": None}, 3])
        made: Raw = {"experts": found}
        made |= {"combine": rng.choice(["product", "mixture", "mixture_of_products"])} if self.often(0.6) else {}
        return made | (
            {"prior": rng.choice([True, False, False, "no"] if self.odd() else [False])} if self.often(0.7) else {}
        )

    def reader(self, names: Sequence[str], feature: bool) -> Raw:
        return {"parents": self.some(names), "network": self.network(feature=feature)}

    def network(self, *, feature: bool = False) -> Any:
        rng = self.rng
        if (self.trunk or self.odd()) and self.often(0.2):
            return "trunk"
        entries = [self.entry() for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        return entries[0] if len(entries) == 1 and self.often(0.9) else entries

    def entry(self) -> Any:
        rng = self.rng
        if not self.often(0.1 + 2 * self.wild):
            return {"mlp": rng.choice([[], [4], [5, 3]])}
        images = {"channels": rng.choice([[2], [2, 3]]), "kernel": rng.choice([1, 2, 3, 4]), "stride": 2}
        if self.often(0.5):
            images["stride"] = 1
        kinds: list[Raw] = [
            {"conv": images},
            {"deconv": images},
            {"residual": rng.choice([[3], images])},
            {"gru": 3},
            {"combine": rng.choice(["sum", "max", "over", "mean", "last"])},
            {"affine": {rng.choice(["crop", "paste"]): [1, rng.choice([4, 8]), 4]}},
            {"layers": [rng.choice(["Tanh", "Flatten", {"Linear": 4}, {"Unflatten": [1, 2, 2]}, "MaxPool2d", "GRU"])]},
            {"layers": [{"Linear": 4}, "ReLU", {"Linear": {"out_features": 3}}]},
            {"layers": [{"Conv2d": {"out_channels": 2, "kernel_size": 3}}, {"BatchNorm2d": {}}]},
        ]
        kinds += [{"python": "mine:Net", "output": [4]}] if self.odd() else []
        chosen = rng.choice(kinds)
        if self.often(0.2):
            chosen |= rng.choice([{"activation": "tanh"}, {"norm": "batch"}, {"dropout": 0.5}])
        return chosen

    def repeat(self, outer: Sequence[str], counter: Sequence[str], depth: int = 0) -> Raw:
        """Draw a repeat. outer: what may be read from around it; counter: nodes that may count it."""
        rng = self.rng
        carries = rng.sample(["m", "b"], rng.choice([0, 1, 2]))
        names = rng.sample(["x", "z", "s"], rng.randint(1, 3))
        status = self.statuses(names)
        seen = [name for name in names if status[name] == "full"] or names
        before = [f"prev.{name}" for name in names if self.often(0.5)]
        features = ["f"] if self.often(0.3) else []
        body: Raw = {"count": rng.choice([1, 2, 2, 3, 3, *counter * 4])}
        if carries:
            body["carry"] = {name: self.carry([*seen, *outer], before, name) for name in carries}
        if features:
            body["features"] = {"f": self.reader([*seen, *before, *outer], True)}
        forward = [name for name in carries if "direction" not in body["carry"][name]]
        p = [*before, *outer, *(forward if self.odd() else [])]
        body["nodes"] = self.nodes(names, status, p, [*carries, *features, *outer, *before])
        if depth < 1 and self.often(0.2):
            body["repeat"] = {"u": self.repeat([*seen, *outer], [], depth + 1)}
        if self.often(0.15):
            body["use"] = {"r": self.part(body["nodes"], 1)}
        return body

    def carry(self, names: Sequence[str], before: Sequence[str], name: str) -> Raw:
        backward = self.often(0.3)
        network = {"gru": 3} if self.often(0.6) else self.network()
        own = [f"prev.{name}"] if self.odd() or "gru" not in network else []
        made = {"parents": [*(self.some(names) if backward or not before else self.some(before, 2)), *own]}
        return made | {"network": network} | ({"direction": "backward"} if backward else {})

    def part(self, nodes: Raw, depth: int) -> Raw:
        """Draw a part: of another spec, its nodes bound to those that have the same values, or to any."""
        inner = self.spec(depth + 1)
        for key in ("data", "train", "evaluate", "objective"):
            inner.pop(key, None)
        bind: dict[str, str] = {}
        for name, node in inner["nodes"].items():
            alike = [n for n, other in nodes.items() if all(other.get(k) == node.get(k) for k in EVENT)]
            chosen = self.rng.choice(list(nodes) if self.odd() else alike or [""])
            if chosen and self.often(0.8):
                bind[name] = chosen
                nodes[chosen].pop("generative", None) if not self.odd() else None
        for name in inner.get("inputs", {}):
            bind[name] = self.rng.choice(list(nodes))
        return {"spec": inner, "bind": bind} | ({"freeze": True} if self.often(0.1) else {})

    def objective(self, names: Sequence[str]) -> Raw:
        rng = self.rng
        words: Raw = {
            "bound": rng.choice(["elbo", "iwae", "density", "supervised"]),
            "samples": rng.choice([1, 2, 5]),
            "alpha": rng.choice([1, 50, {rng.choice(names): 2}, {"over_rate": 0.1}, {"from": 1, "to": 2, "epochs": 3}]),
            "gamma": 1.0,
            "supervision_rate": 0.5,
            "weights": rng.choice(["normalized", "none"]),
            "label_term": rng.choice(["mean_log", "log_mean"]),
            "kl": rng.choice(["auto", "sampled"]),
            "kl_weight": rng.choice([1, 0.5]),
            "gradient": rng.choice(["total", "stl"]),
        }
        if not self.odd():
            kept = rng.choice([("bound", "samples"), ("alpha", "gamma", "gradient", "kl")])
            words = {key: words[key] for key in kept}
        return {key: words[key] for key in rng.sample(list(words), min(len(words), rng.randint(1, 4)))}

    def data(self, names: Sequence[str], partial: Sequence[str]) -> Raw:
        rng = self.rng
        columns = {name: {"column": name} for name in names if not self.odd()}
        found: Raw = {"source": rng.choice(["npz", "table"]), "file": "rows.npz", "columns": columns}
        if self.often(0.5):
            rule = rng.choice([{"count": 10}, {"fraction": 0.1}, {"rows": "rows.txt"}, {"per_category": 2}])
            rule = {"same_rows_as": rng.choice(names)} if self.odd() else rule
            found["labels"] = {rng.choice(names if self.odd() or not partial else partial): rule}
        if self.often(0.3):
            found["split"] = {"test": 0.2, "validation": rng.choice([10, 0.1]), "stratify": rng.choice(names)}
        return found

    def train(self) -> Raw:
        rng = self.rng
        words: Raw = {
            "epochs": rng.choice([1, 10]),
            "batch_size": rng.choice([10, {"unlabelled": 10, "labelled": 5}]),
            "optimizer": {"name": rng.choice(["Adam", "SGD", "RMSprop"]), "lr": 0.01, "momentum": 0.5},
            "clip_norm": 5,
            "stop": {"patience": 3},
            "precision": rng.choice(["32-true", "64-true"]),
            "seed": 3,
        }
        if not self.odd():
            words["optimizer"] = {"name": "Adam", "lr": 0.01}
        return {key: words[key] for key in rng.sample(list(words), rng.randint(1, 4))}


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the place of everything in plain data."""
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield from paths(each, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def mutate(spec: Raw, rng: random.Random) -> Raw:
    """Take out, rename, replace, copy or double one to three pieces of a spec."""
    spec = copy.deepcopy(spec)
    for _ in range(rng.choice([1, 1, 2, 3])):
        every = list(paths(spec))
        path = rng.choice(every)
        parent, key = _at(spec, path[:-1]), path[-1]
        what = rng.random()
        networks = [each for each in every if each[-1] == "network"]
        if networks and rng.random() < 0.25:
            path = rng.choice(networks)
            _at(spec, path[:-1])["network"] = _Drawing(rng, 0.5).network()
        elif what < 0.15:
            del parent[key]
        elif what < 0.3 and isinstance(parent, dict):
            parent[rng.choice([*WORDS, str(key)[1:] + "q", "nodes", "carry", "parents", "network"])] = parent.pop(key)
        elif what < 0.5:
            parent[key] = copy.deepcopy(_at(spec, rng.choice(every)))
        elif what < 0.6 and isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(_at(spec, rng.choice(every))))
        elif what < 0.7 and isinstance(parent, dict):
            parent[rng.choice(WORDS)] = copy.deepcopy(_at(spec, rng.choice(every)))
        elif what < 0.8 and isinstance(parent[key], str):
            letters = list(parent[key] or "a")
            letters[rng.randrange(len(letters))] = rng.choice("aéZ0._- ")
            parent[key] = "".join(letters)
        else:
            parent[key] = copy.deepcopy(rng.choice(JUNK))
    return spec


def mutate_text(text: str, rng: random.Random) -> str:
    """Change letters, words or lines of a text."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        lines = text.split("\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        spots = [match.span() for match in re.finditer(r"[\w.]+", text)] or [(0, 0)]
        (start, end), (first, last) = rng.choice(spots), rng.choice(spots)
        what = rng.randrange(7)
        if what == 0:
            del lines[i]
        elif what == 1:
            lines.insert(j, lines[i])
        elif what == 2:
            lines[i] = rng.choice(["", " ", "  ", "\t"]) + lines[i].lstrip() if rng.random() < 0.5 else " " + lines[i]
        if what < 3:
            text = "\n".join(lines)
        elif what == 3:
            text = text[:start] + text[first:last] + text[end:]
        elif what == 4:
            text = text[:start] + yaml.safe_dump(rng.choice(JUNK), default_flow_style=True).strip(".\n ") + text[end:]
        elif what == 5:
            place = rng.randrange(len(text) + 1)
            letter = rng.choice("[]{}:,&*!|>%@`'\"#-?~\x00\x07é\u2028\t")
            text = text[:place] + letter + text[place + rng.randrange(2) :]
        else:
            text = text[:start] + text[end:]
    return text


def draw_case(seed: int) -> Case:
    """Draw the case of a seed: always the same one."""
    rng = random.Random(seed)
    kind = ("drawn", "mutated", "text", "key")[seed % 4]
    if kind == "text":
        file = rng.choice(sorted(SPECS.glob("*.yaml")))
        text = mutate_text(file.read_text(encoding="utf-8"), rng)
    else:
        plain = _Drawing(rng, rng.choice([0.0, 0.0, 0.05, 0.3])).spec()
        plain = mutate(plain, rng) if kind == "mutated" else plain
        if kind == "key":
            plain = with_data(plain) if rng.random() < 0.5 else plain
            for number in (*rng.sample(range(len(keys())), rng.choice([0, 0, 1, 2])), seed // 4):
                plain = with_key(plain, number, rng)
        text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    ways = (("check",), ("inspect",), ("inspect", "--json"), ("inspect", "--expand"), ("check", "--trust"))
    return Case(seed, kind, text, rng.choice(ways))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def with_data(spec: Raw) -> Raw:
    """Give a spec a section of data with a column for all that is observed."""
    levels = {"": spec, **{f"{name}.": body for name, body in spec.get("repeat", {}).items()}}
    nodes = [(prefix, name, node) for prefix, body in levels.items() for name, node in body["nodes"].items()]
    names = [f"{prefix}{name}" for prefix, name, node in nodes if node.get("supervision") != "none"]
    columns = {name: {"column": name} for name in (*names, *spec.get("inputs", {}))}
    return {**spec, "data": {"source": "npz", "file": "rows.npz", "columns": columns}}


def run_case(case: Case, folder: Path) -> Outcome:
    """Give a spec to its command, in this process."""
    file = folder / "spec.yaml"
    file.write_text(case.text, encoding="utf-8")
    started = time.process_time()
    wrong, status = "", -1
    try:
        command, *flags = case.words
        with bounded():
            done = CliRunner().invoke(app, [command, str(file), *flags], catch_exceptions=False)
        status = done.exit_code
        text = done.output
        if status not in (0, 2) or (status == 2 and not text.strip()):
            wrong = f"exit {status}: {text[-500:]}"
        elif "Traceback" in text:
            wrong = text[-2000:]
    except TooLong as late:
        wrong = str(late)
    except Exception:
        wrong = traceback.format_exc()
    return Outcome(case, status, time.process_time() - started, wrong)


def fuzz(seed: int, count: int) -> list[Outcome]:
    """Run the cases of `count` seeds, from `seed` on."""
    with tempfile.TemporaryDirectory() as name:
        folder, here = Path(name), Path.cwd()
        os.chdir(folder)
        try:
            return [run_case(draw_case(each), folder) for each in range(seed, seed + count)]
        finally:
            os.chdir(here)


def main(seed: int = 0, count: int = 2000) -> int:
    outcomes = fuzz(seed, count)
    wrong = [each for each in outcomes if each.wrong]
    for each in wrong[:LISTED]:
        print(f"seed {each.case.seed}: sgc {' '.join(each.case.words)}\n{each.wrong[-1500:]}\n")
    statuses = Counter((each.case.kind, each.status) for each in outcomes)
    for (kind, status), number in sorted(statuses.items()):
        print(f"{kind:<8} exit {status}: {number}")
    slowest = max(outcomes, key=lambda each: each.seconds)
    late = f"slowest {slowest.seconds:.1f} s (seed {slowest.case.seed})"
    print(f"{count} specs from seed {seed}: {len(wrong)} wrong; {late}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
