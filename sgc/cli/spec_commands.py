"""The commands that need a spec and nothing else: check, inspect, prove, schema."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgc.cli import completion
from sgc.cli.collection import collect_as_usual
from sgc.cli.common import (
    LARGEST_SEED,
    Json,
    Sets,
    SpecArg,
    Trust,
    load_spec,
    outline_of,
    print_indented,
    print_json,
    print_warnings,
    wants_color,
)
from sgc.errors import UsageError
from sgc.report.standard_streams import say, styled

if TYPE_CHECKING:
    from sgc.spec.outline import Outline


def check(
    spec: SpecArg,
    data: Annotated[bool, typer.Option("--data", help="Also open the data files and check every value.")] = False,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Validate a spec: every fault at once, with its place; notes and warnings."""
    loaded = load_spec(spec, sets, trust)
    outline = outline_of(loaded)
    print_warnings(outline)
    own = f", and those of {' and '.join(outline.own_networks)}" if outline.own_networks else ""
    text = f"{spec}: valid, {len(outline.outer)} nodes, {outline.parameter_count():,} parameters{own}"
    if data:
        from sgc.runtime.data_variables import open_data

        if loaded.data is None:
            raise UsageError(f"{spec}: has no data section to check")
        dataset = open_data(outline, Path(spec).resolve().parent)
        for note in dataset.notes:
            say(f"note: {note}")
        sizes = ", ".join(f"{len(getattr(dataset, part))} {part}" for part in ("train", "validation", "test"))
        labels = "".join(f", {len(rows)} labelled {name}" for name, rows in dataset.labelled_rows.items())
        text += f"; rows: {sizes}{labels}"
    print(text)


def inspect(
    spec: SpecArg,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="A page, .html; or a picture: .svg, .png, .pdf or .dot."),
    ] = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="Show the stochastic computation graph of each pattern of labels.")
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            metavar="LABELS",
            help="With --expand: show one pattern, e.g. y or y,z or none.",
            autocompletion=completion.patterns,
        ),
    ] = None,
    sets: Sets = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Show the model: its nodes, p and q, and the objective derived for each pattern of labels."""
    if pattern is not None and not expand:
        raise UsageError("--pattern chooses what --expand shows: give both")
    loaded = load_spec(spec, sets, trust)
    if output is not None:
        from sgc.data.outputs import check_place
        from sgc.spec.files_of_spec import spec_inputs

        check_place(output, spec_inputs(loaded, Path(spec), Path(spec).resolve().parent))
    outline = outline_of(loaded)
    if output is not None and output.suffix.lower() == ".html":
        _write_page(outline, output, pattern, expand=expand)
        _print_file(output, as_json)
    elif expand:
        _expand(outline, output, pattern, as_json)
    elif output is not None:
        from sgc.report.pictures.graph_pictures import draw

        draw(outline, output)
        _print_file(output, as_json)
    elif as_json:
        from sgc.report.json_report import inspect_json

        print_indented(inspect_json(outline))
    else:
        from sgc.report.text_report import inspect_text

        _print_page(inspect_text, outline)


def _write_page(outline: Outline, output: Path, pattern: str | None, *, expand: bool) -> None:
    from sgc.report.pages.model_page import write_model_page

    write_model_page(outline, output, pattern=_pattern(outline, pattern), expanded=expand)


def _pattern(outline: Outline, text: str | None) -> frozenset[str] | None:
    from sgc.report.plates import plated
    from sgc.report.shown_patterns import pattern_of

    return None if text is None else pattern_of(plated(outline).outline.graphs, text, outline.graphs.partial)


def _expand(outline: Outline, output: Path | None, pattern: str | None, as_json: bool) -> None:
    from sgc.report.computation_report import expand_json, expand_text, expansion

    expanded = expansion(outline, _pattern(outline, pattern))
    if output is not None:
        from sgc.report.pictures.computation_pictures import chart

        chart(expanded, output)
        _print_file(output, as_json)
    elif as_json:
        print_indented(expand_json(expanded))
    else:
        _print_page(expand_text, expanded)


def _print_file(output: Path, as_json: bool) -> None:
    print(json.dumps({"file": str(output)}) if as_json else output)


def _print_page(write: Callable[..., str], content: object) -> None:
    """Print a page: on a terminal in colour and unfolded, elsewhere folded at 120 characters."""
    text = write(content, width=None if sys.stdout.isatty() else 120, color=wants_color())
    print(text, file=styled(sys.stdout))


def prove(
    spec: SpecArg,
    sets: Sets = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the twin's parameters, rows and draws.")
    ] = 0,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Compare the derived objective with brute force, on a small discrete twin of the graphs; no data needed."""
    loaded = load_spec(spec, sets, trust)
    from sgc.proof.prover import prove as prove_spec
    from sgc.runs.file_formats import json_text

    collect_as_usual()
    proof = prove_spec(loaded, seed=seed)
    if as_json:
        print_json(json_text(proof.plain(), indent=2))
    else:
        print(proof.words())
    if not proof.passed:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of specs, for editors."""
    from sgc.report.json_schema import json_schema

    print_indented(json_schema())
