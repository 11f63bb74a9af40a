"""The files that a spec reads, so that no output replaces one."""

from __future__ import annotations

from pathlib import Path

from sgc.data.outputs import Inputs
from sgc.spec.spec import Spec


def spec_inputs(spec: Spec, path: Path | None, beside: Path) -> Inputs:
    """List what a spec reads: its file, those of its parts and of their weights, and its data.

    path: the file it was read from, if that must not be written either. beside: where its data are looked for.
    """
    files = {} if path is None else {path: "the spec"}
    for part in spec.unrolled.parts:
        if part.file is not None:
            files.setdefault(part.file, f"the part '{part.name}' of the spec")
        for run in () if part.weights is None else (part.weights, beside / part.weights):
            files |= dict.fromkeys(_files_in(run), f"the run that the part '{part.name}' starts from")
    return Inputs(files, spec.data, beside)


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
