"""An unrolled repeat equals the same graph written out by hand: bound, terms and gradient, to 1e-9 in float64.

The writing out is done here, from the spec as plain data: names of steps, an input of zeros before the first step, and
weights that are copies; the gradient of a repeat's weight is the sum of its copies'.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sgc.runtime.compiler import compile_spec
from sgc.runtime.model import Model
from sgc.spec.loader import load

Raw = dict[str, Any]  # Any: a spec as plain data
STEPS, INNER, ROWS = 3, 2, 5
SIZES = {"s": 2, "z": 2, "x": 2, "later": 3, "m": 3, "g": 2, "mu": 2, "v": 2}  # what networks read of each name
TANH = {"activation": "tanh"}


pytestmark = pytest.mark.usefixtures("double_precision")


def random_repeat(rng: random.Random) -> Raw:
    """Draw a spec with a repeat of three nodes, carries both ways, features, a repeat within, and readers outside."""

    def some(*names: str) -> list[str]:
        return [name for name in names if rng.random() < 0.5] or [rng.choice(names)]

    def mlp(parents: list[str], width: int | None = None) -> Raw:
        sizes = [] if width is None else [width]
        return {"parents": parents, "network": {"mlp": sizes or rng.choice([[], [3]]), **TANH}}

    x: Raw = {"distribution": "Normal", "shape": [2], "supervision": "full"}
    taken = rng.random() < 0.5
    x["generative"] = {"parameters": {"loc": "mu", "scale": 0.7}} if taken else mlp(some("s", "z", "m", "prev.x", "w"))
    z = {"distribution": "Normal", "shape": [2], "supervision": "none"}
    z |= {"generative": mlp(some("prev.z", "s", "prev.s", "c")), "recognition": mlp(some("prev.z", "later", "s", "g"))}
    s: Raw = {"distribution": "Categorical", "categories": 2, "supervision": "partial"}
    s["generative"] = mlp(some("prev.s", "m", "w"))
    s["recognition"] = mlp(some("prev.s", "later", "g", "c")) | {"estimator": "enumerate"}
    v: Raw = {"distribution": "Bernoulli", "shape": [2], "supervision": "full"}
    v["generative"] = mlp(some("prev.v", "s", "z", "c"))
    body: Raw = {
        "count": STEPS,
        "carry": {
            "later": mlp(["x", "prev.later"], 3) | {"direction": "backward"},
            "m": mlp([*some("prev.x", "prev.s"), "prev.m"], 3),
        },
        "features": {"g": mlp(some("x", "w", "prev.x", "u.v"), 2), "mu": mlp(some("s", "z"), 2)},
        "nodes": {"s": s, "z": z, "x": x},
        "repeat": {"u": {"count": INNER, "nodes": {"v": v}}},
    }
    way = rng.choice(["sum", "max", "mean", "last"])
    y: Raw = {"distribution": "Bernoulli", "supervision": "full", "generative": mlp(["all", *some("t.z", "t.s", "c")])}
    c: Raw = {"distribution": "Categorical", "categories": 3, "supervision": "partial"}
    c["recognition"] = mlp(["w", *some("t.x", "t.u.v")]) | {"estimator": "enumerate"}
    w: Raw = {"distribution": "Normal", "shape": [2], "supervision": "full"}
    return {
        "version": 1,
        "nodes": {"c": c, "w": w, "y": y},
        "features": {"all": {"parents": [rng.choice(["t.z", "t.s", "t.mu"])], "network": {"combine": way}}},
        "repeat": {"t": body},
        "objective": {
            "bound": rng.choice(["elbo", "iwae"]),
            "samples": rng.choice([1, 2, 3]),
            "alpha": {"t.s": 2, "c": 0.5},
        },
    }


class ByHand:
    """The same spec without its repeats, and which parameter is a copy of which."""

    def __init__(self, spec: Raw) -> None:
        self.body = spec["repeat"]["t"]
        self.inner = self.body["repeat"]["u"]["nodes"]
        self.owner: dict[str, str] = {}  # by flat name, that of the repeat
        self.parents: dict[tuple[str, str], list[int]] = {}  # of an outside reader's parents, how many each became
        names = [*self.body["nodes"], *self.body["features"], *self.body["carry"]]
        self.mine = dict.fromkeys(names)
        self.flat: Raw = {key: each for key, each in spec.items() if key != "repeat"}
        self.flat |= {"nodes": {}, "features": {}, "inputs": {}}
        for section in ("nodes", "features"):
            for name, piece in spec[section].items():
                self.write(section, name, name, piece, ())
            for i in range(1, STEPS + 1):
                for name, piece in self.body[section].items():
                    self.write(section, f"t-{name}_{i}", f"t/{name}", piece, (i,))
        for i in range(1, STEPS + 1):
            for name, piece in self.body["carry"].items():
                step = 1 if piece.get("direction") == "backward" else -1
                own = {key: each for key, each in piece.items() if key != "direction"}
                self.write("features", f"t-{name}_{i}", f"t/{name}", own, (i,), carried={f"prev.{name}": i + step})
            for j in range(1, INNER + 1):
                for name, piece in self.inner.items():
                    self.write("nodes", f"t-u-{name}_{i}-{j}", f"t/u/{name}", piece, (i, j))
        alpha = spec["objective"]["alpha"]
        steps = {f"t-s_{i}": alpha["t.s"] for i in range(1, STEPS + 1)}
        self.flat["objective"] = {**spec["objective"], "alpha": {"c": alpha["c"], **steps}}

    def write(self, section: str, flat: str, owner: str, piece: Raw, at: tuple[int, ...], carried: Raw = {}) -> None:  # noqa: B006
        self.owner[flat] = owner
        made = dict(piece)
        for role in ("generative", "recognition") if section == "nodes" else ("",):
            cond = made.get(role) if role else made
            if not cond:
                continue
            cond = dict(cond)
            if "parents" in cond:
                groups = [self.meant(word, at, carried) for word in cond["parents"]]
                cond["parents"] = [each for group in groups for each in group]
                self.parents[flat, role] = [len(group) for group in groups]
            if "parameters" in cond:
                cond["parameters"] = {
                    k: self.meant(v, at, {})[0] if isinstance(v, str) else v for k, v in cond["parameters"].items()
                }
            made = {**made, role: cond} if role else cond
        self.flat[section][flat] = made

    def meant(self, word: str, at: tuple[int, ...], carried: Raw) -> list[str]:
        """Name what a word means at a step: one name, or all the steps that are read at once."""
        if word in carried:
            return [self.step(word[5:], carried[word])]
        before, name = word.startswith("prev."), word.removeprefix("prev.")
        if at and name in self.mine:
            return [self.step(name, at[0] - before)]
        if name in self.inner and len(at) == 2:
            return [self.step(name, at[1] - before, f"u-{name}_{at[0]}-")]
        if name == "u.v":
            return [f"t-u-v_{at[0]}-{j}" for j in range(1, INNER + 1)]
        if name == "t.u.v":
            return [f"t-u-v_{i}-{j}" for i in range(1, STEPS + 1) for j in range(1, INNER + 1)]
        return [f"t-{name[2:]}_{i}" for i in range(1, STEPS + 1)] if name.startswith("t.") else [name]

    def step(self, name: str, i: int, inside: str = "") -> str:
        last = INNER if inside else STEPS
        flat = f"t-{inside}{i}" if inside else f"t-{name}_{i}"
        if not 1 <= i <= last:
            self.flat["inputs"][flat] = {"shape": [SIZES[name]]}
        return flat

    def copied(self, whole: Model, flat: Model) -> Iterator[tuple[nn.Parameter, list[nn.Parameter], list[int]]]:
        """Give each parameter of the repeat's model, its copies, and into how many side by side each is split."""
        ours = dict(whole.named_parameters())
        theirs = dict(flat.named_parameters())
        for name, parameter in ours.items():
            part, owner, rest = name.split(".", 2)
            role = "" if part == "features" else part
            copies = [each for each, mine in self.owner.items() if f"{mine}_" == owner]
            found: list[nn.Parameter] = []
            split = 1
            for each in copies:
                place = rest.split(".")
                if "weights" in place:
                    j = int(place[-1])
                    counts = self.parents[each, role]
                    split, first = counts[j], sum(counts[:j])
                    keys = [".".join([*place[:-1], str(first + k)]) for k in range(split)]
                else:
                    keys = [rest]
                found += [theirs[f"{part}.{each}_.{key}"] for key in keys]
            yield parameter, found, [split]

    def batch(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {name: torch.zeros(ROWS, *shape["shape"]) for name, shape in self.flat["inputs"].items()}
        for name, value in batch.items():
            if name == "t.u.v":
                found |= {f"t-u-v_{i + 1}-{j + 1}": value[:, i, j] for i in range(STEPS) for j in range(INNER)}
            elif name.startswith("t."):
                found |= {f"t-{name[2:]}_{i + 1}": value[:, i] for i in range(STEPS)}
            else:
                found[name] = value
        return found


def rows(seed: int) -> dict[str, Tensor]:
    """Draw rows with labels of some steps of some of them: every kind of pattern, from none to all."""
    g = torch.Generator().manual_seed(seed)
    s, c = torch.randint(2, (ROWS, STEPS), generator=g), torch.randint(3, (ROWS,), generator=g)
    s[torch.rand(ROWS, STEPS, generator=g) < 0.5] = -1
    s[0], s[1] = s[0].abs(), -1
    c[torch.rand(ROWS, generator=g) < 0.5] = -1
    return {
        "w": torch.randn(ROWS, 2, generator=g),
        "y": torch.randint(2, (ROWS,), generator=g).double(),
        "c": c,
        "t.s": s,
        "t.x": torch.randn(ROWS, STEPS, 2, generator=g),
        "t.u.v": torch.randint(2, (ROWS, STEPS, INNER, 2), generator=g).double(),
    }


@pytest.mark.parametrize("seed", range(12))
def test_a_repeat_equals_the_graph_written_out_by_hand(seed: int) -> None:
    spec = random_repeat(random.Random(seed))
    hand = ByHand(spec)
    whole, flat = compile_spec(load(spec)), compile_spec(load(hand.flat))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.copy_(0.8 * torch.randn_like(parameter))
        for parameter, copies, (split,) in hand.copied(whole, flat):
            pieces = parameter.chunk(split, -1) if split > 1 else [parameter]
            assert copies
            assert len(copies) % split == 0
            for i, copy in enumerate(copies):
                copy.copy_(pieces[i % split])
    batch, mix = rows(seed), torch.randn(ROWS)
    got = whole.objective(batch, weights=mix, generator=torch.Generator().manual_seed(seed))
    wanted = flat.objective(hand.batch(batch), weights=mix, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(got.bound, wanted.bound, rtol=1e-9, atol=1e-9)
    for name, roles in got.terms.items():
        for role, term in roles.items():
            copies_of = [n for n, owner in hand.owner.items() if owner == name.replace(".", "/")]
            parts = [wanted.terms[n][role] for n in copies_of if role in wanted.terms.get(n, {})]
            torch.testing.assert_close(term, torch.stack(parts).sum(0), rtol=1e-9, atol=1e-9)
    got.loss.backward()
    wanted.loss.backward()
    for parameter, copies, (split,) in hand.copied(whole, flat):
        grads = [torch.zeros_like(copy) if copy.grad is None else copy.grad for copy in copies]
        sums = [torch.stack(grads[k::split]).sum(0) for k in range(split)]
        total = torch.cat(sums, -1) if split > 1 else sums[0]
        mine = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(mine, total, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_carried_gru_is_torchs_over_the_sequence(direction: str) -> None:
    x = {"distribution": "Normal", "shape": [2], "supervision": "full"}
    z = {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["state"], "network": {"mlp": []}}}
    carry = {"state": {"parents": ["x"], "network": {"gru": 4}, "direction": direction}}
    spec = {"version": 1, "nodes": {}, "repeat": {"t": {"count": 5, "carry": carry, "nodes": {"x": x, "z": z}}}}
    model = compile_spec(load(spec))
    (cell,) = [each for each in model.modules() if isinstance(each, nn.GRUCell)]
    gru = nn.GRU(2, 4, batch_first=True)
    gru.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    values = torch.randn(7, 5, 2)
    read = values.flip(1) if direction == "backward" else values
    states = gru(read)[0].flip(1) if direction == "backward" else gru(read)[0]
    weight = model.recognition["t/z_"].heads.weights[0]  # type: ignore[union-attr, index]
    bias = model.recognition["t/z_"].heads.bias  # type: ignore[union-attr]
    flat = {f"t.x@{i + 1}": values[:, i] for i in range(5)}
    for i in range(5):
        got = model.conditional(f"t.z@{i + 1}", "recognition", flat)
        torch.testing.assert_close(got.mean, (states[:, i] @ weight.T + bias)[:, 0], rtol=1e-9, atol=1e-9)


def test_a_part_in_a_repeat_equals_its_nodes_written_there() -> None:
    x: Raw = {"distribution": "Bernoulli", "shape": [2], "supervision": "full"}
    net = {"mlp": [3], **TANH}
    y: Raw = {"distribution": "Categorical", "categories": 3, "supervision": "partial"}
    read = {"parents": ["x"], "network": net, "estimator": "enumerate"}
    p_x = {"parents": ["y"], "network": net}
    part = {"version": 1, "nodes": {"x": {**x, "generative": p_x}, "y": {**y, "recognition": read}}}
    use = {"use": {"m": {"spec": part, "bind": {"x": "x"}}}}
    with_part = {"version": 1, "nodes": {}, "repeat": {"t": {"count": 3, "nodes": {"x": x}, **use}}}
    inline = {"x": {**x, "generative": p_x}, "y": {**y, "recognition": read}}
    written = {"version": 1, "nodes": {}, "repeat": {"t": {"count": 3, "nodes": inline}}}
    first, second = compile_spec(load(with_part)), compile_spec(load(written))
    renamed = {name.replace("t/m/", "t/"): value for name, value in first.state_dict().items()}
    second.load_state_dict(renamed)
    values, labels = torch.randint(2, (6, 3, 2)).double(), torch.randint(-1, 3, (6, 3))
    got = first.objective({"t.x": values, "t.m.y": labels})
    wanted = second.objective({"t.x": values, "t.y": labels})
    torch.testing.assert_close(got.bound, wanted.bound, rtol=1e-9, atol=1e-9)
    got.loss.backward()
    wanted.loss.backward()
    theirs = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name.replace("t/m/", "t/")].grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_repeat_written_out_in_full_loads_as_itself(seed: int) -> None:
    spec = load(random_repeat(random.Random(seed)))
    assert load(spec.plain()).plain() == spec.plain()
    fewer = load(spec.plain(), overrides=["repeat.t.count=2"])
    assert fewer.unrolled.sizes["t.u.v"] == (2, INNER)
