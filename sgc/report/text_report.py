"""The report on a model: its nodes, its two graphs as products, its derived objective, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sgc.derivation.graph import ROLES
from sgc.derivation.styled_letters import style
from sgc.networks.layer import shape_text
from sgc.report.independence_notes import notes
from sgc.report.plated_plan import plan_of
from sgc.report.plates import Plated, plated
from sgc.report.printed_lines import Line, printed, unstyled
from sgc.report.products import product
from sgc.report.repeat_report import part_rows, repeat_rows
from sgc.report.short_words import (
    DERIVED,
    combination_words,
    constant_words,
    decay_words,
    entering_words,
    estimator_words,
    event_words,
    expert_words,
    family_words,
    network_words,
    objective_rows,
    shared_networks,
)
from sgc.report.shown_patterns import shown
from sgc.report.standard_streams import visible
from sgc.report.text_table import text_table
from sgc.report.warning_notes import warnings
from sgc.spec.outline import Density, FeatureOutline, Outline

HANGING = 14  # how far a folded line of a plan is set in


def inspect_text(outline: Outline, *, width: int | None = None, color: bool = False) -> str:
    """Write the report as text. width: fold lines at so many characters; None: never. color: ANSI escapes."""
    description, view = outline.spec.description, plated(outline)
    lines = unstyled([f"{outline.spec.name}: {description}" if description else outline.spec.name], "title")
    lines += _section("nodes", [])
    lines += [Line(text, foldable=False) for text in _node_table(view.outline, width)]
    for title, rows in _lists(view):
        lines += _section(title, _columns(rows))
    lines += _section("products", [])
    lines += [Line(f"  {product(outline, role, styled=True)}") for role in ROLES]
    lines += unstyled(f"  {line}" for line in _feature_lines(view.outline))
    lines += unstyled([f"  parents of q: {DERIVED}"] if outline.spec.derived else [])
    chosen, left_out = shown(view.outline)
    for observed in chosen:
        plan = plan_of(view, observed, styled=True)
        title, *rows_of_plan = plan.lines()
        lines += [*_section(title, []), *map(Line, rows_of_plan)]
        lines += [Line(f"  warning   {warning}", "warning") for warning in plan.warnings()]
    if left_out:
        count = "one" if left_out == 1 else str(left_out)
        lines += _section(f"and {count} more observation patterns, derived in the same way", [])
    lines += _section("objective", _columns(objective_rows(view.outline)))
    letters = ((role, "p" if role == "generative" else "q") for role in ROLES)
    factors = {f"{p}({name})": style(f"{p}({name})", role) for role, p in letters for name in view.outline.variables}
    counts = [(factors.get(part, part), f"{count:,}") for part, count in view.outline.parameter_table()]
    counts += [("total", f"{outline.parameter_count():,}")]
    counts += [(visible(f"and those of {path}"), "not known") for path in outline.own_networks]
    lines += [*_section("parameters", []), *map(Line, _columns(counts, right=True))]
    warned, noted = warnings(outline), notes(outline)
    lines += _section("warnings" if warned else "no warnings", [f"  {line}" for line in warned])
    lines += _section("notes", [f"  {line}" for line in noted]) if noted else []
    indent = " " * min(HANGING, width // 4) if width is not None else ""
    return printed(lines, width=width, indent=indent, color=color)


def _section(title: str, texts: Iterable[str]) -> list[Line]:
    return [Line(""), *unstyled([title], "title"), *unstyled(texts)]


NODE_TITLES = ("node", "distribution", "supervision", "generative", "recognition", "parameters")


def node_rows(outline: Outline) -> list[list[str]]:
    """Give the table of nodes, a row of cells for each, below `NODE_TITLES`; cells may have several lines."""
    rows: list[list[str]] = []
    for name, variable in outline.variables.items():
        p, q = outline.generative[name], outline.recognition.get(name)
        estimator = [estimator_words(variable.estimator)] if q is not None else []
        counts = [f"{letter} {d.parameters:,}" for letter, d in (("p", p), ("q", q)) if d is not None and d.parameters]
        cells = (
            name,
            "\n".join(part for part in (family_words(variable), event_words(variable)) if part),
            f"{variable.supervision},\ndropped where\nmissing" if variable.dropped else variable.supervision,
            "\n".join(_density_lines(p)),
            "\n".join([*_density_lines(q), *estimator]) if q is not None else "",
            "\n".join(counts) or "0",
        )
        rows.append([visible(cell) for cell in cells])  # before it is laid out
    return rows


def _node_table(outline: Outline, width: int | None) -> list[str]:
    room = 1000 if width is None else max(width - 2, 40)
    table = text_table(NODE_TITLES, node_rows(outline), width=room, right=NODE_TITLES[-1:])
    return [f"  {line}".rstrip() for line in table]


def _density_lines(density: Density) -> list[str]:
    if density.experts is not None:
        named = zip(density.experts.members, density.of_experts, strict=True)
        each = [expert_words(member, part) for member, part in named]
        return [f"{combination_words(density.experts)} of", *each]
    lines = [", ".join(density.parents)] if density.parents else []
    if density.entries:
        lines.append(network_words(density.entries, density.trunk))
    entering = entering_words(density.parents, density.stack)
    if entering:
        lines.append(entering)
    if decay := decay_words(density):
        lines.append(decay)
    if density.constants:
        lines.append(constant_words(density.constants))
    return lines


def _feature_words(feature: FeatureOutline) -> list[str]:
    entering = entering_words(feature.parents, feature.stack)
    return [network_words(feature.entries, feature.trunk), entering, decay_words(feature)]


def _lists(view: Plated) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Give the sections of repeats, parts, features, inputs and shared networks, where there are any."""
    outline = view.outline
    if view.plates:
        yield "repeats", repeat_rows(view)
    if view.names.unrolled.parts:
        yield "parts", part_rows(view)
    if outline.features:
        yield (
            "features",
            [
                (
                    f.name,
                    shape_text(f.stack.output),
                    f"of {', '.join(f.parents)}",
                    "; ".join(filter(None, _feature_words(f))),
                )
                for f in outline.features.values()
            ],
        )
    if outline.inputs:
        rows: list[tuple[str, ...]] = []
        for entry in outline.inputs.values():
            names = f": {', '.join(map(str, entry.values))}" if entry.values else ""
            text = f"{entry.categories} categories{names}" if entry.categories else shape_text(entry.shape)
            rows.append((entry.name, text))
        yield "inputs", rows
    shared = shared_networks(outline)
    if shared:
        yield (
            "networks",
            [(name, f["network"], f"used by {', '.join(f['used_by']) or 'nothing'}") for name, f in shared.items()],
        )


def _feature_lines(outline: Outline) -> list[str]:
    features = outline.features.values()
    lines = [f"{f.name} = {network_words(f.entries, f.trunk)} of {', '.join(f.parents)}" for f in features]
    return [f"with {line}" for line in lines]


def _columns(rows: list[tuple[str, ...]] | list[tuple[str, str]], *, right: bool = False) -> list[str]:
    """Align rows of cells, the last one to the right where asked."""
    cells = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    lines = []
    for row in cells:
        *first, last = row
        left = "  ".join(f"{cell:<{width}}" for cell, width in zip(first, widths, strict=False))
        lines.append(f"  {left}  {last:>{widths[-1]}}" if right else f"  {left}  {last}".rstrip())
    return lines
