"""The command that trains."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from sgc.cli.collection import collect_as_usual
from sgc.cli.common import Json, Sets, SpecArg, Trust, load_spec, outline_of, print_warnings
from sgc.errors import UsageError


def train(
    spec: SpecArg,
    sets: Sets = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUN", help="The run folder, by default runs/NAME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over where the folder holds a run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take one step of each pattern and keep nothing.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Validate the arguments of every distribution (slow).")
    ] = False,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, max=4096, help="Train in so many processes, each on a GPU or CPU.")
    ] = None,
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, max=65536, help="On so many machines; give all of them the same command.")
    ] = 1,
    rendezvous: Annotated[
        str | None, typer.Option("--rendezvous", metavar="HOST:PORT", help="Where these meet, on the first of them.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="What the trackers of train.loggers note of the run."),
    ] = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Train a model; the run folder keeps its weights, metrics, labels and versions."""
    loaded = load_spec(spec, sets, trust)
    beside = Path(spec).resolve().parent
    if resume and output is not None and beside == output.resolve() and loaded.own_code():
        from sgc.runs.run_folder import RunFolder

        loaded = RunFolder(output).with_code(loaded)  # the spec is the run's own spec.yaml
    tags = _tags(tag or [])
    from sgc.training.launch_environment import launched

    found = launched()
    flag = f"--devices {devices}" if devices is not None else f"--nodes {nodes}"
    if found is not None and (devices is not None or nodes > 1):
        raise UsageError(f"{flag} in one of {found.size} processes: torchrun or srun starts them already")
    if rendezvous is not None and nodes == 1:
        raise UsageError(f"--rendezvous {rendezvous} without --nodes: give on how many machines the training runs")
    starts = (devices or 1) * nodes > 1 and not dry_run
    leads = found is None or found.rank == 0
    if leads and not starts:
        print_warnings(outline_of(loaded))
    if starts:
        from sgc.training.launcher import launch

        words = [word for text in sets or [] for word in ("--set", text)]
        words += [word for text in tag or [] for word in ("--tag", text)]
        words += [] if output is None else ["-o", str(output)]
        flags = {"--resume": resume, "--force": force, "--debug": debug, "--json": as_json, "--trust": trust}
        words += [flag for flag, given in flags.items() if given]
        status = launch(["train", spec, *words], devices=devices or 1, nodes=nodes, meeting=rendezvous)
        raise typer.Exit(status)
    from sgc.report.terminal import training_progress
    from sgc.training.dry_run import dry
    from sgc.training.trainer import train as run_training

    if loaded.data is None:
        raise UsageError(f"{spec}: has no data section: add one, or train from Python on arrays")
    collect_as_usual()
    if dry_run and not leads:
        return
    if dry_run:
        patterns = dry(loaded, beside=beside, debug=debug)
        if as_json:
            print(json.dumps(patterns))
            return
        for pattern in patterns:
            rows, bound, seconds = f"{pattern['count']} rows", pattern["bound"], pattern["seconds"]
            print(f"{pattern['rows']}: {rows}, bound {bound:.4f} nats a row, {seconds:.3f} s")
        return
    with training_progress(loaded.name) if leads else nullcontext() as watcher:
        run = run_training(
            loaded,
            output=output,
            resume=resume,
            force=force,
            beside=beside,
            watcher=watcher,
            debug=debug,
            tags=tags,
        )
    if not leads:
        return
    best = run.best
    summary: dict[str, Any] = {"run": str(run.folder), "epochs": run.epochs, "best": best}
    if as_json:
        print(json.dumps(summary))
        return
    print(f"run        {run.folder}")
    print(f"epochs     {summary['epochs']}")
    if best is not None:
        average = loaded.train.averaged
        before = average is not None and best["epoch"] <= average.start
        note = ", before train.average begins" if before else ""
        print(f"best       epoch {best['epoch']}{_validation_words(best)}{note}")
        if best.get("collapsed"):
            print(f"collapsed  {', '.join(best['collapsed'])}: q carries almost no information about the rows")


def _tags(texts: list[str]) -> dict[str, str]:
    """Read tags. Raises: UsageError."""
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--tag {text}: expected KEY=VALUE")
        tags[key] = value
    return tags


def _validation_words(line: dict[str, Any]) -> str:  # Any: a line of metrics.jsonl
    words = f", validation bound {line['validation_bound']:.3f} nats" if "validation_bound" in line else ""
    errors = line.get("validation_error", {})
    return words + "".join(f", error of {name} {value:.4f}" for name, value in errors.items() if value is not None)
