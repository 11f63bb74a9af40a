"""The pieces of an outline in short words: families, events, networks, estimators, and the objective's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgc.derivation.experts import Expert, Experts
from sgc.derivation.inversion import SOURCE
from sgc.distributions.row_totals import TOTAL
from sgc.networks.entries import Convolutions, OwnNetwork, Window
from sgc.networks.image_layers import Conv2d
from sgc.networks.layer import Joining, shape_text
from sgc.networks.own_layer import OwnLayer
from sgc.networks.recurrent import Gru
from sgc.networks.repeat_entries import Cell
from sgc.networks.stack import Stack
from sgc.objectives.gradient import GRADIENTS
from sgc.objectives.objective import OverRate
from sgc.piece import Piece
from sgc.schedules import Schedule
from sgc.spec.outline import Constant, Density, FeatureOutline, Outline, Variable

DERIVED = f"derived from p (auto, {SOURCE})"


def family_words(variable: Variable) -> str:
    """Name a family with its options, a total of each row by what gives it: `Binomial(total_count 5)`."""
    settings = variable.family.settings
    options = [f"{name} {value:g}" for name, value in settings.items()]
    options += [f"{TOTAL} {variable.total}"] if variable.total else []
    return variable.family.name + (f"({', '.join(options)})" if options else "")


def event_words(variable: Variable) -> str:
    """Write an event: its shape, its categories and, where they are few, their names; a scalar is empty."""
    parts = [shape_text(variable.shape)] if variable.shape else []
    if variable.values is not None:
        names = [str(value) for value in variable.values]
        shown = names if len(names) <= 4 else [*names[:2], "…", names[-1]]
        parts.append(f"{len(names)} categories: {', '.join(shown)}")
    elif variable.categories is not None:
        parts.append(f"{variable.categories} categories")
    return ", ".join(parts)


def network_words(entries: tuple[Any, ...], trunk: str = "") -> str:  # Any: entries are a union of kinds
    """Write a network in short: `mlp 512-512 relu`; a shared one begins with its name."""
    words = ", ".join(map(_entry_words, entries))
    return f"{trunk} ({words})" if trunk else words


def _entry_words(entry: Any) -> str:  # Any: a union of kinds
    main = getattr(entry, entry.name, None)
    if isinstance(main, Window):
        way, shape = ("crop", main.crop) if main.crop is not None else ("paste", main.paste)
        main = f"{way} {shape_text(shape or ())}"
    if isinstance(main, Convolutions):
        stride = f" stride {main.stride}" if main.stride > 1 else ""
        main = f"{'-'.join(map(str, main.channels))} kernel {main.kernel}{stride}"
    if main == ():
        return "linear"
    if isinstance(main, tuple) and all(isinstance(number, int) for number in main):
        text = f"{entry.name} {'-'.join(map(str, main))}"
    elif isinstance(main, tuple):
        text = ", ".join(map(_layer_words, main))
    else:
        text = f"{entry.name} {main}" if main is not None else str(entry.name)
    options = {name: getattr(entry, name) for name in ("norm", "activation", "dropout") if hasattr(entry, name)}
    if isinstance(entry, OwnNetwork):
        text += f" {shape_text(entry.output)}"
    if options.get("norm", "none") != "none":
        text += f" {options['norm']}-norm"
    if options.get("activation", "none") != "none":
        text += f" {options['activation']}"
    if options.get("dropout"):
        text += f" dropout {number_words(options['dropout'])}"
    return text


def _layer_words(layer: Any) -> str:  # Any: a layer of the table
    given = [(name, getattr(layer, name)) for name in type(layer).model_fields if name in layer.model_fields_set]
    return " ".join([layer.name, *(_layer_option(name, value) for name, value in given)])


def _layer_option(name: str, value: Any) -> str:  # Any: an option of a layer
    """Write an option by its value alone; one that is true or false by its name, too.

    >>> _layer_option("momentum", 0.02), _layer_option("affine", False)
    ('0.02', 'affine false')
    """
    if isinstance(value, bool):
        return f"{name} {str(value).lower()}"
    return "-".join(map(str, value)) if isinstance(value, tuple) else _option_words(value)


def _option_words(value: Any) -> str:  # Any: an option of a layer
    return number_words(value) if isinstance(value, Schedule) else str(value)


def entering_words(parents: tuple[str, ...], stack: Stack | None) -> str:
    """Say how the parents come to a network, where they are not all vectors that add up; else empty."""
    if stack is None:
        return ""
    shapes = dict(zip(parents, stack.parents, strict=True))
    first = stack.first
    if isinstance(first, OwnLayer):
        return f"{', '.join(parents)} as arguments" if len(parents) > 1 else ""
    if isinstance(first, Conv2d):
        among, how, others = [name for name, shape in shapes.items() if len(shape) == 3], "by kernels", "per channel"
    elif isinstance(first, Gru):
        among, how, others = [name for name, shape in shapes.items() if len(shape) > 1], "step by step", "at each step"
    elif isinstance(first, Joining) and not isinstance(first, Cell):
        return ""
    else:
        direct = first is None and len(parents) == 1  # it goes through layers as it is
        among = [] if direct else [name for name, shape in shapes.items() if len(shape) > 1]
        return f"{', '.join(among)} flattened" if among and len(parents) > 1 else ""
    rest = [name for name in parents if name not in among]
    return f"{', '.join(among)} {how}, {', '.join(rest)} {others}" if rest else ""


def constant_words(constants: Mapping[str, Constant]) -> str:
    """Write parameters that no network gives: `loc 0, scale 1 learned`."""
    return ", ".join(f"{name} {_constant(constant)}" for name, constant in constants.items())


def decay_words(owner: Density | FeatureOutline) -> str:
    """Write the weight decay of a network's own; an empty string where it has that of the optimiser."""
    return "" if owner.weight_decay is None else f"weight decay {number_words(owner.weight_decay)}"


def _constant(constant: Constant) -> str:
    value = constant.value
    if isinstance(value, str):
        text = f"= {value}"
    elif isinstance(value, tuple):
        flat = all(isinstance(number, int | float) for number in value)
        numbers = ", ".join(f"{number:g}" for number in value) if flat and len(value) <= 4 else ""
        text = f"[{numbers}]" if numbers else f"[{len(value)} {'numbers' if flat else 'rows'}]"
    else:
        text = number_words(value)
    return f"{text} learned" if constant.learn else text


def number_words(value: Any) -> str:  # Any: a number or a schedule, unions made at run time
    """Write a number, or a schedule in words."""
    if isinstance(value, Schedule):
        curve = "" if value.curve == "linear" else f", {value.curve}"
        return f"from {value.start:g} to {value.to:g} over {value.epochs} epochs{curve}"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def estimator_words(estimator: Piece | None) -> str:
    """Write an estimator with its options."""
    if estimator is None:
        return ""
    names = list(type(estimator).model_fields)
    if getattr(estimator, "baseline", "running_mean") != "running_mean":
        names.remove("decay")  # which is the running mean's
    options = [f"{name} {number_words(getattr(estimator, name))}" for name in names]
    return " ".join([str(getattr(estimator, "name", "")), *options])


def objective_rows(outline: Outline) -> list[tuple[str, str]]:
    """Say what is maximised, with what weights: pairs of a word and its meaning."""
    objective, labelled = outline.objective, bool(outline.graphs.partial)
    bound = outline.spec.maximised
    rows = [("bound", f"{bound.name}: {bound.source}")]
    rows.append(("samples", f"{objective.samples} for each row"))
    if bound.own_words and labelled:
        meaning = {
            "normalized": "importance weights divided by their mean, w/Z",
            "none": "no importance weights: q is taken for the posterior",
        }
        rows.append(("weights", f"{objective.weights}: {meaning[objective.weights]}"))
        means = {"mean_log": "log q averaged over the samples", "log_mean": "the log of q averaged over the samples"}
        rows.append(("labels", f"{objective.label_term}: {means[objective.label_term]}"))
    if objective.kl == "sampled":
        rows.append(("kl", "sampled: no KL divergence in closed form"))
    gradient = GRADIENTS[objective.gradient]
    if gradient.meaning:
        rows.append(("gradient", f"{gradient.name}: {gradient.meaning} ({gradient.source})"))
    if isinstance(objective.kl_weight, Schedule) or objective.kl_weight != 1:
        meant = "what log p(v) - log q(v) of proposed nodes counts"
        rows.append(("kl_weight", f"{number_words(objective.kl_weight)}: {meant}"))
    if not labelled:
        return [*rows, ("loss", "-Σ bound / B over a batch of B rows")]
    rate, gamma = objective.supervision_rate, number_words(1.0 if objective.gamma is None else objective.gamma)
    if bound.has_alpha:
        times = "times γ in the loss" if rate is not None else f"times γ = {gamma} in the loss"
        rows.append(
            ("alpha", f"{_alpha_words(outline)}: what log q(label) weighs in the bound of a labelled row, {times}")
        )
    if rate is not None:
        share = "the share of labelled rows in the loss; γ = ρN/((1-ρ)M) for N rows without a label and M with one"
        rows.append(("rate", f"ρ = {number_words(rate)}: {share}"))
    else:
        rows.append(("gamma", f"γ = {gamma}: what a row with a label weighs in the loss, where one without weighs 1"))
    g = "γ" if rate is not None or isinstance(objective.gamma, Schedule) else gamma
    return [*rows, ("loss", f"-Σ g·bound / B over a batch of B rows, g = {g} for rows with a label, else 1")]


def _alpha_words(outline: Outline) -> str:
    alpha: Any = outline.objective.alpha  # Any: a union made at run time
    if isinstance(alpha, Mapping):
        named = [(name, outline.objective.alpha_of(name)) for name in outline.graphs.partial]
        return ", ".join(f"α_{name} = {number_words(value)}" for name, value in named)
    if isinstance(alpha, OverRate):
        words = number_words(alpha.over_rate)
        return f"α = ({words})/ρ" if isinstance(alpha.over_rate, Schedule) else f"α = {words}/ρ"
    return f"α = {number_words(1.0 if alpha is None else alpha)}"


COMBINATIONS = {
    "product": "product",
    "mixture": "mixture",
    "mixture_of_products": "mixture of products",
}


def combination_words(experts: Experts) -> str:
    """Say how experts are combined, and whether with p: 'product with p'."""
    return f"{COMBINATIONS[experts.combine]}{' with p' if experts.prior else ''}"


def expert_words(member: Expert, density: Density) -> str:
    """Write one expert: its name, what it reads if that is something else, its network and constants."""
    of = "" if density.parents == (member.name,) else f" of {', '.join(density.parents) or 'nothing'}"
    network = network_words(density.entries, density.trunk) if density.entries else ""
    entering = entering_words(density.parents, density.stack)
    constants = constant_words(density.constants) if density.constants else ""
    facts = "; ".join(part for part in (network, entering, decay_words(density), constants) if part)
    return f"{member.name}{of}{f': {facts}' if facts else ''}"


def shared_networks(outline: Outline) -> dict[str, dict[str, Any]]:  # Any: plain data
    """Collect the named networks: what they are and who uses them."""
    networks: dict[str, dict[str, Any]] = {}
    for name, network in outline.spec.networks.items():
        entries = network if isinstance(network, tuple) else (network,)
        users = [
            f"{letter}({density.node})"
            for letter, densities in (("p", outline.generative), ("q", outline.recognition))
            for density in densities.values()
            if any(part.trunk == name for part in density.conditionals)
        ]
        users += [feature.name for feature in outline.features.values() if feature.trunk == name]
        networks[name] = {"network": network_words(entries), "used_by": users}
    return networks
