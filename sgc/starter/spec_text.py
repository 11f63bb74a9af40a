"""A starting spec put together from its parts: what is observed, the label y where there is one, and a latent z."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from sgc.errors import printable

ROWS = 10_000  # rows of a table that are looked at
FEW = 20  # up to so many different values are categories
LABELS = ("label", "labels", "class", "target", "y", "outcome", "diagnosis", "category", "species", "cluster")
RATE = 0.25  # share of labelled rows in the loss, where there are fewer of them
PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # quoted: some parsers read them as values
WIDTH = 100
GREY = "distribution: Bernoulli    # a guess: grey values from 0 to 1, scored by cross-entropy"
SEARCHED = "looked for under $SGC_DATA, then beside this file"
OWN_TEST = (
    "errors are measured on the test rows that have a label; where these are few, put labelled rows into a file of "
    "their own, and take `files: {train: ..., test: ...}` in place of `file`, without `test` in `split`"
)


@dataclass(frozen=True)
class DataFiles:
    """The file of a spec's data as the spec names it, and that of its test rows where these have one of their own."""

    train: str
    test: str | None = None

    @property
    def line(self) -> str:
        """Write it as a line of the data section."""
        if self.test is None:
            return f"file: {file_text(self.train)}    # {SEARCHED}"
        return f"files: {{train: {file_text(self.train)}, test: {file_text(self.test)}}}    # {SEARCHED}"


@dataclass(frozen=True)
class Label:
    """The column guessed as the label: its categories, or None for a number."""

    column: str
    values: tuple[str, ...] | None  # as the spec writes them
    empty: int  # rows without it
    why: str
    counts: bool = False  # whole numbers from 0 up
    comments: tuple[str, ...] = ()
    known: int = 0  # rows with it

    @property
    def rare(self) -> bool:
        """Tell whether so few rows have it, or will keep it, that the others would outvote them in the loss."""
        return not self.empty or self.known < RATE * (self.known + self.empty)


@dataclass(frozen=True)
class Observed:
    """An observed node: its name, its entry under `columns`, its lines under `nodes`, and whether cells are empty.

    offered: it is written in comments, for users who want it.
    """

    node: str
    column: str
    lines: tuple[str, ...]
    comments: tuple[str, ...] = ()
    holes: bool = False
    offered: bool = False


def compose(
    name: str,
    head: Sequence[str],
    source: Sequence[str],
    observed: Sequence[Observed],
    label: Label | None,
    *,
    counts: bool = False,
    own_test: bool = False,
    pictures: bool = False,
) -> str:
    """Put a spec together: what is observed, the label y where there is one, and a latent z.

    counts: some are observed, which may be far above where networks start. own_test: the test rows have a file of
    their own. pictures: they are observed, whose networks and latent vector are larger.
    """
    network, latent = ("{mlp: [256, 256]}", 8) if pictures else ("{mlp: [64, 64]}", 4)
    lines = [text_line for line in head for text_line in comment(line)]
    lines += ["version: 1", f"name: {quoted(name)}", "", "data:", *(f"  {line}" for line in source), "  columns:"]
    for entry in observed:
        lines += [text for line in entry.comments for text in comment(line, "    ")]
        lines.append(f"    {'# ' if entry.offered else ''}{entry.node}: {entry.column}")
    if label is not None:
        lines += _label_column(label)
    lines.append(f"  split: {{{'' if own_test else 'test: 0.2, '}validation: 0.1, seed: 0}}")
    if label is not None and not label.empty:
        fraction = "    y: {fraction: 0.1}    # every row has its label; one in ten keeps it, to try how few are enough"
        lines += ["  labels:", fraction]
    elif label is not None:
        lines.append(f"  # rows whose cell is empty have no label: {label.empty} of those that were looked at")
        lines += [] if own_test else comment(OWN_TEST, "  ")
    lines += ["", "nodes:"]
    for entry in observed:
        lines += [f"  {'# ' if entry.offered else ''}{line}" for line in _observed_node(entry, label, network)]
    read = [entry.node for entry in observed if not entry.offered]
    if label is not None:
        categories = label.values is not None
        family = ["Categorical", *listed_values(label.values)] if label.values is not None else ["Normal"]
        lines += ["  y:", f"    distribution: {family[0]}", *family[1:]]
        lines.append("    supervision: partial    # observed in some rows")
        lines += _proposal(read, network, ", estimator: enumerate" if categories else "")
    lines += ["  z:", "    distribution: Normal", f"    shape: [{latent}]", "    supervision: none    # never observed"]
    lines += _proposal([*read, "y"] if label else read, network)
    lines += ["", "objective:", "  bound: elbo", f"  samples: {1 if label and label.values else 4}"]
    if label is not None:
        lines.append("  alpha: 10    # the weight of log q(label) in a labelled row")
        if label.rare:
            lines.append(f"  supervision_rate: {RATE}    # the share of labelled rows in the loss, few as they are")
    rate = "0.005}    # counts may be far above where networks start" if counts else "0.001}"
    lines += ["", "train:", "  epochs: 100", "  batch_size: 64", f"  optimizer: {{name: Adam, lr: {rate}"]
    return "\n".join([*lines, "  seed: 0", ""])


def _label_column(label: Label) -> list[str]:
    standard = ", transforms: [standardize]" if label.values is None else ""
    lines = [f"    y: {{column: {quoted(label.column)}{standard}}}    # a guess: {label.why}"]
    lines += [text for line in label.comments for text in comment(line, "    ")]
    if label.counts:
        taken = "a measurement" if label.values is None else "categories"
        mend = "`distribution: Poisson` for y" + (" and no `transforms`" if label.values is None else "")
        lines.append(f"    # whole numbers from 0 up, taken for {taken}; for counts take {mend}")
    return lines


def _observed_node(observed: Observed, label: Label | None, network: str) -> list[str]:
    lines = [f"{observed.node}:", *(f"  {line}" for line in observed.lines)]
    if observed.holes:
        dropped = "an empty cell has no term; networks read a zero and a flag in its place"
        lines += ["  supervision: partial", f"  missing: drop    # {dropped}"]
    else:
        lines.append("  supervision: full    # observed in every row")
    return [*lines, f"  generative: {{parents: {'[y, z]' if label else '[z]'}, network: {network}}}"]


def _proposal(parents: Sequence[str], network: str, more: str = "") -> list[str]:
    return folded("    recognition: {parents: [", parents, f"], network: {network}{more}}}")


def comment(text: str, indent: str = "") -> list[str]:
    """Write a comment, folded where it is long."""
    return textwrap.wrap(
        printable(text), WIDTH + 10, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def listed_values(values: Sequence[str]) -> list[str]:
    return folded("    values: [", values)


def folded(head: str, words: Sequence[str], tail: str = "]") -> list[str]:
    """Write a list of words, folded where a line becomes too long."""
    lines = [head]
    for i, word in enumerate(words):
        piece = word + (tail if i == len(words) - 1 else ", ")
        if len(lines[-1]) + len(piece.rstrip()) > WIDTH and lines[-1] != head:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * (len(head) - len(head.lstrip()) + 2))
        lines[-1] += piece
    return lines


def quoted(text: str) -> str:
    """Write a string as YAML: plain where no parser takes it for something else."""
    return text if PLAIN.match(text) and text.lower() not in WORDS else _escaped(text)


def _escaped(text: str) -> str:
    """Write a string in quotes, control characters escaped: YAML refuses some of them, and ends lines at others."""
    return printable(json.dumps(text, ensure_ascii=False))


def file_text(path: str) -> str:
    return path if re.fullmatch(r"[A-Za-z0-9_./-]*[./][A-Za-z_-]+", path) else _escaped(path)
