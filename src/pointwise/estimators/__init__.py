"""The scikit-learn API: estimators whose model is one network of 1x1 convolutions."""

from pointwise.estimators.classifier import PointwiseClassifier
from pointwise.estimators.persistence import load, save
from pointwise.estimators.regressor import PointwiseRegressor

__all__ = ["PointwiseClassifier", "PointwiseRegressor", "load", "save"]
