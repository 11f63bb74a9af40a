"""The text of a starting spec: the digits model, or what can be guessed from a file or a folder of pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sgc.errors import UsageError, check_regular, check_text, option
from sgc.starter.spec_text import DataFiles, quoted
from sgc.starter.starting_arrays import arrays_spec, matlab_arrays, npz_arrays
from sgc.starter.starting_pictures import gallery_spec
from sgc.starter.starting_tables import table_spec

KINDS = "a file that ends in .csv, .tsv (or .gz), .parquet, .npz, .mat or .h5ad, or a folder of pictures"


def starting_spec(name: str, data: Path | None = None, test: Path | None = None, *, beside: Path | None = None) -> str:
    """Write a commented spec to start from, valid as it is.

    name: the model's. data: a table (.csv or .tsv, gzipped or not, or .parquet), a .npz, .mat or .h5ad file, or a
    folder of pictures; None: scikit-learn's digits. test: a file of the same kind for the test rows; None: they are
    split off from `data`. beside: the folder that the spec will be in, from which its data are found; None: the
    current one.

    Raises:
        UsageError: a name that is none, or a file that is missing or of another kind.
        DataError: a file that cannot be read, or holds nothing to model.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise UsageError(f"'{name}' is not a name: a letter, then letters, digits, '_' or '-'")
    if data is None:
        if test is not None:
            raise UsageError(f"{option('test')}: wanted {option('data')} too, the file to train on")
        return DIGITS.format(name=quoted(name))
    file = _found(data, beside)
    if data.is_dir():
        if test is not None:
            raise UsageError(
                f"{option('test')}: wanted for files; pictures with test rows of their own are listed in two tables"
            )
        return gallery_spec(name, data, file)
    kind, tested = _kind(data), None if test is None else _found(test, beside)
    if test is not None and (test.is_dir() or _kind(test) != kind):
        raise UsageError(f"'{test}': wanted a file of the same kind as '{data}'")
    files = DataFiles(file, tested)
    if kind == "table":
        return table_spec(name, data, files)
    if kind == "h5ad":
        from sgc.starter.starting_cells import cells_spec

        return cells_spec(name, data, files)
    return arrays_spec(name, data, files, kind, *(npz_arrays if kind == "npz" else matlab_arrays)(data))


def _found(data: Path, beside: Path | None) -> str:
    """Give the path of a file as a spec beside it names it. Raises: UsageError."""
    if not data.exists():
        raise UsageError(f"'{data}': no such file, wanted {KINDS}")
    file = str(data) if data.is_absolute() else Path(os.path.relpath(data, beside or Path())).as_posix()
    check_text(file)
    check_regular(data)
    return file


def _kind(data: Path) -> str:
    """Give the source that reads a file, by its ending. Raises: UsageError."""
    if data.name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")):
        return "table"
    for ending in (".npz", ".mat", ".h5ad"):
        if data.name.endswith(ending):
            return ending[1:]
    raise UsageError(f"'{data}': wanted {KINDS}")


DIGITS = """\
# A model of handwritten digits: y is which digit, known for some pictures, and z its style, known for none.
# `sgc inspect` shows what follows from it, `sgc train` trains it.
version: 1
name: {name}
description: Digit and style of scikit-learn's 8 x 8 digits (Kingma's M2)

data:
  source: digits                    # 1797 pictures that come with scikit-learn
  columns:
    x: {{column: image, transforms: [{{divide: 16}}]}}    # grey values from 0 to 16, brought to 0 to 1
    y: {{column: label}}
  split: {{test: 0.2, validation: 0.1, seed: 0}}
  labels:
    y: {{count: 100, balanced: true}} # 100 training rows keep their label, 10 of each digit

nodes:
  x:
    distribution: Bernoulli         # a grey value is scored by cross-entropy
    shape: [1, 8, 8]
    supervision: full               # observed in every row
    generative: {{parents: [y, z], network: {{mlp: [256, 256]}}}}    # p(x | y, z)
  y:
    distribution: Categorical
    categories: 10
    supervision: partial            # observed in some rows; without `generative`, p(y) is uniform
    recognition: {{parents: [x], network: {{mlp: [256]}}, estimator: enumerate}}    # q(y | x), the classifier
  z:
    distribution: Normal
    shape: [8]
    supervision: none               # never observed; p(z) is the standard normal
    recognition: {{parents: [x, y], network: {{mlp: [256]}}}}    # q(z | x, y)

objective:
  bound: elbo
  samples: 1
  alpha: 30                         # the weight of log q(label) in a labelled row
  supervision_rate: 0.25            # the share of labelled rows in the loss

train:
  epochs: 150
  batch_size: {{unlabelled: 100, labelled: 50}}
  optimizer: {{name: Adam, lr: 0.001}}
  seed: 0
"""
