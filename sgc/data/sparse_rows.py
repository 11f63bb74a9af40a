"""Sparse matrices of a caller's: they stay sparse, and rows are made dense when they are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sgc.data.columns import Array, SourceColumn
from sgc.errors import DataError


def is_sparse(values: object) -> bool:
    """Tell a sparse matrix or array of scipy's, without importing scipy."""
    return hasattr(values, "tocsr") and hasattr(values, "shape")


@final
class SparseRows:
    """Rows of a sparse matrix, `(N, D)`, or `(N,)` of one column: what is indexed by rows comes as a dense array."""

    def __init__(self, matrix: Any, *, single: bool = False) -> None:  # Any: scipy is optional
        """Take a matrix `(N, D)`; entries that stand twice are summed. single: its one column is a number a row."""
        self.matrix, self.single = matrix.tocsr(), single
        if not self.matrix.has_canonical_format:
            self.matrix = self.matrix.copy()  # the caller's stays as it is
            self.matrix.sum_duplicates()

    @property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(int(size) for size in self.matrix.shape)
        return shape[:1] if self.single else shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return cast(np.dtype[Any], self.matrix.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Array:
        dense = np.asarray(self.matrix[rows].toarray())
        return dense[:, 0] if self.single else dense

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)


def sparse_column(name: str, matrix: Any, *, single: bool = False) -> SourceColumn:  # Any: a sparse matrix (N, D)
    """Take a sparse matrix as a column whose rows stay sparse until they are taken. single: as for `SparseRows`.

    Raises: DataError for an array of another number of axes.
    """
    if len(matrix.shape) != 2:
        raise DataError(f"'{name}': found a sparse array of the shape {list(matrix.shape)}, wanted rows and columns")
    return SourceColumn(name, cast(Array, SparseRows(matrix, single=single)))


def of_sparse(columns: Sequence[SourceColumn]) -> bool:
    """Tell whether the values of a node are read from sparse rows."""
    return any(isinstance(column.values, SparseRows) for column in columns)


def joined(node: str, columns: tuple[SourceColumn, ...]) -> tuple[SourceColumn, ...]:
    """Join the sparse columns of a vector to one sparse matrix; other columns stay as they are."""
    held = [column.values for column in columns]
    sparse = [cast(SparseRows, rows) for rows in held if isinstance(rows, SparseRows)]
    if len(columns) < 2 or len(sparse) < len(columns) or any(column.null is not None for column in columns):
        return columns
    if any(rows.ndim != 1 for rows in sparse):
        return columns
    from scipy.sparse import hstack

    matrix = SparseRows(hstack([rows.matrix for rows in sparse]))
    return (SourceColumn(node, cast(Array, matrix), columns[0].file, marks=columns[0].marks),)
