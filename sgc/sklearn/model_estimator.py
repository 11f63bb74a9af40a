"""What the estimators share: a spec, its keys as parameters, training in memory, and answers for rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from sgc.arguments import one_of, whole_number
from sgc.data.arrays import is_frame
from sgc.data.columns import Array
from sgc.data.variables import Variable
from sgc.errors import DataError, Interrupted, UsageError
from sgc.runtime.inference import ANSWERS, Answer
from sgc.sklearn.answers import Answers
from sgc.sklearn.default_spec import LABEL, default_spec
from sgc.sklearn.feature_columns import FeatureColumns, learn_columns
from sgc.sklearn.spec_features import SpecFeatures, spec_features
from sgc.spec.loader import load
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.training.memory_run import MemoryRun, train_in_memory

ROWS = 10_000  # that are laid out and answered at a time
WEIGHTS = "sample_weight"  # the column of what rows count
PREFIX = "spec__"  # of parameters that are keys of the spec
Kind = Literal["category", "number", "none"]


class ModelEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """What the estimators share: a spec, its keys as parameters, training in memory, and answers for rows."""

    kind: ClassVar[Kind]
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}  # Any: a spec is checked by itself

    def __init__(
        self,
        spec: Spec | str | Path | Mapping[str, Any] | None = None,  # Any: plain data
        *,
        label: str | None = None,
        settings: Mapping[str, Any] | None = None,  # Any: values of a spec's keys
        answer: Answer = "q",
        samples: int | None = None,
        validation_fraction: float | None = None,
        trust: bool = False,
        random_state: Any = None,  # Any: what check_random_state takes
    ) -> None:
        self.spec = spec
        self.label = label
        self.settings = settings
        self.answer = answer
        self.samples = samples
        self.validation_fraction = validation_fraction
        self.trust = trust
        self.random_state = random_state

    # parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # Any: of any type
        """Give the parameters, and deep down the keys of the spec that were set, each with `spec__` before it."""
        own: dict[str, Any] = super().get_params(deep=False)
        if deep and isinstance(self.settings, Mapping):
            own |= {PREFIX + str(key).replace(".", "__"): value for key, value in self.settings.items()}
        return own

    def set_params(self, **params: Any) -> Self:  # Any: of any type
        """Set parameters; `spec__train__epochs` sets the key `train.epochs` of the spec, also of the default one."""
        keys = {name: value for name, value in params.items() if name.startswith(PREFIX)}
        super().set_params(**{name: value for name, value in params.items() if name not in keys})
        if keys:
            changed = {name.removeprefix(PREFIX).replace("__", "."): value for name, value in keys.items()}
            self.settings = {**(self.settings if isinstance(self.settings, Mapping) else {}), **changed}
        return self

    def __sklearn_tags__(self) -> Any:  # Any: scikit-learn's Tags
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is a model: a fit that failed has looked at its rows, and left none."""
        return hasattr(self, "model_")

    # training

    def _fit(
        self,
        table: Any,  # Any: as X
        classes: int,
        labels: Callable[[Variable | None], Array] | None,
        weights: NDArray[np.float64] | None,
    ) -> None:
        """Train on a table that is checked. labels: from the label's variable (None: the default one) to cells."""
        self._check_parameters()
        with _as_value_errors():
            run, label = self._trained(table, classes, labels, weights)
        self.model_, self.encoders_, self.label_ = run.model, run.encoders, label
        self.model_.read_encoders = functools.partial(dict, run.encoders)
        self.metrics_, self.n_iter_ = run.lines, len(run.lines)

    def _trained(
        self,
        table: Any,  # Any: as X
        classes: int,
        labels: Callable[[Variable | None], Array] | None,
        weights: NDArray[np.float64] | None,
    ) -> tuple[MemoryRun, str]:
        """Train as `_fit` says; give the run and the node that is the label."""
        if self.spec is None:
            self.features_: FeatureColumns | SpecFeatures = learn_columns(table)
            label_kind: Kind = "none" if labels is None else "category" if classes else "number"
            share = 0.0 if labels is None else _labelled_share(labels(None), weights)
            from_latent = self.kind == "none"
            plain = default_spec(self.features_, label_kind, classes, labelled=share, from_latent=from_latent)
            spec = load(plain, self._overrides(plain))
            label = LABEL if labels is not None else ""
            data = self.features_.arrays(table)
            if labels is not None:
                data[LABEL] = labels(None)
        else:
            spec = self._given_spec()
            wanted = self.label or (None if labels is not None or self.kind != "none" else "")
            features = spec_features(outline(spec), wanted, self.kind)
            self.features_, label = features, features.label
            cells = labels(features.variables[label]) if labels is not None and label else None
            data = features.arrays(table, cells)
        spec, data = self._completed(spec, data, weights)
        try:
            return train_in_memory(spec, data), label
        except Interrupted:
            raise KeyboardInterrupt from None

    def _check_parameters(self) -> None:
        """Check the parameters that no spec checks. Raises: ValueError."""
        one_of("answer", self.answer, ANSWERS)
        if self.samples is not None:
            whole_number("samples", self.samples)
        share = self.validation_fraction
        if share is not None and not (isinstance(share, Real) and not isinstance(share, bool) and 0 <= share < 1):
            raise ValueError(f"validation_fraction is {share!r}, wanted a share from 0 up, below 1, or None")

    def _overrides(self, plain: Mapping[str, Any]) -> list[str]:  # Any: plain data
        """Write the settings as `load` takes them, for this spec. Raises: ValueError."""
        if not isinstance(self.settings, Mapping | None):
            raise ValueError(
                f"settings is of the type '{type(self.settings).__name__}', wanted keys of the spec to values"
            )
        settings = {str(key): value for key, value in (self.settings or {}).items()}
        return [_assignment(key, value) for key, value in settings.items() if value is not None or _has(plain, key)]

    def _given_spec(self) -> Spec:
        """Load the spec that was given, without its own split and choice of labels: these are the caller's."""
        assert self.spec is not None
        given = self.spec if isinstance(self.spec, Spec) else load(self.spec, trust=self.trust)
        plain = given.plain()
        for key in ("split", "labels"):
            plain.get("data", {}).pop(key, None)
        return load(plain, self._overrides(plain), trust=given.trusted).stands_in(given.folder, trusted=given.trusted)

    def _completed(
        self,
        spec: Spec,
        data: Any,  # Any: a mapping to arrays, or a data frame
        weights: NDArray[np.float64] | None,
    ) -> tuple[Spec, Any]:
        """Put in the seed, the share of rows that are held out to choose the best epoch by, and what rows count."""
        state = self.random_state
        whole = isinstance(state, int | np.integer) and not isinstance(state, bool)
        seed = int(state) if whole and 0 <= state < 2**31 else int(check_random_state(state).randint(2**31 - 1))
        plain = spec.plain()
        plain["train"]["seed"] = seed
        if self.validation_fraction is not None:
            if "data" not in plain:
                columns = {name: {"column": name} for name in spec.nodes if spec.nodes[name].supervision != "none"}
                plain["data"] = {"source": "table", "file": "given.csv", "columns": columns}
            plain["data"]["split"] = {"validation": float(self.validation_fraction), "seed": seed}
        if weights is not None:
            if spec.train.weight is not None:
                column = f"train.weight: '{spec.train.weight}'"
                raise ValueError(f"sample_weight beside {column} of the spec: rows are weighed by one of them")
            plain["train"]["weight"] = name = _free_name(data)
            data = data.assign(**{name: weights}) if is_frame(data) else {**data, name: weights}
        return load(plain, trust=spec.trusted).stands_in(spec.folder, trusted=spec.trusted), data

    # answers

    def _table(self, X: Any, *, reset: bool) -> Any:  # Any: an array of numbers, or a data frame
        """Check X as scikit-learn does; a data frame keeps the types of its columns, a sparse matrix stays sparse."""
        if is_frame(X):
            validate_data(self, X=X, reset=reset, skip_check_array=True)
            if len(X) == 0 or X.shape[1] == 0:
                raise ValueError(f"Found array with {X.shape[0]} sample(s) and {X.shape[1]} feature(s): wanted some")
            return X
        kinds = [np.float64, np.float32]
        return validate_data(self, X=X, reset=reset, accept_sparse="csr", ensure_all_finite="allow-nan", dtype=kinds)

    def _weighed(
        self,
        table: Any,  # Any: as X
        y: Any,  # Any: as in fit
        sample_weight: Any,  # Any: numbers (N,), or None
    ) -> tuple[Any, Any, NDArray[np.float64] | None]:
        """Check weights of rows, and leave those of weight 0 out. Raises: ValueError."""
        if sample_weight is None:
            return table, y, None
        weights = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight is 0 in every row: wanted some above 0")
        if y is not None:
            check_consistent_length(table, y)
        kept = weights > 0
        if kept.all():
            return table, y, weights
        table = table.loc[kept] if is_frame(table) else table[kept]
        return table, None if y is None else _safe_indexing(y, np.flatnonzero(kept)), weights[kept]

    def _batches(self, X: Any) -> Iterator[dict[str, Tensor]]:  # Any: as above
        """Lay the rows of X out as batches without their label, up to `ROWS` at a time. Raises: ValueError."""
        check_is_fitted(self)
        self._check_parameters()
        table = self._table(X, reset=False)
        for start in range(0, table.shape[0], ROWS):
            rows = table.iloc[start : start + ROWS] if is_frame(table) else table[start : start + ROWS]
            with _as_value_errors():
                batch = self.model_.encode(self.features_.arrays(rows))
            batch.pop(self.label_, None)
            yield batch

    @property
    def _answers(self) -> Answers:
        samples = self.model_.spec.evaluate.samples if self.samples is None else self.samples
        return Answers(self.model_, self.answer, samples)

    def _means(self, X: Any, nodes: list[str]) -> dict[str, Array]:  # Any: as above
        check_is_fitted(self)
        label = self.label_ if self._by_class else ""
        parts = [self._answers.means(batch, nodes, label) for batch in self._batches(X)]
        return {name: np.concatenate([part[name] for part in parts]) for name in nodes}

    @property
    def _by_class(self) -> bool:
        return bool(self.label_) and self.model_.outline.variables[self.label_].categories is not None


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Tell of parameters and rows that cannot be these as scikit-learn does. Raises: ValueError."""
    try:
        yield
    except (DataError, UsageError) as problem:
        raise ValueError(str(problem)) from None


def _has(plain: Any, key: str) -> bool:  # Any: plain data
    """Tell whether a spec writes a key, `train.optimizer.lr`."""
    here = plain
    for word in key.split("."):
        if not isinstance(here, Mapping) or word not in here:
            return False
        here = here[word]
    return True


def _assignment(key: str, value: object) -> str:
    """Write a setting as `load` takes it; None leaves the key out, so that its default holds.

    Raises: ValueError for what a spec cannot say, or a seed.
    """
    if key == "train.seed" or (key == "train" and isinstance(value, Mapping) and "seed" in value):
        raise ValueError("settings hold train.seed: the seed is random_state")
    if value is None:
        return f"{key}="
    try:
        return f"{key}={json.dumps(value, default=_plain, allow_nan=False)}"
    except ValueError as problem:
        infinite = "Out of range" in str(problem)
        words = f"settings: {key} is {value!r}, wanted finite numbers" if infinite else str(problem)
        raise ValueError(words) from None


def _plain(value: object) -> Any:  # Any: what JSON can say
    """Give a number or an array of numpy's, as searches draw them, as plain data. Raises: ValueError for the rest."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ValueError(f"settings hold a value of the type '{type(value).__name__}', wanted what a spec can say")


def _labelled_share(cells: Array, weights: NDArray[np.float64] | None) -> float:
    """Give the share of rows with a label: codes, −1 where there is none, or numbers, NaN where there is none."""
    labelled = ~np.isnan(cells) if cells.dtype.kind == "f" else cells >= 0
    return float(np.average(labelled, weights=weights))


def _free_name(columns: Any) -> str:  # Any: a mapping by name, or a data frame
    """Name the column of weights as nothing else is named."""
    name = WEIGHTS
    while name in columns:
        name += "_"
    return name
