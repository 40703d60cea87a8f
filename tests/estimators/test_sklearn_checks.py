"""scikit-learn's own checks of an estimator, on the defaults."""

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from pointwise.estimators import PointwiseClassifier, PointwiseRegressor

EXPECTED = {"check_sample_weight_equivalence_on_dense_data": "mini-batches and a validation split"}
"""The one check that cannot hold; test_weights.py has what holds in its place."""


@parametrize_with_checks(
    [PointwiseRegressor(), PointwiseClassifier()],
    expected_failed_checks=lambda _: EXPECTED,
)
def test_scikit_learn_check(estimator: Any, check: Any) -> None:
    # The checks assert by themselves: the strict list of those that may fail is all there is here.
    check(estimator)
