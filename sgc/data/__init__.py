"""Data: from a spec's source to rows of node values. Nothing here imports torch."""

from sgc.data.dataset import DataSet, Rows, open_dataset
from sgc.data.encoder import Encoder
from sgc.data.large import EncodedColumn
from sgc.data.prediction import read_rows
from sgc.data.variables import Variable

__all__ = ["DataSet", "EncodedColumn", "Encoder", "Rows", "Variable", "open_dataset", "read_rows"]
