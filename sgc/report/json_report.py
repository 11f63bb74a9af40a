"""The report on a model as plain data, for other programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sgc.derivation.expert_formulas import combined_text
from sgc.derivation.experts import Experts
from sgc.derivation.factors import Factor, Proposal
from sgc.derivation.graph import ROLES
from sgc.derivation.plan import EachNode
from sgc.piece import Piece
from sgc.report.independence_notes import notes
from sgc.report.plated_plan import PlatedPlan, plan_of
from sgc.report.plates import plated
from sgc.report.products import product
from sgc.report.repeat_report import parts_json, repeats_json
from sgc.report.short_words import DERIVED, entering_words, network_words, objective_rows, shared_networks
from sgc.report.shown_patterns import shown
from sgc.report.warning_notes import warnings
from sgc.spec.outline import Density, Outline, Variable


def inspect_json(outline: Outline) -> dict[str, Any]:  # Any: plain data
    """Give the content of the report as plain data."""
    flat, view = outline, plated(outline)
    outline = view.outline
    chosen, left_out = shown(outline)
    spec, counts = outline.spec, dict(outline.parameter_table())
    return {
        "name": spec.name,
        "description": spec.description,
        "repeats": repeats_json(view),
        "parts": parts_json(view),
        "nodes": [_node_json(outline, variable, counts) for variable in outline.variables.values()],
        "features": [
            {
                "name": feature.name,
                "parents": list(feature.parents),
                "network": network_words(feature.entries, feature.trunk),
                "entering": entering_words(feature.parents, feature.stack),
                "shape": list(feature.stack.output),
                "parameters": feature.parameters,
            }
            for feature in outline.features.values()
        ],
        "inputs": [
            {
                "name": entry.name,
                "shape": list(entry.shape),
                "categories": entry.categories,
                "values": _listed(entry.values),
            }
            for entry in outline.inputs.values()
        ],
        "networks": [{"name": name, **facts} for name, facts in shared_networks(outline).items()],
        "products": {role: {"text": product(flat, role), "latex": product(flat, role, latex=True)} for role in ROLES},
        "recognition_parents": DERIVED if spec.derived else "as written",
        "patterns": [_plan_json(plan_of(view, observed)) for observed in chosen],
        "patterns_left_out": left_out,
        "objective": {
            "text": [{"what": what, "text": text} for what, text in objective_rows(outline)],
            **spec.objective.model_dump(mode="json", by_alias=True, exclude_none=True),
        },
        "parameters": {"parts": counts, "total": outline.parameter_count(), "not_counted": list(outline.own_networks)},
        "warnings": warnings(flat),
        "notes": notes(flat),
    }


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
    plain = {name: _plain_value(value) for name, value in options.items()}
    return {"name": chosen.name, "options": plain}


def _density_json(density: Density) -> dict[str, Any]:  # Any: plain data
    if density.experts is not None:
        return _experts_json(density.experts, density)
    constants = {
        name: {"value": _plain_value(constant.value), "learn": constant.learn}
        for name, constant in density.constants.items()
    }
    return {
        "parents": list(density.parents),
        "network": network_words(density.entries, density.trunk),
        "entering": entering_words(density.parents, density.stack),
        "heads": {name: list(shape) for name, shape in density.heads.items()},
        "constants": constants,
        **({} if density.weight_decay is None else {"weight_decay": _plain_value(density.weight_decay)}),
        "parameters": density.parameters,
    }


def _experts_json(experts: Experts, density: Density) -> dict[str, Any]:  # Any: plain data
    each = {
        member.name: {**_density_json(part), "left_out_without": [list(sources) for sources in member.needs]}
        for member, part in zip(experts.members, density.of_experts, strict=True)
    }
    return {
        "parents": list(density.parents),
        "experts": each,
        "combine": experts.combine,
        "prior": experts.prior,
        "parameters": density.parameters,
    }


def _proposal_json(writer: EachNode | PlatedPlan, proposal: Proposal) -> dict[str, Any]:  # Any: plain data
    """Say how a node is proposed."""
    experts = {} if proposal.experts is None else {"experts": combined_text(proposal, writer.factor)}
    return {"estimator": proposal.estimator.name, "support": proposal.support, **experts}


def _plan_json(writer: EachNode | PlatedPlan) -> dict[str, Any]:  # Any: plain data
    """Give a plan; a factor of a repeat says which steps it is for."""
    plan = writer.plan
    bound = writer.exact_bound() if isinstance(writer, PlatedPlan) else writer.bound()

    def factor(conditional: Factor, *, label: bool = False) -> dict[str, Any]:  # Any: plain data
        over = {"over": writer.over(conditional.node, label=label)} if isinstance(writer, PlatedPlan) else {}
        return {"factor": writer.factor(conditional), **over}

    terms = [{"text": writer.term(term), "tag": term.tag, "why": writer.reason(term)} for term in plan.terms]
    for weight in plan.weights:
        terms.append({"text": writer.label_term(weight), "tag": weight.tag, "why": "label"})
    return {
        "observed": writer.listed(plan.observed),
        "rows": writer.rows(),
        "clamped": writer.listed(plan.clamped),
        "proposed": [{**factor(p.factor), **_proposal_json(writer, p)} for p in plan.proposals],
        "weights": [
            {**factor(w.factor, label=True), "varies": w.varies, "carriers": writer.carriers(w)} for w in plan.weights
        ],
        "joint": [f"{writer.signs('prod', f.node)}{writer.factor(f)}" for f in plan.joint],
        "bound": {"text": bound, "latex": writer.equations()},
        "terms": terms,
        "cost": writer.cost(),
        "largest_intermediate": plan.largest,
        "operations": plan.operations,
        "text": writer.text(),
        "warnings": list(writer.warnings()),
    }


def _plain_value(value: Any) -> Any:  # Any: a number, a schedule, a name, numbers nested as deep as the user likes
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, Piece) else _listed(value)


def _listed(values: Any) -> Any:  # Any: tuples nested as deep as the user likes -> lists
    return [_listed(entry) for entry in values] if isinstance(values, tuple | list) else values
