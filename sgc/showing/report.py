"""The report on a model: its nodes, its two graphs as products, its derived objective, as text and as plain data."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from sgc.derivation.cost import LARGEST, OPERATIONS, advise, count_text, too_large
from sgc.derivation.derive import derive
from sgc.derivation.graph import Graphs, Role
from sgc.derivation.inversion import SOURCE
from sgc.derivation.plan import Factor, Plan, symbol
from sgc.kinds.base import Piece
from sgc.kinds.estimators import possible
from sgc.kinds.layers import shape_text
from sgc.language.outline import Density, Outline, Variable
from sgc.showing.noting import notes
from sgc.showing.wording import (
    constant_words,
    estimator_words,
    event_words,
    family_words,
    network_words,
    objective_rows,
)

SHOWN = 8  # so many observation patterns are shown; of more the unlabelled one, single labels, and all labels
SEARCHED = 256  # and warnings are looked for in this many, all labels among them
EFFORT = 20_000  # fewer for large models: so many nodes are gone through in all
DRAWING = ("score_function", "gumbel_softmax")  # the estimators to choose where enumerating costs too much
DERIVED = f"derived from p (auto, {SOURCE})"
HANGING = 14  # how far a folded line of a plan is set in


def inspect_text(outline: Outline, *, width: int | None = None, color: bool = False) -> str:
    """Write the report as text. width: fold lines at so many characters; None: never. color: ANSI escapes."""
    description = outline.spec.description
    lines = [f"{outline.spec.name}: {description}" if description else outline.spec.name, ""]
    lines += ["nodes", *_node_table(outline, width)]
    for title, rows in _lists(outline):
        lines += ["", title, *_columns(rows)]
    lines += ["", "products", *(f"  {product(outline, role)}" for role in _roles())]
    lines += [f"  {line}" for line in _feature_lines(outline)]
    lines += [f"  parents of q: {DERIVED}"] if outline.spec.derived else []
    chosen, left_out = _shown(outline.graphs)
    for observed in chosen:
        lines += ["", *derive(outline.graphs, observed, outline.words).text().split("\n")]
    if left_out:
        some = "one" if left_out == 1 else str(left_out)
        lines += ["", f"and {some} more observation patterns, derived in the same way"]
    lines += ["", "objective", *_columns(objective_rows(outline))]
    counts = [(part, f"{count:,}") for part, count in outline.parameter_table()]
    lines += ["", "parameters", *_columns([*counts, ("total", f"{outline.parameter_count():,}")], right=True)]
    found = warnings(outline)
    lines += ["", *(["warnings", *(f"  {each}" for each in found)] if found else ["no warnings"])]
    noted = notes(outline)
    lines += ["", "notes", *(f"  {each}" for each in noted)] if noted else []
    if width is not None:
        indent = " " * min(HANGING, width // 4)
        lines = [folded for line in lines for folded in ([line] if "─" in line else fold(line, width, indent))]
    text = "\n".join(lines)
    return _coloured(text) if color else text


def inspect_json(outline: Outline) -> dict[str, Any]:  # Any: plain data
    """Give the content of the report as plain data."""
    chosen, left_out = _shown(outline.graphs)
    spec, counts = outline.spec, dict(outline.parameter_table())
    return {
        "name": spec.name,
        "description": spec.description,
        "nodes": [_node_json(outline, variable, counts) for variable in outline.variables.values()],
        "features": [
            {
                "name": feature.name,
                "parents": list(feature.parents),
                "network": network_words(feature.entries, feature.trunk),
                "shape": list(feature.stack.output),
                "parameters": feature.parameters,
            }
            for feature in outline.features.values()
        ],
        "inputs": [
            {
                "name": each.name,
                "shape": list(each.shape),
                "categories": each.categories,
                "values": _listed(each.values),
            }
            for each in outline.inputs.values()
        ],
        "networks": [{"name": name, **facts} for name, facts in _shared(outline).items()],
        "products": {
            role: {"text": product(outline, role), "latex": product(outline, role, latex=True)} for role in _roles()
        },
        "recognition_parents": DERIVED if spec.derived else "as written",
        "patterns": [_plan_json(derive(outline.graphs, observed, outline.words)) for observed in chosen],
        "patterns_left_out": left_out,
        "objective": {
            "text": [{"what": what, "text": text} for what, text in objective_rows(outline)],
            **spec.objective.model_dump(mode="json", by_alias=True, exclude_none=True),
        },
        "parameters": {"parts": counts, "total": outline.parameter_count()},
        "warnings": warnings(outline),
        "notes": notes(outline),
    }


def warnings(outline: Outline) -> list[str]:
    """List what a user should know before training: of every pattern, each message once, and of what nobody uses."""
    rows: dict[str, list[str]] = {}
    worst: Plan | None = None
    for observed in _searched(outline.graphs):
        plan = derive(outline.graphs, observed, outline.words)
        if worst is None or plan.operations > worst.operations:
            worst = plan
        for warning in plan.warnings:
            rows.setdefault(warning.removeprefix(f"{plan.rows_text()}: "), []).append(plan.rows_text())
    found = []
    for message, where in rows.items():
        more = len(where) - 1
        others = f" and {more} other pattern{'s' if more > 1 else ''}" if more else ""
        found.append(f"{where[0]}{others}: {message}")
    assert worst is not None  # there is a pattern without labels
    cost = [f"{worst.rows_text()}: {_cost_warning(outline, worst)}"] if too_large(worst) else []
    return [*found, *cost, *_without_effect(outline)]


def _cost_warning(outline: Outline, plan: Plan) -> str:
    """Say that a plan enumerates too much, which estimator to choose at which nodes, and what it costs then."""
    joined = ", ".join(plan.widest) if len(plan.widest) <= SHOWN else f"{len(plan.widest)} nodes"
    text = (
        f"enumerating touches {count_text(plan.operations)} numbers a row, and its largest sum, over {joined}, "
        f"{count_text(plan.largest)}: more than {count_text(OPERATIONS)} and {count_text(LARGEST)} are too many"
    )
    able = {name: _drawn_by(outline.variables[name]) for name in plan.enumerated}
    advice = advise(outline.graphs, plan, [name for name, kinds in able.items() if kinds])
    if not advice.nodes:
        return f"{text}; no node can be drawn instead"
    kinds = [kind for kind in DRAWING if all(kind in able[name] for name in advice.nodes)] or list(DRAWING)
    samples = " and objective.samples at least 2" if "score_function" in kinds and plan.words.samples < 2 else ""
    after = f"{count_text(advice.plan.operations)} and {count_text(advice.plan.largest)}"
    return f"{text}; with estimator {' or '.join(kinds)} at {', '.join(advice.nodes)}{samples} they are {after}"


def _drawn_by(variable: Variable) -> list[str]:
    return [kind for kind in DRAWING if kind in possible(variable.family, variable.event)]


def _without_effect(outline: Outline) -> Iterator[str]:
    """Say what is written and has no effect, and what q does not look at."""
    spec, graphs = outline.spec, outline.graphs
    used = {role: _read(outline, role) for role in _roles()}
    for name in [*outline.features, *outline.inputs]:
        if not any(name in names for names in used.values()):
            what = "feature" if name in outline.features else "input"
            yield f"the {what} '{name}' is read by no node: it does nothing"
    named = {each.trunk for each in [*outline.generative.values(), *outline.recognition.values()]}
    named |= {feature.trunk for feature in outline.features.values()}
    for name in spec.networks:
        if name not in named:
            yield f"the network '{name}' is named by nobody: it does nothing"
    for name, density in outline.recognition.items():
        if not graphs.ancestors(density.reads, "recognition") - set(outline.features) - set(outline.inputs):
            yield f"q({name}) reads no node: it proposes the same for every row"
    for name, variable in outline.variables.items():
        if variable.supervision == "full" and outline.recognition and name not in used["recognition"]:
            yield f"q never reads '{name}', though every row has it"
        if variable.dropped and outline.recognition and name not in used["recognition"]:
            yield f"q never reads '{name}', not even in the rows that have it"
    if not graphs.partial:
        for key in ("alpha", "gamma", "supervision_rate"):
            if key in spec.objective.model_fields_set:
                labels = " with labels" if graphs.dropped else ""
                yield f"objective.{key} does nothing: no node is partially supervised{labels}"


def product(outline: Outline, role: Role, *, latex: bool = False) -> str:
    """Write p or q as the product of its factors: in p children before their parents, in q after them."""
    densities = outline.generative if role == "generative" else outline.recognition
    graphs, letter = outline.graphs, "p" if role == "generative" else "q"
    if not densities:
        return f"{letter} = 1"
    given = set(graphs.inputs) & _read(outline, role)
    if role == "recognition":
        given |= {name for name in outline.variables if name not in densities} & _read(outline, role)
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


def _roles() -> tuple[Role, Role]:
    return ("generative", "recognition")


def _read(outline: Outline, role: Role) -> set[str]:
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


def _patterns(partial: tuple[str, ...]) -> Iterator[frozenset[str]]:
    """Go through every observation pattern, the unlabelled one first; there are 2ⁿ, so one at a time."""
    for size in range(len(partial) + 1):
        yield from map(frozenset, itertools.combinations(partial, size))


def _shown(graphs: Graphs) -> tuple[list[frozenset[str]], int]:
    """Choose the patterns to show; return them with the number of those left out."""
    partial = graphs.partial
    total = 1 << len(partial)
    if total <= SHOWN:
        return list(_patterns(partial)), 0
    chosen = [frozenset[str](), *(frozenset({name}) for name in partial[: SHOWN - 2]), frozenset(partial)]
    return chosen, total - len(chosen)


def _searched(graphs: Graphs) -> list[frozenset[str]]:
    """Choose the patterns to look for warnings in: those with the fewest labels, and that with all."""
    partial = graphs.partial
    limit = max(SHOWN, min(SEARCHED, EFFORT // len(graphs.nodes)))
    if 1 << len(partial) <= limit:
        return list(_patterns(partial))
    return [*itertools.islice(_patterns(partial), limit - 1), frozenset(partial)]


# ---- as text


def _node_table(outline: Outline, width: int | None) -> list[str]:
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, leading=1, header_style="")
    for title in ("node", "distribution", "supervision", "generative", "recognition"):
        table.add_column(title, overflow="fold")
    table.add_column("parameters", justify="right", overflow="fold")
    for name, variable in outline.variables.items():
        p, q = outline.generative[name], outline.recognition.get(name)
        estimator = [estimator_words(variable.estimator)] if q is not None else []
        counts = [f"{letter} {d.parameters:,}" for letter, d in (("p", p), ("q", q)) if d is not None and d.parameters]
        table.add_row(
            name,
            "\n".join(part for part in (family_words(variable), event_words(variable)) if part),
            f"{variable.supervision},\ndropped where\nmissing" if variable.dropped else variable.supervision,
            "\n".join(_density_lines(p)),
            "\n".join([*_density_lines(q), *estimator]) if q is not None else "",
            "\n".join(counts) or "0",
        )
    file = io.StringIO()
    console = Console(
        file=file,
        width=1000 if width is None else max(width - 2, 40),
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(table)
    return [f"  {line}".rstrip() for line in file.getvalue().rstrip().split("\n")]


def _density_lines(density: Density) -> list[str]:
    lines = [", ".join(density.parents)] if density.parents else []
    if density.entries:
        lines.append(network_words(density.entries, density.trunk))
    if density.constants:
        lines.append(constant_words(density.constants))
    return lines


def _lists(outline: Outline) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Give the sections of features, inputs and shared networks, where there are any."""
    if outline.features:
        yield (
            "features",
            [
                (f.name, shape_text(f.stack.output), f"of {', '.join(f.parents)}", network_words(f.entries, f.trunk))
                for f in outline.features.values()
            ],
        )
    if outline.inputs:
        rows: list[tuple[str, ...]] = []
        for each in outline.inputs.values():
            names = f": {', '.join(map(str, each.values))}" if each.values else ""
            text = f"{each.categories} categories{names}" if each.categories else shape_text(each.shape)
            rows.append((each.name, text))
        yield "inputs", rows
    shared = _shared(outline)
    if shared:
        yield (
            "networks",
            [(name, f["network"], f"used by {', '.join(f['used_by']) or 'nobody'}") for name, f in shared.items()],
        )


def _shared(outline: Outline) -> dict[str, dict[str, Any]]:  # Any: plain data
    """Collect the named networks: what they are and who uses them."""
    found: dict[str, dict[str, Any]] = {}
    for name, network in outline.spec.networks.items():
        entries = network if isinstance(network, tuple) else (network,)
        users = [
            f"{letter}({density.node})"
            for letter, densities in (("p", outline.generative), ("q", outline.recognition))
            for density in densities.values()
            if density.trunk == name
        ]
        users += [feature.name for feature in outline.features.values() if feature.trunk == name]
        found[name] = {"network": network_words(entries), "used_by": users}
    return found


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


def fold(text: str, width: int, indent: str = "") -> list[str]:
    """Fold a line that is too long at its spaces, a factor p(…) or q(…) kept whole where it fits."""
    if len(text) <= width:
        return [text]
    inner = width - len(indent)
    kept = re.sub(r"\b[pq]\([^()]*\)", lambda m: m[0].replace(" ", "\0") if len(m[0]) <= inner else m[0], text)
    folded = textwrap.wrap(
        kept,
        max(width, 20),
        subsequent_indent=indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in folded]


STYLES = (
    (r"^\S.*$", "bold"),  # titles
    (r"\bp\([^()]*\)", "blue"),
    (r"\bq\([^()]*\)", "dark_orange"),
    (r"(?<=  )exact\b", "green"),
    (r"(?<=  )enumerated\b", "cyan"),
    (r"(?<=  )sampled\b", "yellow"),
    (r"(?<=  )biased\b", "red"),
    (r"(?<=  )varies(?=: reads)", "bold yellow"),
    (r"^  warning .*$", "yellow"),
)


def _coloured(text: str) -> str:
    import io

    from rich.console import Console
    from rich.text import Text

    styled = Text(text)
    for pattern, style in STYLES:
        for match in re.finditer(pattern, text, re.MULTILINE):
            styled.stylize(style, *match.span())
    file = io.StringIO()
    width = max(1, *(len(line) for line in text.split("\n")))
    Console(file=file, force_terminal=True, color_system="256", width=width, no_color=False).print(
        styled, soft_wrap=True
    )
    return file.getvalue().removesuffix("\n")


# ---- as plain data


def _node_json(outline: Outline, variable: Variable, counts: Mapping[str, int]) -> dict[str, Any]:  # Any: plain data
    name = variable.name
    return {
        "name": name,
        "distribution": variable.family.name,
        "options": dict(variable.family.settings),
        "shape": list(variable.shape),
        "categories": variable.categories,
        "values": _listed(variable.values),
        "supervision": variable.supervision,
        "missing": "drop" if variable.dropped else None,
        "generative": _density_json(outline.generative[name]),
        "recognition": _density_json(outline.recognition[name]) if name in outline.recognition else None,
        "estimator": _plain_estimator(variable) if name in outline.recognition else None,
        "parameters": counts.get(f"p({name})", 0) + counts.get(f"q({name})", 0),
        "elements": math.prod(variable.event),
    }


def _plain_estimator(variable: Variable) -> dict[str, Any] | None:  # Any: plain data
    chosen = variable.estimator
    if chosen is None:
        return None
    options = {name: getattr(chosen, name) for name in type(chosen).model_fields}
    plain = {
        name: value.model_dump(mode="json", by_alias=True) if isinstance(value, Piece) else value
        for name, value in options.items()
    }
    return {"name": chosen.name, "options": plain}


def _density_json(density: Density) -> dict[str, Any]:  # Any: plain data
    constants = {
        name: {"value": _listed(each.value) if isinstance(each.value, tuple) else each.value, "learn": each.learn}
        for name, each in density.constants.items()
    }
    return {
        "parents": list(density.parents),
        "network": network_words(density.entries, density.trunk),
        "heads": {name: list(shape) for name, shape in density.heads.items()},
        "constants": constants,
        "parameters": density.parameters,
    }


def _plan_json(plan: Plan) -> dict[str, Any]:  # Any: plain data
    terms = [{"text": plan.term_text(term), "tag": term.tag, "why": term.why} for term in plan.terms]
    for weight in plan.weights:
        terms.append({"text": plan.label_text(weight), "tag": plan.label_tag(weight), "why": "label"})
    return {
        "observed": list(plan.observed),
        "rows": plan.rows_text(),
        "clamped": list(plan.clamped),
        "proposed": [{"factor": str(p.factor), "estimator": p.estimator, "support": p.support} for p in plan.proposals],
        "weights": [
            {"factor": str(weight.factor), "varies": weight.varies, "carriers": list(weight.carriers)}
            for weight in plan.weights
        ],
        "joint": [str(factor) for factor in plan.joint],
        "bound": {"text": plan.bound_text(), "latex": plan.latex()},
        "terms": terms,
        "cost": plan.cost_text(),
        "largest_intermediate": plan.largest,
        "operations": plan.operations,
        "text": plan.text(),
        "warnings": list(plan.warnings),
    }


def _listed(values: Any) -> Any:  # Any: tuples nested as deep as the user likes -> lists
    return [_listed(each) for each in values] if isinstance(values, tuple | list) else values
