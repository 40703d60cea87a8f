"""Images on the command line: what is given, and what a model makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pointwise.cli.image_sets import read
from pointwise.cli.masks import evaluate_masks, write_masks
from pointwise.cli.tables import check_table
from pointwise.cli.words import print_json, print_line, print_scores
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.data.images import ImageSet
    from pointwise.estimators import ImageClassifier, Segmenter
    from pointwise.estimators.persistence import Estimator, TableModel

NEEDED = "a folder of images, an image or an idx file"


def is_images(data: str | Path, *, single: bool = True) -> bool:
    """Tell whether DATA is images and not a table: a folder, an idx file, or perhaps one image.

    Args:
        data: What was given.
        single: Whether one image will do.

    Returns:
        Whether it is.
    """
    from pointwise.data.idx import is_idx
    from pointwise.data.image_files import is_picture

    path = Path(data)
    if not path.is_file():
        return path.is_dir()
    named = "ubyte" in path.name or ".idx" in path.suffixes  # a damaged one, too
    return named or is_idx(path) or (single and is_picture(path))


def refuse_given(given: Mapping[str, Any], why: str) -> None:
    """Refuse options that have no meaning here.

    Args:
        given: The value of each option, by its name; ``None`` was not given.
        why: What they are for, and what is here.

    Raises:
        DataError: If one was given.
    """
    if names := [name for name, value in given.items() if value is not None]:
        raise DataError(f"{', '.join(names)}: {why}")


def image_model(model: Path, data: str, options: Mapping[str, Any]) -> bool:
    """Tell whether a folder's model is for images, and refuse data that is not for it.

    Args:
        model: The model folder.
        data: What was given.
        options: Options that are for tables alone.

    Returns:
        Whether it is for images.

    Raises:
        DataError: If the data is of the other kind, or an option is.
        ModelFileError: If the folder holds no model.
    """
    from pointwise.data.scenes.paths import RASTERS
    from pointwise.modelfiles import read_config

    for_images, given = "images" in read_config(model), is_images(data)
    if for_images:
        refuse_given(options, f"for tables only, {model} is a model for images")
        if not given:
            what = "is a table or another file" if Path(data).exists() else "is not there"
            raise DataError(f"{model} is a model for images: it takes {NEEDED}, {data} {what}")
    elif Path(data).suffix.lower() in RASTERS:
        raise DataError(
            f"{model} is a model for tables, {data} is a raster: predict maps it (--out map.tif); "
            "to score the model on its labelled pixels, write them to a table with a column per "
            "band"
        )
    elif given:
        what = "a folder" if Path(data).is_dir() else "an image or an idx file of images"
        raise DataError(f"{model} is a model for tables: {data} is {what}, not a table")
    return for_images


def predict_images(model: Path, data: str, out: Path, *, proba: bool, as_json: bool) -> None:
    """Predict images' classes into a table, or their masks into a folder.

    Args:
        model: Folder of a model for images.
        data: Folder, image or idx file.
        out: Table or folder to write.
        proba: Whether to write the probability of every class too.
        as_json: Whether to print JSON.
    """
    from pointwise.data.files import write_table
    from pointwise.estimators import Segmenter, load
    from pointwise.modelfiles import read_config

    estimator = _of_images(load(model))
    if isinstance(estimator, Segmenter):
        write_masks(estimator, data, out, proba=proba, as_json=as_json)
        return
    check_table(out, data)
    found = _read_for(estimator, data, labels=False)
    target = read_config(model)["targets"][0]
    result = _table(estimator, found, target, proba)
    write_table(result, out)
    if as_json:
        print_json({"rows": len(result), "columns": list(result.columns), "out": str(out)})
    else:
        print_line(f"{len(result):,} predictions: {out}")


def evaluate_images(
    model: Path, data: str, *, labels: Path | None, masks: Path | None, as_json: bool
) -> None:
    """Score a model on images whose classes, or masks, are known.

    Args:
        model: Folder of a model for images.
        data: Folder with a folder per class, or of images and masks, or idx file.
        labels: File with the class of each image.
        masks: Folder of the masks of the images in ``data``.
        as_json: Whether to print JSON.

    Raises:
        DataError: If the images have classes unknown to the model, or an option is for another.
    """
    import numpy as np

    from pointwise.data.names import shorten
    from pointwise.estimators import Segmenter, load
    from pointwise.modelfiles import read_config
    from pointwise.studies import score

    estimator, target = _of_images(load(model)), read_config(model)["targets"][0]
    if isinstance(estimator, Segmenter):
        refuse_given({"--labels": labels}, f"for models that classify, {model} segments")
        evaluate_masks(estimator, str(model), data, masks, as_json=as_json)
        return
    refuse_given({"--masks": masks}, f"for models that segment, {model} classifies")
    found = _read_for(estimator, data, labels=labels)
    known = [str(label) for label in estimator.classes_]
    if strange := [name for name in found.classes if name not in known]:
        raise DataError(
            f"{data} has {len(strange)} class{'es' if len(strange) > 1 else ''} that the model "
            "does not know: "
            f"{shorten(list(map(repr, strange)), 10)}; it knows "
            f"{shorten(list(map(repr, known)), 20)}"
        )
    place = np.array([known.index(name) for name in found.classes])
    metrics = score(estimator, found.images, estimator.classes_[place[found.labels]]).metrics
    count = len(found.images)
    if as_json:
        print_json(
            {"task": "classification", "target": [target], "rows": count, "metrics": metrics}
        )
    else:
        print_scores(f"{target}: {count:,} images", [(str(model), metrics, None)])


def table_model(model: Path) -> "TableModel":
    """Load a model for tables, as ``image_model`` said that it is one.

    Args:
        model: The model folder.

    Returns:
        The fitted estimator.

    Raises:
        DataError: If it is for images after all.
    """
    from pointwise.estimators import ImageClassifier, Segmenter, load

    estimator = load(model)
    if isinstance(estimator, ImageClassifier | Segmenter):
        raise DataError(f"{model} is a model for images")
    return estimator


def _of_images(estimator: "Estimator") -> "ImageClassifier | Segmenter":
    from pointwise.estimators import ImageClassifier, Segmenter

    if not isinstance(estimator, ImageClassifier | Segmenter):
        raise DataError("this is a model for tables")
    pixels = estimator.pixels_
    if pixels.channels not in (1, 3) or pixels.unit != "byte":
        raise DataError(
            "image files are grey or in colour, in bytes: this model was fitted in Python to "
            f"{pixels.channels} channel(s) of {pixels.lowest:g} to {pixels.highest:g}; "
            "use it there"
        )
    return estimator


def _read_for(
    model: "ImageClassifier", data: str, *, labels: Path | Literal[False] | None
) -> "ImageSet":
    """Read images in the size and the colours of the training images."""
    pixels = model.pixels_
    return read(
        data,
        labels=labels,
        size=(pixels.height, pixels.width),
        colour="grey" if pixels.channels == 1 else "rgb",
    )


def _table(model: "ImageClassifier", found: "ImageSet", target: str, proba: bool) -> Any:
    import pandas as pd

    shares = model.predict_proba(found.images)
    columns: dict[str, Any] = {
        "file": list(found.names),
        target: model.classes_[shares.argmax(1)],
    }
    if proba:
        for label, values in zip(model.classes_, shares.T, strict=True):
            columns[f"probability_{label}"] = values
    return pd.DataFrame(columns)
