"""`sgc export`: a run -> a file that computes its answers, or draws its rows, without sgc."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from sgc.arguments import names_in, one_of, path_of, whole_number
from sgc.data.encoder import Encoder
from sgc.data.outputs import check_output, ending_of, write_output
from sgc.errors import UsageError, option
from sgc.export.preprocessing import Cells
from sgc.export.row_functions import Generation, Prediction, RowFunction, output_facts
from sgc.export.traced import Program, program_of
from sgc.own_code import is_import_path
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.inference import ANSWERS, Answer
from sgc.runtime.model import Model
from sgc.version import __version__

GraphName: TypeAlias = Literal["predict", "generate"]
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)
ENDINGS = (".pt2", ".onnx")
METADATA = "sgc.json"  # the name of the facts in a file of torch.export; in ONNX their key is `sgc`
TORCH = (2, 13)  # the oldest that exports all of a model: earlier ones leave out what a graph of many rows needs
EXAMPLES = 5  # rows that a graph is traced on and compared on
UNGRAPHED = ("data", "objective", "evaluate", "train")  # sections of a spec that no graph computes


@dataclass(frozen=True)
class Export:
    """A graph and the facts that travel with it, as JSON can say them."""

    program: Program
    facts: dict[str, Any]  # Any: what JSON can say


def export_run(
    run: str | Path,
    output: str | Path,
    *,
    graph: GraphName = "predict",
    given: Sequence[str] = (),
    from_: Answer = "q",
    samples: int | None = None,
    checkpoint: str = "best",
    trust: bool = False,
) -> dict[str, Any]:  # Any: what JSON can say
    """Write a run's predictions or its generation as a graph that runs without sgc, compared with the model before.

    output: FILE.pt2, read by `torch.export.load`; or FILE.onnx. graph: `predict`, the answers for rows; `generate`,
    rows of p. given: what the graph takes besides: labels that are evidence, or nodes that are held. from_: whose
    answers, as for `Model.infer`; samples: of q, the spec's if None. trust: as for `sgc.open`.

    Preprocessing is in the graph; names of categories, shapes and the laws of noise are in the file's metadata, and in
    what is returned. Raises: SpecError, UsageError for what no graph can hold or a library that is missing; RunError.
    """
    output, folder = path_of("output", output), RunFolder(path_of("run", run))
    kind = ending_of(output, ENDINGS)
    if graph == "generate" and (from_ != "q" or samples is not None):
        wrong = option("from", from_, python=f"from_={from_!r}") if from_ != "q" else option("samples")
        raise UsageError(f"{wrong} is of predictions, and the graph is of p's generation: leave it out")
    check_output(output, ENDINGS)
    if kind == ".onnx":
        check_onnx()
    model = open_run(folder.path, checkpoint, trust=trust)
    check_output(output, ENDINGS, folder.inputs(model.spec))
    export = exported(model, graph, given, from_, samples)
    write_output(output, pt2_bytes(export) if kind == ".pt2" else onnx_bytes(export))
    return {"file": str(output), **export.facts}


def export_text(facts: Mapping[str, Any]) -> str:  # Any: what JSON can say
    """Say what was written, what it takes and what it gives, a line for each."""
    lines = [f"{facts['file']}: {facts['graph']}, within {facts['difference']:.1g} of the model"]
    for word, entries in (("takes", facts["inputs"]), ("gives", facts["outputs"])):
        for name, entry in entries.items():
            kind = entry["law"] + " noise" if "law" in entry else entry.get("is", entry["values"])
            lines.append(f"{word}    {name} {['rows', *entry['shape']]} {entry['type']}: {kind}".replace("'", ""))
    return "\n".join(lines)


def exported(
    model: Model,
    graph: GraphName = "predict",
    given: Sequence[str] = (),
    from_: Answer = "q",
    samples: int | None = None,
) -> Export:
    """Make the graph of a run's model and its facts. Raises: UsageError, RunError."""
    check_torch()
    one_of("graph", graph, GRAPHS, error=UsageError)
    one_of("from_", from_, ANSWERS, error=UsageError)
    given = names_in("given", given)
    for place, name in own_code_in({k: v for k, v in model.spec.plain().items() if k not in UNGRAPHED}):
        raise UsageError(f"{place}: own code ('{name}') cannot be exported: torch cannot say what else it does")
    count = model.spec.evaluate.samples if samples is None else whole_number("samples", samples, error=UsageError)
    encoders = {} if model.read_encoders is None else dict(model.read_encoders())
    function: RowFunction
    if graph == "predict":
        function = Prediction(model, encoders, given, count, from_)
    else:
        function = Generation(model, encoders, given)
    program = program_of(function, example_cells(model, function, encoders), EXAMPLES)
    return Export(program, _facts(model, function, program, graph, from_, count))


def own_code_in(written: object, place: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Find the classes of the user's own that a spec names, each with its place."""
    if isinstance(written, Mapping):
        for key, value in written.items():
            if key == "python" and is_import_path(value):
                yield ".".join(place), value
            yield from own_code_in(value, (*place, str(key)))
    elif isinstance(written, list | tuple):
        for i, value in enumerate(written):
            yield from own_code_in(value, (*place, str(i)))


def example_cells(model: Model, function: RowFunction, encoders: Mapping[str, Encoder]) -> list[Tensor]:
    """Make cells of a few rows for a function: draws of p where it has no value of its own to start from."""
    generator = torch.Generator().manual_seed(0)
    inputs = {n: _legal(function.cells_of(n), generator) for n in model.outline.inputs}
    values = model.generate(EXAMPLES, inputs, generator=generator)
    rows: list[Tensor] = []
    for name, cells in function.cells.items():
        value = inputs[name] if name in inputs else values[name]
        if cells.categories is not None:
            rows.append(value.long())
        else:
            by_row = [cells.write(value[i : i + 1].to(model.like.dtype)) for i in range(EXAMPLES)]
            rows.append(torch.cat(by_row).nan_to_num(0.0).to(cells.dtype))
        if cells.dropped:
            rows[-1] = _with_holes(rows[-1], generator)
    return rows


def _with_holes(cells: Tensor, generator: torch.Generator) -> Tensor:
    """Empty half of the cells, and all of the last row's."""
    holes = torch.rand(cells.shape, generator=generator) < 0.5
    holes[-1] = True
    return cells.masked_fill(holes, torch.nan if cells.is_floating_point() else -1)


def _legal(cells: Cells, generator: torch.Generator) -> Tensor:
    """Draw values that an input may have."""
    if cells.categories is not None:
        return torch.randint(cells.categories, (EXAMPLES, *cells.event[:-1]), generator=generator)
    return torch.ones(EXAMPLES, *cells.event)  # a number that nearly every support has


def _facts(
    model: Model, function: RowFunction, program: Program, graph: GraphName, from_: Answer, samples: int
) -> dict[str, Any]:  # Any: what JSON can say
    """Say what a caller must know of a graph."""
    outline = model.outline
    inputs: dict[str, Any] = {}
    for name, cells in function.cells.items():
        inputs[name] = {"type": str(cells.dtype).removeprefix("torch."), **cells.facts()}
    for name, draw in program.noise.items():
        like = program.example[name]
        kind = str(like.dtype).removeprefix("torch.")
        inputs[name] = {"type": kind, "shape": list(draw.short), "values": "noise", "law": draw.law}
    outputs = {
        name: {"type": str(program.expected[name].dtype).removeprefix("torch."), **output_facts(function, name)}
        for name in program.outputs
    }
    facts: dict[str, Any] = {"sgc": __version__, "model": model.spec.name or "", "graph": graph}
    if isinstance(function, Prediction):
        facts |= {"from": from_, "samples": samples}
    facts |= {"inputs": inputs, "outputs": outputs, "difference": program.difference}
    facts["elements"] = {
        name: list(cells.elements)
        for name, cells in ((name, function.cells_of(name)) for name in [*outline.inputs, *outline.outer])
        if cells.elements and (name in inputs or any(entry["node"] == name for entry in outputs.values()))
    }
    notes = [
        f"'{name}' is given by its mean alone: {why}"
        for name, why in (function.undrawn if isinstance(function, Generation) else {}).items()
    ]
    for cells in function.cells.values():
        if cells.before:
            made = ", ".join(transform.name for transform in cells.before)
            notes.append(f"'{cells.name}' is taken after {made}: the run does not record the size before")
    return {**facts, "notes": notes} if notes else facts


def pt2_bytes(export: Export) -> bytes:
    """Write a graph as `torch.export.load` reads it, its facts beside it as `sgc.json`."""
    buffer = io.BytesIO()
    torch.export.save(export.program.exported, buffer, extra_files={METADATA: json.dumps(export.facts)})
    return buffer.getvalue()


def check_torch() -> None:
    """Check that torch is recent enough to export a model, which an older one trains. Raises: UsageError."""
    found = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if found < TORCH:
        wanted = ".".join(map(str, TORCH))
        raise UsageError(f"export needs torch {wanted} or later, found {torch.__version__}: pip install 'sgc[export]'")


def check_onnx() -> None:
    """Check that what writes ONNX is installed. Raises: UsageError."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as problem:
        raise UsageError(f"ONNX needs {problem.name}: pip install 'sgc[export]'") from None


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library from logging warnings about itself in the block."""
    above = [known for known in logging.root.manager.loggerDict if known.startswith(name)]
    loggers = [logging.getLogger(known) for known in [name, *above, f"{name}._internal.exporter._registration"]]
    before = [logger.disabled for logger in loggers]
    level = loggers[0].level
    try:
        loggers[0].setLevel(logging.ERROR)  # of those below it that are not there yet
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        loggers[0].setLevel(level)
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _cause(problem: BaseException) -> str:
    """Say what the first of a chain of errors was: of an operation that is not there, its name."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    text = str(problem).strip().partition("\n")[0] or type(problem).__name__
    missing = re.search(r"No ONNX function found for .*op='(?:\w+\.)?(\w+)'", text)
    return f"it has no operation '{missing[1]}'" if missing else re.sub(r"\x1b\[[0-9;]*m", "", text)


def _keep_apart(graph: Any) -> None:  # Any: of onnx_ir, which may not be installed
    """Give other names to values within a graph that are called as what it takes or gives, such as `sum_1`."""
    outer = {id(value) for value in (*graph.inputs, *graph.outputs)}
    taken = {value.name for value in (*graph.inputs, *graph.outputs)}
    made = [value for node in graph.all_nodes() for value in node.outputs]
    inner = [value for value in (*made, *graph.initializers.values()) if id(value) not in outer]
    known = taken | {value.name for value in inner}
    for value in inner:
        if value.name in taken:
            name = f"{value.name}_"
            while name in known:
                name += "_"
            known.add(name)
            value.name = name


def onnx_bytes(export: Export) -> bytes:
    """Write a graph as ONNX, its facts in the model's metadata under `sgc`. Raises: UsageError."""
    program = export.program
    names = [*program.inputs, *program.noise]
    try:
        with warnings.catch_warnings(), _quiet("torch.onnx"), _quiet("onnxscript"):
            warnings.simplefilter("ignore")  # of libraries about themselves
            written = torch.onnx.export(
                program.exported, input_names=names, output_names=program.outputs, dynamo=True, verbose=False
            )
    except Exception as problem:  # the exporter raises many kinds of errors for what it has no operation for
        raise UsageError(f"ONNX has no form for the graph ({_cause(problem)}): write it as .pt2") from None
    assert written is not None
    _keep_apart(written.model.graph)
    proto = written.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = "sgc", json.dumps(export.facts)
    content: bytes = proto.SerializeToString()
    return content
