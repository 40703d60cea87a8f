"""The main job on images and masks: fit, score on images held out, compare with plain models."""

import datetime
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.masks import MaskedImages
from pointwise.data.names import shorten
from pointwise.errors import DataError
from pointwise.estimators import Segmenter
from pointwise.estimators.masks import mask_numbers
from pointwise.inspection import count_parameters, layers
from pointwise.reports import Report
from pointwise.reports.overlays import MaskExample, choose_examples, draw_overlays
from pointwise.reports.schema import MOST_LISTED
from pointwise.reports.segmentation import segmentation_figures
from pointwise.studies.image_holdout import (
    ImageOptions,
    ImagePart,
    ImageSplit,
    fit_images,
    hold_out_images,
)
from pointwise.studies.mask_scores import (
    Masks,
    count_confusions,
    image_overlaps,
    mask_metrics,
    plain_mask_models,
)
from pointwise.studies.parts import Say
from pointwise.studies.study import Study

TARGET = "class"
"""Name of what is predicted for every pixel."""

EPOCHS = 40
"""Times that every image is seen, where nobody says."""


def study_masks(
    found: MaskedImages,
    options: ImageOptions,
    *,
    valid: MaskedImages | None = None,
    test: MaskedImages | None = None,
    title: str = "images",
    say: Say = lambda _: None,
) -> Study[Segmenter]:
    """Fit a segmenter to images and masks, score it, and fit plain models to the same images.

    Args:
        found: The images with their masks.
        options: How.
        valid: Images to choose the epoch with. Default: a share of ``found``.
        test: Images to score on. Default: a share of ``found``, or with ``options.test`` 0 the
            validation images.
        title: Name of the data, for the report.
        say: Told in a sentence what a person should know, as it is found.

    Returns:
        The fitted model, figures and report.

    Raises:
        DataError: If the masks or the images are not as they must be, or too few to hold some out.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> images = rng.integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)
        >>> masks = (images[:, 0] > 128).astype(np.uint8)
        >>> names = tuple(f"{i}.png" for i in range(12))
        >>> found = MaskedImages(images, masks, ("dark", "bright"), None, names)
        >>> study = study_masks(found, ImageOptions(epochs=1, widths=(4, 8)))
        >>> study.where, [one["key"] for one in study.baselines]
        ('2 test images', ['majority', 'place', 'linear'])
    """
    parts = [None if one is None else _part(one) for one in (valid, test)]
    split = hold_out_images(_part(found, options.groups), parts[0], parts[1], options, None)
    _refuse_unknown(split, found.ignore)
    model = _segmenter(found, options)
    seconds, notes = fit_images(model, split, options, say)
    notes += _tell_missing(model, split, say)
    learn, scored = _masks(model, split.learn), _masks(model, split.test)
    counts = count_confusions(lambda x: _indices(model, x), scored, len(model.classes_))
    metrics = mask_metrics(counts.sum(0))
    say("fitting plain models to the same images, to compare")
    baselines = list(plain_mask_models(learn, scored, len(model.classes_), options.seed))
    shown = _examples(model, split.test, scored, counts)
    examples = draw_overlays(shown, model.class_names_)
    report = Report(
        title=title,
        task="segmentation",
        target=[TARGET],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        history=[{k: v for k, v in e.items() if k != "best"} for e in model.history_],
        best_epoch=model.best_epoch_,
        metrics=dict(metrics),
        metrics_rows=split.where,
        rows={**model.rows_, "test": 0 if split.test is split.valid else len(split.test.names)},
        baselines=[{k: one[k] for k in ("name", "metrics", "seconds")} for one in baselines],
        figures={TARGET: segmentation_figures(counts, model.class_names_, examples=examples)},
        layers=[asdict(layer) for layer in layers(model.network_)],
        warnings=[*found.notes, *notes],
        parameters=count_parameters(model.network_),
        images=_describe(found, model, learn),
    )
    return Study(model, report.task, (TARGET,), metrics, split.where, baselines, seconds, report)


def _segmenter(found: MaskedImages, options: ImageOptions) -> Segmenter:
    sizes: dict[str, Any] = {} if options.widths is None else {"widths": options.widths}
    return Segmenter(
        classes=found.classes,
        ignore=found.ignore,
        max_epochs=options.epochs or EPOCHS,
        validation_fraction=options.valid,
        time_limit=options.time_limit,
        random_state=options.seed,
        verbose=int(options.progress),
        **sizes,
    )


def _part(found: MaskedImages, groups: NDArray[Any] | None = None) -> ImagePart:
    return ImagePart(found.images, found.masks, list(found.names), groups)


def _masks(model: Segmenter, part: ImagePart) -> Masks:
    return Masks(part.x, mask_numbers(part.y, model.classes_, model.ignore))


def _indices(model: Segmenter, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = np.searchsorted(model.classes_, model.predict(images)).astype(
        np.uint8
    )
    return found


def _refuse_unknown(split: ImageSplit, ignore: int | None) -> None:
    """Refuse masks that say nothing, before any work is done for them."""
    for part, what in ((split.learn, "to learn from"), (split.test, "to score on")):
        if (part.y == ignore).all():
            raise DataError(f"no pixel of the images {what} has a known class")


def _tell_missing(model: Segmenter, split: ImageSplit, say: Say) -> list[str]:
    """Tell of classes that no pixel has: they cannot be learnt, or not be scored."""
    notes = []
    for part, what in ((split.learn, "to learn from"), (split.test, "to score on")):
        there = np.unique(part.y)
        names = zip(model.classes_, model.class_names_, strict=True)
        if lost := [name for number, name in names if number not in there]:
            notes.append(
                f"no pixel {what} is of {len(lost)} class{'es' if len(lost) > 1 else ''}: "
                f"{shorten(lost, 10)}"
            )
            say(notes[-1])
    return notes


def _examples(
    model: Segmenter, part: ImagePart, scored: Masks, counts: NDArray[np.int64]
) -> Iterator[MaskExample]:
    for number, kind in choose_examples(image_overlaps(counts)):
        yield MaskExample(
            name=part.names[number],
            kind=kind,
            image=part.x[number],
            actual=scored.masks[number],
            predicted=_indices(model, part.x[number : number + 1])[0],
            counts=counts[number],
        )


def _describe(found: MaskedImages, model: Segmenter, learn: Masks) -> dict[str, Any]:
    channels, height, width = found.images.shape[1:]
    listed = model.class_names_[:MOST_LISTED]
    images = [int((learn.masks == k).any((1, 2)).sum()) for k in range(len(listed))]
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "classes": [{"name": n, "images": i} for n, i in zip(listed, images, strict=True)],
        "more_classes": len(model.class_names_) - len(listed),
        "wrong": 0,
        "mistakes": [],
    }
