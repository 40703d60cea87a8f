"""Inputs for a network on the command line: images, rows or arrays, as the network takes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli import networks
from pointwise.cli.image_sets import options_spoken, read
from pointwise.cli.images import is_images
from pointwise.cli.tables import read_for_model
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pointwise.estimators import ImageClassifier, Segmenter
    from pointwise.estimators.persistence import Estimator, TableModel

MOST = 1024
"""Samples that are looked at, at most."""

LARGEST = 2**28
"""Numbers in all samples together, at most: a GiB in float32."""


@dataclass(frozen=True)
class Subject:
    """A network to work on, and what is known of its inputs.

    Attributes:
        network: The network, on the CPU in evaluation mode.
        shape: Of one input.
        inputs: Some inputs, in random order; ``None`` without data.
        scores: Picks class scores ``(N, K, *S)`` out of what it puts out; ``None`` where it is not
            known to put out any.
        note: What errors are, where it puts out no class scores; empty to leave that to others.
        estimator: The fitted estimator that the network is of; ``None`` for any other network.
        folder: The folder of that.
        pixels: How the network takes pixels, if the user says so.
    """

    network: "nn.Module"
    shape: networks.Shape
    inputs: "Tensor | None"
    scores: "Callable[[Any], Tensor] | None"
    note: str = ""
    estimator: "Estimator | None" = None
    folder: Path | None = None
    pixels: "Pixels | None" = None


@dataclass(frozen=True)
class Pixels:
    """How a network that is no model folder takes pixels.

    Attributes:
        mean: Of each channel, for pixels from 0 to 1.
        std: Of each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def find_subject(
    model: str,
    shape: networks.Shape | None,
    weights: Path | None,
    data: str | None,
    pixels: Pixels | None,
    seed: int,
) -> Subject:
    """The network that a user names, and inputs for it.

    Args:
        model: As of ``networks.find_network``.
        shape: What the user gives for ``--input``.
        weights: What the user gives for ``--weights``.
        data: What the user gives for ``--data``.
        pixels: How the network takes pixels, if the user says so.
        seed: Seeds the choice of the samples.

    Returns:
        All of it.

    Raises:
        DataError: If there is no such network, or the data is not for it.
    """
    path = Path(model)
    if path.is_dir():
        if pixels is not None:
            raise DataError("--mean and --std are not for a model folder, which knows its pixels")
        network, usual = networks.find_network(model, shape, weights, trained=True)
        return _of_folder(path, network, usual, data, seed)
    network, usual = networks.find_network(model, shape, weights, trained=True)
    inputs = None if data is None else _foreign(data, usual, pixels, seed)
    published = not networks.is_builder(model)  # all of them classify images or their pixels
    return Subject(network, usual, inputs, _itself if published else None, pixels=pixels)


def read_inputs(subject: Subject, data: str, seed: int, most: int) -> "Tensor":
    """Read more inputs for a network than ``find_subject`` did.

    Args:
        subject: The network.
        data: What the user gives for ``--data``.
        seed: Seeds the choice of the samples.
        most: Samples at most.

    Returns:
        The inputs, in random order.
    """
    from pointwise.estimators import ImageClassifier, Segmenter

    model = subject.estimator
    if isinstance(model, ImageClassifier | Segmenter):
        return _images(model, data, subject.shape, seed, most)
    if model is not None:
        assert subject.folder is not None, "a model for tables comes from a folder"
        return _rows(model, subject.folder, data, seed, most)
    return _foreign(data, subject.shape, subject.pixels, seed, most)


def _itself(output: Any) -> Any:
    return output


def _of_folder(
    folder: Path, network: "nn.Module", shape: networks.Shape, data: str | None, seed: int
) -> Subject:
    from pointwise.estimators import ImageClassifier, Segmenter, class_scores, load

    estimator = load(folder)
    known: dict[str, Any] = {"estimator": estimator, "folder": folder}
    scores = class_scores(estimator)
    if isinstance(estimator, ImageClassifier | Segmenter):
        inputs = None if data is None else _images(estimator, data, shape, seed)
    else:
        inputs = None if data is None else _rows(estimator, folder, data, seed)
    if scores:
        return Subject(network, shape, inputs, scores, **known)
    fitted: Any = estimator.network_
    note = "Errors are shares of the variance of the predicted values, halved."
    return Subject(
        network, shape, inputs, _values(fitted.mlp.members), note if data else "", **known
    )


def _values(members: int) -> "Callable[[Any], Tensor]":
    """Scores of two classes whose loss grows with the squared change of an ensemble's values.

    At a score of 0 the Fisher information is 1/4 whatever the value is; so twice the mean of the
    members, over its deviation and less itself, makes the loss half of the squared change in units
    of the deviation.
    """

    def scores(output: Any) -> "Tensor":
        mean: Tensor = output.unflatten(1, (members, -1)).mean(1)  # (N, targets)
        known = mean.detach()
        unit = known.std(0, correction=0).clamp(min=1e-12) if len(known) > 1 else 1.0
        return (2 * (mean - known) / unit).unsqueeze(1)

    return scores


def _images(
    model: "ImageClassifier | Segmenter",
    data: str,
    shape: networks.Shape,
    seed: int,
    most: int = MOST,
) -> "Tensor":
    import torch

    known = model.pixels_
    if known.channels not in (1, 3) or known.unit != "byte":
        raise DataError(
            "--data takes image files, which are grey or in colour, in bytes: this model was "
            f"fitted in Python to {known.channels} channel(s) of {known.lowest:g} to "
            f"{known.highest:g}; compress it there"
        )
    return torch.from_numpy(known.read(_read_images(data, shape, seed, most))).float()


def _rows(model: "TableModel", folder: Path, data: str, seed: int, most: int = MOST) -> "Tensor":
    import numpy as np
    import torch

    from pointwise.data.table import as_table
    from pointwise.modelfiles import read_config

    if is_images(data):
        raise DataError(f"{folder} is a model for tables: {data} is a folder or images, no table")
    targets = read_config(folder)["targets"]
    _, rows = read_for_model(folder, model, data, targets)
    if not len(rows):
        raise DataError(f"{data} has no rows: at least 1 is needed")
    if len(rows) > most:
        rows = rows.sample(most, random_state=seed)
    return torch.from_numpy(model.coding_.encode(as_table(rows), np.float32))


def _foreign(
    data: str, shape: networks.Shape, pixels: Pixels | None, seed: int, most: int = MOST
) -> "Tensor":
    """Inputs of a network of which nothing is known but the shape that it takes."""
    import numpy as np
    import torch

    if Path(data).suffix == ".npy":
        if pixels is not None:
            raise DataError("--mean and --std are for images: an array goes in as it is")
        array = _read_array(Path(data), shape)
        chosen = _choose(len(array), shape, seed, most)
        return torch.from_numpy(np.ascontiguousarray(array[chosen], dtype=np.float32))
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            "--data takes images where --input is 1 or 3 channels, rows and columns, got "
            f"{','.join(map(str, shape))}: give a .npy file of inputs"
        )
    images = torch.from_numpy(_read_images(data, shape, seed, most)).float() / 255
    if pixels is None:
        say("pixels go in from 0 to 1; give --mean and --std if the network takes them scaled")
        return images
    for option, values in (("--mean", pixels.mean), ("--std", pixels.std)):
        if len(values) != shape[0]:
            raise DataError(f"{option} must have one number per channel ({shape[0]}), got {values}")
    mean, std = (torch.tensor(one)[:, None, None] for one in (pixels.mean, pixels.std))
    return (images - mean) / std


def _read_array(path: Path, shape: networks.Shape) -> "NDArray[Any]":
    import numpy as np

    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a header can lie in many ways
        raise DataError(f"{path} cannot be read as an array: {error}") from error
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
        raise DataError(
            f"{path} must hold inputs of shape (N, {', '.join(map(str, shape))}), "
            f"it holds {array.shape}"
        )
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path} must hold real numbers, it holds {array.dtype}")
    return array  # type: ignore[no-any-return]


def _read_images(data: str, shape: networks.Shape, seed: int, most: int) -> "NDArray[np.uint8]":
    """Some images of a folder or an idx file, in the size and the colours that are asked for."""
    import numpy as np

    path, (channels, *size) = Path(data), shape
    if not is_images(data):
        what = "is a table or another file" if path.exists() else "is not there"
        raise DataError(f"--data must be a folder of images or an idx file: {data} {what}")
    options: Any = {"size": tuple(size), "colour": "grey" if channels == 1 else "rgb"}
    if not path.is_dir():
        images = read(path, labels=False, **options).images
        return images[_choose(len(images), shape, seed, most)]
    files = _pictures(path)
    chosen = [files[place] for place in _choose(len(files), shape, seed, most)]
    say(f"{len(chosen):,} of {len(files):,} images are looked at")
    return np.concatenate([_one(file, options) for file in chosen])


def _one(file: Path, options: Any) -> "NDArray[np.uint8]":
    from pointwise.data.images import read_images

    with options_spoken():
        return read_images(file, labels=False, **options).images


def _pictures(folder: Path) -> list[Path]:
    """The images of a folder to learn from; of one with images and masks the images."""
    from pointwise.data import image_parts
    from pointwise.data.image_folder import list_pictures

    part = image_parts.find_parts(folder).train
    if image_parts.has_masks(part):
        part /= "images"
    names = list_pictures(part).pictures
    if not names:
        raise DataError(f"{part} holds no images")
    return [part / name for name in names]


def _choose(count: int, shape: networks.Shape, seed: int, most: int) -> Sequence[int]:
    """Some of the numbers below a count, in random order; fewer of large inputs."""
    import numpy as np

    fit = max(1, LARGEST // math.prod(shape))
    order = np.random.default_rng(seed).permutation(count)[: min(most, fit)]
    return [int(place) for place in order]
