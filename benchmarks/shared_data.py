"""Where the real data of the benchmarks lies; it is not part of the project."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

DATA = Path(os.environ.get("POINTWISE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def california() -> tuple[pd.DataFrame, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """California housing with scikit-learn's eight features, split as published."""
    raw = pd.read_csv(DATA / "california-housing" / "cal_housing.csv.gz")
    homes = raw["households"]
    X = pd.DataFrame(
        {
            "MedInc": raw["median_income"],
            "HouseAge": raw["housing_median_age"],
            "AveRooms": raw["total_rooms"] / homes,
            "AveBedrms": raw["total_bedrooms"] / homes,
            "Population": raw["population"],
            "AveOccup": raw["population"] / homes,
            "Latitude": raw["latitude"],
            "Longitude": raw["longitude"],
        }
    )
    y = raw["median_house_value"].to_numpy() / 1e5
    rest, test = train_test_split(np.arange(len(X)), test_size=0.2, random_state=0)
    learn, valid = train_test_split(rest, test_size=0.2, random_state=1)
    return X, y, (learn, valid, test)


def adult() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The census table Adult: rows to learn from, and the official test rows."""
    from pointwise.data import read_table

    names = [
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education_num",
        "marital_status",
        "occupation",
        "relationship",
        "race",
        "sex",
        "capital_gain",
        "capital_loss",
        "hours_per_week",
        "native_country",
        "income",
    ]
    learn, test = (
        read_table(DATA / "adult" / f"adult.{part}.gz", columns=names).frame
        for part in ("data", "test")
    )
    return learn, test
