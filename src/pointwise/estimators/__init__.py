"""The scikit-learn API: estimators whose model is one network of 1x1 convolutions."""

from pointwise.estimators.classifier import PointwiseClassifier
from pointwise.estimators.compressing import class_scores, compressed_estimator
from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.estimators.persistence import load, save
from pointwise.estimators.regressor import PointwiseRegressor
from pointwise.estimators.segmenter import Segmenter

__all__ = [
    "ImageClassifier",
    "PointwiseClassifier",
    "PointwiseRegressor",
    "Segmenter",
    "class_scores",
    "compressed_estimator",
    "load",
    "save",
]
