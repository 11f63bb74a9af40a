"""YAML -> Spec, or every fault of the file at once: first those that pydantic finds, then those of `check`.

A wrong piece is reported and taken out, and the rest is validated again, so that one fault hides no other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sgc.arguments import path_of, truth, words_in
from sgc.errors import Path, SpecError, UsageError
from sgc.spec.check import check
from sgc.spec.check_own_code import check_own_code
from sgc.spec.document import Document, Plain, from_mapping, read
from sgc.spec.findings import Findings
from sgc.spec.overrides import override
from sgc.spec.spec import Spec
from sgc.spec.unrolled import UNROLLED
from sgc.value_words import describe

if TYPE_CHECKING:
    from sgc.spec.composition import Composition, Parts

REWRITTEN = ("networks", "features", "nodes", *UNROLLED)

# for required keys that are missing or wrong, so that the rest is still checked
STAND_INS: dict[Path, Plain] = {
    ("version",): 1,
    ("nodes",): {},
    ("nodes", "*", "supervision"): "none",
    ("repeat", "*", "count"): 1,
}


def load(
    path: str | FilePath | Mapping[str, Any], overrides: Sequence[str] = (), *, trust: bool = False
) -> Spec:  # Any: plain data
    """Read and validate a spec.

    path: a YAML file, or the spec as plain data. overrides: as `--set`, e.g. "train.epochs=10", or "train.seed=" to
    take a key out. trust: allow the spec to name code of its own, which is then imported.

    Raises: SpecError, which holds the list of faults; UsageError where an argument is of the wrong type.
    """
    truth("trust", trust, error=UsageError)
    document = from_mapping(path) if isinstance(path, Mapping) else read(path_of("path", path))
    override(document, words_in("overrides", overrides))
    folder = None if isinstance(path, Mapping) else FilePath(path).resolve().parent
    return validate(document, trust=trust, folder=folder)


def validate(document: Document, *, trust: bool = False, folder: FilePath | None = None) -> Spec:
    """Validate what was read; folder: that of its file. Raises: SpecError, with all faults in the order of the file."""
    return _Validation(folder, trust=trust).spec(document)


class _Validation:
    """The validation of one spec with its parts; trust: whether own code may be imported."""

    def __init__(self, folder: FilePath | None, *, trust: bool) -> None:
        self.folder, self.trust = folder, trust

    @cached_property
    def _parts(self) -> Parts:
        from sgc.spec.composition import Parts

        return Parts(self.spec)

    def spec(self, document: Document, within: tuple[FilePath, ...] = ()) -> Spec:
        """Validate a spec, or a part of one. within: the files that it is a part of. Raises: SpecError."""
        findings = Findings(document)
        if not isinstance(document.data, dict):
            message = f"expected a mapping with 'version' and 'nodes', got {describe(document.data)}"
            findings.add((), message)
            raise SpecError(document.sort(findings.faults))
        unrolls = any(section in document.data for section in UNROLLED)
        if unrolls:
            document.data.setdefault("nodes", {})
        spec, plain = _fit(document.data, findings)
        if unrolls and "recognition" in plain:
            message = "forbidden beside 'repeat' and 'use': give each node its recognition parents"
            findings.add(("recognition",), message, at="key")
            del plain["recognition"]
        check_own_code(findings, trust=self.trust)
        if unrolls:
            spec = self._unrolled(spec, plain, findings, within)
        else:
            spec = check(spec.stands_in(self.folder, trusted=self.trust), findings)
        if findings.faults:
            raise SpecError(document.sort(findings.faults))
        return spec

    def _unrolled(self, spec: Spec, plain: Plain, findings: Findings, within: tuple[FilePath, ...]) -> Spec:
        """Write repeats and parts out, and check the result; its faults are added to the findings."""
        from sgc.spec.composition import compose
        from sgc.spec.unrolling import unroll

        document = findings.document
        composition = compose(document, plain, findings, self._parts, within)
        expanded, unrolled = unroll(document, plain, composition, findings)
        inner = Findings(expanded, findings)
        for path in [*expanded.broken(findings), *(path for path in findings.broken if path[0] not in UNROLLED)]:
            inner.breaks(path)
        flat, _ = _fit(expanded.data, inner)
        flat = check(flat.stands_in(self.folder, trusted=self.trust), inner, unrolled)
        return flat.once(replace(unrolled, written=_as_written(spec, composition)))


def _as_written(spec: Spec, composition: Composition) -> dict[str, Plain]:
    """Return the sections that unrolling rewrites as they were written, the specs of parts in full."""
    written = spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(REWRITTEN))
    for part in composition.parts:
        if part.host is composition.root.document:
            section: Plain = written
            for key in part.place:
                section = section[key]
            own = part.spec.plain()
            section["spec"] = {key: own[key] for key in ("version", "name", *REWRITTEN, "inputs") if own.get(key)}
    return {key: section for key, section in written.items() if section or key not in UNROLLED}


def _fit(written: Plain, findings: Findings) -> tuple[Spec, Plain]:
    """Make a spec of what is right in `written`, and return both; report and leave out what is wrong."""
    plain = copy.deepcopy(written)
    while True:  # each round takes out at least one piece
        try:
            return Spec.model_validate(plain), plain
        except ValidationError as problem:
            from sgc.spec.grammar import report

            pieces = dict.fromkeys(report(problem, plain, findings))  # one may have several faults
            for path in sorted(pieces, key=len, reverse=True):
                _remove(plain, path)


def _remove(plain: Plain, path: Path) -> None:
    """Take out the value at a path, or the list or mapping that it is missing from."""
    parent: Plain = plain
    for part in path[:-1]:
        if isinstance(parent, dict) and part not in parent:
            return  # taken out already, with the piece around it
        parent = parent[part]
    key, form = path[-1], (path[-3], "*", path[-1]) if path[-3:-2] in (("nodes",), ("repeat",)) else path
    if form in STAND_INS:
        parent[key] = copy.deepcopy(STAND_INS[form])
    elif isinstance(parent, dict) and key in parent:
        del parent[key]
    elif len(path) > 1:
        _remove(plain, path[:-1])
