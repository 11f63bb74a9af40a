"""Estimators for scikit-learn: a spec, or the default for a table, behind fit, predict and transform."""

from __future__ import annotations

try:
    import sklearn
except ImportError as problem:
    raise ImportError("sgc.sklearn needs scikit-learn: pip install 'sgc[sklearn]'") from problem

if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 6):
    raise ImportError(f"sgc.sklearn needs scikit-learn 1.6 or later, found {sklearn.__version__}")

from sgc.sklearn.semi_supervised import SemiSupervisedClassifier, SemiSupervisedRegressor, SemiSupervisedTransformer

__all__ = ["SemiSupervisedClassifier", "SemiSupervisedRegressor", "SemiSupervisedTransformer"]
