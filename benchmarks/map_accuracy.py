"""Accuracy of maps of real scenes, beside a random forest and a support vector machine."""

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.io import loadmat
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pointwise.data.scenes import open_scene
from pointwise.estimators import PointwiseClassifier
from pointwise.maps import match_bands, predict_map
from pointwise.maps.previews import write_preview
from pointwise.studies.rasters import labelled_table
from shared_data import DATA

Array = NDArray[Any]

LANDSAT = [DATA / "nc-landsat" / f"lsat7_2000_{band}.tif" for band in (10, 20, 30, 40, 50, 70)]
LABELS = {
    "labelled pixels": ("landsat96_labelled_pixels.tif", None),
    "points": ("landsat96_points.shp", "label"),
    "polygons": ("landsat96_polygons.shp", "label"),
}
FOLDS = 5
SEEDS = 5
LEARN_SHARE = 0.1


def models(seed: int) -> dict[str, Any]:
    """Models on defaults; the support vector machine's C is chosen within the training rows."""
    scaled = make_pipeline(SimpleImputer(), StandardScaler(), SVC())
    return {
        "pointwise": PointwiseClassifier(random_state=seed),
        "random forest": RandomForestClassifier(500, random_state=seed, n_jobs=1),
        "support vector machine": GridSearchCV(scaled, {"svc__C": [1, 10, 100, 1000]}, cv=3),
        "logistic regression": make_pipeline(
            SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=5000)
        ),
    }


def print_accuracy(out: Path | None) -> None:
    """Both scenes; maps and pictures go to a folder if there is one."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    print(f"\n## NC Landsat: {FOLDS} folds of spatial blocks, accuracy\n")
    names = list(models(0))
    print("| labels | pixels | " + " | ".join(names) + " |")
    print("| --- | ---: |" + " ---: |" * len(names))
    for what, (file, target) in LABELS.items():
        print_folds(what, DATA / "nc-landsat" / file, target)
    map_landsat(out)
    print(
        f"\n## Salinas-A: {LEARN_SHARE:.0%} of the labelled pixels to learn from, drawn at random"
    )
    print(
        f"\nMean of {SEEDS} seeds.\n\n| model | accuracy | seconds to fit |\n| --- | ---: | ---: |"
    )
    print_salinas(out)


def print_folds(what: str, labels: Path, target: str | None) -> None:
    """Hold out blocks of pixels in turn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = labelled_table(LANDSAT, labels, target=target)
    x, y = table.frame.to_numpy(), np.asarray(table.labels)
    cells = []
    for model in models(0).values():
        scores = []
        for learn, test in GroupKFold(FOLDS).split(x, y, table.groups):
            fitted = fit(clone(model), x[learn], y[learn], table.groups[learn])
            scores.append(accuracy_score(y[test], fitted.predict(x[test])))
        cells.append(f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}")
    print(f"| {what} | {len(y):,} | {' | '.join(cells)} |", flush=True)


def fit(model: Any, x: Array, y: Array, groups: Array | None = None) -> Any:
    """Fit; ours keeps blocks together when it chooses the epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if groups is not None and isinstance(model, PointwiseClassifier):
            return model.fit(x, y, groups=groups)
        return model.fit(x, y)


def map_landsat(out: Path | None) -> None:
    """From the files to a map: its nodata pixels are those of the scene."""
    table = labelled_table(LANDSAT, DATA / "nc-landsat" / LABELS["labelled pixels"][0])
    model = PointwiseClassifier(random_state=0).fit(table.frame, table.labels, groups=table.groups)
    bands = model.pixel_model().used
    with open_scene(LANDSAT) as scene:
        order = match_bands(model.pixel_model(), scene.names, where="the scene")
        _, missing = scene.read(slice(None), slice(None), order)
    assert missing is not None  # the scene has an edge
    needed = [i for i, band in enumerate(bands) if not band.gaps]
    expected = int((missing[needed].any(0) | missing.all(0)).sum())
    path = (out or Path()) / "landsat_map.tif"
    try:
        found = predict_map(model, LANDSAT, out=path)
        print(
            f"\nThe map: {found.width} x {found.height}, {found.nodata_pixels:,} pixels of nodata; "
            f"in {expected:,} of the scene all bands are missing, or one that never was before."
        )
        if out is not None:
            write_preview(path, out / "landsat_map.png", title="NC Landsat")
    finally:
        if out is None:
            path.unlink(missing_ok=True)


def print_salinas(out: Path | None) -> None:
    """Pixels of a hyperspectral cube, few to learn from."""
    folder = DATA / "salinas-a"
    cube, classes = (
        next(v for k, v in loadmat(folder / name).items() if not k.startswith("__"))
        for name in ("SalinasA_corrected.mat", "SalinasA_gt.mat")
    )
    known = classes > 0
    x, y = cube[known].astype(np.float32), classes[known]
    for name in models(0):
        scores, seconds = [], []
        for seed in range(SEEDS):
            learn, test = train_test_split(
                np.arange(len(y)), train_size=LEARN_SHARE, random_state=seed, stratify=y
            )
            start = time.perf_counter()
            fitted = fit(models(seed)[name], x[learn], y[learn])
            seconds.append(time.perf_counter() - start)
            scores.append(accuracy_score(y[test], fitted.predict(x[test])))
            if name == "pointwise" and seed == 0 and out is not None:
                map_salinas(fitted, cube, out)
        print(
            f"| {name} | {np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f} "
            f"| {np.mean(seconds):.1f} |",
            flush=True,
        )


def map_salinas(model: Any, cube: Array, out: Path) -> None:
    """The whole cube, as a file like any other."""
    bands = np.moveaxis(cube, -1, 0)
    with rasterio.open(
        out / "salinas_a.tif",
        "w",
        driver="GTiff",
        count=len(bands),
        height=bands.shape[1],
        width=bands.shape[2],
        dtype=bands.dtype,
    ) as file:
        file.write(bands)
    predict_map(model, out / "salinas_a.tif", out=out / "salinas_a_map.tif")
    write_preview(out / "salinas_a_map.tif", out / "salinas_a_map.png", title="Salinas-A")
