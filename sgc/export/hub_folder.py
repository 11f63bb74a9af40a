"""A trained model as a folder for the Hugging Face Hub: what `sgc.open` reads, a model card, and graphs.

Nothing is in it that names a machine or a row: of files of data the names alone, no row ids, and of the metrics the
line of the epoch whose weights are there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sgc.arguments import path_of
from sgc.data.outputs import PART
from sgc.errors import UsageError, option, writing
from sgc.export.exporting import check_onnx, exported, onnx_bytes, pt2_bytes
from sgc.export.model_card import CardFacts, card
from sgc.report.best_epoch import best_line
from sgc.runs.file_formats import json_text, spec_yaml
from sgc.runs.placeless import placeless_settings
from sgc.runs.run_folder import RunFolder, open_run
from sgc.spec.loader import load
from sgc.spec.spec import Spec

KINDS = ("pt2", "onnx")
STAGE = f".export{PART}"  # in the folder: the files of an export that is not yet whole
OPTIONAL = (*(f"predict.{kind}" for kind in KINDS), "metrics.jsonl")  # files that not every export writes


def export_folder(
    run: str | Path,
    folder: str | Path,
    *,
    also: Sequence[str] = (),
    license: str | None = None,
    checkpoint: str = "best",
    force: bool = False,
    trust: bool = False,
) -> dict[str, Any]:  # Any: what JSON can say
    """Write a run as a folder that `sgc.open` opens and `huggingface_hub` uploads, with a model card.

    folder: a new or empty one; force: or one of an earlier export, which is replaced. also: graphs of its predictions,
    `pt2`, `onnx`. license: as the Hub names it, such as `mit`; the card has none if None. checkpoint: `best` or `last`.
    trust: as for `sgc.open`.

    Raises: SpecError, UsageError for a folder that holds something or what no graph can hold, RunError.
    """
    target, source = path_of("folder", folder), RunFolder(path_of("run", run))
    for kind in also:
        if kind not in KINDS:
            raise UsageError(f"{option('also', kind)}: found '{kind}', wanted {' or '.join(KINDS)}")
    if "onnx" in also:
        check_onnx()
    if license is not None and not re.fullmatch("[A-Za-z0-9][A-Za-z0-9.+-]*", license):
        raise UsageError(f"{option('license', license)}: found {license!r}, wanted a name of the Hub's, such as mit")
    real = Path(os.path.realpath(target))  # `resolve` fails at links that lead to themselves
    if real.is_relative_to(os.path.realpath(source.path)):
        raise UsageError(f"{target}: lies in the run, wanted a folder elsewhere")
    _check_target(target, force=force)
    model = open_run(source.path, checkpoint, trust=trust)
    if model.read_encoders is not None:
        model.read_encoders()  # whether they can be read
    spec, record = placeless(model.spec), source.record()
    files: dict[str, bytes] = {
        "spec.yaml": spec_yaml(spec).encode(),
        "best.safetensors": source.weights_path(checkpoint).read_bytes(),
        "columns.json": source.columns_path.read_bytes(),
    }
    kept = record.model_dump(mode="json", exclude_none=True, exclude={"code", "digest", "threads", "processes"})
    files["run.json"] = json_text({**kept, "platform": "", "beside": ".", "finished": True}, indent=2).encode()
    graphs: dict[str, Mapping[str, Any]] = {}  # Any: what JSON can say
    if also:
        export = exported(model)
        for kind in dict.fromkeys(also):
            files[f"predict.{kind}"] = pt2_bytes(export) if kind == "pt2" else onnx_bytes(export)
            graphs[f"predict.{kind}"] = export.facts
    lines = source.metrics()
    line = best_line(lines) if checkpoint == "best" else lines[-1] if lines else None
    measured = line or {}, checkpoint == "best"
    facts = CardFacts(model.outline, spec, record.versions, dict(record.rows), *measured, license, graphs)
    files["README.md"] = card(facts).encode()
    if line is not None:
        kept_line = {key: value for key, value in line.items() if key != "warnings"}
        files["metrics.jsonl"] = (json_text({**kept_line, "best": True}) + "\n").encode()
    _write(target, files)
    return {"folder": str(target), "files": sorted(files), "own_code": spec.own_code()}


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of an export beside each other, then put all in their places; run.json, which marks a run, last.

    Where writing fails the folder is as before; who is killed leaves a hidden folder, which the next export removes.
    """
    with writing(target):
        there = target.exists()
        target.mkdir(parents=True, exist_ok=True)
        stage = target / STAGE
        shutil.rmtree(stage, ignore_errors=True)
        try:
            stage.mkdir()
            for name, content in files.items():
                with (stage / name).open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            mark = RunFolder(target).info_path.name
            for name in (mark, *OPTIONAL):
                (target / name).unlink(missing_ok=True)  # of an earlier export
            for name in sorted(files, key=lambda name: name == mark):
                os.replace(stage / name, target / name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            if not there and not any(target.iterdir()):
                target.rmdir()


def _check_target(target: Path, *, force: bool) -> None:
    """Check that a folder may be written: a new or empty one, or of an earlier export. Raises: UsageError.

    Hidden files, as those of git, count for nothing.
    """
    if not os.path.lexists(target) or (target.is_dir() and all(path.name.startswith(".") for path in target.iterdir())):
        return
    if not target.is_dir():
        raise UsageError(f"{target}: is no folder, wanted a new or empty one")
    earlier = (target / STAGE).is_dir() or (RunFolder(target).exists() and RunFolder(target).record().exported)
    if not earlier or not force:
        way = f"; {option('force', '-')} replaces what was exported to it" if earlier else ""
        raise UsageError(f"{target}: is there and not empty, wanted a new or empty folder{way}")


def placeless(spec: Spec) -> Spec:
    """Give a spec without trackers in which files are named by their last names, wherever they are."""
    plain = placeless_settings(spec, relative=False)
    return load(plain, trust=spec.trusted).stands_in(spec.folder, trusted=spec.trusted)
