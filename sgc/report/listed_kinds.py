"""What a spec may name, kind by kind, as `sgc list` shows it: read off the tables of the package, without torch."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgc.errors import UsageError, suggest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sgc.distributions.family import Family
    from sgc.objectives.bound import Bound
    from sgc.starter.shipped_specs import ShippedSpec

NARROWEST = 36  # characters of the last column; where a terminal leaves fewer, it goes below the others
INDENT = 4  # of what stands below


@dataclass(frozen=True)
class Listed:
    """One of a kind: its name, what stands in the columns behind it, and all of it as JSON. Any: JSON."""

    name: str
    cells: tuple[str, ...]
    plain: Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of thing that a spec names.

    about: where a spec names it. headings: of the columns behind the name. table: what there is of it, by name. listed:
    how one of them is shown. note: what the columns mean, where that is not plain.
    """

    name: str
    about: str
    headings: tuple[str, ...]
    table: Callable[[], Mapping[str, Any]]  # Any: of the kind
    listed: Callable[[str, Any], Listed]  # Any: as above
    note: str = ""


def kind_text(kind: Kind, width: int | None) -> str:
    """Write a kind as a table. width: of the terminal, at which the last column is folded; None: a line for each."""
    rows = [(each.name, *each.cells) for each in _all(kind)]
    if width is None:
        return "\n".join(_aligned(rows))
    heads = tuple(word.upper() for word in (kind.name, *kind.headings))
    lines = _aligned([heads, *rows], width)
    if kind.note:
        lines += ["", *textwrap.wrap(kind.note, max(width, 1))]
    return "\n".join(lines)


def overview_text(width: int | None) -> str:
    """Write all kinds: where a spec names them, how many there are, and their names."""
    rows = [(kind.name, f"{kind.about}: {', '.join(kind.table())}") for kind in KINDS.values()]
    lines = _aligned(rows, width)
    return "\n".join(lines if width is None else [*lines, "", "'sgc list KIND' says more of one of them."])


def kind_json(kind: Kind) -> list[Mapping[str, Any]]:  # Any: JSON
    """Give what is known of all of a kind."""
    return [each.plain for each in _all(kind)]


def overview_json() -> dict[str, Any]:  # Any: JSON
    """Give the names of all kinds and of all that there is of them."""
    return {kind.name: {"about": kind.about, "names": list(kind.table())} for kind in KINDS.values()}


def kind_named(word: str) -> Kind:
    """Give a kind by its name. Raises: UsageError."""
    for kind in () if word in KINDS else KINDS.values():
        if word in kind.table():
            raise UsageError(f"'{word}' is one of the {kind.name}: 'sgc list {kind.name}' lists them")
    if word not in KINDS:
        raise UsageError(f"no kind named '{word}' to list: {suggest(word, KINDS)}")
    return KINDS[word]


def _all(kind: Kind) -> list[Listed]:
    return [kind.listed(name, each) for name, each in kind.table().items()]


def _aligned(rows: Sequence[tuple[str, ...]], width: int | None = None) -> list[str]:
    """Put cells below each other, two spaces apart.

    width: at which the last column is folded; where it would be narrow, it stands below the others.
    """
    widest = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    indent = sum(widest) + 2 * len(widest)
    below = width is not None and width - indent < NARROWEST
    lines = []
    for *cells, last in rows:
        lead = "".join(f"{cell:{wide}}  " for cell, wide in zip(cells, widest, strict=True))
        if width is None:
            lines.append((lead + last).rstrip())
            continue
        pieces = textwrap.wrap(
            last, max(width - (INDENT if below else indent), 1), break_long_words=False, break_on_hyphens=False
        )
        lead, rest = (lead.rstrip() + "\n" + " " * INDENT, " " * INDENT) if below else (lead, " " * indent)
        first, *others = pieces or [""]
        lines += [(lead + first).rstrip(), *(rest + line for line in others)]
    return lines


# ---- one of a kind


def _family(name: str, family: Family) -> Listed:
    from sgc.distributions.families import option_ranges

    sets = {parameter: constraint.word for parameter, constraint in family.constraints.items()}
    options = option_ranges(family)
    words = [f"{key}{'*' if key in family.heads else ''}: {word}" for key, word in sets.items()]
    words += [f"[{key}: {range_}]" for key, range_ in options.items()]
    support = family.support
    view = "one-hot" if support.categorical else support.view.word
    ways = [way for way, able in (("pathwise", family.pathwise), ("enumerable", family.finite)) if able]
    plain: dict[str, Any] = {  # Any: what JSON can say
        "name": name,
        "parameters": sets,
        "network_gives": list(family.heads),
        "options": options,
        "standard": None if family.standard is None else dict(family.standard),
        "support": support.word,
        "elements": support.range,
        "networks_read": view,
        "pathwise": family.pathwise,
        "enumerable": family.finite,
        "closed_kl": family.closed_kl,
    }
    if family.forms:
        plain["by"] = {word: {p: c.word for p, c in form.constraints.items()} for word, form in family.forms.items()}
    return Listed(name, (", ".join(ways) or "-", support.word, view, ", ".join(words)), plain)


def _piece(name: str, kind: type[BaseModel], but: Sequence[str] = ()) -> Listed:
    """Show a piece of the spec language by its docstring and its keys. but: keys that are left out."""
    text = first_line(kind)
    fields = {key: field for key, field in kind.model_fields.items() if key not in but}
    keys = {key: {"required": True} if f.is_required() else {"default": _plain(f.default)} for key, f in fields.items()}
    words = [key + _word(says) for key, says in keys.items() if key != name]
    more = f" Keys: {', '.join(words)}." if words else ""
    return Listed(name, (text + more,), {"name": name, "description": text, "keys": keys})


def _source(name: str, kind: type[BaseModel]) -> Listed:
    from sgc.data.sources.source import Section

    return _piece(name, kind, but=("source", *Section.model_fields))


def _bound(name: str, bound: Bound) -> Listed:
    text = first_line(type(bound))
    cell = f"{text.removesuffix('.')} ({bound.source})"
    return Listed(name, (cell,), {"name": name, "description": text, "source": bound.source})


def _metric(name: str, metric: object) -> Listed:
    text = first_line(type(metric))
    return Listed(name, (text,), {"name": name, "description": text})


def _spec(name: str, spec: ShippedSpec) -> Listed:
    parts = [part.name for part in spec.parts]
    plain = {"name": name, "description": spec.description, "source": spec.source or None, "parts": parts}
    return Listed(name, (spec.source or "-", spec.description), plain)


def first_line(kind: type) -> str:
    """Give the first line of a class's docstring, or of the nearest base's that has one, as plain text."""
    text = (inspect.getdoc(kind) or "").split("\n")[0]
    return text.replace("; abstract.", ".").replace("`", "'")


def _plain(default: Any) -> Any:  # Any: the default of a field
    """Give a default as JSON."""
    if isinstance(default, tuple):
        return [_plain(each) for each in default]
    model_dump = getattr(default, "model_dump", None)
    return default if model_dump is None else model_dump(mode="json", by_alias=True, exclude_none=True)


def _word(says: Mapping[str, Any]) -> str:  # Any: JSON
    """Write the default of a key briefly, as YAML would; nothing where the key is required."""
    if "default" not in says:
        return ""
    match says["default"]:
        case None | "":
            word = "optional"
        case bool() as switch:
            word = str(switch).lower()
        case float() as number:
            word = f"{number:g}"
        case list() as several:
            word = f"[{', '.join(repr(each) if each == '' else str(each) for each in several)}]"
        case dict() as mapping:
            word = "{…}" if mapping else "{}"
        case other:
            word = str(other)
    return f" ({word})"


# ---- the kinds


def _table(module: str, name: str) -> Callable[[], Mapping[str, Any]]:  # Any: of the kind
    """Give a table of the package, imported once it is asked for."""

    def table() -> Mapping[str, Any]:
        found: Mapping[str, Any] = getattr(import_module(module), name)
        return found

    return table


def _shipped() -> Mapping[str, Any]:
    from sgc.starter.shipped_specs import shipped_specs

    return shipped_specs()


_DESCRIBED = ("what it is",)
_FAMILY_NOTE = (
    "* a network gives this parameter; [an option] belongs to the family. Draws: estimator 'pathwise' where it says "
    "so, 'enumerate' where it is enumerable, 'score_function' always."
)
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "families",
            "'distribution:' of a node",
            ("draws", "support", "networks read", "parameters"),
            _table("sgc.distributions.families", "FAMILIES"),
            _family,
            _FAMILY_NOTE,
        ),
        Kind("networks", "entries of 'network:'", _DESCRIBED, _table("sgc.networks.entries", "ENTRIES"), _piece),
        Kind("layers", "entries of 'layers:'", _DESCRIBED, _table("sgc.networks.layers", "LAYERS"), _piece),
        Kind(
            "estimators",
            "'estimator:' of a recognition",
            _DESCRIBED,
            _table("sgc.objectives.estimators", "ESTIMATORS"),
            _piece,
        ),
        Kind("bounds", "'bound:' of the objective", _DESCRIBED, _table("sgc.objectives.bounds", "BOUNDS"), _bound),
        Kind(
            "sources",
            "'source:' of the data",
            _DESCRIBED,
            _table("sgc.data.sources.source_section", "SOURCES"),
            _source,
        ),
        Kind(
            "transforms",
            "'transforms:' of a column",
            _DESCRIBED,
            _table("sgc.data.transforms.transforms", "TRANSFORMS"),
            _piece,
        ),
        Kind("metrics", "'metrics:' of the evaluation", _DESCRIBED, _table("sgc.metrics.metrics", "METRICS"), _metric),
        Kind("specs", "'sgc init NAME' copies it", ("data", "what it is"), _shipped, _spec),
    )
}
