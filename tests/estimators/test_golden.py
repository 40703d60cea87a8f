"""Model folders that an earlier version wrote: they load, and predict what they predicted then.

A folder ``golden/vN`` belongs to schema version N and is never written again once released; a new
schema version adds a folder. This file, run as a script, writes that of the version at hand:
``python tests/estimators/test_golden.py``.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointwise.errors import DataWarning
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor, load, save
from pointwise.modelfiles.schema import SCHEMA_VERSION

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.glob("v*"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_folder_of_every_version_loads_and_predicts_the_same(version, task):
    stored = json.loads((GOLDEN / version / "rows.json").read_text())
    model = load(GOLDEN / version / task)
    frame = pd.DataFrame(stored["columns"])
    predict = model.predict if task == "regression" else model.predict_proba
    with pytest.warns(DataWarning, match="that training did not have, such as 'Oslo'"):
        outputs = predict(frame)
    np.testing.assert_allclose(outputs, stored[task], rtol=1e-9)
    if task == "classification":
        assert model.classes_.tolist() == stored["classes"]
        with pytest.warns(DataWarning, match="'Oslo'"):
            assert set(model.predict(frame)) <= set(stored["classes"])


def test_every_schema_version_has_its_folder():
    assert [int(name[1:]) for name in VERSIONS] == list(range(1, SCHEMA_VERSION + 1))


def _frame(rows: int) -> pd.DataFrame:
    """Every kind of column, with gaps; row 0 has a level and a number that training does not."""
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 100_000, rows), unit="min")
    frame = pd.DataFrame(
        {
            "area": rng.normal(100, 20, rows).round(2),
            "year": rng.integers(1990, 2026, rows).astype(float),
            "town": rng.choice(["Aa", "Bergen", "Zürich"], rows),
            "street": [f"street {i}" for i in rng.integers(0, 80, rows)],
            "new": rng.random(rows) < 0.3,
            "sold": days.strftime("%Y-%m-%dT%H:%M"),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "area"] = None
    frame.loc[rng.random(rows) < 0.1, "town"] = None
    frame.loc[0, ["area", "town"]] = [180.0, "Oslo"]
    return frame


def _write(folder: Path) -> None:
    """Write the golden folder of this version."""
    frame = _frame(400)
    train = frame[10:].assign(sold=pd.to_datetime(frame["sold"][10:]))
    price = 1000 * train["area"].fillna(100) + 500 * (train["town"] == "Bergen") + train["year"]
    size = {"members": 1, "hidden": (4,), "max_epochs": 5, "random_state": 0}
    regressor = PointwiseRegressor(**size).fit(train, price)
    classifier = PointwiseClassifier(**size, class_weight={1: 2.0})
    classifier.fit(train, np.digitize(price, price.quantile([0.3, 0.6])))
    save(regressor, folder / "regression", targets=["price"], metrics={"rmse": 1.0})
    save(classifier, folder / "classification", targets=["dear"], metrics={"roc_auc": float("nan")})
    shown = frame[:10]
    columns = json.loads(shown.to_json(orient="columns"))
    rows = {
        "columns": {name: list(values.values()) for name, values in columns.items()},
        "classes": classifier.classes_.tolist(),
    }
    again = pd.DataFrame(rows["columns"])
    rows["regression"] = regressor.predict(again).tolist()
    rows["classification"] = classifier.predict_proba(again).tolist()
    (folder / "rows.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    _write(GOLDEN / f"v{SCHEMA_VERSION}")
