"""The features of an estimator that was given a spec: a data frame by its columns, or an array for its one node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgc.data.arrays import is_frame
from sgc.data.columns import Array
from sgc.data.source_columns import node_columns
from sgc.data.sparse_rows import is_sparse
from sgc.data.variables import Variable
from sgc.errors import suggest
from sgc.runtime.data_variables import data_variables
from sgc.spec.outline import Outline


@dataclass(frozen=True)
class SpecFeatures:
    """How the rows of X lie in a spec: the columns of each node by name, or the one node that an array holds."""

    columns: Mapping[str, tuple[str, ...]]
    label: str  # an empty string: the spec has none
    variables: Mapping[str, Variable]

    @property
    def label_column(self) -> str:
        """The name that a data frame has for the label."""
        return self.columns[self.label][0] if self.label in self.columns else self.label

    def arrays(self, table: Any, labels: Array | None = None) -> Any:  # Any: a mapping by node, or a data frame
        """Lay X out as `sgc.train` takes data, with labels beside it where there are some.

        Raises: ValueError where an array does not say which of several nodes it holds, or does not fit the one.
        """
        if is_frame(table):
            known = [name for name in table.columns if str(name) not in self.columns.get(self.label, (self.label,))]
            frame = table[known]
            return frame if labels is None else frame.assign(**{self.label_column: list(labels)})
        node = self._only_node()
        shape = self.variables[node].laid
        if table.shape[1] != math.prod(shape):
            raise ValueError(
                f"found X of {table.shape[1]} features, wanted {math.prod(shape)}: node '{node}' has the shape "
                f"{list(shape)}"
            )
        flat = len(shape) == 1
        values = table if is_sparse(table) and flat else np.asarray(table.toarray() if is_sparse(table) else table)
        by_node: dict[str, Any] = {node: values if flat else values.reshape(len(values), *shape)}
        return by_node if labels is None else {**by_node, self.label: labels}

    def _only_node(self) -> str:
        observed = [name for name, variable in self.variables.items() if variable.supervision != "partial"]
        if len(observed) == 1:
            return observed[0]
        dropped = [name for name, variable in self.variables.items() if variable.dropped]
        if not observed and len(dropped) == 1:
            return dropped[0]
        names = ", ".join([*observed, *dropped]) or "none"
        raise ValueError(f"an array holds one node, and the spec observes several ({names}): give a data frame")


def spec_features(outline: Outline, label: str | None, kind: str) -> SpecFeatures:
    """Find the label of a spec, and the columns of its nodes.

    label: its name; None: the one node of the kind (`category`, `number`, or `none` for either); "": there is none.

    Raises: ValueError where there is no such node, or several and none is named.
    """
    variables = data_variables(outline)
    if label == "":
        return SpecFeatures(node_columns(outline.spec.data, variables), "", variables)
    fitting = [name for name, variable in variables.items() if _fits(variable, kind)]
    if label is not None and label not in fitting:
        what = "a category" if kind == "category" else "a number" if kind == "number" else "one value"
        wanted = f"a node with `supervision: partial` and {what} a row"
        raise ValueError(f"label='{label}': wanted {wanted} ({suggest(label, fitting) or 'the spec has none'})")
    if label is None and len(fitting) != 1:
        found = f"several: {', '.join(fitting)}; name one with label=…" if fitting else "none"
        what = "of one category" if kind == "category" else "of one number"
        raise ValueError(f"wanted a spec with a node {what} a row and `supervision: partial`, found {found}")
    return SpecFeatures(node_columns(outline.spec.data, variables), label or fitting[0], variables)


def _fits(variable: Variable, kind: str) -> bool:
    if variable.supervision != "partial" or variable.dropped or math.prod(variable.laid) != 1:
        return False
    return kind == "none" or (variable.categories is not None) == (kind == "category")
