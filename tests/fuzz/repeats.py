"""Faults in and beside repeats: a spec that is right is taken and runs, a mistake in it is told once where it was made.

Specs with every kind of network are drawn; one mistake or two are planted in them, and each has to be told at what was
written, whatever else is wrong, and nothing besides. By hand: `python tests/fuzz/repeats.py SEED COUNT`.
"""

from __future__ import annotations

import copy
import random
import re
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from bounded import TooLong, bounded
from drawn_networks import Raw
from drawn_specs import Drawing, Path, draw
from mistakes_of_readers import MISTAKES as OF_READERS
from mistakes_of_sections import MISTAKES as OF_SECTIONS
from planting import Planted, Planting, apart

import sgc
from sgc.errors import LISTED, Fault, SpecError
from sgc.spec.document import parse
from sgc.spec.loader import validate
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

RUN = 10  # one in so many specs that are right is compiled and run
ROWS = 4
MISTAKES = (*OF_READERS, *OF_SECTIONS)
LANGUAGE = {"repeat", "use", "network", "kernel", "kernel_size", "prev"}  # words of the language that messages name
_QUOTED = re.compile(r"'([A-Za-z][\w.@-]*)'")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # Any: PyYAML's
        return True


def written(spec: Any) -> str:  # Any: plain data
    """Write a spec as text."""
    return yaml.dump(spec, Dumper=_Dumper, sort_keys=False, width=100_000)


@dataclass(frozen=True)
class Case:
    """A spec as text, and the mistakes in it."""

    text: str
    planted: tuple[Planted, ...]


def plant(drawing: Drawing, rng: random.Random, count: int) -> tuple[Raw, tuple[Planted, ...]]:
    """Plant mistakes that do not hang together in a drawn spec; give what comes of it, and them."""
    planting = Planting(drawing, rng)
    planted: list[Planted] = []
    while len(planted) < count:
        spec, taken = copy.deepcopy(planting.spec), set(planting.taken)
        made = rng.choice(MISTAKES)(planting)
        if made is not None and all(apart(made, other) for other in planted):
            planted.append(made)
        else:
            planting.spec, planting.taken = spec, taken
    return planting.spec, tuple(planted)


def draw_case(seed: int) -> Case:
    """Plant one mistake in the spec of a seed, or two that do not hang together."""
    spec, planted = plant(draw(seed), random.Random(seed), 1 + seed % 2)
    return Case(written(spec), planted)


def marks(text: str) -> dict[tuple[Path, bool], tuple[int, int]]:
    """Say where every key (True) and every value (False) of a text stands: line and column, from 1."""
    found: dict[tuple[Path, bool], tuple[int, int]] = {}

    def go(node: yaml.Node, path: Path) -> None:
        found[path, False] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found[(*path, key.value), True] = (key.start_mark.line + 1, key.start_mark.column + 1)
                go(value, (*path, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                go(value, (*path, i))

    go(yaml.compose(text, Loader=yaml.SafeLoader), ())
    return found


def check(text: str, *, trust: bool = False) -> list[Fault]:
    """List the faults of a text."""
    try:
        validate(parse(text, "spec.yaml"), trust=trust)
    except SpecError as problem:
        return problem.faults
    return []


def wrong_of(case: Case) -> str:
    """Say what the faults of a case are not that they should be; an empty string where all is right."""
    try:
        with bounded():
            faults = check(case.text)
    except (Exception, TooLong):
        return traceback.format_exc()
    places = marks(case.text)
    left = list(faults)
    for each in case.planted:
        mark = [places.get((each.path, key)) for key in ((True, False) if each.key is None else (each.key,))]
        found = next((f for f in left if (f.line, f.column) in mark and re.search(each.says, f.message)), None)
        if found is None:
            return f"not told: {each}\ntold: " + "\n".join(map(str, faults))
        left.remove(found)
    if left:
        return "told besides: " + "\n".join(map(str, left))
    words = {*re.findall(r"[\w-]+", case.text), *LANGUAGE}
    for fault in faults:
        if "@" in f"{fault.message}{fault.hint}":
            return f"a name of a step: {fault}"
        for name in _QUOTED.findall(fault.message):
            if not set(name.split(".")) <= words:
                return f"'{name}' was not written: {fault}"
    return ""


def batch(made: Outline, seed: int) -> dict[str, torch.Tensor]:
    """Draw rows for everything that is observed, half of the labels missing, and for the inputs."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / 4

    def integers(below: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, below, shape, generator=generator)

    found: dict[str, torch.Tensor] = {}
    for name, node in made.outer.items():
        shape = (ROWS, *node.shape)
        if node.dropped:
            found[name] = numbers(*shape).abs().round().where(integers(2, *shape) > 0, torch.nan)
        elif node.supervision == "partial":
            found[name] = torch.where(integers(2, *shape) > 0, integers(node.categories or 1, *shape), -1)
        elif node.supervision == "full":
            whole = integers(node.categories or 2, *shape)
            real = node.family.name in ("Normal", "Laplace")
            found[name] = numbers(*shape) if real else whole if node.categories else whole.to(torch.get_default_dtype())
    for name, given in made.inputs.items():
        found[name] = integers(given.categories, ROWS) if given.categories else numbers(ROWS, *given.shape)
    return found


def wrong_of_drawn(drawing: Drawing, seed: int, *, run: bool) -> str:
    """Say what is wrong with a spec that is right; an empty string where it is taken, and, if asked, runs."""
    try:
        with bounded():
            spec = validate(parse(written(drawing.spec), "spec.yaml"), trust=not run)
        if run:
            torch.manual_seed(seed)
            out = sgc.compile(spec).objective(batch(outline(spec), seed))
            out.loss.backward()
            return "" if out.bound.isfinite().all() else f"the bound is {out.bound.tolist()}"
    except (Exception, TooLong):
        return traceback.format_exc()
    return ""


def main(seed: int = 0, count: int = 2000) -> int:
    """Try `count` specs that are right, and as many with mistakes; 1 where something was wrong."""
    torch.set_num_threads(1)
    wrong: list[str] = []
    runs = 0
    for each in range(seed, seed + count):
        run = each % RUN == 0
        runs += run
        for problem in (wrong_of_drawn(draw(each, trusted=not run), each, run=run), wrong_of(draw_case(each))):
            wrong += [f"seed {each}: {problem}"] if problem else []
    print("\n\n".join(wrong[:LISTED]))
    print(f"{count} specs that are right, {runs} of them run, and {count} with mistakes: {len(wrong)} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
