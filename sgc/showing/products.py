"""The two graphs of a model as products of conditionals, in text and LaTeX."""

from __future__ import annotations

from sgc.derivation.graph import Graphs, Role
from sgc.derivation.plan import Factor, symbol
from sgc.language.outline import Outline


def product(outline: Outline, role: Role, *, latex: bool = False) -> str:
    """Write p or q as the product of its factors: in p children before their parents, in q after them."""
    densities = outline.generative if role == "generative" else outline.recognition
    graphs, letter = outline.graphs, "p" if role == "generative" else "q"
    if not densities:
        return f"{letter} = 1"
    given = set(graphs.inputs) & names_read(outline, role)
    if role == "recognition":
        given |= {name for name in outline.variables if name not in densities} & names_read(outline, role)
    behind = [name for name in (*graphs.nodes, *graphs.inputs) if name in given]
    head = _joint(letter, [name for name in graphs.nodes if name in densities], behind, latex=latex)
    factors = [Factor(n, role, densities[n].reads, frozenset()) for n in _factor_order(graphs, role) if n in densities]
    joined = r" \, ".join(factor.latex() for factor in factors) if latex else " ".join(map(str, factors))
    return f"{head} = {joined}"


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
    left, found = list(graphs.nodes), []
    while left:
        name = next(n for n in left if not children[n] & set(left))
        left.remove(name)
        found.append(name)
    return found


def roles() -> tuple[Role, Role]:
    return ("generative", "recognition")


def names_read(outline: Outline, role: Role) -> set[str]:
    """Name everything that the conditionals of a graph read, directly or through features."""
    densities = outline.generative if role == "generative" else outline.recognition
    found: set[str] = set()
    front = [name for density in densities.values() for name in density.reads]
    while front:
        name = front.pop()
        if name not in found:
            found.add(name)
            front += outline.features[name].parents if name in outline.features else ()
    return found
