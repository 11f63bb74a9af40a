"""The data section against the model: columns for what is observed, and labels for what is observed in part."""

from __future__ import annotations

from collections.abc import Collection

from sgc.spec.check_names import Names, check_twice
from sgc.spec.findings import Findings


def check_data(findings: Findings, names: Names, optional: Collection[str] = ()) -> None:
    """Find columns and labels of unknown or unsuitable names, and observed names without a column.

    optional: partial nodes that need no column; without one no row has their label.
    """
    if not isinstance(findings.at("data"), dict):
        return
    _check_columns(findings, names, optional)
    _check_one_of(findings, names)
    _check_labels(findings, names)


def _check_columns(findings: Findings, names: Names, optional: Collection[str]) -> None:
    inputs = {name for name, section in names.section.items() if section == "inputs"}
    columns = dict.fromkeys(findings.keys("data", "columns"))
    free = {name: name in inputs for name in [*names.nodes("full", "partial"), *inputs] if name not in columns}
    for name in columns:
        path, section = ("data", "columns", name), names.section.get(name)
        if section is None:
            if names.surely(name):
                findings.add(path, f"no node or input named '{name}'", findings.suggest(name, lambda: free), at="key")
                meant = findings.nearest(name, lambda: free) or name
                findings.breaks(("data", "columns", meant))
        elif section == "features":
            message = f"'{name}' is a feature, features have no column"
            findings.add(path, message, findings.suggest(name, lambda: free), at="key")
        elif names.status.get(name) == "none":
            message = f"'{name}' is never observed (supervision: none), it has no column"
            hint = f"known for evaluation alone: supervision: partial, with data.labels: {{{name}: {{count: 0}}}}"
            findings.add(path, message, hint, at="key")
    for name, is_input in free.items():
        if name in optional:
            continue
        status = "an input" if is_input else f"supervision: {names.status[name]}"
        message = f"'{name}' has no column under data.columns ({status})"
        findings.add((names.section[name], name), message, at="key", about=("data", "columns", name))


def _check_one_of(findings: Findings, names: Names) -> None:
    """Find names of categories in a column that are repeated, that the node gives too, or whose number is wrong."""
    for name in findings.keys("data", "columns"):
        section, steps = names.section.get(name), findings.at("data", "columns", name, "transforms")
        for i, step in enumerate(steps if isinstance(steps, list) else []):
            path = ("data", "columns", name, "transforms", i, "one_of")
            listed = findings.at(*path) if isinstance(step, dict) else None
            if not isinstance(listed, list):
                continue
            check_twice(findings, path)
            if section and findings.at(section, name, "values") is not None:
                message = f"'{name}' has 'values', which already name the categories in the data: leave 'one_of' out"
                findings.add(path, message, at="key")
            count = findings.at(section, name, "categories") if section else None
            if isinstance(count, int) and count != len(listed):
                findings.add(path, f"{len(listed)} names, and '{name}' has {count} categories", at="key")


def _check_labels(findings: Findings, names: Names) -> None:
    partial = names.nodes("partial")
    labels = findings.keys("data", "labels")
    for name in labels:
        path, status = ("data", "labels", name), names.status.get(name)
        if names.section.get(name) not in ("nodes", ""):
            if names.surely(name):
                hint = findings.suggest(name, lambda: set(partial) - set(labels))
                findings.add(path, f"no node named '{name}'", hint, at="key")
        elif status in ("full", "none"):
            findings.add(path, f"'{name}' is not partially supervised (supervision: {status})", at="key")
    for name in labels:
        _check_same_rows(findings, names, name)


def _check_same_rows(findings: Findings, names: Names, name: str) -> None:
    path = ("data", "labels", name, "same_rows_as")
    other, partial = findings.at(*path), names.nodes("partial")
    if not isinstance(other, str):
        return
    if other not in partial:
        if names.decided(other):
            hint = findings.suggest(other, lambda: set(partial) - {name})
            findings.add(path, f"no partially supervised node named '{other}'", hint)
        return
    chain = [name]
    while isinstance(other, str) and other not in chain:
        chain.append(other)
        other = findings.at("data", "labels", other, "same_rows_as")
    if other == name and name == min(chain, key=lambda node: findings.document.order((*path[:2], node))):
        findings.add(path, f"cycle of same_rows_as: {' -> '.join([*chain, name])}")
