"""Segmentation of images: a class for every pixel."""

from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pointwise.errors import DataError
from pointwise.estimators.image_base import ImageEstimator, ImagePrecision
from pointwise.estimators.masks import find_mask_classes, mask_numbers, mask_weights, read_masks
from pointwise.estimators.pixels import Images
from pointwise.functional.overlap import confusion, mean_iou
from pointwise.training import Augment, Checkpoint
from pointwise.training.augment import (
    Augmentations,
    RandomColour,
    RandomFlip,
    RandomScale,
    RandomShift,
)
from pointwise.training.objective import UNKNOWN, PixelCrossEntropy

SHIFTED_SHARE = 0.1
"""Share of its size that ``augment="auto"`` moves an image by, at most."""

SCALES = (0.75, 1.5)
"""Factors between which ``augment="auto"`` scales an image."""


class Segmenter(ImageEstimator):
    """Predict a class for every pixel of an image.

    Images are as in ``ImageClassifier``; a mask has a whole number for every pixel of its image.
    The validation images decide which epoch is kept, by the mean over images of each image's mean
    intersection over union. All parameters and attributes not named here are as there.

    Args:
        backbone: ``"unet"``, a U-Net with batch norms; or a callable that makes a module from a
            number of classes and ``channels=``, from ``(N, channels, H, W)`` to ``(N, K, H, W)``; a
            model with such a network cannot be saved.
        widths: Channels of the U-Net at each size, the finest first. Each further one halves the
            size: an image must have ``2 ** (len(widths) - 1)`` rows and columns at least.
        attention: Whether the U-Net's skip connections go through attention gates.
        classes: Names of the classes 0, 1, ... Default: the numbers in the training masks are the
            classes.
        ignore: Number in the masks of pixels that do not count. Default: none.
        class_weight: ``"balanced"`` weights classes by the inverse square root of their share of
            the pixels, for rare classes; ``None`` for equal weights; or a weight per class.
        augment: Changes each training batch and its masks at random; ``"auto"`` changes the light
            and the tint of images, mirrors them left to right, scales them by 0.75 to 1.5 and
            shifts them by up to a tenth of their size. That suits scenes before a camera; give
            ``None`` or a callable of your own for others.
        learning_rate: Largest step size of AdamW.
        batch_size: Images of a step.
        max_epochs: Times that every image is seen, unless time runs out.
        validation_fraction: Share of images held out.
        time_limit: Seconds after which training stops; the cycle is planned to end there.
            Default: none.
        device: Where to train and predict; ``"auto"`` is a GPU if there is one.
        precision: Type of the arithmetic in training; ``"auto"`` is bfloat16 products on a GPU with
            units for them, else float32. On a CPU bfloat16 takes half the time with Intel's AMX,
            and many times as long where there are no units for it.
        random_state: Seed; on one CPU and number of threads the same one gives the same weights,
            bit for bit.
        verbose: 1 shows a progress bar on standard error.

    Attributes:
        classes_: The numbers that stand for classes in masks, sorted.
        class_names_: Their names, or the numbers as text.

    Reference:
        Ronneberger, Fischer and Brox, U-Net, 2015. Oktay et al., Attention U-Net, 2018.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> images = rng.integers(0, 256, (8, 16, 16), dtype=np.uint8)
        >>> masks = images > 128
        >>> model = Segmenter(widths=(4, 8), max_epochs=2, batch_size=2, random_state=0)
        >>> model.fit(images, masks).predict(images[:2, :10]).shape
        (2, 10, 16)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImageEstimator._parameter_constraints,
        "widths": [tuple, list],
        "attention": ["boolean"],
        "classes": [tuple, list, None],
        "ignore": [Integral, None],
        "class_weight": [str, "array-like", None],
    }
    _loss_name: ClassVar[str] = "1 - mean IoU"

    def __init__(
        self,
        backbone: str | Callable[..., nn.Module] = "unet",
        *,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        attention: bool = False,
        classes: Sequence[str] | None = None,
        ignore: int | None = None,
        class_weight: Sequence[float] | Literal["balanced"] | None = "balanced",
        augment: Augment | Literal["auto"] | None = "auto",
        learning_rate: float = 2e-3,
        batch_size: int = 8,
        max_epochs: int = 40,
        validation_fraction: float = 0.15,
        time_limit: float | None = None,
        device: str = "auto",
        precision: ImagePrecision = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            backbone,
            augment=augment,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            validation_fraction=validation_fraction,
            time_limit=time_limit,
            device=device,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
        )
        self.widths = widths
        self.attention = attention
        self.classes = classes
        self.ignore = ignore
        self.class_weight = class_weight

    def fit(
        self,
        images: Any,
        masks: Any,
        *,
        validation_data: tuple[Any, Any] | None = None,
        groups: Any = None,
        checkpoint: str | Path | Checkpoint | None = None,
    ) -> Self:
        """Fit to images whose pixels' classes are known.

        Args:
            images: Images ``(N, C, H, W)``, or ``(N, H, W)`` for grey ones.
            masks: Class of every pixel, whole numbers ``(N, H, W)``.
            validation_data: ``(images, masks)`` to find the best epoch with; all of ``images`` then
                trains.
            groups: Group of each image, such as the video that it is a frame of: no group is split
                between training and validation.
            checkpoint: File to keep the state in, so that a killed fit resumes from it.

        Returns:
            The estimator.

        Raises:
            ValueError: If the images, masks, groups or a parameter are not as they must be.
        """
        return self._fit(images, masks, validation_data, checkpoint, groups)

    def predict_proba(self, images: Any) -> NDArray[np.float32]:
        """Predict every pixel's probability of every class.

        Args:
            images: Images as in ``fit``, of any one size.

        Returns:
            ``(N, K, H, W)``, the classes in the order of ``classes_``.

        Raises:
            ValueError: If the images are not like those in training but for their size.
        """
        with torch.no_grad():
            parts = [output.softmax(1) for output in self._outputs(images)]
        proba: NDArray[np.float32] = torch.cat(parts).contiguous().numpy()
        return proba

    def predict(self, images: Any) -> NDArray[np.int64]:
        """Predict the most probable class of every pixel.

        Args:
            images: Images as in ``fit``, of any one size.

        Returns:
            Masks ``(N, H, W)`` of the numbers in ``classes_``.

        Raises:
            ValueError: If the images are not like those in training but for their size.
        """
        numbers = self._numbers(images).numpy()
        masks: NDArray[np.int64] = self.classes_[numbers]
        return masks

    def score(self, images: Any, masks: Any) -> float:
        """Mean intersection over union, of all pixels of known class taken together.

        Args:
            images: Images as in ``fit``, of any one size.
            masks: Class of every pixel, ``(N, H, W)``.

        Returns:
            The mean over the classes that are in the masks or predicted.

        Raises:
            ValueError: If the images or the masks do not fit the model or one another.
        """
        return float(mean_iou(self.confusion(images, masks)))

    def confusion(self, images: Any, masks: Any) -> Tensor:
        """Count how often each class was taken for each.

        Args:
            images: Images as in ``fit``, of any one size.
            masks: Class of every pixel, ``(N, H, W)``.

        Returns:
            Counts ``(K, K)``: true classes along the rows, predicted ones along the columns.

        Raises:
            ValueError: If the images or the masks do not fit the model or one another.
        """
        predicted = self._numbers(images)
        shape = (len(predicted), *predicted.shape[1:])
        known = mask_numbers(read_masks(masks, shape), self.classes_, self.ignore)
        counts = torch.zeros(2 * (len(self.classes_),), dtype=torch.int64)
        for mask, found in zip(torch.from_numpy(known).split(16), predicted.split(16), strict=True):
            counts += confusion(mask, found, len(self.classes_)).sum(0)
        return counts

    def _numbers(self, images: Any) -> Tensor:
        """Index of every pixel's most probable class, as bytes ``(N, H, W)``."""
        with torch.no_grad():
            return torch.cat([o.argmax(1).to(torch.uint8) for o in self._outputs(images)])

    def _read_target(self, y: Any, images: Images, *, reset: bool) -> NDArray[np.uint8]:
        if y is None:
            raise ValueError("requires masks to be passed, but the masks are None")
        masks = read_masks(y, (len(images), *images.shape[2:]))
        if reset:
            self.classes_ = find_mask_classes(masks, self.ignore, self.classes)
            numbers, names = self.classes_.tolist(), self.classes
            self.class_names_ = tuple(str(names[n] if names is not None else n) for n in numbers)
        return mask_numbers(masks, self.classes_, self.ignore)

    def _architecture(self, backbone: str) -> dict[str, Any]:
        if backbone != "unet":
            raise ValueError(f"backbone must be 'unet' or a callable, got {backbone!r}")
        return {
            "backbone": "unet",
            "classes": len(self.classes_),
            "channels": self.pixels_.channels,
            "widths": [int(width) for width in self.widths],
            "attention": bool(self.attention),
        }

    def _output_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (1, len(self.classes_), height, width)

    def _auto_augment(self) -> Augment:
        pixels = int(SHIFTED_SHARE * min(self.pixels_.height, self.pixels_.width))
        return Augmentations(
            RandomColour(),
            RandomFlip(),
            RandomScale(*SCALES, outside=UNKNOWN),
            RandomShift(pixels, outside=UNKNOWN),
        )

    def _objective(self, target: Tensor, held: Tensor) -> PixelCrossEntropy:
        for part, what in ((target, "training"), (held, "validation")):
            if not (part != UNKNOWN).any():  # no epoch would be better than the first
                raise DataError(
                    f"masks must have a pixel of known class: every {what} pixel is ignored"
                )
        numbers = target.cpu().numpy()
        return PixelCrossEntropy(mask_weights(numbers, len(self.classes_), self.class_weight))
