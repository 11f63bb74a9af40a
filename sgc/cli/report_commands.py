"""The commands that show what runs are worth: report, a page on one; compare, several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sgc.arguments import LARGEST
from sgc.cli.collection import collect_as_usual
from sgc.cli.common import LARGEST_SEED, Checkpoint, Json, RunArg, Trust, print_json
from sgc.errors import UsageError
from sgc.report.standard_streams import say

Page = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="The page to write: .html.")]
Samples = Annotated[
    int | None, typer.Option("--samples", min=1, max=LARGEST, help="Samples of the posterior and of log p(x).")
]


def report(
    run: RunArg,
    output: Page = None,
    checkpoint: Checkpoint = "best",
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="test|validation", help="Which rows; test rows, where there are some."),
    ] = None,
    samples: Samples = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the rows and pictures shown.")
    ] = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Write a page on a run: curves, errors, calibration, maps of latents, pictures, what is wrong and what to do."""
    if output is None and not as_json:
        raise UsageError("where to? -o report.html writes the page, --json prints what it shows")
    from sgc.report.row_progress import rows_progress
    from sgc.run_report.report_page import write_report
    from sgc.run_report.run_report import report_run

    collect_as_usual()
    how: dict[str, Any] = {
        "checkpoint": checkpoint,
        "split": split,
        "samples": samples,
        "seed": seed,
        "trust": trust,
    }  # Any: as `report_run` says
    with rows_progress("evaluating") as watch:
        if output is None:
            measured = report_run(run, watch=watch, **how)
        else:
            measured = write_report(run, output, watch=watch, **how)
    if as_json:
        from sgc.runs.file_formats import json_text

        print_json(json_text({"file": None if output is None else str(output), **measured.plain()}))
    else:
        from sgc.run_report.report_words import report_text

        print(report_text(measured, str(output)))
    if not measured.complete:
        say("error: rows without finite scores are left out")
        raise typer.Exit(1)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN…", help="The folders of two or more runs.")],
    output: Page = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="test|validation", help="Measure each run anew on these rows."),
    ] = None,
    samples: Samples = None,
    checkpoint: Checkpoint = "best",
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Compare runs: in what their specs differ, what they reach, mean and deviation of those that differ by seed."""
    from sgc.report.row_progress import rows_progress
    from sgc.run_report.run_comparison import compare_runs

    collect_as_usual()
    if split is None and samples is not None:
        raise UsageError("--samples without --split: nothing is measured anew")
    with rows_progress("evaluating") as watch:
        comparison = compare_runs(
            runs,
            split=split,
            samples=samples,
            checkpoint=checkpoint,
            output=output,
            watch=watch,
            trust=trust,
        )
    if output is not None:
        from sgc.data.outputs import write_output
        from sgc.run_report.comparison_page import comparison_page

        write_output(output, comparison_page(comparison).encode())
    if as_json:
        from sgc.runs.file_formats import json_text

        print_json(json_text({"file": None if output is None else str(output), **comparison.plain()}))
    else:
        from sgc.run_report.comparison_text import comparison_text

        print(comparison_text(comparison))
