"""Masks on the command line: what a model that segments makes of images, and how good it is."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli.image_sets import options_spoken, read_masks
from pointwise.cli.words import figure, print_json, print_line, print_scores
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.estimators import Segmenter

_WRITER = "pointwise"
"""What a mask says of its origin, so that only such files are replaced."""


def write_masks(model: "Segmenter", data: str, out: Path, *, proba: bool, as_json: bool) -> None:
    """Write the mask of each image, in the image's own size and under its name.

    An image of another size than the training images is brought to theirs, and its probabilities
    back.

    Args:
        model: The fitted estimator.
        data: Folder of images, one image, or an idx file.
        out: Folder to write to.
        proba: Whether to write the probabilities beside each mask: float16 ``(K, H, W)`` as .npy.
        as_json: Whether to print JSON.

    Raises:
        DataError: If an image cannot be read, a mask not written or not without loss, or if its
            place is taken by a picture that this function did not write.
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
        with options_spoken():
            found = read_images(path, labels=False, colour=colour)
        for name, image in zip(found.names, found.images, strict=True):
            target = file or out / f"{name}.png"
            if file is None:  # of the others the plan has made sure
                _refuse_foreign(target)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shares = _probabilities(model, image)
                mask = model.classes_[shares.argmax(0)]
                write_bytes(target, _png(mask, model.classes_.tolist()))
                if proba:
                    write_bytes(target.with_suffix(".npy"), _npy(shares))
            except OSError as error:
                raise DataError(f"cannot write the mask {target}: {error.strerror}") from error
            count += 1
    if as_json:
        print_json({"rows": count, "classes": list(model.class_names_), "out": str(out)})
    else:
        print_line(f"{count:,} mask{'s' if count != 1 else ''}: {out}")


def evaluate_masks(
    model: "Segmenter", name: str, data: str, masks: Path | None, *, as_json: bool
) -> None:
    """Score a model on images and masks, brought to the size of its training images.

    Args:
        model: The fitted estimator.
        name: Its folder, for the table.
        data: Folder of images and masks, or of images.
        masks: Folder of masks where ``data`` is one of images.
        as_json: Whether to print JSON.

    Raises:
        DataError: If the images and masks cannot be read, or hold classes that are unknown.
    """
    from pointwise.studies.mask_scores import class_overlaps, mask_metrics

    if not Path(data).is_dir():
        raise DataError(
            f"{name} segments: it is scored on a folder of images and masks, got {data}"
        )
    pixels = model.pixels_
    names = model.classes or tuple(map(str, range(256)))
    found = read_masks(
        data,
        masks,
        classes=tuple(names),
        ignore=model.ignore,
        size=(pixels.height, pixels.width),
        colour="grey" if pixels.channels == 1 else "rgb",
    )
    counts = model.confusion(found.images, found.masks).numpy()
    metrics = mask_metrics(counts)
    overlaps = dict(zip(model.class_names_, class_overlaps(counts).tolist(), strict=True))
    if as_json:
        print_json(
            {
                "task": "segmentation",
                "target": ["class"],
                "rows": len(found.images),
                "metrics": metrics,
                "iou": overlaps,
            }
        )
        return
    print_scores(f"class: {len(found.images):,} images", [(name, metrics, None)])
    shown = ", ".join(f"{label} {figure(value)}" for label, value in overlaps.items())
    print_line(f"IoU: {shown}")


def _plan(data: Path, out: Path) -> list[tuple[Path, Path | None]]:
    """Each file to read, and where its mask goes; an idx file's images have numbers for names."""
    from pointwise.data.image_files import is_picture
    from pointwise.data.image_folder import list_pictures
    from pointwise.data.image_parts import has_masks

    if data.is_dir():
        data = data / "images" if has_masks(data) else data
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
        _refuse_foreign(target)
        targets[target] = name
    return [(folder / name, target) for target, name in targets.items()]


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace a picture that is no mask of ours, such as a true mask."""
    from PIL import Image

    if not target.exists():
        return
    try:
        with Image.open(target) as picture:
            ours = picture.info.get("Software") == _WRITER
    except OSError:  # no picture at all
        ours = False
    if not ours:
        raise DataError(
            f"{target} is there, and no mask that pointwise wrote: give another folder with --out, "
            "or remove it"
        )


def _probabilities(model: "Segmenter", image: Any) -> Any:
    """Every pixel's probability of each class ``(K, H, W)``, in the image's own size."""
    import torch

    from pointwise.data.image_pixels import convert

    size = model.pixels_.height, model.pixels_.width
    if image.shape[1:] == size:
        return model.predict_proba(image[None])[0]
    colour: Any = "grey" if len(image) == 1 else "rgb"
    shares = torch.from_numpy(model.predict_proba(convert(image, size, colour)[None]))
    whole = torch.nn.functional.interpolate(shares, image.shape[1:], mode="bilinear")
    return whole[0].numpy()


def _png(mask: Any, numbers: list[int]) -> bytes:
    """A PNG whose pixels are the numbers of classes, in the colours of reports."""
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from pointwise._pages.class_colours import class_palette

    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette(class_palette(numbers))
    file = io.BytesIO()
    mark = PngInfo()
    mark.add_text("Software", _WRITER)
    picture.save(file, format="PNG", optimize=True, pnginfo=mark)
    return file.getvalue()


def _npy(shares: Any) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, shares.astype(np.float16))
    return file.getvalue()
