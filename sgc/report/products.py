"""The two graphs of a model as products of conditionals, in text and LaTeX; a repeat as a product over its steps."""

from __future__ import annotations

from dataclasses import dataclass

from sgc.derivation.factors import Factor
from sgc.derivation.formula import symbol
from sgc.derivation.graph import Role
from sgc.derivation.styled_letters import style
from sgc.report.plates import Plated, plated
from sgc.report.step_ranges import Around, all_steps, nested
from sgc.spec.outline import Outline


@dataclass(frozen=True)
class Joint:
    """A joint density by names of the file: of which nodes, given what, and its factors with their steps."""

    nodes: tuple[str, ...]
    given: tuple[str, ...]
    factors: tuple[tuple[Factor, Around], ...]


def joint_of(view: Plated, role: Role) -> Joint:
    """Give p or q by its factors: in p children before their parents, in q after them."""
    folded, names = view.outline, view.names
    densities = folded.generative if role == "generative" else folded.recognition
    graphs = folded.graphs
    read = {names.of(flat) for flat in view.flat.names_read(role)}
    conditions = read & {*graphs.inputs, *(folded.variables.keys() - densities.keys() if role == "recognition" else ())}
    order: dict[str, None] = {}
    for name in graphs.order(role) if role == "recognition" else graphs.children_first():
        counts = [plate.count for plate in names.plates(name)]  # a count comes before the steps that it counts
        order |= dict.fromkeys(node for node in (*counts, name) if node in densities)
    return Joint(
        tuple(name for name in graphs.nodes if name in densities),
        tuple(name for name in (*graphs.nodes, *graphs.inputs) if name in conditions),
        tuple((Factor(name, role, densities[name].reads), all_steps(names.plates(name))) for name in order),
    )


def product(outline: Outline, role: Role, *, latex: bool = False, styled: bool = False) -> str:
    """Write p or q as the product of its factors, as `joint_of` orders them. styled: with factors in styled letters."""
    joint, letter = joint_of(plated(outline), role), "p" if role == "generative" else "q"
    if not joint.factors:
        return f"{letter} = 1"
    write = symbol if latex else str
    bar = r" \mid " if latex else " | "
    before, behind = (", ".join(map(write, names)) for names in (joint.nodes, joint.given))

    def mark(text: str, letters: str) -> str:
        return style(text, letters) if styled else text

    factors = [(f.latex() if latex else mark(str(f), role), around) for f, around in joint.factors]
    left = f"{letter}({before}{bar if behind else ''}{behind})"
    return f"{mark(left, role)} = {nested(factors, mark, latex=latex)}"
