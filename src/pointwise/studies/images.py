"""The main job on images: fit, score on images held out, and compare with plain models there."""

import datetime
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.images import ImageSet
from pointwise.data.names import shorten
from pointwise.errors import DataError
from pointwise.estimators import ImageClassifier
from pointwise.inspection import count_parameters, layers
from pointwise.reports import Report, classification_figures, worst_mistakes
from pointwise.reports.schema import MOST_LISTED
from pointwise.studies.baselines import judge
from pointwise.studies.image_holdout import (
    ImageOptions,
    ImagePart,
    ImageSplit,
    fit_images,
    hold_out_images,
)
from pointwise.studies.metrics import Score, score
from pointwise.studies.parts import Say
from pointwise.studies.study import Study

__all__ = ["ImageOptions", "study_images"]

TARGET = "class"
"""Name of what is predicted; a folder of images names its classes, not what they are."""

EPOCHS = 20
"""Times that every image is seen, where nobody says."""

PLAIN_PIXELS = 32
PLAIN_IMAGES = 10_000
"""What logistic regression sees at most, so that it stays quick: rows and columns, images."""

PLAIN_SHORT = 400_000_000
"""Pixels and channels, for each class, that one thread learns from in seconds."""


def study_images(
    found: ImageSet,
    options: ImageOptions,
    *,
    valid: ImageSet | None = None,
    test: ImageSet | None = None,
    title: str = "images",
    say: Say = lambda _: None,
) -> Study[ImageClassifier]:
    """Fit a classifier to images, score it, and fit plain models to the same images.

    Args:
        found: The images with their classes.
        options: How.
        valid: Images to choose the epoch with. Default: a share of ``found``.
        test: Images to score on. Default: a share of ``found``, or with ``options.test`` 0 the
            validation images.
        title: Name of the data, for the report.
        say: Told in a sentence what a person should know, as it is found.

    Returns:
        The fitted model, figures and report.

    Raises:
        DataError: If the images have no classes, no class has enough to hold some out, or those
            given to score on have classes that are not among those to learn from.

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
    split = _hold_out(found, valid, test, options, say)
    model = ImageClassifier(
        max_epochs=options.epochs or EPOCHS,
        validation_fraction=options.valid,
        time_limit=options.time_limit,
        random_state=options.seed,
        verbose=int(options.progress),
    )
    seconds, notes = fit_images(model, split, options, say)
    scored = split.test
    mine = score(model, scored.x, scored.y)
    say("fitting plain models to the same images, to compare")
    baselines = list(_plain_models(split.learn, scored, options.seed, say))
    index = np.searchsorted(model.classes_, scored.y)
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
        metrics_rows=split.where,
        rows={**model.rows_, "test": 0 if scored is split.valid else len(scored.y)},
        baselines=[{k: one[k] for k in ("name", "metrics", "seconds")} for one in baselines],
        figures={TARGET: classification_figures(index, mine.predicted, names)},
        layers=[asdict(layer) for layer in layers(model.network_)],
        warnings=[*found.notes, *notes],
        parameters=count_parameters(model.network_),
        images=_describe(found, scored, index, mine, names),
    )
    return Study(
        model, report.task, (TARGET,), mine.metrics, split.where, baselines, seconds, report
    )


def _hold_out(
    found: ImageSet,
    valid: ImageSet | None,
    test: ImageSet | None,
    options: ImageOptions,
    say: Say,
) -> ImageSplit:
    if found.labels is None:
        raise DataError("a classifier learns from images whose classes are known, got none")
    for other in (valid, test):
        _refuse_strangers(found, other)
    split = hold_out_images(
        _part(found, options.groups),
        None if valid is None else _part(valid),
        None if test is None else _part(test),
        options,
        found.labels,
    )
    scored = len(np.unique(split.test.y))
    if untested := len(found.classes) - scored:
        say(f"{untested} of {len(found.classes)} classes have too few images to be scored on")
    return split


def _part(found: ImageSet, groups: NDArray[Any] | None = None) -> ImagePart:
    known = np.array(found.classes)[found.labels]
    return ImagePart(found.images, known, list(found.names), groups)


def _refuse_strangers(found: ImageSet, other: ImageSet | None) -> None:
    """Refuse images to score on that are of no class that is learnt."""
    if other is None:
        return
    if strange := [name for name in other.classes if name not in found.classes]:
        raise DataError(
            f"{len(strange)} class{'es' if len(strange) > 1 else ''} of the images held out cannot "
            f"be learnt, since no training image has {'them' if len(strange) > 1 else 'it'}: "
            f"{shorten(list(map(repr, strange)), 10)}"
        )


def _plain_models(
    learn: ImagePart, test: ImagePart, seed: int, say: Say
) -> Iterator[dict[str, Any]]:
    """What else one could use; they learn from the validation images too, choosing no epoch."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    few = np.sort(np.random.RandomState(seed).permutation(len(learn.y))[:PLAIN_IMAGES])
    classes = np.unique(learn.y)
    if not np.array_equal(np.unique(learn.y[few]), classes):
        few = np.arange(len(learn.y))  # a class too rare to be drawn
    size = " x ".join(str(min(side, PLAIN_PIXELS)) for side in learn.x.shape[2:])
    seen = [f"{len(few):,} images"] if len(few) < len(learn.y) else []
    seen += [f"{size} pixels"] if max(learn.x.shape[2:]) > PLAIN_PIXELS else []
    name = "logistic regression on pixels" + (f" ({', '.join(seen)})" if seen else "")
    if seen:
        say(f"logistic regression is given {' of '.join(seen)}, so that it stays quick")
    x, x_test = _plain(learn.x[few]), _plain(test.x)
    short = x.size * len(classes) < PLAIN_SHORT
    models: dict[str, tuple[str, Any, NDArray[Any], NDArray[Any]]] = {
        "majority": (
            "most frequent class",
            DummyClassifier(),
            learn.y,
            np.empty((len(learn.y), 1)),
        ),
        "linear": (name, LogisticRegression(max_iter=100), learn.y[few], x),
    }
    for key, (called, model, y, given) in models.items():
        yield {
            "key": key,
            "name": called,
            **judge(model, (given, y), (x_test, test.y), short=short),
        }


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
    found: ImageSet, test: ImagePart, index: NDArray[Any], mine: Score, names: list[str]
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
