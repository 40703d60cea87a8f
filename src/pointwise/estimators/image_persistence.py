"""Image models as the config of a model folder, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from pointwise.errors import ModelFileError
from pointwise.estimators.backbones import CLASSIFIERS, blank_image_network
from pointwise.estimators.compressing import apply_plans
from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.estimators.labels import labels_array
from pointwise.estimators.pixels import Pixels
from pointwise.estimators.segmenter import Segmenter
from pointwise.training.augment import (
    Augmentations,
    RandomColour,
    RandomCrop,
    RandomFlip,
    RandomScale,
    RandomShift,
)

Model = TypeVar("Model", ImageClassifier, Segmenter)

STEPS = {
    step.__name__: step for step in (RandomColour, RandomCrop, RandomFlip, RandomScale, RandomShift)
}
"""The augmentations that a model folder may name: a closed table."""


def image_config(
    model: ImageClassifier | Segmenter,
    parameters: Mapping[str, Any],
    targets: Sequence[str] | None,
) -> dict[str, Any]:
    """What a model folder says of an image model, beside its training and its scores.

    Args:
        model: The fitted estimator.
        parameters: Its parameters.
        targets: Name of what it predicts. Default: ``class``.

    Returns:
        Entries of ``config.json``. An augmentation that is not ours is left out.

    Raises:
        ModelFileError: If its network is made by a function, or it has several targets.
    """
    if model.architecture_ is None:
        raise ModelFileError(
            "a model whose backbone is a callable cannot be saved, since a model folder holds no "
            "code: give backbone a name, or keep model.network_.state_dict() with your code"
        )
    names = list(targets or ["class"])
    if len(names) != 1:
        raise ModelFileError(f"targets must have one name per target (1), got {names}")
    classifies = isinstance(model, ImageClassifier)
    augment = model.augment if model.augment == "auto" else _steps_of(model.augment)
    changed = {"backbone": model.architecture_["backbone"], "augment": augment}
    if not isinstance(weights := parameters.get("class_weight"), str | None):
        changed["class_weight"] = [float(weight) for weight in weights]
    return {
        "task": "classification" if classifies else "segmentation",
        "images": asdict(model.pixels_),
        "columns": [],
        "targets": names,
        "classes": model.classes_.tolist(),
        "class_names": None if classifies else list(model.class_names_),
        "network": model.architecture_,
        "parameters": {**parameters, **changed},
    }


def restore_image_model(
    kind: type[Model], config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Model:
    """Make the estimator again; nothing in the config is run.

    Args:
        kind: Its class.
        config: Config of its model folder.
        tensors: Its weights.

    Returns:
        The estimator, without what is told of its training.

    Raises:
        ValueError: If the config does not fit together.
    """
    parameters = dict(config["parameters"])
    if isinstance(steps := parameters["augment"], list):
        parameters["augment"] = _augmentation(steps)
    for name in ("widths", "classes", "class_weight"):
        if isinstance(parameters.get(name), list):
            parameters[name] = tuple(parameters[name])
    model = kind(**parameters)
    model.pixels_ = Pixels(**config["images"])
    model.architecture_ = network = dict(config["network"])
    if isinstance(model, Segmenter):
        model.classes_ = np.array(config["classes"], dtype=np.int64)
        model.class_names_ = tuple(config["class_names"])
        fits = network["backbone"] == "unet"
    else:
        model.classes_ = labels_array(config["classes"])
        fits = network["backbone"] in CLASSIFIERS
    if not fits or [network["classes"], network["channels"]] != [
        len(model.classes_),
        model.pixels_.channels,
    ]:
        raise ValueError("its network is not one for its images and classes")
    blank, told = apply_plans(blank_image_network(network), config)
    model.__dict__.update(told)
    try:
        blank.load_state_dict(dict(tensors), assign=True)
    except RuntimeError as error:  # a line for every tensor
        raise ValueError(f"its weights are not those of {network['backbone']}") from error
    model.network_ = blank
    return model


def _steps_of(augment: Any) -> list[list[Any]] | None:
    """Each step's name and values, or ``None`` where a step is not ours."""
    steps = augment.steps if type(augment) is Augmentations else (augment,)
    if any(type(step) not in STEPS.values() for step in steps):
        return None
    return [[type(step).__name__, asdict(step)] for step in steps]  # type: ignore[arg-type]


def _augmentation(steps: list[list[Any]]) -> Any:
    made = [STEPS[name](**values) for name, values in steps]
    return made[0] if len(made) == 1 else Augmentations(*made)
