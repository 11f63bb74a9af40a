"""The two graphs of a model as products of conditionals, in text and LaTeX; a repeat as a product over its steps."""

from __future__ import annotations

from sgc.derivation.factors import Factor
from sgc.derivation.formula import symbol
from sgc.derivation.graph import Role
from sgc.derivation.styled_letters import style
from sgc.report.plates import plated
from sgc.report.step_ranges import all_steps, nested
from sgc.spec.outline import Outline


def product(outline: Outline, role: Role, *, latex: bool = False, styled: bool = False) -> str:
    """Write p or q as the product of its factors: in p children before their parents, in q after them.

    styled: with factors in styled letters.
    """
    view = plated(outline)
    folded, names = view.outline, view.names
    densities = folded.generative if role == "generative" else folded.recognition
    graphs, letter = folded.graphs, "p" if role == "generative" else "q"
    if not densities:
        return f"{letter} = 1"
    read = {names.of(flat) for flat in outline.names_read(role)}
    conditions = read & {*graphs.inputs, *(folded.variables.keys() - densities.keys() if role == "recognition" else ())}
    write = symbol if latex else str
    bar = r" \mid " if latex else " | "
    behind = ", ".join(write(name) for name in (*graphs.nodes, *graphs.inputs) if name in conditions)
    before = ", ".join(write(name) for name in graphs.nodes if name in densities)
    order: dict[str, None] = {}
    for name in graphs.order(role) if role == "recognition" else graphs.children_first():
        counts = [plate.count for plate in names.plates(name)]  # a count comes before the steps that it counts
        order |= dict.fromkeys(node for node in (*counts, name) if node in densities)

    def mark(text: str, letters: str) -> str:
        return style(text, letters) if styled else text

    factors = []
    for name in order:
        factor = Factor(name, role, densities[name].reads)
        factors.append((factor.latex() if latex else mark(str(factor), role), all_steps(names.plates(name))))
    joint = f"{letter}({before}{bar if behind else ''}{behind})"
    return f"{mark(joint, role)} = {nested(factors, mark, latex=latex)}"
