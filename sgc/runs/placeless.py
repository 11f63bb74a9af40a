"""The settings of a spec as they may leave the machine: without places of files on it, trackers and other secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from sgc.runs.extension import TRACKED
from sgc.spec.spec import Spec

TEXTS = ("columns", "missing_values", "separator", "path")  # keys of data whose values may look like places
PLACES = ("root", "file", "files", "rows", "weights")  # keys of a spec whose values may be places of files


def placeless_settings(spec: Spec, *, relative: bool) -> dict[str, Any]:  # Any: plain data
    """Give a spec as plain data in which files on this machine or another are named by their last names alone.

    relative: keep the folders of a file that is named relative to the spec, which say nothing of the machine.
    """

    def kept(text: str, place: bool) -> str:
        somewhere = is_absolute(text) or "://" in text
        return last_name(text) if is_absolute(text) or (place and (somewhere or not relative)) else text

    def named(value: Any, place: bool) -> Any:  # Any: plain data
        if isinstance(value, Mapping):
            return {key: named(inner, place or key in PLACES) for key, inner in value.items()}
        if isinstance(value, list):
            return [named(inner, place) for inner in value]
        return kept(value, place) if isinstance(value, str) else value

    plain = spec.plain()
    for key in TRACKED:
        plain["train"].pop(key, None)
    if "data" in plain:
        if plain["data"].get("source") == "python":
            plain["data"].pop("options", None)  # which may hold anything, passwords among it
        texts = {key: plain["data"].pop(key) for key in TEXTS if key in plain["data"]}
        plain["data"] = named(plain["data"], False) | texts
    for part in plain.get("use", {}).values():
        if "weights" in part:
            part["weights"] = kept(part["weights"], True)
    return plain


def is_absolute(text: str) -> bool:
    """Tell whether a text begins as the place of a file on some machine does."""
    return text.startswith(("/", "~", "\\", "./", "../")) or PureWindowsPath(text).is_absolute()


def last_name(text: str) -> str:
    """Give the name of a file without the folders that it is in, or the address.

    >>> last_name("/home/me/rows.csv"), last_name("s3://ours/part-*.parquet"), last_name("https://b/rows.csv?key=1")
    ('rows.csv', 'part-*.parquet', 'rows.csv')
    >>> last_name("s3://me:hunter2@host?key=1"), last_name("file:///home/me/rows.csv")
    ('.', 'rows.csv')
    """
    if "://" in text:  # of an address the host, and whoever asks it, are no name
        text = text.partition("#")[0].partition("?")[0].rpartition("://")[2].partition("/")[2]
    return PurePosixPath(text.replace("\\", "/")).name or "."
