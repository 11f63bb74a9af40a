"""Totals by row: a total_count that is a name is that of an input of numbers, or means the row's own sum.

They are read from the file as written, so that a piece with other faults still has its total.
"""

from __future__ import annotations

from sgc.distributions.families import FAMILIES
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.errors import Path
from sgc.spec.check_names import Names
from sgc.spec.findings import Findings
from sgc.spec.written_nodes import innermost

KINDS = {"nodes": "node", "features": "feature"}


def check_totals(findings: Findings, names: Names) -> None:
    """Find totals by an unknown name, or by one that gives no total."""
    for name in findings.keys("nodes"):
        node = findings.at("nodes", name)
        family_name, place = innermost(node)
        family = FAMILIES.get(family_name)
        path: Path = ("nodes", name, *(place or ()), TOTAL)
        word = findings.at(*path)
        if place is None or not isinstance(word, str) or family is None or TOTAL not in family.options:
            continue
        if word == OWN_SUM:
            _check_own_sum(findings, names, name, path, vector=bool(family.event_dim))
        else:
            _check_input(findings, names, name, path, word)


def _check_own_sum(findings: Findings, names: Names, name: str, path: Path, *, vector: bool) -> None:
    if not vector:
        message = f"'{OWN_SUM}' is the sum of a vector, and each element of a Binomial has a total of its own"
        findings.add(path, message, f"give an input that holds the totals: {TOTAL}: NAME")
    elif names.section.get(OWN_SUM) == "inputs":
        message = f"'{OWN_SUM}' is the row's own sum here, and one of the inputs: give the input another name"
        findings.add(path, message)
    elif names.status.get(name, "full") != "full":
        when = "unlabelled rows of" if names.status[name] == "partial" else "no row of"
        known = "have no sum to take it from" if names.status[name] == "partial" else "has a sum to take it from"
        status = f"(supervision: {names.status[name]})"
        message = f"'{OWN_SUM}' is the row's own sum, and {when} {names.word(name)} {status} {known}"
        findings.add(path, message, f"give an input that holds the totals: {TOTAL}: NAME")


def _check_input(findings: Findings, names: Names, name: str, path: Path, word: str) -> None:
    if word not in names.section:
        if names.surely(word):
            hint = findings.suggest(
                word, lambda: [input_name for input_name in names.section if names.section[input_name] == "inputs"]
            )
            findings.add(path, f"no input named {names.word(word)}", hint)
        else:
            findings.breaks(path)
        return
    section, number = names.section[word], f"'{TOTAL}' of {names.word(name)} is a number that each row gives"
    if section in KINDS:
        message = f"{number}, and {names.word(word)} is a {KINDS[section]}"
        findings.add(path, message, "name an input, whose column holds the totals")
    elif not section or findings.hurt("inputs", word):
        findings.breaks(path)
    elif {"values", "categories"} & {*findings.keys("inputs", word)}:
        message = f"{number}, and the input '{word}' is a category"
        findings.add(path, message, f"leave out its categories: inputs: {{{word}: {{}}}}")
