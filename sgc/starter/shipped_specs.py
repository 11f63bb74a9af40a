"""The specs that come with the package: their names, their files, and what they need before they train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.errors import option

if TYPE_CHECKING:
    from sgc.spec.spec import Spec

PACKAGE = Path(__file__).resolve().parent.parent
PLACES = (PACKAGE / "shipped_specs", PACKAGE.parent / "specs")  # in a wheel, and in a checkout


@dataclass(frozen=True)
class ShippedSpec:
    """A spec that comes with the package; `sgc init NAME` copies it."""

    name: str
    file: Path

    @cached_property
    def plain(self) -> Mapping[str, Any]:  # Any: plain data
        """The spec as plain data, as it is written."""
        from sgc.spec.document import read

        data: Mapping[str, Any] = read(self.file).data
        return data

    @property
    def description(self) -> str:
        """What it is a model of, in a line."""
        return str(self.plain.get("description", ""))

    @property
    def source(self) -> str:
        """The source of its data; an empty string where it has none."""
        return str(self.plain.get("data", {}).get("source", ""))

    @cached_property
    def spec(self) -> Spec:
        """The spec itself."""
        from sgc.spec.loader import load

        return load(self.file)

    @property
    def parts(self) -> list[ShippedSpec]:
        """The shipped specs that it has parts of, each once."""
        files = dict.fromkeys(self.file.with_name(str(part["spec"])) for part in _uses(self.plain) if "spec" in part)
        return [ShippedSpec(file.stem, file) for file in files]

    def needs(self, beside: Path) -> list[str]:
        """Say what it takes to train it, each as "needs …". beside: the folder that it is copied to."""
        data, lines = self.spec.data, []
        for part in _uses(self.plain):
            if "weights" in part and not (beside / part["weights"]).exists():
                lines.append(f"needs a run in {part['weights']}, which its part starts from: sgc train {part['spec']}")
        if data is None:
            return [*lines, "needs data of yours: it has no data section; add one, or train from Python on arrays"]
        lines.append(f"needs {data.needs() or 'no data of yours'}")
        if found := data.inputs(beside):
            lines[-1] += f"; found {found[0]}"
        elif fetched := self._fetched():
            lines[-1] += f"; or {fetched}"
        return lines

    def _fetched(self) -> str:
        """Say which settings fetch the files that it wants; an empty string where none do."""
        from sgc.data.sources.source_section import SOURCES

        section = self.plain.get("data", {})
        root = str(section.get("root", ""))
        if root not in SOURCES or root == section["source"]:
            return ""
        gone = [key for key in ("root", "file", "files") if key in section]
        return " ".join(
            [option("set", f"data.source={root}"), *(option("set", f"data.{key}=") for key in gone), "fetches them"]
        )


def _uses(section: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:  # Any: plain data
    """List the parts of a spec or of a repeat, and of the repeats in it."""
    yield from section.get("use", {}).values()
    for repeat in section.get("repeat", {}).values():
        yield from _uses(repeat)


def shipped_specs() -> dict[str, ShippedSpec]:
    """List the specs that come with the package, by name. Nothing is read but the folder."""
    place = next((place for place in PLACES if place.is_dir()), None)
    files = [] if place is None else place.glob("*.yaml")
    return {file.stem: ShippedSpec(file.stem, file) for file in sorted(files, key=lambda file: file.stem)}
