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
from sgc.report.standard_streams import say


class GraphOf(StrEnum):
    """What an exported graph computes: answers for rows, or rows."""

    PREDICT = "predict"
    GENERATE = "generate"


def export(
    run: RunArg,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The graph to write: .pt2, for torch.export, or .onnx.",
        ),
    ],
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
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Write a run's predictions or its generation as a graph that runs without sgc: torch.export or ONNX."""
    from sgc.export.exporting import export_run, export_text

    collect_as_usual()
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
