"""The names of a spec: each is well formed and means one thing, and its status says which keys it needs.

They are read from the file as written, so that a piece with other faults still has its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from re import fullmatch
from typing import get_args

from sgc.derivation.graph import Supervision
from sgc.errors import Path
from sgc.spec.findings import Findings
from sgc.spec.scopes import NAME, NO_NAME, hides
from sgc.spec.unrolled import Unrolled

SECTIONS = ("inputs", "features", "nodes")
GIVE_PARENTS = ("parents", "experts")  # the keys of a recognition


@dataclass(frozen=True)
class Names:
    """Every name of a spec: its section (empty: it has two), and the status of each node that has one."""

    section: dict[str, str]
    status: dict[str, str]
    dropped: frozenset[str]  # nodes with `missing: drop`
    complete: bool  # all sections could be read
    unread: frozenset[str]  # names that could not be read; '' stands for any name
    statuses_complete: bool  # and every node has its status
    unrolled: Unrolled

    def word(self, flat: str) -> str:
        """Write a name for a message to users."""
        return self.unrolled.word(flat)

    def nodes(self, *statuses: str) -> list[str]:
        return [name for name, status in self.status.items() if status in statuses]

    def outside(self) -> Names:
        """Return the names as data and the objective know them: one for all steps of a node of a repeat."""
        unrolled = self.unrolled
        section, status = dict(self.section), dict(self.status)
        for name in unrolled.hidden:
            section.pop(name, None)
        for steps in (unrolled.nodes, unrolled.features):
            for name, flat in steps.items():
                for node in flat:
                    if node in section:
                        section[name] = section.pop(node)
                    if node in status:
                        status[name] = status.pop(node)
        dropped = frozenset(unrolled.id(name).name for name in self.dropped)
        return replace(self, section=section, status=status, dropped=dropped)

    def surely(self, word: str) -> bool:
        """Say whether a name without a section is unknown, and is not one that could not be read."""
        return not hides(self.unread, word)

    def decided(self, name: str) -> bool:
        """Say whether it is known what a name is: a node with its status, something else, or nothing."""
        section = self.section.get(name)
        return name in self.status or section in ("inputs", "features") or (section is None and self.surely(name))

    @property
    def labelled(self) -> list[str]:
        """The nodes that have labels in some rows, and are proposed in the others."""
        return [name for name in self.nodes("partial") if name not in self.dropped]


def check_names(findings: Findings, unrolled: Unrolled) -> Names:
    """Find names that are malformed or used twice, and return all of them. unrolled: the spec's repeats and parts."""
    generated = {*unrolled.template, *unrolled.hidden}
    for section in (*SECTIONS, "networks"):
        for name in findings.keys(section):
            if not fullmatch(NAME, name) and name not in generated and "." not in name:
                findings.faults.append(findings.document.fault((section, name), f"'{name}' {NO_NAME}", at="key"))
    written = {section: findings.keys(section) for section in SECTIONS}
    sections: dict[str, str] = {}
    for section in sorted(SECTIONS, key=lambda key: findings.document.order((key,))):
        for name in written[section]:
            if name in sections:
                message = f"{unrolled.word(name)} is already the name of one of the {sections[name] or 'others'}"
                findings.add((section, name), message, at="key")
            sections[name] = "" if name in sections else section
    supervisions = {name: findings.at("nodes", name, "supervision") for name in written["nodes"]}
    status = {
        name: word for name, word in supervisions.items() if word in get_args(Supervision) and sections[name] == "nodes"
    }
    lost = [path for path in findings.document.unread if path[0] in (*SECTIONS, "use") and len(path) <= 2]
    named = [path for path in lost if path[0] == "use" or (len(path) == 2 and findings.document.has(path))]
    nameless = len(named) < len(lost) or any(findings.lost(section) for section in SECTIONS)
    unread = {str(path[1]) for path in named} | ({""} if nameless else set())
    dropped = frozenset(name for name in written["nodes"] if findings.at("nodes", name, "missing") == "drop")
    unknown = findings.lost("nodes") or any(path[0] in ("nodes", "use") for path in lost)
    statuses_complete = not unknown and len(status) == len(written["nodes"])
    return Names(sections, status, dropped, not unread, frozenset(unread), statuses_complete, unrolled)


def check_categories(findings: Findings) -> None:
    """Find categories that are repeated."""
    for section in ("inputs", "nodes"):
        for name in findings.keys(section):
            check_twice(findings, (section, name, "values"))


def check_twice(findings: Findings, path: Path) -> None:
    """Find categories that are repeated in the list at a path."""
    earlier: set[tuple[type, object]] = set()
    values = findings.at(*path)
    for i, value in enumerate(values if isinstance(values, list) else []):
        if isinstance(value, bool | int | float | str):
            if (type(value), value) in earlier:
                findings.add((*path, i), f"duplicate category '{value}'")
            earlier.add((type(value), value))


def check_statuses(findings: Findings, names: Names) -> None:
    """Find nodes that lack a recognition or must not have one, and specs in which nothing is observed.

    Under `recognition: auto` every node that q proposes gets one, and none may give its parents.
    """
    derived = findings.document.has(("recognition",))
    meant = derived or findings.lost("recognition")
    for name, status in names.status.items():
        path = ("nodes", name)
        has = findings.document.has((*path, "recognition"))
        dropped = findings.document.has((*path, "missing"))
        if status == "full" and has:
            message = f"forbidden: {names.word(name)} is observed in every row (supervision: full), q never proposes it"
            findings.add((*path, "recognition"), message, at="key")
        elif derived and (given := [k for k in GIVE_PARENTS if findings.document.has((*path, "recognition", k))]):
            message = f"forbidden beside 'recognition: auto', which derives the parents of {names.word(name)}"
            findings.add((*path, "recognition", given[0]), message, at="key")
        elif status != "full" and not has and not meant and not dropped:
            rows = "in the rows without its label" if status == "partial" else "in every row"
            message = f"missing key 'recognition': q proposes {names.word(name)} {rows}"
            findings.add(path, message, at="key", about=(*path, "recognition"))
    if names.statuses_complete and not names.nodes("full", "partial"):
        message = "no node is observed: at least one must be full or partial"
        findings.add(("nodes",), message, at="key", about=("nodes", "", "supervision"))
