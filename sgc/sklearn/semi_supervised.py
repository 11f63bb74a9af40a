"""The estimators: a classifier, a regressor and a transformer that learn from rows with and without a label."""

from __future__ import annotations

from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin, TransformerMixin, _fit_context
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from sgc.data.columns import Array
from sgc.data.variables import Variable
from sgc.sklearn.default_spec import LATENT
from sgc.sklearn.label_values import class_codes, is_classes, labelled_classes, number_labels
from sgc.sklearn.model_estimator import Kind, ModelEstimator


@final
class SemiSupervisedClassifier(ClassifierMixin, ModelEstimator):  # type: ignore[misc]
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
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # Any: array (N, D) or data frame; (N,)
        """Fit the model to all rows, and its classifier to those with a label.

        sample_weight: what a row counts, at least 0; a row of weight 0 is as if it were not there.

        Raises: ValueError for rows, labels or weights that cannot be these; SpecError; RunError where training fails.
        """
        table, y, weights = self._weighed(self._table(X, reset=True), y, sample_weight)
        names, codes = labelled_classes(y, table.shape[0])
        self.classes_ = names

        def cells(variable: Variable | None) -> Array:  # None: of the default spec
            if variable is None:
                return codes
            self.classes_, given = class_codes(variable, names, codes)
            return given

        self._fit(table, len(names), cells, weights)
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
class SemiSupervisedRegressor(RegressorMixin, ModelEstimator):  # type: ignore[misc]
    """Predict a number of each row by a generative model that learns from rows with and without it.

    Parameters and attributes: as for `SemiSupervisedClassifier`. y is NaN, or None, in a row without a label: −1 is a
    number like any other.
    """

    kind: ClassVar[Kind] = "number"

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # Any: as for the classifier
        """Fit the model to all rows, and its regression to those with a label. sample_weight: as for the classifier.

        Raises: ValueError for rows, labels or weights that cannot be these; SpecError; RunError where training fails.
        """
        table, y, weights = self._weighed(self._table(X, reset=True), y, sample_weight)
        numbers = number_labels(y, table.shape[0])
        self._fit(table, 0, lambda variable: numbers, weights)
        return self

    def predict(self, X: Any) -> NDArray[np.floating[Any]]:  # Any: as for fit
        """Give the mean of the label in each row, `(N,)`, in its own units."""
        check_is_fitted(self)
        means = self._means(X, [self.label_])[self.label_]
        return np.asarray(self.encoders_[self.label_].decode(means)).reshape(-1).astype(means.dtype)


@final
class SemiSupervisedTransformer(TransformerMixin, ModelEstimator):  # type: ignore[misc]
    """Turn rows into the latents of a generative model, as features for whatever comes next.

    Parameters and attributes: as for `SemiSupervisedClassifier`. Without y, and without a spec, it is a variational
    autoencoder (Kingma and Welling 2014). With y, of classes or numbers, −1 or NaN where there is none, the latents
    also make the label, p(y | z) p(features | z), so that they tell of it. With a spec, y is the label that it has.
    """

    kind: ClassVar[Kind] = "none"

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # Any: as there; y may be None
        """Fit the model to all rows. Raises: ValueError, SpecError, RunError, as for the classifier."""
        table, y, weights = self._weighed(self._table(X, reset=True), y, sample_weight)
        if y is None:
            self._fit(table, 0, None, weights)
        elif is_classes(y):
            names, codes = labelled_classes(y, table.shape[0])
            self._fit(table, len(names), lambda variable: _cells(variable, names, codes), weights)
        else:
            numbers = number_labels(y, table.shape[0])
            self._fit(table, 0, lambda variable: numbers, weights)
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

    def score(self, X: Any, y: Any = None) -> float:  # Any: as for fit; y is not read
        """Give the mean of log p(features) over the rows, in nats, bounded from below by `samples` samples of q.

        It is that of the values that the model sees: of standardised ones in the default spec. So searches may compare
        what is learned from the same values, and not one transform with another. Greater is better.

        Raises: ValueError where the spec's objective trains no p; RunError for a row without a finite score.
        """
        check_is_fitted(self)
        if not self.model_.spec.maximised.generative:
            raise ValueError(f"the bound '{self.model_.spec.objective.bound}' trains no p of the features to score by")
        return float(np.concatenate([self._answers.bounds(batch) for batch in self._batches(X)]).mean())

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
