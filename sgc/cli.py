"""The shell interface: parse, call, print, exit code. Every command imports what it needs, and nothing before.

Results go to standard output, everything else to standard error. Exit 0 done, 1 failed while running, 2 wrong spec,
data or usage, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from sgc import __version__
from sgc.arguments import LARGEST
from sgc.errors import DataError, RunError, SpecError, UsageError, in_shell, is_about_memory
from sgc.showing.standard_streams import say, standard_streams, styled, visible, visible_json

if TYPE_CHECKING:
    from sgc.language.outline import Outline
    from sgc.language.spec import Spec

app = typer.Typer(
    name="sgc",
    help="Semi-supervised deep generative models from YAML: check, inspect, prove, train, evaluate, predict, sample.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LARGEST_SEED = 2**63 - 1  # that torch takes

P = ParamSpec("P")
R = TypeVar("R")

SpecArg = Annotated[str, typer.Argument(metavar="SPEC", help="A spec, in YAML.")]
RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set a value of the spec, e.g. train.epochs=10; KEY= takes the key out."
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="Allow own code that the spec names; say it every time.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", metavar="best|last", help="Which weights.")]


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every fault of a user's into words and an exit status."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with in_shell(), warnings.catch_warnings():
                warnings.showwarning = _warn_plainly  # type: ignore[assignment]  # which takes more by name
                result = command(*args, **kwargs)
                sys.stdout.flush()  # what cannot be written is a fault of the command, not of the exit
                return result
        except SpecError as problem:
            _print_faults(problem)
            raise typer.Exit(2) from None
        except (DataError, UsageError) as problem:
            say(f"error: {problem}")
            raise typer.Exit(2) from None
        except RunError as problem:
            say(f"error: {problem}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # whoever read our output has had enough
            raise typer.Exit(0) from None
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            say(f"error: {where}{problem.strerror or problem}")
            raise typer.Exit(1) from None
        except (Exception, SystemExit) as problem:
            if is_about_memory(problem):
                say("error: not enough memory: take fewer samples, smaller batches or smaller networks")
                raise typer.Exit(1) from None
            told = _own_failure(problem)
            if not told:
                raise
            say(f"error: {told}")
            raise typer.Exit(1) from None

    return run


def _warn_plainly(message: Warning | str, *rest: object) -> None:
    """Tell a warning without the line of code that it came from."""
    say(f"warning: {message}")


def _own_failure(problem: BaseException) -> str:
    """Say where own code failed; an empty string where the failure is not its."""
    if "sgc.kinds.own_code" not in sys.modules:  # nothing of it was read
        return ""
    from sgc.kinds.own_code import failure

    return failure(problem)


def _print_json(text: str) -> None:
    print(visible_json(text, sys.stdout.encoding))


def _print_faults(problem: SpecError) -> None:
    """Print faults unwrapped; in colour on a terminal that wants it."""
    text = visible(str(problem))
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        lines = []
        for line in text.split("\n"):
            gutter, bar, rest = line.partition(" | ")
            if bar and not gutter.strip() and "^" in rest:
                line = f"{gutter}{bar}\033[31m{rest}\033[0m"
            elif not (bar and (gutter.strip().isdigit() or not gutter.strip())):
                line = f"\033[1m{line}\033[0m"
            lines.append(line)
        text = "\n".join(lines)
    print(text, file=styled(sys.stderr))


def _load(path: str, sets: list[str] | None, trust: bool = False) -> Spec:
    from sgc.language.loading import load

    return load(path, sets or [], trust=trust)


def _outline(spec: Spec) -> Outline:
    from sgc.language.resolver import outline

    return outline(spec)


def _warn(outline: Outline) -> None:
    from sgc.showing.noting import notes
    from sgc.showing.warning import warnings as warnings_of

    for warning in warnings_of(outline):
        say(f"warning: {warning}")
    for note in notes(outline):
        say(f"note: {note}")


def _version(asked: bool) -> None:
    if asked:
        print(f"sgc {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Semi-supervised deep generative models from YAML."""


@app.command()
@plainly
def check(
    spec: SpecArg,
    data: Annotated[bool, typer.Option("--data", help="Also open the data files and check every value.")] = False,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Validate a spec: every fault at once, with its place; notes and warnings."""
    loaded = _load(spec, sets, trust)
    outline = _outline(loaded)
    _warn(outline)
    own = f", and those of {' and '.join(outline.own_networks)}" if outline.own_networks else ""
    text = f"{spec}: valid, {len(outline.outer)} nodes, {outline.parameter_count():,} parameters{own}"
    if data:
        from sgc.runtime.data import open_data

        if loaded.data is None:
            raise UsageError(f"{spec}: has no data section to check")
        found = open_data(outline, Path(spec).resolve().parent)
        for note in found.notes:
            say(f"note: {note}")
        sizes = ", ".join(f"{len(getattr(found, part))} {part}" for part in ("train", "validation", "test"))
        labels = "".join(f", {len(rows)} labelled {name}" for name, rows in found.labelled_rows.items())
        text += f"; rows: {sizes}{labels}"
    print(text)


@app.command()
@plainly
def inspect(
    spec: SpecArg,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A picture: .svg, .png, .pdf, .dot or .html.")
    ] = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="The stochastic computation graph of each pattern of labels.")
    ] = False,
    pattern: Annotated[
        str | None, typer.Option("--pattern", metavar="LABELS", help="With --expand: of one, e.g. y or y,z or none.")
    ] = None,
    sets: Sets = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Show the model: its nodes, p and q, and the objective derived for each pattern of labels."""
    if pattern is not None and not expand:
        raise UsageError("--pattern chooses what --expand shows: give both")
    loaded = _load(spec, sets, trust)
    if output is not None:
        from sgc.data.outputs import check_place
        from sgc.language.inputs_of_spec import spec_inputs

        check_place(output, spec_inputs(loaded, Path(spec), Path(spec).resolve().parent))
    outline = _outline(loaded)
    if expand:
        _expand(outline, output, pattern, as_json)
        return
    from sgc.showing.plain_report import inspect_json
    from sgc.showing.report import inspect_text

    if output is not None:
        from sgc.showing.drawing import draw

        draw(outline, output)
        print(json.dumps({"file": str(output)}) if as_json else output)
        return
    if as_json:
        _print_json(json.dumps(inspect_json(outline), indent=2, ensure_ascii=False))
        return
    text = inspect_text(outline, width=None if sys.stdout.isatty() else 120, color=_wants_color())
    print(text, file=styled(sys.stdout))


def _expand(outline: Outline, output: Path | None, pattern: str | None, as_json: bool) -> None:
    from sgc.showing.expanding import expand_json, expand_text, expansion
    from sgc.showing.plates import plated
    from sgc.showing.selecting import pattern_of

    outer = plated(outline).outline.graphs
    expanded = expansion(outline, None if pattern is None else pattern_of(outer, pattern, outline.graphs.partial))
    if output is not None:
        from sgc.showing.charting import chart

        chart(expanded, output)
        print(json.dumps({"file": str(output)}) if as_json else output)
    elif as_json:
        _print_json(json.dumps(expand_json(expanded), indent=2, ensure_ascii=False))
    else:
        text = expand_text(expanded, width=None if sys.stdout.isatty() else 120, color=_wants_color())
        print(text, file=styled(sys.stdout))


def _wants_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@app.command()
@plainly
def train(
    spec: SpecArg,
    sets: Sets = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUN", help="The run folder; runs/NAME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over where the folder holds a run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="One step of each pattern, nothing is kept.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Validate the arguments of every distribution (slow).")
    ] = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Train a model; the run folder keeps its weights, metrics, labels and versions."""
    loaded = _load(spec, sets, trust)
    beside = Path(spec).resolve().parent
    _warn(_outline(loaded))
    from sgc.running.dry_run import dry
    from sgc.running.training import Interrupted
    from sgc.running.training import train as run_training
    from sgc.showing.terminal import training_progress

    if loaded.data is None:
        raise UsageError(f"{spec}: has no data section: add one, or train from Python on arrays")
    if dry_run:
        found = dry(loaded, beside=beside, debug=debug)
        if as_json:
            print(json.dumps(found))
            return
        for each in found:
            print(
                f"{each['rows']}: {each['count']} rows, bound {each['bound']:.4f} nats a row, {each['seconds']:.3f} s"
            )
        return
    try:
        with training_progress(loaded.name) as watcher:
            run = run_training(
                loaded, output=output, resume=resume, force=force, beside=beside, watcher=watcher, debug=debug
            )
    except Interrupted as stop:
        say(str(stop))
        raise typer.Exit(130) from None
    best = max((line for line in run.metrics if line.get("best")), key=lambda line: line["epoch"], default=None)
    summary: dict[str, Any] = {"run": str(run.folder), "epochs": run.epochs, "best": best}
    if as_json:
        print(json.dumps(summary))
        return
    print(f"run        {run.folder}")
    print(f"epochs     {summary['epochs']}")
    if best is not None:
        print(f"best       epoch {best['epoch']}" + _validation_words(best))
        if best.get("collapsed"):
            print(f"collapsed  {', '.join(best['collapsed'])}: q says next to nothing of the rows")


def _validation_words(line: dict[str, Any]) -> str:  # Any: a line of metrics.jsonl
    words = f", validation bound {line['validation_bound']:.3f} nats" if "validation_bound" in line else ""
    errors = line.get("validation_error", {})
    return words + "".join(f", error of {name} {value:.4f}" for name, value in errors.items() if value is not None)


@app.command()
@plainly
def evaluate(
    run: RunArg,
    checkpoint: Checkpoint = "best",
    split: Annotated[str, typer.Option("--split", metavar="test|validation", help="Which rows.")] = "test",
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=LARGEST, help="Of the posterior and log p(x).")
    ] = None,
    classifier: Annotated[
        bool, typer.Option("--classifier", help="Also train the classifier alone on the same labels, and compare.")
    ] = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Measure a run on held-out rows: errors and calibration of q and the posterior, ELBO by terms, log p(x)."""
    from sgc.running.evaluation import evaluate_run
    from sgc.running.folder import json_text
    from sgc.running.training import Interrupted
    from sgc.showing.terminal import rows_progress, training_progress

    told: list[str] = []
    try:
        with rows_progress("evaluating") as watch, training_progress("classifier") as watcher:
            report = evaluate_run(
                run,
                checkpoint=checkpoint,
                split=split,
                samples=samples,
                classifier=classifier,
                watcher=watcher,
                watch=watch,
                warn=told.append,
                trust=trust,
            )
    except Interrupted as stop:
        say(str(stop))
        raise typer.Exit(130) from None
    if as_json:
        _print_json(json_text(report.plain()))
    else:
        from sgc.running.results import evaluation_text

        print(evaluation_text(report))
    for warning in told:
        say(f"error: {warning}")
    if not report.whole:
        raise typer.Exit(1)


class FromAnswer(StrEnum):
    """Whose answer a prediction is."""

    Q = "q"
    POSTERIOR = "posterior"


@app.command()
@plainly
def predict(
    run: RunArg,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="New rows: .npz, .mat, .csv, .parquet, IDX or pictures.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to: .csv, .npz or .json.")],
    checkpoint: Checkpoint = "best",
    samples: Annotated[int | None, typer.Option("--samples", min=1, max=LARGEST, help="Of the posterior.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--given", metavar="NODE", help="Take the values of a partially labelled node as evidence."),
    ] = None,
    from_: Annotated[
        FromAnswer | None,
        typer.Option("--from", metavar="q|posterior", help="Whose answer; the weighted posterior's unless said."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="The rows' own ids; else a table's index column.")
    ] = None,
    latents: Annotated[
        bool, typer.Option("--latents", help="Only the nodes that are never observed, q's means and deviations.")
    ] = False,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Write what a run says of each unobserved node for new rows, in the units of the data; labels are ignored."""
    from sgc.running.predicting import predict_run, prediction_text

    found = predict_run(
        run,
        data,
        output,
        checkpoint=checkpoint,
        samples=samples,
        given=given or [],
        from_=None if from_ is None else from_.value,
        id_column=id_column,
        latents=latents,
        trust=trust,
    )
    notes, failed = found.pop("notes", []), found.pop("failed", "")
    for note in notes:
        say(f"warning: {note}")
    print(json.dumps(found) if as_json else prediction_text(found))
    if failed:
        raise RunError(failed)


@app.command()
@plainly
def sample(
    run: RunArg,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Pictures (.png) or numbers (.npz).")],
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="How many samples.")] = 40,
    given: Annotated[list[str] | None, typer.Option("--given", metavar="NODE=VALUE", help="Hold a node.")] = None,
    analogies: Annotated[
        str | None, typer.Option("--analogies", metavar="NODE", help="Turn a node's categories in held-out rows.")
    ] = None,
    traverse: Annotated[
        str | None,
        typer.Option(
            "--traverse", metavar="NODE", help="Turn a labelled node through its range, or move a latent's dimensions."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Of the draws.")] = None,
    checkpoint: Checkpoint = "best",
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Draw what a trained model makes: samples, a row for each category, reconstructions."""
    from sgc.running.sampling import sample_run

    if analogies is not None and traverse is not None:
        raise UsageError("--analogies beside --traverse: one picture at a time")
    held: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--given {text}: expected NODE=VALUE")
        held[name] = _value(value, f"--given {name}")
    found = sample_run(
        run,
        output,
        checkpoint=checkpoint,
        count=count,
        seed=seed,
        given=held,
        analogies=analogies,
        traverse=traverse,
        trust=trust,
    )
    if "left_out" in found:
        say(f"note: {found['left_out']}")
    print(json.dumps(found) if as_json else found["file"])
    for failure in found.get("failures", ()):
        say(f"error: {failure}")
    if "failures" in found:
        raise typer.Exit(1)


def _value(text: str, flag: str) -> Any:  # Any: a value as a spec may hold it
    """Read the value of a flag as a spec would. Raises: UsageError."""
    from sgc.language.document import parse

    try:
        document = parse(f"value: {text}", flag)
    except SpecError as problem:
        raise UsageError(f"{flag}: {problem.faults[0].message}") from None
    if document.faults:
        raise UsageError(f"{flag}: {document.faults[0].message}")
    return document.data["value"] if set(document.data) == {"value"} else text


@app.command()
@plainly
def prove(
    spec: SpecArg,
    sets: Sets = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Of the twin's parameters, rows and draws.")
    ] = 0,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Compare the derived objective with brute force, on a small discrete twin of the graphs; no data needed."""
    loaded = _load(spec, sets, trust)
    from sgc.proving.prove import prove as prove_spec
    from sgc.proving.wording import proof_json, proof_text
    from sgc.running.folder import json_text

    found = prove_spec(loaded, seed=seed)
    if as_json:
        _print_json(json_text(proof_json(found), indent=2))
    else:
        print(proof_text(found))
    if not found.passed:
        raise typer.Exit(1)


@app.command()
@plainly
def schema() -> None:
    """Print the JSON Schema of specs, for editors."""
    from sgc.showing.schema import json_schema

    _print_json(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
@plainly
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the model; the file is NAME.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Start from a .csv, .parquet, .npz, .mat or a folder of pictures."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented starting spec."""
    from sgc.data.outputs import Inputs, check_place, write_output
    from sgc.showing.starting import starting_spec

    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; --force overwrites it")
    check_place(path, Inputs({} if data is None else {data: "the data to start from"}))
    text = starting_spec(path.stem, data, beside=path.parent)
    write_output(path, text.encode())
    print(path)


class Buildable(StrEnum):
    """What `sgc data` can build."""

    MULTI_MNIST = "multi-mnist"


class DigitSet(StrEnum):
    """What it can be built from."""

    MNIST = "mnist"
    DIGITS = "digits"


@app.command()
@plainly
def data(
    name: Annotated[Buildable, typer.Argument(metavar="NAME", help="What to build: multi-mnist.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Where to; by default $SGC_DATA/NAME, or NAME here."),
    ] = None,
    digits: Annotated[DigitSet, typer.Option("--digits", help="From MNIST, or scikit-learn's.")] = DigitSet.MNIST,
    train: Annotated[
        int, typer.Option("--train", min=1, max=LARGEST, help="Canvases from the training digits.")
    ] = 72_000,
    test: Annotated[int, typer.Option("--test", min=1, max=LARGEST, help="Canvases from the test digits.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Of all that is drawn.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files.")] = False,
) -> None:
    """Build a data set: canvases of one to three digits, with counts, classes, sizes and places as labels."""
    from sgc.data.multi_mnist import write_parts

    folder = output if output is not None else Path(os.environ.get("SGC_DATA", "")) / name.value
    for path in write_parts(folder, digits.value, (train, test), seed, force=force).values():
        print(path)


def main() -> None:
    """Run the command line, on streams that show whatever it prints."""
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files: whatever windows the user's own settings name, none opens
    with standard_streams():
        try:
            try:
                app()
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            sys.exit(0)
        except OSError as problem:  # of what is printed outside a command, such as its help
            say(f"error: {problem.filename}: {problem.strerror}")
            sys.exit(1)
