"""Mistakes planted in a drawn spec: what each says and hides, and where one may still be made."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drawn_specs import Drawing, Path, Site

NOWHERE = "nowhere"


@dataclass(frozen=True)
class Planted:
    """A mistake: where it is told, in which piece it was made, and the pieces that have to be right for it to be seen.

    key: whether it is told at the key of that place; None: either. says: what the message has in it. needs: by name.
    """

    what: str
    path: Path
    says: str
    owner: str
    key: bool | None = False
    needs: frozenset[str] = frozenset()


def at(value: Any, path: Path) -> Any:  # Any: plain data
    for key in path:
        value = value[key]
    return value


def words_of(piece: Any) -> Iterator[str]:  # Any: plain data
    """List the last parts of the names that a feature or a conditional reads."""
    if isinstance(piece, dict):
        fixed = piece.get("parameters", {}).values()
        for word in [*piece.get("parents", ()), *(each for each in fixed if isinstance(each, str))]:
            yield word.rpartition(".")[2]


class Planting:
    """Plants mistakes in a drawn spec."""

    def __init__(self, drawing: Drawing, rng: random.Random) -> None:
        self.rng, self.drawing = rng, drawing
        self.spec = copy.deepcopy(drawing.spec)
        self.taken: set[Path] = set()  # pieces with a mistake in them
        self.reads: dict[str, set[str]] = {}
        for site in drawing.sites:
            self.reads.setdefault(site.owner, set()).update(words_of(at(self.spec, site.path)))
            if site.path[-2] == "experts":  # those without parents are named after what they read
                self.reads[site.owner].update(at(self.spec, site.path[:-1]))
            if at(self.spec, site.path)["network"] == "trunk":
                self.reads[site.owner].add("trunk")
        for own, host in drawing.parts.values():
            self.reads.setdefault(own, set()).add(host)

    def needs(self, name: str) -> frozenset[str]:
        """Name everything that a name hangs on, and the counts of the repeats that it reads from."""
        found = [name]
        for each in found:
            found += [other for other in sorted(self.reads.get(each, ())) if other not in found]
        counts = [f"count of {key}" for key, names in _repeated(self.spec) if names & set(found)]
        return frozenset([*found, *counts])

    def site(self, *roles: str) -> Site | None:
        """Choose where to make a mistake; nowhere twice."""
        free = [each for each in self.drawing.sites if each.role in roles and not self.taken_by(each.path)]
        chosen = self.rng.choice(free) if free else None
        if chosen is not None:
            self.taken.add(chosen.path)
        return chosen

    def taken_by(self, path: Path) -> bool:
        """Tell whether a mistake was made in something, or in what it stands in."""
        return any(path[: len(each)] == each or each[: len(path)] == path for each in self.taken)

    def node(self, *statuses: str) -> Path | None:
        free = [path for path, status in self.drawing.nodes.items() if status in statuses and not self.taken_by(path)]
        chosen = self.rng.choice(free) if free else None
        if chosen is not None:
            self.taken.add(chosen)
        return chosen


def _repeated(level: Any) -> Iterator[tuple[str, set[str]]]:  # Any: plain data
    """List the repeats below a level, with the names in each, also those that stand deeper."""
    for key, inner in level.get("repeat", {}).items():
        deeper = list(_repeated(inner))
        own = {name for section in ("nodes", "carry", "features") for name in inner.get(section, {})}
        yield key, own.union(*(names for _, names in deeper))
        yield from deeper


def has(value: Any, path: Path) -> bool:  # Any: plain data
    try:
        at(value, path)
    except (KeyError, TypeError):
        return False
    return True


def apart(first: Planted, second: Planted) -> bool:
    """Tell whether neither of two mistakes hides the other."""
    return all(
        one.owner != other.owner and other.owner not in one.needs for one, other in ((first, second), (second, first))
    )
