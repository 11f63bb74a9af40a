"""The bridge between a model and its data: what the data layer needs to know of each variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgc.data.dataset import DataSet, open_dataset
from sgc.data.encoder import Encoder
from sgc.data.record import key_text
from sgc.data.variables import Existence, Variable
from sgc.errors import printable
from sgc.spec.outline import Outline, Stepped


def data_variables(outline: Outline) -> dict[str, Variable]:
    """Describe the observed nodes and the inputs of a model to the data layer; all steps of a node are one."""
    variables: dict[str, Variable] = {}
    for name, outer in outline.outer.items():
        stepped = outline.stepped.get(name)
        variable = outer if stepped is None else outline.variables[stepped.nodes[0]]
        if variable.supervision == "none":
            continue
        variables[name] = Variable(
            name=name,
            shape=variable.event[:-1] if variable.categories is not None else variable.event,
            categories=variable.categories,
            values=variable.values,
            support=variable.support,
            supervision=variable.supervision,
            whole=variable.supervision == "partial" and not variable.dropped,
            dropped=variable.dropped,
            steps=() if stepped is None else stepped.steps,
            exists=() if stepped is None else _existence(outline, stepped),
            total=variable.total if variable.total in outline.inputs else "",
        )
    for name, entry in outline.inputs.items():
        shape = entry.shape[:-1] if entry.categories is not None else entry.shape
        variables[name] = Variable(
            name, shape, entry.categories, entry.values, support=entry.support, supervision="input"
        )
    return variables


def _existence(outline: Outline, stepped: Stepped) -> tuple[tuple[Existence, ...], ...]:
    """Give the conditions for each step to exist, with counts by names and steps of the data; () where all exist."""
    by_step: list[tuple[Existence, ...]] = []
    for node in stepped.nodes:
        needed: list[Existence] = []
        for count, above in outline.graphs.nodes[node].exists:
            owner = outline.outer_name.get(count)
            place = 0 if owner is None else outline.stepped[owner].nodes.index(count)
            needed.append(Existence(count if owner is None else owner, place, above))
        by_step.append(tuple(needed))
    return tuple(by_step) if any(by_step) else ()


def encoders_of(outline: Outline, encoders: Mapping[str, Encoder]) -> dict[str, Encoder]:
    """Match the encoders of a run with the nodes of its spec, which describes them again.

    Raises: ValueError, which names the key of the first that is missing, or of another node, transform or seed.
    """
    variables, data, matched = data_variables(outline), outline.spec.data, {}
    for name, encoder in encoders.items():
        key = ("columns", name)
        if name not in variables:
            raise ValueError(f"{key_text(key)}the spec has no such node or input with values in data")
        wanted = replace(variables[name], exists=())  # which steps there are, columns say
        for fact in ("name", "shape", "categories", "values", "supervision", "whole", "dropped", "steps"):
            of_run, of_spec = getattr(encoder.variable, fact), getattr(wanted, fact)
            if of_run != of_spec:
                raise ValueError(
                    f"{key_text((*key, 'variable', fact))}found {_plain(of_run)}, wanted {_plain(of_spec)}"
                )
        if encoder.transforms != (data.columns[name].transforms if data is not None and name in data.columns else ()):
            raise ValueError(f"{key_text((*key, 'transforms'))}not those of the spec")
        if encoder.seed != outline.spec.train.seed:
            raise ValueError(f"{key_text((*key, 'seed'))}found {encoder.seed}, wanted {outline.spec.train.seed}")
        matched[name] = replace(encoder, variable=wanted)
    for name, variable in variables.items():
        if variable.supervision in ("full", "input") and name not in matched:
            raise ValueError(f"{key_text(('columns', name))}missing")
    return matched


def _plain(value: object) -> str:
    text = printable(repr(list(value) if isinstance(value, tuple) else value))
    return text if len(text) <= 80 else text[:77] + "..."


def open_data(
    outline: Outline,
    beside: Path,
    arrays: Any = None,  # Any: a mapping to arrays, or a data frame
    fitted: dict[str, Encoder] | None = None,
    resumed: Callable[[], dict[str, Encoder]] | None = None,
) -> DataSet:
    """Open the data of a model's spec, or arrays in their place; see `open_dataset`.

    Raises: DataError; UsageError for own code.
    """
    spec = outline.spec
    variables = data_variables(outline)
    data = None if spec.data is None else spec.data.standing_in(spec.folder, trusted=spec.trusted)
    return open_dataset(
        data,
        variables,
        beside=beside,
        seed=spec.train.seed,
        arrays=arrays,
        fitted=fitted,
        weight=spec.train.weight,
        resumed=resumed,
    )
