"""Masks on the command line: what a model that segments makes of images, as PNG files."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli.words import print_json, print_line
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.estimators import Segmenter


def write_masks(model: "Segmenter", data: str, out: Path, *, as_json: bool) -> None:
    """Write the mask of each image, in the image's own size and under its name.

    Args:
        model: The fitted estimator.
        data: Folder of images, one image, or an idx file.
        out: Folder to write to.
        as_json: Whether to print JSON.

    Raises:
        DataError: If an image cannot be read, or a mask not written or not without loss.
    """
    from pointwise._atomic import write_bytes
    from pointwise.data.images import read_images

    if model.classes_.min() < 0 or model.classes_.max() > 255:
        raise DataError(
            "masks are written as PNG, with classes from 0 to 255: this model's go from "
            f"{model.classes_.min()} to {model.classes_.max()}"
        )
    if out.exists() and not out.is_dir():
        raise DataError(f"--out is a folder for a model that segments, {out} is a file")
    colour: Any = "grey" if model.pixels_.channels == 1 else "rgb"
    count = 0
    for path, file in _plan(Path(data), out):
        found = read_images(path, labels=False, colour=colour)
        for name, image in zip(found.names, found.images, strict=True):
            target = file or out / f"{name}.png"
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(target, _png(model.predict(image[None])[0]))
            except OSError as error:
                raise DataError(f"cannot write the mask {target}: {error.strerror}") from error
            count += 1
    if as_json:
        print_json({"rows": count, "classes": list(model.class_names_), "out": str(out)})
    else:
        print_line(f"{count:,} mask{'s' if count != 1 else ''}: {out}")


def _plan(data: Path, out: Path) -> list[tuple[Path, Path | None]]:
    """Each file to read, and where its mask goes; an idx file's images have numbers for names."""
    from pointwise.data.image_files import is_picture
    from pointwise.data.image_folder import list_pictures

    if data.is_dir():
        names = list(list_pictures(data).pictures)
        if not names:
            raise DataError(f"{data}: no image is in this folder")
        folder = data
    elif is_picture(data):
        names, folder = [data.name], data.parent
    else:
        return [(data, None)]
    given = {(folder / name).resolve() for name in names}
    targets: dict[Path, str] = {}
    for name in names:
        target = (out / name).with_suffix(".png")
        if target in targets:
            raise DataError(
                f"{targets[target]} and {name} would have the same mask {target}: rename one"
            )
        if target.resolve() in given:
            raise DataError(
                f"the mask {target} would replace an image: give another folder with --out"
            )
        targets[target] = name
    return [(folder / name, target) for target, name in targets.items()]


def _png(mask: Any) -> bytes:
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(file, format="PNG", optimize=True)
    return file.getvalue()
