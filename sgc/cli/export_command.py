"""The command that takes a trained model out of Python: export."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sgc.arguments import LARGEST
from sgc.cli import completion
from sgc.cli.collection import collect_as_usual
from sgc.cli.common import Checkpoint, Json, RunArg, Trust
from sgc.cli.run_commands import AnswerOf
from sgc.errors import UsageError
from sgc.report.standard_streams import say


class GraphOf(StrEnum):
    """What an exported graph computes: answers for rows, or rows."""

    PREDICT = "predict"
    GENERATE = "generate"


def export(
    run: RunArg,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The graph to write: .pt2, for torch.export, or .onnx.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="FOLDER", help="Or a new folder for the Hugging Face Hub, with a model card."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="pt2|onnx", help="With --folder: a graph of its predictions in it."),
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="With --folder: of the model, as the Hub names it.")
    ] = None,
    graph: Annotated[
        GraphOf, typer.Option("--graph", metavar="predict|generate", help="Answers for rows, or rows of the model.")
    ] = GraphOf.PREDICT,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NODE",
            help="A label that predictions take as evidence, or a node at which generation is held.",
            autocompletion=completion.nodes,
        ),
    ] = None,
    from_: Annotated[
        AnswerOf, typer.Option("--from", metavar="q|posterior", help="Whose answers: q's, or the weighted posterior's.")
    ] = AnswerOf.Q,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=LARGEST, help="Samples of q that answers average.")
    ] = None,
    checkpoint: Checkpoint = "best",
    force: Annotated[
        bool, typer.Option("--force", help="With --folder: replace what an earlier export wrote there.")
    ] = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Write a run as a graph that runs without sgc, torch.export or ONNX; or as a folder with a model card."""
    if (output is None) == (folder is None):
        raise UsageError("one of -o FILE, a graph, and --folder FOLDER, for the Hub, is wanted")
    collect_as_usual()
    if folder is not None:
        changed = [flag for flag, given in (("--graph", graph != "predict"), ("--given", given)) if given]
        changed += [flag for flag, given in (("--from", from_ != "q"), ("--samples", samples)) if given]
        if changed:
            raise UsageError(f"{changed[0]} beside --folder: write that graph with -o FILE")
        from sgc.export.hub_folder import export_folder

        made = export_folder(
            run, folder, also=also or [], license=license, checkpoint=checkpoint, force=force, trust=trust
        )
        for name in made["own_code"]:
            say(f"note: own code, {name}, is not in the folder: put it beside spec.yaml")
        print(json.dumps(made) if as_json else f"{made['folder']}: {', '.join(made['files'])}")
        return
    if also or license is not None or force:
        flag = "--also" if also else "--force" if force else "--license"
        raise UsageError(f"{flag} without --folder FOLDER")
    from sgc.export.exporting import export_run, export_text

    assert output is not None
    facts = export_run(
        run,
        output,
        graph=graph.value,
        given=given or [],
        from_=from_.value,
        samples=samples,
        checkpoint=checkpoint,
        trust=trust,
    )
    for note in facts.get("notes", ()):
        say(f"note: {note}")
    print(json.dumps(facts) if as_json else export_text(facts))
