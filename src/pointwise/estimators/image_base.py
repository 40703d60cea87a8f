"""What the classifier and the segmenter of images share: everything but the target."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from pointwise.errors import DataError
from pointwise.estimators.backbones import build_backbone, check_size
from pointwise.estimators.devices import device_of, product_type
from pointwise.estimators.following import follow
from pointwise.estimators.fused import image_outputs
from pointwise.estimators.grouping import split_groups
from pointwise.estimators.pixels import Images, Pixels, as_tensor, images_at_a_time, mean_and_std
from pointwise.estimators.splitting import Index, split_rows
from pointwise.inspection import cost
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.training import Augment, Checkpoint, Objective, Rows, Settings, train

ImagePrecision: TypeAlias = Literal["auto", "float32", "bfloat16"]

WEIGHT_DECAY = 0.05
"""Decay per unit of step size; images, with more to learn by heart, take more of it than tables."""

STEPS = 50
BATCHES = (16, 128)
"""A default batch is the power of two in these bounds that makes about so many steps an epoch: with
four, as batches of 128 make of 500 images, a network has learned too little when a cycle ends."""


class ImageEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators for images; see ``ImageClassifier`` for the parameters."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [str, callable],
        "augment": [StrOptions({"auto"}), callable, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _loss_name: ClassVar[str]

    def __init__(
        self,
        backbone: str | Callable[..., nn.Module],
        *,
        augment: Augment | Literal["auto"] | None,
        learning_rate: float,
        batch_size: int | None,
        max_epochs: int,
        validation_fraction: float,
        time_limit: float | None,
        device: str,
        precision: ImagePrecision,
        random_state: int | np.random.RandomState | None,
        verbose: int,
    ) -> None:
        self.backbone = backbone
        self.augment = augment
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def _fit(
        self,
        X: Any,
        y: Any,
        validation_data: tuple[Any, Any] | None,
        checkpoint: str | Path | Checkpoint | None,
        groups: Any,
    ) -> Self:
        self._validate_params()
        device = device_of(self.device)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        self.pixels_, images = Pixels.learn(X)
        target = self._read_target(y, images, reset=True)
        if validation_data is None:
            learn, held = self._split(target, groups, rng)
            held_images, held_target = images[held], target[held]
            if len(learn) < len(images):
                images, target = images[learn], target[learn]
        elif groups is not None:
            raise DataError(
                "give groups or validation_data, not both: groups say which images are held out "
                "together, and validation_data that none are"
            )
        else:
            held_images, held_target = self._read_validation(validation_data)
        self._build(images, seed, device)
        rows = Rows(as_tensor(images).to(device), as_tensor(target).to(device))
        valid = Rows(as_tensor(held_images).to(device), as_tensor(held_target).to(device))
        self._train(rows, valid, self._settings(rows, valid, seed, device), checkpoint)
        self.rows_ = {"train": len(rows), "valid": len(valid)}
        return self

    def _split(
        self, target: NDArray[Any], groups: Any, rng: np.random.RandomState
    ) -> tuple[Index, Index]:
        """Numbers of the images that train, and of those that are held out."""
        count, fraction = len(target), self.validation_fraction
        classes = target if target.ndim == 1 else None
        if groups is None:
            return split_rows(count, fraction, rng, classes=classes)
        return split_groups(groups, count, fraction, rng, classes=classes)

    def _read_validation(self, data: tuple[Any, Any]) -> tuple[Images, NDArray[Any]]:
        if not isinstance(data, tuple) or len(data) != 2:
            raise DataError("validation_data must be (images, targets)")
        images = self.pixels_.read(data[0])
        return images, self._read_target(data[1], images, reset=False)

    def _build(self, images: Images, seed: int, device: torch.device) -> None:
        """Draw a network for these images."""
        size = images.shape[2:]
        scale = ImageScale(*mean_and_std(images))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.architecture_: dict[str, Any] | None = None
            if isinstance(self.backbone, str):
                self.architecture_ = self._architecture(self.backbone)
                backbone = build_backbone(self.architecture_)
            else:
                backbone = self.backbone(len(self.classes_), channels=self.pixels_.channels)
        if not isinstance(backbone, nn.Module):
            raise ValueError(f"backbone must make a module of torch, got {backbone!r}")
        check_size(backbone, *size)
        network = ImageNetwork(scale, backbone).to(device).eval()
        with torch.no_grad():
            output = network(as_tensor(images[:1]).to(device))
        expected = self._output_shape(*size)
        if not isinstance(output, Tensor) or tuple(output.shape) != expected:
            came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"backbone must put out shape {expected} for one image, got {came}")
        self.network_ = network
        self.__dict__.pop("compressed_", None)

    def _settings(self, rows: Rows, valid: Rows, seed: int, device: torch.device) -> Settings:
        few, many = BATCHES
        even = int(2 ** np.round(np.log2(len(rows) / STEPS)))
        return Settings(
            batch_size=self.batch_size or min(max(even, few), many),
            learning_rate=self.learning_rate,
            schedule="one_cycle",
            weight_decay=WEIGHT_DECAY,
            max_epochs=self.max_epochs,
            patience=self.max_epochs,  # a cycle is best at its end: none is broken off
            time_limit_s=self.time_limit,
            evaluation_rows=images_at_a_time(*valid.x.shape[2:]),
            seed=seed,
            autocast=product_type(self.precision, device),
        )

    def _train(
        self,
        rows: Rows,
        valid: Rows,
        settings: Settings,
        checkpoint: str | Path | Checkpoint | None,
    ) -> None:
        """Train the network; Ctrl-C keeps the best epoch so far."""
        if isinstance(checkpoint, str | Path):
            checkpoint = Checkpoint(checkpoint)
        augment = self._auto_augment() if self.augment == "auto" else self.augment
        epochs = train(
            self.network_,
            self._objective(rows.y, valid.y),
            rows,
            valid,
            settings,
            augment=augment,
            checkpoint=checkpoint,
        )
        spent = [layer.macs for layer in cost(self.network_, rows.x[:1]).layers if layer.macs]
        macs, layers = settings.batch_size * sum(spent), len(spent)
        unit = self._loss_name if self.verbose else None
        try:
            self.history_, self.best_epoch_ = follow(
                epochs, settings, macs=macs, layers=layers, unit=unit
            )
        except ValueError as error:
            if not str(error).startswith("Expected more than 1 value per channel"):
                raise
            raise DataError(
                "a batch of one small image has nothing to normalise over: take a larger "
                f"batch_size (now {settings.batch_size}) or larger images"
            ) from error

    def _outputs(self, X: Any) -> Iterator[Tensor]:
        """The network's outputs for new images, on the CPU, some images at a time."""
        check_is_fitted(self, "network_")
        yield from image_outputs(self.network_, self._batches(X))

    def _batches(self, X: Any) -> Iterator[Tensor]:
        """New images on the network's device, as many at a time as fit."""
        check_is_fitted(self, "network_")
        images = self.pixels_.read(X)
        check_size(self.network_.backbone, *images.shape[2:])
        device = self.network_.scale.mean.device
        for part in as_tensor(images).split(images_at_a_time(*images.shape[2:])):
            yield part.to(device)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    @abstractmethod
    def _read_target(self, y: Any, images: Images, *, reset: bool) -> NDArray[Any]:
        """Class numbers ``(N,)`` or ``(N, H, W)``."""

    @abstractmethod
    def _architecture(self, backbone: str) -> dict[str, Any]:
        """The sizes of the network of this name."""

    @abstractmethod
    def _output_shape(self, height: int, width: int) -> tuple[int, ...]:
        """What the network must put out for one image."""

    @abstractmethod
    def _auto_augment(self) -> Augment | None:
        """The augmentation that ``"auto"`` stands for."""

    @abstractmethod
    def _objective(self, target: Tensor, held: Tensor) -> Objective:
        """What to minimise, for these targets in training and those that choose the epoch."""
