"""``PointwiseClassifier()`` on Adult's official test rows, beside the usual models.

Run: python benchmarks/adult.py
"""

import time

import torch

from pointwise import PointwiseClassifier
from pointwise.studies import fit_baselines, score, take_apart
from shared_data import adult


def main() -> None:
    table, test_table = adult()
    learn = take_apart(table, ["income"], "classification")
    began = time.perf_counter()
    model = PointwiseClassifier(random_state=0).fit(learn.x, learn.y)
    seconds = time.perf_counter() - began
    test = take_apart(test_table, ["income"], "classification", known=model.classes_, learn=False)
    rows = [("PointwiseClassifier()", score(model, test.x, test.y).metrics, seconds)]
    rows += [
        (one["name"], one["metrics"], one["seconds"])
        for one in fit_baselines(
            model.coding_, (learn.x, learn.y), (test.x, test.y), classify=True, seed=0
        )
    ]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| model | accuracy | log loss | ROC area | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for name, metrics, took in rows:
        figures = " | ".join(f"{metrics[key]:.4f}" for key in ("accuracy", "log_loss", "roc_auc"))
        print(f"| {name} | {figures} | {took:.1f} |")


if __name__ == "__main__":
    main()
