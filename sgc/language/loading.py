"""YAML -> Spec, or every fault of the file at once: what pydantic finds, located in the text, then what `check` finds.

A piece that is wrong is reported, taken out, and the rest is validated again, so that one fault hides no other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from sgc.errors import Path, SpecError
from sgc.language.check import check
from sgc.language.check_own_code import check_own_code
from sgc.language.document import Document, Plain, describe, from_mapping, read
from sgc.language.findings import Findings
from sgc.language.grammar import report
from sgc.language.overriding import override
from sgc.language.spec import Spec

# for required keys that are missing or wrong, which must not keep the rest from being looked at
STAND_INS: dict[Path, Plain] = {("version",): 1, ("nodes",): {}, ("nodes", "*", "supervision"): "none"}


def load(
    path: str | FilePath | Mapping[str, Any], overrides: Sequence[str] = (), *, trust: bool = False
) -> Spec:  # Any: plain data
    """Read and validate a spec.

    path: a YAML file, or the spec as plain data. overrides: as `--set`, e.g. "train.epochs=10", or "train.seed=" to
    take a key out. trust: allow the spec to name code of its own, which is imported once a model is made of it.

    Raises: SpecError, which holds the list of faults.
    """
    document = from_mapping(path) if isinstance(path, Mapping) else read(path)
    override(document, list(overrides))
    spec = validate(document, trust=trust)
    return spec.stands_in(None if isinstance(path, Mapping) else FilePath(path).resolve().parent, trusted=trust)


def validate(document: Document, *, trust: bool = False) -> Spec:
    """Validate what was read. Raises: SpecError, with all faults in the order of the file."""
    findings = Findings(document)
    if isinstance(document.data, dict):
        spec = _fit(document.data, findings)
        check_own_code(findings, trust=trust)
        spec = check(spec, findings)
    else:
        message = f"expected a mapping with 'version' and 'nodes', got {describe(document.data)}"
        findings.add((), message)
    if findings.faults:
        raise SpecError(document.sort(findings.faults))
    return spec


def _fit(written: Plain, findings: Findings) -> Spec:
    """Make a spec of what is right in `written`; report and leave out what is wrong."""
    plain = copy.deepcopy(written)
    while True:  # each round takes out at least one piece
        try:
            return Spec.model_validate(plain)
        except ValidationError as problem:
            for path in sorted(report(problem, plain, findings), key=len, reverse=True):
                _remove(plain, path)


def _remove(plain: Plain, path: Path) -> None:
    """Take out what stands at a path, or the list or mapping that it is missing from."""
    parent: Plain = plain
    for part in path[:-1]:
        if isinstance(parent, dict) and part not in parent:
            return  # taken out already, with what holds it
        parent = parent[part]
    key, form = path[-1], (path[0], "*", path[2]) if len(path) == 3 else path
    if form in STAND_INS:
        parent[key] = copy.deepcopy(STAND_INS[form])
    elif isinstance(parent, dict) and key in parent:
        del parent[key]
    elif len(path) > 1:
        _remove(plain, path[:-1])
