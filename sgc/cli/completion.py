"""What the shell offers when Tab is pressed: specs, runs, settings, nodes and names; no command runs, nothing is wrong.

A shell puts a space behind the only thing that is offered. So a folder is offered by what is in it, and `key=` with
values behind it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

Offer = str | tuple[str, str]  # a word, and what it is
Completer = Callable[[typer.Context, str], list[Offer]]

PLAIN = re.compile(r"[\w@%+,./=-]*")  # shells are given words as they are, and take others for several
LIVE = re.compile(r"[\"'`$\\\x00-\x1f\x7f]")  # letters that zsh may run where it shows what a word is
SUFFIXES = (".yaml", ".yml")
RECORD = "run.json"  # marks a run, see `sgc.runs.run_folder`, which imports torch


@contextlib.contextmanager
def settings_in_bash() -> Iterator[None]:
    """Where bash has made three words of `key=value`, make one again while inside, and offer the value alone."""
    asked = "complete_bash" in os.environ.values()
    words, place = os.environ.get("COMP_WORDS", "").split() if asked else [], os.environ.get("COMP_CWORD", "")
    words = [*words[: int(place)], *(words[int(place) : int(place) + 1] or [""])] if place.isdecimal() else []
    if len(words) > 2 and words[-1] == "=":
        words[-2:] = [f"{words[-2]}="]
    elif len(words) > 3 and words[-2] == "=":
        words[-3:] = [f"{words[-3]}={words[-1]}"]
    else:
        yield
        return
    os.environ |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    offered = io.StringIO()
    try:
        with contextlib.redirect_stdout(offered):
            yield
    finally:
        values = [line.partition("=")[2] for line in offered.getvalue().splitlines()]
        print("\n".join(value for value in values if value))


def _offers(complete: Callable[[typer.Context, str], Iterable[Offer]]) -> Completer:
    """Make a completer that offers nothing where it fails: whoever presses Tab has not asked for a message."""

    @functools.wraps(complete)
    def offered(context: typer.Context, incomplete: str) -> list[Offer]:
        try:
            offers = [(offer, "") if isinstance(offer, str) else offer for offer in complete(context, incomplete)]
        except Exception:
            return []
        fit = [(word, about) for word, about in offers if word.startswith(incomplete) and PLAIN.fullmatch(word)]
        return [(word, LIVE.sub("", about)) if about else word for word, about in fit]

    # typer reads how to call it from its types, which must not be texts
    offered.__annotations__ = {"context": typer.Context, "incomplete": str}
    del offered.__wrapped__
    return offered


# ---- files


@_offers
def spec_files(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer specs."""
    return _paths(incomplete, lambda path: path.suffix in SUFFIXES and path.is_file())


@_offers
def run_folders(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer folders of runs."""
    return _paths(incomplete, lambda path: (path / RECORD).is_file())


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> Iterator[str]:
    """List the paths that begin so and are wanted, and the folders that hold such; if there are none, all folders."""
    folder, slash, beginning = incomplete.rpartition("/")
    lead = folder + slash
    found, holding, folders = [], [], []
    for entry in _entries(Path(lead)):
        text = lead + entry.name
        if not entry.name.startswith(beginning) or (entry.name.startswith(".") and not beginning):
            continue
        if wanted(entry):
            found.append(text)
        elif entry.is_dir():
            folders.append(text + "/")
            if any(wanted(inner) for inner in _entries(entry)):
                holding.append(text + "/")
    offers = [*found, *(holding if found or holding else folders)]
    if len(offers) == 1 and offers[0].endswith("/"):
        inner = list(_paths(offers[0], wanted))
        offers = inner or offers
    yield from offers


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


# ---- settings


@_offers
def settings(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer what `--set` may set in the spec of the command, and once there is one key, its values."""
    from sgc.spec.setting_keys import setting_keys

    known = setting_keys(_spec(context))
    key, equals, _ = incomplete.partition("=")
    fit = {name: setting for name, setting in known.items() if (name == key if equals else name.startswith(key))}
    for name, setting in fit.items():
        yield f"{name}=", setting.about
        if len(fit) == 1:
            yield from (f"{name}={value}" for value in setting.values)


def _spec(context: typer.Context) -> dict[str, Any]:  # Any: plain data
    """Read the spec of the command, or of its run, as plain data; {} where there is none."""
    from sgc.spec.document import read

    named = [context.params.get(key) for key in ("spec", "run")]
    # click leaves out what stands before an option without its value, which is where Tab is pressed
    words = [str(word) for word in named if word] or _line()
    for word in map(os.path.expanduser, words):
        file = Path(word, "spec.yaml") if Path(word).is_dir() else Path(word)
        if file.suffix in SUFFIXES and file.is_file():
            data = read(file).data
            return data if isinstance(data, dict) else {}
    return {}


def _line() -> list[str]:
    """Give the words of the command line that is being written, which the shell hands on so."""
    text = next((os.environ[key] for key in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS") if key in os.environ), "")
    return text.split()[2:]


# ---- nodes


@_offers
def nodes(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the nodes of a run."""
    for name, node in _nodes(context):
        yield name, _about(node)


@_offers
def values_of_nodes(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the nodes of a run, to be given a value."""
    for name, node in _nodes(context):
        yield f"{name}=", _about(node)
        yield from (f"{name}={value}" for value in _some_values(node))


@_offers
def partial_nodes(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the nodes that are labelled in some rows."""
    for name, node in _nodes(context):
        if node.get("supervision") == "partial":
            yield name, _about(node)


@_offers
def patterns(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer patterns of labels: none, one node, one more than those that are written already."""
    partial = [name for name, node in _nodes(context) if node.get("supervision") == "partial"]
    written = incomplete.split(",")[:-1]
    yield from ["none"] if not written else []
    yield from (",".join([*written, name]) for name in partial if name not in written)


def _nodes(context: typer.Context) -> Iterator[tuple[str, dict[str, Any]]]:  # Any: plain data
    """List the nodes of the command's spec or run, those in repeats too."""

    def within(section: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from ((prefix + name, node) for name, node in section.get("nodes", {}).items())
        for name, repeat in section.get("repeat", {}).items():
            yield from within(repeat, f"{prefix}{name}.")

    return within(_spec(context), "")


def _about(node: dict[str, Any]) -> str:  # Any: plain data
    family = node.get("distribution", "")
    name = family.get("name", next(iter(family), "")) if isinstance(family, dict) else family
    return f"{name}, supervision {node.get('supervision')}"


def _some_values(node: dict[str, Any]) -> list[str]:  # Any: plain data
    """List the categories of a node, as far as it has some."""
    values = node.get("values") or range(int(node.get("categories") or 0))
    return [str(value) for value in list(values)[:20]]


# ---- names


@_offers
def checkpoints(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the weights of a run."""
    yield from (("best", "of the best validation bound"), ("last", "after the last epoch"))


@_offers
def splits(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the parts of the data that were not trained on."""
    yield from ("test", "validation")


@_offers
def shipped_names(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the specs that come with the package."""
    from sgc.starter.shipped_specs import shipped_specs

    yield from shipped_specs()


@_offers
def kinds(context: typer.Context, incomplete: str) -> Iterator[Offer]:
    """Offer the kinds that `sgc list` lists."""
    from sgc.report.listed_kinds import KINDS

    yield from ((kind.name, kind.about) for kind in KINDS.values())
