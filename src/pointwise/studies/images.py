"""The main job on images: fit, score on images held out, and compare with plain models there."""

import datetime
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.images import ImageSet
from pointwise.errors import DataError
from pointwise.estimators import ImageClassifier
from pointwise.estimators.splitting import split_rows
from pointwise.inspection import count_parameters, layers
from pointwise.reports import Report, classification_figures, worst_mistakes
from pointwise.reports.schema import MOST_LISTED
from pointwise.studies.metrics import Score, score
from pointwise.studies.parts import Say

TARGET = "class"
"""Name of what is predicted; a folder of images names its classes, not what they are."""

PLAIN_PIXELS = 32
PLAIN_IMAGES = 10_000
"""What logistic regression sees at most, so that it stays quick: rows and columns, images."""


@dataclass(frozen=True)
class ImageOptions:
    """How to study images; the command line's options under the same names.

    Attributes:
        seed: Seed of everything random.
        time_limit: Seconds after which training stops.
        epochs: Times that every image is seen, unless time runs out.
        valid: Share of the images that are not scored on, to choose the best epoch with.
        test: Share of the images to score on, of every class alike.
        progress: Whether to show a progress bar.
        checkpoint: File from which a killed fit resumes.
    """

    seed: int = 0
    time_limit: float | None = None
    epochs: int = 20
    valid: float = 0.1
    test: float = 0.2
    progress: bool = False
    checkpoint: Path | None = None


@dataclass(frozen=True)
class ImageStudy:
    """A fitted classifier of images and how it compares.

    Attributes:
        model: The fitted estimator.
        metrics: Its figures on the images of ``where``.
        where: Which images those are, in words.
        baselines: Figures of plain models on the same images.
        seconds: Seconds that the fit took.
        report: What ``pointwise report`` draws.
    """

    model: ImageClassifier
    metrics: dict[str, float]
    where: str
    baselines: list[dict[str, Any]]
    seconds: float
    report: Report


@dataclass(frozen=True)
class _Part:
    """Some of the images: bytes ``(N, C, H, W)``, the name of each's class, and its file."""

    x: NDArray[np.uint8]
    y: NDArray[np.str_]
    names: list[str]


def study_images(
    found: ImageSet, options: ImageOptions, *, title: str = "images", say: Say = lambda _: None
) -> ImageStudy:
    """Fit a classifier to images, score it, and fit plain models to the same images.

    Args:
        found: The images with their classes.
        options: How.
        title: Name of the data, for the report.
        say: Told in a sentence what a person should know, as it is found.

    Returns:
        The fitted model, figures and report.

    Raises:
        DataError: If the images have no classes, or no class has enough to hold some out.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> x, y = load_digits(return_X_y=True)
        >>> x = (x[:300] * 15).astype(np.uint8).reshape(-1, 1, 8, 8)
        >>> names = tuple(map(str, range(300)))
        >>> digits = ImageSet(x, y[:300], tuple("0123456789"), names)
        >>> study = study_images(digits, ImageOptions(epochs=1))
        >>> study.where, [one["key"] for one in study.baselines]
        ('55 test images', ['majority', 'linear'])
    """
    learn, test = _hold_out(found, options, say)
    model, seconds, notes = _fit(learn, options, say)
    mine = score(model, test.x, test.y)
    say("fitting plain models to the same images, to compare")
    baselines = list(_plain_models(learn, test, options.seed, say))
    where = f"{len(test.y):,} test images"
    index = np.searchsorted(model.classes_, test.y)
    names = [str(one) for one in model.classes_]
    report = Report(
        title=title,
        task="classification",
        target=[TARGET],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        history=[{k: v for k, v in e.items() if k != "best"} for e in model.history_],
        best_epoch=model.best_epoch_,
        metrics=dict(mine.metrics),
        metrics_rows=where,
        rows={**model.rows_, "test": len(test.y)},
        baselines=[{k: one[k] for k in ("name", "metrics", "seconds")} for one in baselines],
        figures={TARGET: classification_figures(index, mine.predicted, names)},
        layers=[asdict(layer) for layer in layers(model.network_)],
        warnings=[*found.notes, *notes],
        parameters=count_parameters(model.network_),
        images=_describe(found, test, index, mine, names),
    )
    return ImageStudy(model, mine.metrics, where, baselines, seconds, report)


def _hold_out(found: ImageSet, options: ImageOptions, say: Say) -> tuple[_Part, _Part]:
    if found.labels is None:
        raise DataError("a classifier learns from images whose classes are known, got none")
    count = len(found.images)
    rng = np.random.RandomState(options.seed)
    rows = split_rows(count, options.test, rng, classes=found.labels)
    if len(rows[0]) == count:
        largest = int(np.bincount(found.labels).max())
        raise DataError(
            f"too few images to score on: a share of {options.test:g} of every class is held out, "
            f"and the largest class has {largest} image{'s' if largest > 1 else ''}"
        )
    untested = len(found.classes) - len(np.unique(found.labels[rows[1]]))
    if untested:
        say(f"{untested} of {len(found.classes)} classes have too few images to be scored on")
    known = np.array(found.classes)[found.labels]
    learn, test = (
        _Part(found.images[part], known[part], [found.names[i] for i in part.tolist()])
        for part in rows
    )
    return learn, test


def _fit(learn: _Part, options: ImageOptions, say: Say) -> tuple[ImageClassifier, float, list[str]]:
    model = ImageClassifier(
        max_epochs=options.epochs,
        validation_fraction=options.valid,
        time_limit=options.time_limit,
        random_state=options.seed,
        verbose=int(options.progress),
    )
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(learn.x, learn.y, checkpoint=options.checkpoint)
    seconds = time.perf_counter() - began
    notes = [str(one.message) for one in caught]
    if sum(model.rows_.values()) > len(learn.y):
        notes.append(
            "no class has enough images to hold any out for choosing the epoch: the training "
            "images chose it"
        )
    for note in notes:
        say(note)
    return model, seconds, notes


def _plain_models(learn: _Part, test: _Part, seed: int, say: Say) -> Iterator[dict[str, Any]]:
    """What else one could use; they learn from the validation images too, choosing no epoch."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    few = np.sort(np.random.RandomState(seed).permutation(len(learn.y))[:PLAIN_IMAGES])
    if not np.array_equal(np.unique(learn.y[few]), np.unique(learn.y)):
        few = np.arange(len(learn.y))  # a class too rare to be drawn
    size = " x ".join(str(min(side, PLAIN_PIXELS)) for side in learn.x.shape[2:])
    seen = [f"{len(few):,} images"] if len(few) < len(learn.y) else []
    seen += [f"{size} pixels"] if max(learn.x.shape[2:]) > PLAIN_PIXELS else []
    name = "logistic regression on pixels" + (f" ({', '.join(seen)})" if seen else "")
    if seen:
        say(f"logistic regression is given {' of '.join(seen)}, so that it stays quick")
    x, x_test = _plain(learn.x[few]), _plain(test.x)
    models = {
        "majority": (
            "most frequent class",
            DummyClassifier(),
            learn.y,
            np.empty((len(learn.y), 1)),
        ),
        "linear": (name, LogisticRegression(max_iter=100), learn.y[few], x),
    }
    for key, (called, model, y, given) in models.items():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge is the baseline's own
            model.fit(given, y)
            metrics = score(model, x_test, test.y).metrics
        seconds = time.perf_counter() - began
        yield {"key": key, "name": called, "metrics": metrics, "seconds": seconds}


def _plain(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels from 0 to 1 as rows, of images made small by averaging."""
    import torch

    size = (min(images.shape[2], PLAIN_PIXELS), min(images.shape[3], PLAIN_PIXELS))
    parts = [
        torch.nn.functional.adaptive_avg_pool2d(part.float() / 255, size).flatten(1)
        for part in torch.from_numpy(images).split(256)
    ]
    rows: NDArray[np.float32] = torch.cat(parts).numpy()
    return rows


def _describe(
    found: ImageSet, test: _Part, index: NDArray[Any], mine: Score, names: list[str]
) -> dict[str, Any]:
    assert found.labels is not None, "checked when images were held out"
    channels, height, width = found.images.shape[1:]
    counts = np.bincount(found.labels, minlength=len(found.classes)).tolist()
    listed = list(zip(found.classes, counts, strict=True))[:MOST_LISTED]
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "classes": [{"name": name, "images": images} for name, images in listed],
        "more_classes": len(counts) - len(listed),
        "wrong": int((mine.predicted.argmax(1) != index).sum()),
        "mistakes": worst_mistakes(test.x, test.names, index, mine.predicted, names),
    }
