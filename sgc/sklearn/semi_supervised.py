"""The estimators: a classifier, a regressor and a transformer that learn from rows with and without a label."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from sgc.arguments import one_of, whole_number
from sgc.data.arrays import is_frame
from sgc.data.columns import Array
from sgc.data.variables import Variable
from sgc.errors import DataError, Interrupted
from sgc.runtime.inference import ANSWERS, Answer
from sgc.sklearn.answers import Answers
from sgc.sklearn.default_spec import LABEL, LATENT, default_spec
from sgc.sklearn.feature_columns import FeatureColumns, learn_columns
from sgc.sklearn.label_values import class_codes, is_classes, labelled_classes, number_labels
from sgc.sklearn.spec_features import SpecFeatures, spec_features
from sgc.spec.loader import load
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.training.memory_run import train_in_memory

ROWS = 10_000  # that are laid out and answered at a time
PREFIX = "spec__"  # of parameters that are keys of the spec
Kind = Literal["category", "number", "none"]


class _ModelEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
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

    # training

    def _fit(self, table: Any, classes: int, labels: Any) -> None:  # Any: as X; labels by `_labels_for`
        """Train on a table that is checked. labels: a function from the label's variable to its cells, or None."""
        self._check_parameters()
        if self.spec is None:
            self.features_: FeatureColumns | SpecFeatures = learn_columns(table)
            label_kind: Kind = "none" if labels is None else "category" if classes else "number"
            share = 0.0 if labels is None else _labelled_share(labels(None))
            from_latent = self.kind == "none"
            plain = default_spec(self.features_, label_kind, classes, labelled=share, from_latent=from_latent)
            spec = load(plain, self._overrides())
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
        spec = self._completed(spec)
        try:
            run = train_in_memory(spec, data)
        except DataError as problem:
            raise ValueError(str(problem)) from None
        except Interrupted:
            raise KeyboardInterrupt from None
        self.model_, self.encoders_, self.label_ = run.model, run.encoders, label
        self.model_.read_encoders = functools.partial(dict, run.encoders)
        self.metrics_, self.n_iter_ = run.lines, len(run.lines)

    def _check_parameters(self) -> None:
        """Check the parameters that no spec checks. Raises: ValueError."""
        one_of("answer", self.answer, ANSWERS)
        if self.samples is not None:
            whole_number("samples", self.samples)
        share = self.validation_fraction
        if share is not None and not (isinstance(share, Real) and not isinstance(share, bool) and 0 <= share < 1):
            raise ValueError(f"validation_fraction is {share!r}, wanted a share from 0 up, below 1, or None")

    def _overrides(self) -> list[str]:
        if not isinstance(self.settings, Mapping | None):
            raise ValueError(
                f"settings is of the type '{type(self.settings).__name__}', wanted keys of the spec to values"
            )
        return [f"{key}={json.dumps(value, default=_plain)}" for key, value in (self.settings or {}).items()]

    def _given_spec(self) -> Spec:
        """Load the spec that was given, without its own split and choice of labels: these are the caller's."""
        assert self.spec is not None
        given = self.spec if isinstance(self.spec, Spec) else load(self.spec, trust=self.trust)
        plain = given.plain()
        for key in ("split", "labels"):
            plain.get("data", {}).pop(key, None)
        return load(plain, self._overrides(), trust=given.trusted).stands_in(given.folder, trusted=given.trusted)

    def _completed(self, spec: Spec) -> Spec:
        """Put in the seed, and the share of rows that are held out to choose the best epoch by."""
        state = self.random_state
        whole = isinstance(state, int | np.integer) and not isinstance(state, bool)
        seed = int(state) if whole else int(check_random_state(state).randint(2**31 - 1))
        plain = spec.plain()
        plain["train"]["seed"] = seed
        if self.validation_fraction is not None:
            if "data" not in plain:
                columns = {name: {"column": name} for name in spec.nodes if spec.nodes[name].supervision != "none"}
                plain["data"] = {"source": "table", "file": "given.csv", "columns": columns}
            plain["data"]["split"] = {"validation": float(self.validation_fraction), "seed": seed}
        return load(plain, trust=spec.trusted).stands_in(spec.folder, trusted=spec.trusted)

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

    def _means(self, X: Any, nodes: list[str]) -> dict[str, Array]:  # Any: as above
        check_is_fitted(self)
        self._check_parameters()
        table = self._table(X, reset=False)
        samples = self.model_.spec.evaluate.samples if self.samples is None else self.samples
        answers, label = Answers(self.model_, self.answer, samples), self.label_ if self._by_class else ""
        parts = []
        for start in range(0, table.shape[0], ROWS):
            rows = table.iloc[start : start + ROWS] if is_frame(table) else table[start : start + ROWS]
            try:
                batch = self.model_.encode(self.features_.arrays(rows))
            except DataError as problem:
                raise ValueError(str(problem)) from None
            batch.pop(self.label_, None)
            parts.append(answers.means(batch, nodes, label))
        return {name: np.concatenate([part[name] for part in parts]) for name in nodes}

    @property
    def _by_class(self) -> bool:
        return bool(self.label_) and self.model_.outline.variables[self.label_].categories is not None


@final
class SemiSupervisedClassifier(ClassifierMixin, _ModelEstimator):  # type: ignore[misc]
    """Classify rows by a generative model that learns from rows with and without a label.

    spec: a file, plain data or a loaded spec; None: Kingma's M2 for a table (Kingma et al. 2014). label: the node that
    y is of, where a spec has several. settings: keys of the spec and their values, `{"train.epochs": 50}`, also set as
    `spec__train__epochs`. answer: `q`, its classifier, or `posterior`, by `samples` samples that the model weighs.
    validation_fraction: the share of rows held out to choose the best epoch by; None: none, the last one counts. trust:
    as for `sgc.load`.

    y is −1, NaN or None in a row without a label. X is an array, a sparse matrix, or a data frame: text and pandas'
    categories are then categories; empty cells may stand in either.

    After fit: `classes_`, `model_` (as `sgc.open` gives), `n_features_in_`, `feature_names_in_`, `n_iter_` (epochs),
    `metrics_` (a line for each).
    """

    kind: ClassVar[Kind] = "category"

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any) -> Self:  # Any: array (N, D) or data frame; y (N,)
        """Fit the model to all rows, and its classifier to those with a label.

        Raises: ValueError for rows or labels that cannot be these; SpecError; RunError where training fails.
        """
        table = self._table(X, reset=True)
        names, codes = labelled_classes(y, table.shape[0])
        self.classes_ = names

        def cells(variable: Variable | None) -> Array:  # None: of the default spec
            if variable is None:
                return codes
            self.classes_, given = class_codes(variable, names, codes)
            return given

        self._fit(table, len(names), cells)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.floating[Any]]:  # Any: as for fit
        """Give the probability of each class, `(N, classes)`, in the order of `classes_`."""
        check_is_fitted(self)
        chances = self._means(X, [self.label_])[self.label_].reshape(-1, len(self.classes_))
        return np.asarray(chances)

    def predict(self, X: Any) -> Array:  # Any: as for fit
        """Give the most probable class of each row, `(N,)`."""
        chances = self.predict_proba(X)
        return np.asarray(self.classes_[chances.argmax(axis=1)])


@final
class SemiSupervisedRegressor(RegressorMixin, _ModelEstimator):  # type: ignore[misc]
    """Predict a number of each row by a generative model that learns from rows with and without it.

    Parameters and attributes: as for `SemiSupervisedClassifier`. y is NaN, or None, in a row without a label: −1 is a
    number like any other.
    """

    kind: ClassVar[Kind] = "number"

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any) -> Self:  # Any: as for the classifier
        """Fit the model to all rows, and its regression to those with a label.

        Raises: ValueError for rows or labels that cannot be these; SpecError; RunError where training fails.
        """
        table = self._table(X, reset=True)
        numbers = number_labels(y, table.shape[0])
        self._fit(table, 0, lambda variable: numbers)
        return self

    def predict(self, X: Any) -> NDArray[np.floating[Any]]:  # Any: as for fit
        """Give the mean of the label in each row, `(N,)`, in its own units."""
        check_is_fitted(self)
        means = self._means(X, [self.label_])[self.label_]
        return np.asarray(self.encoders_[self.label_].decode(means)).reshape(-1).astype(means.dtype)


@final
class SemiSupervisedTransformer(TransformerMixin, _ModelEstimator):  # type: ignore[misc]
    """Turn rows into the latents of a generative model, as features for whatever comes next.

    Parameters and attributes: as for `SemiSupervisedClassifier`. Without y, and without a spec, it is a variational
    autoencoder (Kingma and Welling 2014). With y, of classes or numbers, −1 or NaN where there is none, the latents
    also make the label, p(y | z) p(features | z), so that they tell of it. With a spec, y is the label that it has.
    """

    kind: ClassVar[Kind] = "none"

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None) -> Self:  # Any: as for the classifier; y may be None
        """Fit the model to all rows. Raises: ValueError, SpecError, RunError, as for the classifier."""
        table = self._table(X, reset=True)
        if y is None:
            self._fit(table, 0, None)
        elif is_classes(y):
            names, codes = labelled_classes(y, table.shape[0])
            self._fit(table, len(names), lambda variable: _cells(variable, names, codes))
        else:
            numbers = number_labels(y, table.shape[0])
            self._fit(table, 0, lambda variable: numbers)
        shapes = {name: self._width(name) for name in self._latents()}
        self._n_features_out = sum(shapes.values())
        self.latents_ = shapes
        return self

    def __sklearn_tags__(self) -> Any:  # Any: scikit-learn's Tags
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # latents have the precision of the networks
        return tags

    def transform(self, X: Any) -> NDArray[np.floating[Any]]:  # Any: as for fit
        """Give the means of the latents of each row, `(N, latents)`, of categories their probabilities."""
        check_is_fitted(self)
        nodes = list(self.latents_)
        means = self._means(X, nodes)
        return np.concatenate([means[name].reshape(len(means[name]), -1) for name in nodes], axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # Any: names, or None
        """Name the features: the node, and the place in it, `z0`, `z1`, …"""
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        return np.array([f"{name}{i}" for name, width in self.latents_.items() for i in range(width)], dtype=object)

    def _latents(self) -> list[str]:
        outer = self.model_.outline.outer
        latents = [name for name, variable in outer.items() if variable.supervision == "none"]
        if not latents:
            raise ValueError(f"the spec has no node that is never observed, as {LATENT} with `supervision: none`")
        return latents

    def _width(self, node: str) -> int:
        return int(np.prod(self.model_.outline.outer[node].event, dtype=int))


def _cells(variable: Variable | None, names: Array, codes: Array) -> Array:
    """Give the cells of a label, those of a spec's node by its own names."""
    return codes if variable is None else class_codes(variable, names, codes)[1]


def _plain(value: object) -> Any:  # Any: what JSON can say
    """Give a number or an array of numpy's, as searches draw them, as plain data. Raises: ValueError for the rest."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ValueError(f"settings hold a value of the type '{type(value).__name__}', wanted what a spec can say")


def _labelled_share(cells: Array) -> float:
    """Give the share of rows with a label: codes, −1 where there is none, or numbers, NaN where there is none."""
    return float(np.mean(~np.isnan(cells) if cells.dtype.kind == "f" else cells >= 0))
