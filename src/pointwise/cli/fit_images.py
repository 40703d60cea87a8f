"""``pointwise fit`` on images: with a class or a mask for each, to a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli.fit_output import find_checkpoint, keep_study
from pointwise.cli.image_sets import Asked, Sets, has_masks, read_class_sets, read_mask_sets
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.data.images import ImageSet
    from pointwise.data.masks import MaskedImages
    from pointwise.studies import Study
    from pointwise.studies.image_holdout import ImageOptions


@dataclass(frozen=True)
class Training:
    """What a command line says of the training.

    Attributes:
        seed: Seed of everything random.
        time_limit: Seconds after which training stops.
        epochs: Times that every image is seen.
        widths: Channels of a segmenter's network at each size.
        resume: Whether to go on where a killed fit of the same command was.
    """

    seed: int = 0
    time_limit: float | None = None
    epochs: int | None = None
    widths: tuple[int, ...] | None = None
    resume: bool = False


def fit_images(asked: Asked, training: Training, out: Path, *, as_json: bool) -> None:
    """Fit a model to images, score it beside plain models, and keep it in a folder.

    Args:
        asked: The images.
        training: How to train.
        out: Model folder to write.
        as_json: Whether to print JSON.

    Raises:
        DataError: If the images or an option are not as they must be.
    """
    from pointwise.modelfiles import check_target
    from pointwise.studies.images import study_images
    from pointwise.studies.masks import study_masks

    masked = has_masks(asked.data, asked.masks)
    _refuse_misfits(asked, training, masked)
    check_target(out)
    title = Path(asked.data).resolve().name
    study: Study[Any]
    if masked:
        pairs = read_mask_sets(asked)
        options, checkpoint = _options(pairs, training, out, as_json)
        study = study_masks(
            pairs.found, options, valid=pairs.valid, test=pairs.test, title=title, say=say
        )
    else:
        sets = read_class_sets(asked)
        options, checkpoint = _options(sets, training, out, as_json)
        study = study_images(
            sets.found, options, valid=sets.valid, test=sets.test, title=title, say=say
        )
    keep_study(study, out, checkpoint, as_json=as_json)


def _options(
    sets: "Sets[ImageSet] | Sets[MaskedImages]", training: Training, out: Path, as_json: bool
) -> "tuple[ImageOptions, Path]":
    """Say what was read, and see to the checkpoint."""
    from pointwise.studies.image_holdout import ImageOptions

    _say_images(sets.found)
    valid, test = sets.shares
    checkpoint = find_checkpoint(out, training.resume)
    options = ImageOptions(
        seed=training.seed,
        time_limit=training.time_limit,
        epochs=training.epochs,
        valid=valid,
        test=test,
        widths=training.widths,
        groups=sets.groups,
        progress=not as_json,
        checkpoint=checkpoint,
    )
    return options, checkpoint


def _refuse_misfits(asked: Asked, training: Training, masked: bool) -> None:
    """Refuse options for masks where there are none, and the other way round."""
    if masked:
        if asked.labels is not None:
            raise DataError(f"--labels: for images of one class each, {asked.data} has masks")
        return
    given = {
        "--classes": asked.classes,
        "--ignore": asked.ignore,
        "--widths": training.widths,
    }
    if names := [name for name, value in given.items() if value is not None]:
        raise DataError(
            f"{', '.join(names)}: for images with masks only, no folder of masks is in {asked.data}"
        )


def as_widths(text: str | None) -> tuple[int, ...] | None:
    """Read the widths of a network.

    Args:
        text: Whole numbers with commas between them.

    Returns:
        The numbers.

    Raises:
        DataError: If they are none.

    Example:
        >>> as_widths("16,32,64")
        (16, 32, 64)
    """
    if text is None:
        return None
    try:
        widths = tuple(map(int, text.split(",")))
    except ValueError:
        widths = ()
    if not widths or min(widths) < 1:
        raise DataError(
            "--widths must be whole numbers from 1 on with commas between them, such as "
            f"16,32,64: got {text!r}"
        )
    return widths


def _say_images(found: "ImageSet | MaskedImages") -> None:
    from pointwise.data.masks import MaskedImages

    channels, height, width = found.images.shape[1:]
    count = len(found.classes)
    what = (
        f"one of {count:,} classes for every pixel"
        if isinstance(found, MaskedImages)
        else f"classification of {count:,} classes"
    )
    say(
        f"{len(found.images):,} images, {'grey' if channels == 1 else 'in colour'}, "
        f"{height} x {width}; {what}"
    )
