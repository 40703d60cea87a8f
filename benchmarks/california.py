"""Test error of ``PointwiseRegressor()`` on California housing, on the published split.

Run: python benchmarks/california.py [--seeds 3]
"""

import argparse
import time

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from pointwise import PointwiseRegressor
from shared_data import california


def rmse(actual: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((actual - predicted) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time-limit", type=float, default=None)
    args = parser.parse_args()
    X, y, (learn, valid, test) = california()
    print(f"threads: {torch.get_num_threads()}, torch {torch.__version__}")
    print("| model | seed | test RMSE | validation RMSE | best epoch | epochs | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    errors = []
    for seed in range(args.seeds):
        began = time.perf_counter()
        model = PointwiseRegressor(random_state=seed, time_limit=args.time_limit)
        model.fit(X.iloc[learn], y[learn], validation_data=(X.iloc[valid], y[valid]))
        seconds = time.perf_counter() - began
        errors.append(rmse(y[test], model.predict(X.iloc[test])))
        scores = f"{errors[-1]:.4f} | {rmse(y[valid], model.predict(X.iloc[valid])):.4f}"
        epochs = f"{model.best_epoch_} | {len(model.history_)}"
        print(
            f"| PointwiseRegressor() | {seed} | {scores} | {epochs} | {seconds:.0f} |", flush=True
        )
    print(f"| **median** | | **{np.median(errors):.4f}** | | | | |")
    boosting = HistGradientBoostingRegressor(random_state=0).fit(X.iloc[learn], y[learn])
    scores = f"{rmse(y[test], boosting.predict(X.iloc[test])):.4f}"
    print(f"| HistGradientBoostingRegressor() | 0 | {scores} | | | | |")


if __name__ == "__main__":
    main()
