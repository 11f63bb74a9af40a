"""The spec in types: a pydantic model that mirrors the YAML, key by key, with its defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from sgc.data.sources.source_section import DataSection
from sgc.networks.entries import SharedNetwork
from sgc.notebook import Shown
from sgc.objectives.bound import Bound
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.objective import Objective
from sgc.objectives.own_objectives import OwnBound
from sgc.own_code import OwnCode, OwnPiece
from sgc.piece import EMPTY, Maybe, Piece
from sgc.spec.conditionals import Recognition
from sgc.spec.pieces import Feature, Input, Node, Part, RecognitionRule, Repeat
from sgc.spec.scopes import NAME as NAME
from sgc.spec.training_section import Evaluate, Train
from sgc.spec.unrolled import Unrolled


def _own_pieces(part: Any) -> Iterator[OwnPiece]:  # Any: whatever a spec holds
    """Find the pieces that name own code, in a piece and all that it holds."""
    if isinstance(part, OwnPiece):
        yield part
    below: Any = (value for _, value in part) if isinstance(part, Piece) else ()  # Any: values of any fields
    if isinstance(part, dict):
        below = part.values()
    elif isinstance(part, list | tuple):
        below = part
    for inner in below:
        yield from _own_pieces(inner)


def _integer(value: Any) -> Any:  # Any: whatever YAML can say
    return value if type(value) is int else EMPTY  # for Python true and 1.0 are 1


@dataclass(frozen=True)
class Origin:
    """Where a spec was read from, whether own code may be imported, and what was derived or unrolled.

    None of it is saved. All origins are equal: a spec is the same in any folder.
    """

    folder: Path | None = field(default=None, compare=False)
    trusted: bool = field(default=False, compare=False)
    derived: frozenset[str] = field(default=frozenset(), compare=False)
    unrolled: Unrolled = field(default=Unrolled(), compare=False)


class Spec(Piece, Shown):
    """A whole spec, valid in itself and between its parts once `sgc.load` has returned it."""

    notebook_view: ClassVar[str] = "sgc.report.pages.notebook_views:spec_html"
    _origin: Origin = PrivateAttr(default=Origin())

    version: Annotated[Literal[1], BeforeValidator(_integer)] = Field(
        description="The version of the language.",
        examples=[1],
    )
    name: Annotated[str, Field(pattern=NAME)] = Field(
        "model",
        description="The name of the model; a run is kept in `runs/NAME` where no folder is given.",
        examples=["mnist-m2"],
    )
    description: str = Field(
        "",
        description="A sentence on the model, shown by `inspect`.",
        examples=["Digit and style"],
    )
    data: Maybe[DataSection] = Field(
        None,
        description=(
            "Where rows come from, which columns are whose, and which labels are kept. Absent: arrays from Python."
        ),
        examples=[
            {
                "source": "digits",
                "columns": {"x": {"column": "image", "transforms": [{"divide": 16}]}, "y": {"column": "label"}},
            }
        ],
    )
    inputs: dict[str, Input] = Field(
        {},
        description=(
            "Values that every row has and that networks read, but no graph models: a site, a batch, a total."
        ),
        examples=[{"site": {"values": ["A", "B"]}}],
    )
    networks: dict[str, SharedNetwork] = Field(
        {},
        description=(
            "Networks by name. Conditionals that name the same one share its layers, never the last map "
            "to their parameters."
        ),
        examples=[{"shared": {"mlp": [256]}}],
    )
    features: dict[str, Feature] = Field(
        {},
        description="Deterministic nodes of both graphs, computed once and read by many.",
        examples=[{"h": {"parents": ["x"], "network": {"mlp": [64]}}}],
    )
    recognition: Maybe[RecognitionRule] = Field(
        None,
        description=(
            "`auto`: q's parents are derived from p, a minimal faithful inverse (Webb et al. 2018), nodes "
            "with labels first; or `{parents: auto, network: …}` with one network for every node that "
            "gives none."
        ),
        examples=[{"parents": "auto", "network": {"mlp": [64]}}],
    )
    nodes: dict[str, Node] = Field(
        description="The random variables, by name.",
        examples=[{"v": {"distribution": "Normal", "shape": [2], "supervision": "full"}}],
    )
    repeat: dict[str, Repeat] = Field(
        {},
        description="Bodies of nodes that stand several times, once written.",
        examples=[
            {
                "step": {
                    "count": 3,
                    "nodes": {
                        "v": {
                            "distribution": "Normal",
                            "supervision": "none",
                            "recognition": {"parents": ["x"], "network": {"mlp": [8]}},
                        }
                    },
                }
            }
        ],
    )
    use: dict[str, Part] = Field(
        {},
        description="Other specs as parts of this one.",
        examples=[{"digit": {"spec": "specs/mnist-m2.yaml", "bind": {"x": "x"}}}],
    )
    objective: Objective = Field(
        Objective(),
        description="What is maximised.",
        examples=[{"bound": "elbo", "samples": 1, "alpha": 30}],
    )
    train: Train = Field(
        Train(),
        description="How it is trained.",
        examples=[{"epochs": 50, "batch_size": 100}],
    )
    evaluate: Evaluate = Field(
        Evaluate(),
        description="How it is evaluated.",
        examples=[{"samples": 100}],
    )

    def __repr__(self) -> str:
        nodes = ", ".join(f"{name} ({node.supervision})" for name, node in self.nodes.items())
        return f"Spec({self.name!r}: {nodes or 'no nodes'})"

    __str__ = __repr__

    @property
    def folder(self) -> Path:
        """The folder of the file it was read from, beside which its data are looked for; else the current one."""
        return self._origin.folder or Path.cwd()

    @property
    def trusted(self) -> bool:
        """Whether own code that it names may be imported."""
        return self._origin.trusted

    def stands_in(self, folder: Path | None, *, trusted: bool) -> Spec:
        """Note the folder that it was read from, None for a spec from Python, and whether its own code is trusted."""
        place = None if folder is None else folder.resolve()
        self._origin = replace(self._origin, folder=place, trusted=trusted)
        return self

    @property
    def maximised(self) -> Bound:
        """The bound. Raises: UsageError where it is own code that is not trusted, or cannot be imported."""
        bound = self.objective.bound
        if isinstance(bound, OwnBound):
            return bound.load(OwnCode(bound.python, self.folder, self.trusted))
        return BOUNDS[bound]

    def own_code(self, *, but: tuple[type[OwnPiece], ...] = ()) -> list[str]:
        """List the own code that it names, as module:Class. but: kinds that are left out."""
        return [piece.python for piece in _own_pieces(self) if not isinstance(piece, but)]

    @property
    def derived(self) -> frozenset[str]:
        """The nodes whose recognition parents `recognition: auto` derived."""
        return self._origin.derived

    def with_parents(self, recognition: Mapping[str, Recognition]) -> Spec:
        """Return the spec with derived recognitions in place of `recognition: auto`."""
        nodes = {name: self.nodes[name].model_copy(update={"recognition": q}) for name, q in recognition.items()}
        spec = self.model_copy(update={"nodes": {**self.nodes, **nodes}, "recognition": None})
        spec._origin = replace(self._origin, derived=frozenset(recognition))
        return spec

    @property
    def unrolled(self) -> Unrolled:
        """Its repeats and parts; empty where it had none."""
        return self._origin.unrolled

    def once(self, unrolled: Unrolled) -> Spec:
        """Note the repeats and parts that were written out in it."""
        self._origin = replace(self._origin, unrolled=unrolled)
        return self

    def plain(self) -> dict[str, Any]:  # Any: plain data
        """Return the spec as plain data with every default, fit to be loaded again.

        Repeats are as they were written, and parts are in full.
        """
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={*self.unrolled.written})
        for section in ("repeat", "use"):
            if not plain.get(section):
                plain.pop(section, None)
        return {**plain, **self.unrolled.written}
