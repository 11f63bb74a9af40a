"""File formats of runs and results, as bytes: standard JSON, npz archives, a spec as YAML; and files kept whole."""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sgc.data.numpy_files import members_of, read_member
from sgc.data.outputs import PART, write_beside
from sgc.errors import printable, writing
from sgc.spec.spec import Spec

Plain = Any  # what JSON can say


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of a run so that it is either unchanged or complete; a link in its place is not followed."""
    part = path.with_name(path.name + PART)
    with writing(path):
        part.unlink(missing_ok=True)  # left by a killed process, or a link, which must not be followed
    write_beside(path, part, path, content)


def open_own(path: str, flags: int) -> int:
    """Open a file for writing as `open` does, but refuse a link, which may lead out of the run."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def npz_bytes(arrays: Mapping[str, np.ndarray], comment: str = "") -> bytes:
    """Write arrays as an npz archive, under any names, never as Python objects. comment: of the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment.encode()
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def npz_arrays(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read such an archive and the words of its comment. Raises: ValueError, and what zipfile raises for others."""
    rows: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        for name, member in members_of(archive).items():
            if member.compress_type != zipfile.ZIP_STORED:  # so that it cannot grow in memory
                raise ValueError(f"key '{printable(name)}': is packed, as no run writes it")
            rows[name] = read_member(archive, member, path)
        return rows, archive.comment.decode("utf-8", "replace").split()


def json_text(plain: Plain, indent: int | None = None) -> str:
    """Write standard JSON: a number that is not finite becomes null.

    >>> json_text({"bound": -1.5, "error": float("nan")})
    '{"bound": -1.5, "error": null}'
    """

    def strict(value: Plain) -> Plain:
        if isinstance(value, dict):
            return {key: strict(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [strict(entry) for entry in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(strict(plain), indent=indent, allow_nan=False)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 would read as a number and YAML 1.1 would not, such as 1e-3."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


def spec_yaml(spec: Spec) -> str:
    """Write a resolved spec as YAML that loads to the same spec."""
    return yaml.dump(spec.plain(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
