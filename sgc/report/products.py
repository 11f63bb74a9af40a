"""The two graphs of a model as products of conditionals, in text and LaTeX; a repeat as a product over its steps."""

from __future__ import annotations

import heapq

from sgc.derivation.factors import Factor
from sgc.derivation.formula import symbol
from sgc.derivation.graph import Graphs, Role
from sgc.report.plates import plated
from sgc.report.step_ranges import nested, whole
from sgc.spec.outline import Outline


def product(outline: Outline, role: Role, *, latex: bool = False) -> str:
    """Write p or q as the product of its factors: in p children before their parents, in q after them."""
    view = plated(outline)
    folded, names = view.outline, view.names
    densities = folded.generative if role == "generative" else folded.recognition
    graphs, letter = folded.graphs, "p" if role == "generative" else "q"
    if not densities:
        return f"{letter} = 1"
    read = {names.of(flat) for flat in outline.names_read(role)}
    given = set(graphs.inputs) & read
    if role == "recognition":
        given |= {name for name in folded.variables if name not in densities} & read
    behind = [name for name in (*graphs.nodes, *graphs.inputs) if name in given]
    head = _joint(letter, [name for name in graphs.nodes if name in densities], behind, latex=latex)
    order: dict[str, None] = {}
    for name in _factor_order(graphs, role):
        counts = [plate.count for plate in names.plates(name)]  # a count stands before what it counts
        order |= dict.fromkeys(each for each in (*counts, name) if each in densities)

    def write(name: str) -> str:
        factor = Factor(name, role, densities[name].reads)
        return factor.latex() if latex else str(factor)

    return f"{head} = {nested([*order], lambda name: whole(names.plates(name)), write, latex=latex)}"


def _joint(letter: str, names: list[str], given: list[str], *, latex: bool) -> str:
    write = symbol if latex else str
    bar = r" \mid " if latex else " | "
    behind = bar + ", ".join(map(write, given)) if given else ""
    return f"{letter}({', '.join(map(write, names))}{behind})"


def _factor_order(graphs: Graphs, role: Role) -> list[str]:
    """Order the variables topologically, ties by name: q from parents to children, p the other way round."""
    if role == "recognition":
        return [name for name in graphs.order(role) if name in graphs.nodes]
    children = {name: graphs.children(name, role) for name in graphs.nodes}
    place = {name: i for i, name in enumerate(graphs.nodes)}
    waiting = {name: len(below) for name, below in children.items()}
    ready = [(place[name], name) for name, count in waiting.items() if not count]
    found: list[str] = []
    while ready:
        _, name = heapq.heappop(ready)
        found.append(name)
        for parent in graphs.variables(graphs.parents(name, role)):
            waiting[parent] -= 1
            if not waiting[parent]:
                heapq.heappush(ready, (place[parent], parent))
    return found


def roles() -> tuple[Role, Role]:
    return ("generative", "recognition")
