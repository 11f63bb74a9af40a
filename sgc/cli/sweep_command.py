"""The command that makes many runs of one spec, and their table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgc.cli.common import Json, SpecArg, Trust
from sgc.errors import UsageError
from sgc.report.standard_streams import say

if TYPE_CHECKING:
    from sgc.sweeps.cells import Cell
    from sgc.sweeps.outcomes import Outcome


def sweep(
    spec: SpecArg,
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep, in YAML: which keys take which values.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="The sweep's folder, by default runs/NAME.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=1024, help="How many runs at a time.")] = 1,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Make only every N-th run, from the I-th.")
    ] = None,
    submit: Annotated[
        str | None, typer.Option("--submit", metavar="slurm|local", help="Hand the runs to SLURM, by submitit.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="KEY=VALUE", help="With --submit: what submitit takes, e.g. timeout_min=60."),
    ] = None,
    table: Annotated[
        list[Path] | None, typer.Option("--table", metavar="FILE", help="Write the table too: .csv, .json or .tex.")
    ] = None,
    picture: Annotated[
        list[Path] | None, typer.Option("--picture", metavar="FILE", help="Draw it, with error bars: .svg, .png, .pdf.")
    ] = None,
    only_table: Annotated[bool, typer.Option("--only-table", help="Make no run: show what has ended so far.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and how each stands, and make none.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Make failed runs again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start every run over.")] = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Train and evaluate a spec under many settings and seeds; goes on where it stopped, and ends with a table."""
    from sgc.sweeps.cell_runs import CellRunner
    from sgc.sweeps.cells import cells_of, load_cells
    from sgc.sweeps.results_table import table_of
    from sgc.sweeps.sweep_file import read_sweep
    from sgc.sweeps.sweep_runs import Shard, ended, hand_over, prepare, run_here, threads_for, to_do

    written, document = read_sweep(file)
    loads = partial(load_cells, spec, written, document, trust=trust)
    part = Shard(1, 1) if shard is None else Shard.of(shard)
    cells = cells_of(written)
    specs = loads(cells)
    if not only_table:
        for tracker in [tracker for cell in specs.values() for tracker in cell.train.loggers or ()]:
            tracker.check()  # before a run fails by it
    folder = prepare(output or Path("runs") / written.name, file)
    runner = CellRunner(spec, written, folder, trust=trust, threads=threads_for(jobs), force=force)
    total = len(part.take(cells)) if written.search is None else written.search.trials * len(written.seeds)
    if written.search is not None:
        from sgc.sweeps.search import Searching

        if shard is not None or submit is not None or dry_run:
            raise UsageError("a search chooses one run after another: start the same command again to share its work")
        searching = Searching(runner, written.search, loads)
        if not only_table:
            searching.run(jobs, _Teller(total, 0))
        cells = searching.cells()
        specs = loads(cells)
        best = searching.best()
        if best is not None:
            say(f"best of {best.trials} trials: {best.words()}")
    state = ended(folder, written, specs)
    mine = part.take(cells)
    waiting = [cell for cell in to_do(state, retry=retry, force=force) if cell in mine]
    if dry_run:
        for cell in mine:
            print(f"{cell.name}: {state.outcomes[cell].state if cell in state.outcomes else 'waiting'}")
        return
    if submit is not None:
        ids = hand_over(runner, file, waiting, submit, _parameters(parameters or []))
        print("\n".join(ids))
        say(f"{len(ids)} runs handed over; 'sgc sweep … --only-table' shows what has ended")
        return
    if waiting and not only_table and written.search is None:
        run_here(runner, waiting, specs, jobs, _Teller(total, total - len(waiting)))
        state = ended(folder, written, specs)
    result = table_of(written, state)
    print(result.json() if as_json else result.text())
    for path in table or []:
        result.write(path)
        say(f"table: {path}")
    for path in picture or []:
        from sgc.sweeps.results_picture import chart_of, draw

        draw(chart_of(written, result), path)
        say(f"picture: {path}")
    failed = {cell: outcome for cell, outcome in state.failed.items() if cell in mine}
    for cell, outcome in failed.items():
        say(f"failed: {cell.name}: {outcome.message}; see {folder.log(cell)}; --retry makes it again")
    if failed:
        raise typer.Exit(1)


class _Teller:
    """Says on standard error what came of each run, as it ends."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done

    def __call__(self, cell: Cell, outcome: Outcome) -> None:
        self.done += 1
        words = f"failed: {outcome.message}" if outcome.state == "failed" else f"{outcome.seconds / 60:.1f} min"
        say(f"[{self.done}/{self.total}] {cell.name}: {words}")


def _parameters(texts: list[str]) -> dict[str, Any]:  # Any: what submitit takes
    from sgc.spec.document import parse

    parameters: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--job {text}: expected KEY=VALUE")
        parameters[key] = parse(value, f"--job {key}").data
    return parameters
