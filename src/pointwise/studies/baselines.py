"""What else one could use: the models that a network has to be held against, on the same rows."""

import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import TableCoding
from pointwise.data.table import as_table
from pointwise.nn.encoding import UNSEEN
from pointwise.studies.metrics import score
from pointwise.studies.threads import one_thread_if

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

NAMES = {
    "mean": "mean of the target",
    "majority": "most frequent class",
    "linear": "linear model",
    "mlp": "scikit-learn's MLP",
    "boosting": "gradient boosting",
}

SHORT = 10_000_000
"""Numbers in the table, for each class or target, that one thread boosts on in seconds."""


def fit_baselines(
    coding: TableCoding,
    learn: "tuple[pd.DataFrame, NDArray[Any]]",
    test: "tuple[pd.DataFrame, NDArray[Any]]",
    *,
    classify: bool,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Fit the usual models to the same rows and score them on the same rows.

    Mean or majority; ridge or logistic regression; scikit-learn's MLP, both on scaled numbers and
    one-hot categories; histogram gradient boosting with its own handling of both. Each on its
    defaults.

    Args:
        coding: How the columns are coded; the baselines take the same ones.
        learn: Table and targets of the rows to fit to.
        test: Table and targets of the rows to score on.
        classify: Whether the targets are classes.
        seed: Seed of the models that draw random numbers.

    Yields:
        Per model its ``key``, ``name``, ``metrics`` and ``seconds``.

    Example:
        >>> from pointwise.data.bundled import load_bundled
        >>> from pointwise.data.coding import code_table
        >>> frame = load_bundled("diabetes")
        >>> x, y = frame[["bmi", "bp"]], frame["target"].to_numpy()
        >>> rows = fit_baselines(code_table(as_table(x)), (x, y), (x, y), classify=False, seed=0)
        >>> next(rows)["name"]
        'mean of the target'
    """
    x, x_test = (coding.encode(as_table(frame), np.float64) for frame, _ in (learn, test))
    outputs = len(np.unique(learn[1])) if classify else learn[1][:1].size
    short = x.size * outputs < SHORT
    for key, model in _models(coding, x.shape[1], learn[1], classify, seed).items():
        found = judge(model, (x, learn[1]), (x_test, test[1]), short=short)
        yield {"key": key, "name": NAMES[key], **found}


def judge(
    model: Any,
    learn: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    *,
    short: bool,
) -> dict[str, Any]:
    """Fit a model of scikit-learn to some rows and score it on others.

    Args:
        model: The model; what it warns of is its own.
        learn: Rows and targets to fit to.
        test: Rows and targets to score on.
        short: Whether it is fitted within seconds on one thread.

    Returns:
        Its ``metrics`` and ``seconds``.

    Example:
        >>> from sklearn.dummy import DummyRegressor
        >>> rows = np.zeros((2, 1)), np.array([1.0, 3.0])
        >>> judge(DummyRegressor(), rows, rows, short=True)["metrics"]["mae"]
        1.0
    """
    began = time.perf_counter()
    with warnings.catch_warnings(), one_thread_if(short):
        warnings.simplefilter("ignore")  # that a default did not converge, say
        model.fit(*learn)
        metrics = score(model, *test).metrics
    return {"metrics": metrics, "seconds": time.perf_counter() - began}


def _models(
    coding: TableCoding, channels: int, y: NDArray[Any], classify: bool, seed: int
) -> dict[str, "Pipeline | Any"]:
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    first = channels - len(coding.categories)
    if classify:
        lone = np.unique(y, return_counts=True)[1].min() == 1  # cannot be split to stop early
        boosting: Any = HistGradientBoostingClassifier(
            categorical_features=_few(coding, first),
            early_stopping=False if lone else "auto",
            random_state=seed,
        )
        return {
            "majority": DummyClassifier(),
            "linear": make_pipeline(_scaled(first, channels), LogisticRegression(max_iter=1000)),
            "mlp": make_pipeline(_scaled(first, channels), MLPClassifier(random_state=seed)),
            "boosting": make_pipeline(_unseen_as_missing(), boosting),
        }
    boosting = HistGradientBoostingRegressor(
        categorical_features=_few(coding, first), random_state=seed
    )
    if y.ndim > 1:
        boosting = MultiOutputRegressor(boosting)
    return {
        "mean": DummyRegressor(),
        "linear": make_pipeline(_scaled(first, channels), Ridge()),
        "mlp": _on_scaled_target(
            make_pipeline(_scaled(first, channels), MLPRegressor(random_state=seed))
        ),
        "boosting": make_pipeline(_unseen_as_missing(), boosting),
    }


def _few(coding: TableCoding, first: int) -> list[int]:
    """Channels of the categories that boosting can take as such: up to 255 levels."""
    return [first + i for i, c in enumerate(coding.categories) if len(c.levels) <= 255]


def _scaled(first: int, channels: int) -> Any:
    """Numbers imputed by the median and scaled, categories one-hot."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", max_categories=255)
    parts = [(numbers, list(range(first))), (categories, list(range(first, channels)))]
    return make_column_transformer(*[part for part in parts if part[1]])


def _unseen_as_missing() -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(lambda x: np.where(x == UNSEEN, np.nan, x))


def _on_scaled_target(model: Any) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(model, transformer=StandardScaler())
