"""Specs that are right, drawn at random: every kind of network inside and beside repeats, nested, counted and carried.

A name stands for one thing in a whole spec, whatever level it is on, so that what hangs on what is read off the words.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from drawn_networks import IMAGE, KINDS, SIGNAL, TRUNK, WIDE, Networks, Raw, Readable, Shape

Path = tuple[str | int, ...]

INPUTS: dict[str, tuple[Raw, Shape]] = {
    "img": ({"shape": list(IMAGE)}, IMAGE),
    "sig": ({"shape": list(SIGNAL)}, SIGNAL),
    "wide": ({"shape": list(WIDE)}, WIDE),
    "pair": ({"shape": [2]}, (2,)),
    "one": ({}, ()),
    "site": ({"values": ["A", "B", "C"]}, (3,)),
}
FULL: tuple[tuple[Any, Shape], ...] = (
    ("Normal", (2,)),
    ("Normal", IMAGE),
    ("Normal", ()),
    ("Bernoulli", (3,)),
    ("Poisson", (2,)),
    ("Laplace", SIGNAL),
    ({"DiscretizedLogistic": {"levels": 4}}, IMAGE),
    ("Bernoulli", IMAGE),
    ({"NegativeBinomial": {"by": "mean"}}, (2,)),
    ({"ZeroInflated": {"of": {"NegativeBinomial": {"by": "mean"}}}}, (2,)),
    ({"ZeroInflated": {"of": "Poisson"}}, ()),
)
LATENT: tuple[tuple[str, Shape, tuple[Any, ...]], ...] = (  # with estimators that it may have
    ("Normal", (2,), (None, "pathwise", "score_function", "mean")),
    ("Normal", (), (None,)),
    ("Normal", IMAGE, (None,)),
    ("Bernoulli", (), (None, "enumerate", {"gumbel_softmax": {"temperature": 0.5}}, "straight_through")),
    ("LogNormal", (2,), (None, "pathwise")),
)


# what may be said of training, and of data beside its columns, whatever the nodes are
TRAINING: Raw = {
    "loggers": ["tensorboard", {"mlflow": {"experiment": "drawn"}}, {"wandb": {"project": "drawn", "mode": "online"}}],
    "pictures": 2,
    "shard": True,
    "compile": "reduce-overhead",
    "precision": "auto",
    "weight": "counted",
    "labelled_also_unlabelled": True,
    "clip_norm": {"from": 5, "to": 1, "epochs": 3},
}
LARGE: Raw = {"memory": 64, "window": 4, "prefetch": 2}
SOURCES: tuple[Raw, ...] = (
    {"source": "npz", "file": "rows.npz"},
    {"source": "parquet", "file": ["a.parquet", "b-*.parquet"], **LARGE},
    {"source": "tar", "file": "rows-{000..009}.tar", "mode": "grey", "size": [4, 4], **LARGE},
    {"source": "h5ad", "file": "cells.h5ad", "missing_values": ["", "unassigned"]},
    {"source": "datasets", "dataset": "some/rows", "parts": {"train": "train", "test": "test"}, **LARGE},
)


@dataclass(frozen=True)
class Site:
    """Something with parents and a network: a feature, a carry, or a conditional (`p` or `q`) of a node.

    read: what its network reads; may: what it might; whole: the name of what it is of, with those of repeats and parts.
    """

    path: Path
    role: Literal["feature", "carry", "p", "q"]
    owner: str
    whole: str
    kind: str
    read: tuple[Readable, ...]
    event: Shape | None
    repeats: tuple[str, ...] = ()  # around it
    part: Path = ()  # that it stands in


@dataclass
class Drawing:
    """A spec as it was drawn, and what stands where. bound: nodes of the host whose p a part gives, by part's name."""

    spec: Raw
    sites: list[Site] = field(default_factory=list)
    nodes: dict[Path, str] = field(default_factory=dict)  # every node's place, and its status
    parts: dict[Path, tuple[str, str]] = field(default_factory=dict)  # of a part: its bound node, and the host's
    kinds: set[str] = field(default_factory=set)


def alone(name: str, shape: Shape) -> Readable:
    return Readable(name, shape, shape)


class Specs:
    """Draws specs, see `draw`."""

    def __init__(self, rng: random.Random, *, trusted: bool = False, kind: str = "") -> None:
        self.rng, self.kind = rng, kind
        self.networks = Networks(rng, trusted=trusted)
        self.made = Drawing({"version": 1})
        self.dropped: Readable | None = None  # a node that is left out where it is missing, of which experts speak
        self.scope: tuple[Path, str, tuple[str, ...], Path] = ((), "", (), ())  # place, prefix, repeats, part

    def often(self, share: float = 0.5) -> bool:
        return self.rng.random() < share

    # pieces

    def reader(self, at: Path, role: Any, may: Sequence[Readable], event: Shape | None = None) -> tuple[Raw, Shape]:
        """Draw parents and a network; the shape it makes, () for a `deconv`."""
        place, prefix, repeats, part = self.scope
        drawn = self.networks.draw(may, event, kind=self.kind if self.kind and self.often(0.7) else "")
        owner = str(at[1])
        site = Site((*place, *at), role, owner, prefix + owner, drawn.kind, drawn.parents, event, repeats, part)
        self.made.sites.append(site)
        self.made.kinds.add(drawn.kind)
        return {"parents": [each.name for each in drawn.parents], "network": drawn.network}, drawn.shape or ()

    def feature(self, name: str, may: Sequence[Readable], section: str = "features") -> tuple[Raw, Readable]:
        made, shape = self.reader((section, name), "feature", may)
        return made, alone(name, shape)

    def node(
        self,
        name: str,
        status: str,
        p: Sequence[Readable],
        q: Sequence[Readable] = (),
        *,
        auto: bool = False,
        before: bool = False,
    ) -> tuple[Raw, Readable]:
        """Draw a node. p, q: what it may read there, with itself `before`; auto: its parents in q are derived."""
        rng, place = self.rng, (*self.scope[0], "nodes", name)
        estimators: tuple[Any, ...] = (None,)
        if status == "partial":
            raw: Raw = {"distribution": "Categorical", "categories": 2}
            event, shape, estimators = (2,), (), ("enumerate", None, "score_function")
        else:
            family, shape, *rest = rng.choice(FULL) if status == "full" else rng.choice(LATENT)
            raw, event = {"distribution": family}, shape
            estimators = rest[0] if rest else (None,)
        if shape:
            raw["shape"] = list(shape)
        if before:
            p, q = [*p, alone(f"prev.{name}", event)], [*q, alone(f"prev.{name}", event)]
        raw["supervision"] = status
        self.made.nodes[place] = status
        fixed = rng.random()
        if p and (fixed < 0.8 or raw["distribution"] not in ("Normal", "Categorical", "Bernoulli")):
            raw["generative"] = self.reader(("nodes", name, "generative"), "p", p, shape)[0]
            if raw["distribution"] == "Normal" and fixed < 0.15 and raw["generative"]["network"] != "trunk":
                raw["generative"]["parameters"] = {"scale": rng.choice([0.5, {"start": 0.7, "learn": True}])}
        elif fixed < 0.9:
            raw["generative"] = {"learn": True}
        if status != "full":
            if not auto and raw["distribution"] == "Normal" and self.often(0.35):
                raw["recognition"] = self.experts(name, q, shape, raw.get("generative", {}))
                if "mixture" in raw["recognition"].get("combine", ""):
                    estimators = estimators[:-1] or (None,)  # a mixture has no mean to be taken
            else:
                raw["recognition"] = {} if auto else self.reader(("nodes", name, "recognition"), "q", q, shape)[0]
            estimator = rng.choice(estimators)
            if estimator is not None:
                raw["recognition"]["estimator"] = estimator
            if auto:
                raw["recognition"] |= {"network": {"mlp": [3]}} if self.scope[0] else {}
        return raw, alone(name, event)

    def leaf(self, name: str, p: Sequence[Readable]) -> tuple[Raw, Readable]:
        """Draw a node that may be missing, element by element, and that nothing reads but experts."""
        family, shape, *_ = self.rng.choice([each for each in FULL if len(each[1]) < 2])
        raw: Raw = {"distribution": family, "supervision": "partial", "missing": "drop"}
        raw |= {"shape": list(shape)} if shape else {}
        raw["generative"] = self.reader(("nodes", name, "generative"), "p", p, shape)[0]
        self.made.nodes["nodes", name] = "dropped"
        return raw, alone(name, shape)

    def experts(self, name: str, q: Sequence[Readable], shape: Shape, p: Raw) -> Raw:
        """Draw a q that is made up of experts, one of which speaks of what is there in every row."""
        place = ("nodes", name, "recognition", "experts")
        found = {f"e{i}": self.reader((*place, f"e{i}"), "q", q, shape)[0] for i in range(self.rng.choice([1, 2]))}
        if self.often(0.3):
            found["plain"] = {"parents": []}
        if self.dropped is not None and self.often(0.7):
            found[self.dropped.name] = {"network": {"mlp": [3]}}  # named after what it reads
        made: Raw = {"experts": found} | self.rng.choice([{}, {"combine": "product"}, {"combine": "mixture"}])
        if self.often(0.3):
            made["combine"] = "mixture_of_products"
        scale = p.get("parameters", {}).get("scale")
        if "parents" in p or "learn" in p or isinstance(scale, dict):
            return made | {"prior": False}  # p is no factor that is known
        return made | self.rng.choice([{}, {"prior": True}, {"prior": False}])

    def part(self, name: str, host: Raw, at: Path) -> tuple[Raw, Readable]:
        """Draw a part that gives p to a node of the host. at: where it stands."""
        before, trunk, self.networks.shared = self.scope, self.networks.shared, None
        dropped, self.dropped = self.dropped, None
        self.scope = ((*at, "spec"), "", (), at)  # a part is told in its own names
        auto = self.often(0.3)
        latent, seen = f"{name}z", f"{name}x"
        nodes: Raw = {}
        spec: Raw = {"version": 1, "networks": {"trunk": dict(TRUNK)}, "nodes": nodes}
        shape = tuple(host.get("shape", ()))
        z, read = self.node(latent, "none", (), [alone(seen, shape)], auto=auto)
        nodes[latent] = z
        nodes[seen] = {key: each for key, each in host.items() if key not in ("generative", "recognition")}
        parents = [read]
        if not auto and self.often(0.4):
            spec["features"] = {f"{name}f": None}
            spec["features"][f"{name}f"], made = self.feature(f"{name}f", [read])
            parents.append(made)
        nodes[seen]["generative"] = self.reader(("nodes", seen, "generative"), "p", parents, shape)[0]
        self.made.nodes[*self.scope[0], "nodes", seen] = "full"
        if auto:
            spec["recognition"] = self.rng.choice(["auto", {"parents": "auto", "network": {"mlp": [2]}}])
        self.scope, self.networks.shared, self.dropped = before, trunk, dropped
        return {"spec": spec, "bind": {seen: ""}}, Readable(f"{name}.{latent}", read.shape, read.one)

    # repeats

    def carry(self, name: str, may: Sequence[Readable], *, backward: bool) -> tuple[Raw, Readable]:
        """Draw a state: by a recurrent unit, behind other networks or not, or by a network that ends in a width."""
        made, _ = self.reader(("carry", name), "carry", may)
        network = made["network"]
        entries = network if isinstance(network, list) else [network]
        if network == "trunk":
            entries = [dict(TRUNK)]
            self.made.sites[-1] = Site(**{**vars(self.made.sites[-1]), "kind": "mlp"})
        if self.often(0.5):
            made["network"] = [*entries, {"gru": 3}] if self.often(0.6) else {"gru": 3}
        else:
            made["network"] = [*entries, {"mlp": [3]}]
            if not {"combine", "affine", "python", "conv"} & set(entries[0]) and self.often(0.7):
                made["parents"].append(f"prev.{name}")
                self._reads(alone(f"prev.{name}", (3,)), made)
        if backward:
            made["direction"] = "backward"
        return made, alone(name, (3,))

    def _reads(self, more: Readable, made: Raw) -> None:
        """Let the last site read one name more, if its network may; take it back where it may not."""
        site = self.made.sites[-1]
        first = made["network"][0]
        if site.kind in ("mlp", "linear", "residual") or first.get("layers", [""])[0] == "Flatten":
            self.made.sites[-1] = Site(**{**vars(site), "read": (*site.read, more)})
        else:
            made["parents"].pop()

    def repeat(
        self, name: str, names: Sequence[str], count: Any, p: list[Readable], q: list[Readable], depth: int
    ) -> tuple[Raw, list[Readable], list[Readable]]:
        """Draw a repeat; give it with what its full nodes and all its nodes are from outside.

        names: of its two carries, its feature, its partial, latent and full node; p, q: what is read from around it.
        """
        before = self.scope
        place, prefix, repeats, part = before
        at = (*place, "repeat", name)
        self.scope = (at, f"{prefix}{name}.", (*repeats, name), part)
        m, b, f, s, z, x = names
        counted = isinstance(count, str)
        steps = 2
        body: Raw = {"count": count, "nodes": {}}
        x_raw, x_read = self.node(x, "full", [])  # its event; what it reads is drawn below
        x_raw.pop("generative", None)
        seen, before_x = [*q, x_read], Readable(f"prev.{x}", x_read.shape, x_read.one)
        carries: list[Readable] = []
        safe = [*p, before_x]
        if self.often(0.7):
            body.setdefault("carry", {})[m], read = self.carry(m, [before_x, *p], backward=False)
            carries.append(read)
            safe.append(read)
        if self.often(0.6):
            body.setdefault("carry", {})[b], read = self.carry(b, [x_read, *q], backward=True)
            seen.append(read)
        inner_full: list[Readable] = []
        own: list[Readable] = []
        if depth and self.often(0.6):
            of_all = [[each for each in pool if not each.name.startswith("prev.")] for pool in (safe, seen)]
            inside = self.rng.choice([2, count])
            inner, full, every = self.repeat("u", ("n", "c", "e", "r", "j", "v"), inside, *of_all, depth - 1)
            body["repeat"] = {"u": inner}
            inner_full, own = full, every
            seen += full
        if self.often(0.6):
            body["features"] = {f: None}
            body["features"][f], read = self.feature(f, [x_read, before_x, *q, *carries, *inner_full])
            seen.append(read)
        if self.often(0.6):
            body["nodes"][s], read = self.node(s, "partial", safe, [*seen, *carries], before=True)
            safe, seen = [*safe, read], [*seen, read]
            own.append(read)
        if self.often(0.7):
            body["nodes"][z], read = self.node(z, "none", safe, [*seen, *carries], before=True)
            safe, seen = [*safe, read], [*seen, read]
            own.append(read)
        body["nodes"][x] = x_raw
        if self.often(0.3):
            use = (*at, "use", f"d{name}")
            body["use"] = {f"d{name}": None}
            body["use"][f"d{name}"], read = self.part(f"d{name}", x_raw, use)
            body["use"][f"d{name}"]["bind"] = {f"d{name}x": x}
            self.made.parts[use] = (f"d{name}x", x)
        else:
            x_raw["generative"] = self.reader(("nodes", x, "generative"), "p", safe, tuple(x_raw.get("shape", ())))[0]
        self.scope = before

        def outside(each: Readable) -> Readable:
            return Readable(f"{name}.{each.name}", (steps, *each.shape), each.one, each.masked or counted)

        return body, [outside(each) for each in (x_read, *inner_full)], [outside(each) for each in own]

    # the whole

    def draw(self, *, repeats: bool = True) -> Drawing:
        """Draw a spec; without repeats, one whose parents in q are derived."""
        spec = self.made.spec
        spec["inputs"] = {name: dict(raw) for name, (raw, _) in INPUTS.items()}
        spec["networks"] = {"trunk": dict(TRUNK)}
        nodes: Raw = {}
        spec["features"], spec["nodes"] = {}, nodes
        inputs = [alone(name, shape) for name, (_, shape) in INPUTS.items()]
        nodes["g"], g = self.node("g", "full", inputs)
        nodes["k"] = {"distribution": "Categorical", "values": [1, 2], "supervision": "full"}
        self.made.nodes["nodes", "k"] = "full"
        counter = alone("k", (2,))
        if repeats and self.often(0.5):
            nodes["d"], self.dropped = self.leaf("d", inputs)
        nodes["y"], y = self.node("y", "partial", inputs, [g, *inputs], auto=not repeats)
        nodes["z"], z = self.node("z", "none", [y, *inputs], [g, y, *inputs], auto=not repeats)
        full, every = [], []
        if repeats:
            count = self.rng.choice([2, 2, "k"])
            around = [y, z, g, counter, *inputs]
            body, full, every = self.repeat("t", ("m", "b", "f", "s", "l", "a"), count, around, around, 1)
            spec["repeat"] = {"t": body}
        spec["features"]["h"], h = self.feature("h", [g, *inputs, *full])
        spec["features"]["i"], i = self.feature("i", inputs)
        nodes["w"], w = self.node("w", "full", [y, z, i, *inputs, *full, *every])
        last = [h, i, w, y, z, g, *inputs, *full, *every]
        nodes["o"], _ = self.node("o", "none", [y, z, *inputs], last, auto=not repeats)
        if repeats and self.often(0.3):
            at: Path = ("use", "dq")
            nodes["w"].pop("generative", None)
            self.made.sites = [each for each in self.made.sites if each.path != ("nodes", "w", "generative")]
            spec["use"] = {"dq": None}
            spec["use"]["dq"], _ = self.part("dq", nodes["w"], at)
            spec["use"]["dq"]["bind"] = {"dqx": "w"}
            self.made.parts[at] = ("dqx", "w")
        if not repeats:
            spec["recognition"] = {"parents": "auto", "network": {"mlp": [2]}}
        objective: Raw = {"bound": self.rng.choice(["elbo", "elbo", "iwae"]), "samples": self.rng.choice([1, 2])}
        if objective["bound"] == "elbo" and self.often(0.3):
            objective |= {"weights": "none", "gradient": "stl"}
        spec["objective"] = objective
        self.sections(spec)
        return self.made

    def sections(self, spec: Raw) -> None:
        """Name nodes where the data, the objective, training and evaluation do, by the names that all steps go by."""
        status = {self.whole(path): each for path, each in self.made.nodes.items() if "use" not in path}
        partial = [name for name, each in status.items() if each == "partial"]
        if self.often():
            observed = [name for name, each in status.items() if each != "none"]
            columns = {name: {"column": name.replace(".", "_")} for name in [*observed, *INPUTS]}
            labels = {name: {"count": 10} for name in partial}
            spec["data"] = {**self.rng.choice(SOURCES), "columns": columns, "labels": labels}
        if self.often(0.3):
            spec["objective"]["alpha"] = dict.fromkeys(partial, 2)
        if self.often(0.3):
            spec["train"] = {"category_weights": self.rng.choice(["balanced", {"y": "balanced"}, {"y": [1, 2.5]}])}
        if self.often(0.4):
            chosen = self.rng.sample(list(TRAINING), self.rng.randint(1, 3))
            chosen += ["loggers"] if "pictures" in chosen else []
            spec.setdefault("train", {}).update({key: copy.deepcopy(TRAINING[key]) for key in chosen})
        if self.often(0.3):
            spec["evaluate"] = {"metrics": dict.fromkeys(partial, "rmse")}

    def whole(self, path: Path) -> str:
        """Give the name of a node with those of the repeats around it."""
        return ".".join(str(part) for part in path[1::2])


def draw(seed: int, *, trusted: bool = False) -> Drawing:
    """Draw the spec of a seed; every kind of network has its turn. One in eight is without repeats."""
    rng = random.Random(seed)
    return Specs(rng, trusted=trusted, kind=KINDS[seed % len(KINDS)]).draw(repeats=seed % 8 != 7)
