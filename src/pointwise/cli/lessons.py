"""What a compressed network learns on from, on the command line: labels, or the given network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli.calibration import LARGEST, Subject, read_inputs
from pointwise.cli.image_sets import has_masks, read, read_masks
from pointwise.cli.tables import read_for_model
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from pointwise.compression.fitting.recover import Recovery
    from pointwise.estimators import ImageClassifier, Segmenter
    from pointwise.estimators.persistence import TableModel

MOST = 2**16
"""Samples to learn from, at most."""


@dataclass(frozen=True)
class Lessons:
    """Inputs of a network in its type, with labels where there are any.

    Attributes:
        inputs: The inputs.
        labels: As the loss takes them; ``None`` to learn from the given network.
        loss: The loss of labels; ``None`` for cross-entropy.
        scores: Whether the outputs are class scores, where there are no labels.
    """

    inputs: "Tensor"
    labels: "Tensor | None" = None
    loss: "Callable[[Any, Tensor], Tensor] | None" = None
    scores: bool = True

    def recovery(self, epochs: int) -> "Recovery":
        """How to learn.

        Args:
            epochs: How often all is gone through.

        Returns:
            What ``compress`` takes.
        """
        from pointwise.compression.fitting.recover import Recovery

        if self.labels is None:
            return Recovery(epochs, data=self.inputs, loss="distil")
        pairs = [(self.inputs, self.labels)]
        return Recovery(epochs, data=pairs, loss=self.loss or "labels")


def find_lessons(subject: Subject, data: str, seed: int) -> Lessons:
    """Read what a network is to learn from.

    Args:
        subject: The network.
        data: What the user gives for ``--data``.
        seed: Seeds the choice of the samples.

    Returns:
        The lessons: with labels if the data has those of a model folder.

    Raises:
        DataError: If the data cannot be read.
    """
    import torch

    from pointwise.estimators import ImageClassifier, Segmenter

    first = next(subject.network.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    most = max(2, min(MOST, LARGEST // math.prod(subject.shape)))
    model = subject.estimator
    if isinstance(model, ImageClassifier):
        found = _classes(model, data)
    elif isinstance(model, Segmenter):
        found = _masks(model, data)
    elif model is not None:
        return _table(model, subject, data, dtype, most, seed)
    else:
        found = None
    if found is None:
        return Lessons(read_inputs(subject, data, seed, most).to(dtype))
    inputs, labels = found
    chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))[:most]
    return Lessons(inputs[chosen].to(dtype), labels[chosen])


def _part(data: str) -> Path:
    """The images to learn from of a folder with several parts."""
    from pointwise.data import image_parts

    path = Path(data)
    return image_parts.find_parts(path).train if path.is_dir() else path


def _classes(model: "ImageClassifier", data: str) -> "tuple[Tensor, Tensor] | None":
    """Images and their classes, if all of them have one that the model knows."""
    import numpy as np

    from pointwise.estimators.compressing import learning_rows

    pixels = model.pixels_
    colour: Any = "grey" if pixels.channels == 1 else "rgb"
    try:
        found = read(_part(data), size=(pixels.height, pixels.width), colour=colour)
        known = [str(label) for label in model.classes_]
        strange = [name for name in found.classes if name not in known]
        if strange:
            raise DataError(f"the model does not know the class {strange[0]!r}")
    except DataError as error:
        say(f"no labels to learn from, but the given network's answers: {error}")
        return None
    place = np.array([known.index(name) for name in found.classes])
    return learning_rows(model, found.images, model.classes_[place[found.labels]])


def _masks(model: "Segmenter", data: str) -> "tuple[Tensor, Tensor] | None":
    """Images and their masks, if there are any."""
    from pointwise.estimators.compressing import learning_rows

    if not has_masks(data, None):
        say("no masks to learn from, but the given network's answers")
        return None
    pixels = model.pixels_
    names = model.classes or tuple(map(str, range(256)))
    found = read_masks(
        _part(data),
        None,
        classes=tuple(names),
        ignore=model.ignore,
        size=(pixels.height, pixels.width),
        colour="grey" if pixels.channels == 1 else "rgb",
    )
    return learning_rows(model, found.images, found.masks)


def _table(
    model: "TableModel", subject: Subject, data: str, dtype: Any, most: int, seed: int
) -> Lessons:
    """Rows and their targets, if the table holds all targets."""
    from pointwise.estimators.compressing import learning_rows
    from pointwise.modelfiles import read_config
    from pointwise.studies import take_apart
    from pointwise.training import CrossEntropy, SquaredError

    assert subject.folder is not None, "a model for tables comes from a folder"
    config = read_config(subject.folder)
    targets, classes = config["targets"], getattr(model, "classes_", None)
    frame, x = read_for_model(subject.folder, model, data, targets)
    if not set(targets) <= set(map(str, frame.columns)):
        say("no targets to learn from, but the given network's answers")
        return Lessons(read_inputs(subject, data, seed, most).to(dtype), scores=classes is not None)
    part = take_apart(frame, targets, config["task"], learn=False, known=classes, say=say)
    rows = x.loc[part.x.index]
    y = part.y
    if len(rows) > most:
        chosen = rows.reset_index(drop=True).sample(most, random_state=seed).index.to_numpy()
        rows, y = rows.iloc[chosen], y[chosen]
    inputs, labels = learning_rows(model, rows, y)
    members = model.network_.mlp.members
    if classes is not None:
        return Lessons(inputs.to(dtype), labels, CrossEntropy(members).loss)
    wanted = labels.to(dtype).reshape(len(labels), -1)
    unit = wanted.std(0, correction=0).clamp(min=1e-12) if len(wanted) > 1 else 1.0

    def loss(output: "Tensor", target: "Tensor") -> "Tensor":
        scaled = (output.unflatten(1, (members, -1)) / unit).flatten(1)
        return SquaredError(members).loss(scaled, target / unit)

    return Lessons(inputs.to(dtype), wanted, loss)
