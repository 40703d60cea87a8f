"""Classification of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from torch import Tensor, nn

from pointwise.errors import DataError
from pointwise.estimators.backbones import classifier_config
from pointwise.estimators.image_base import ImageEstimator, ImagePrecision
from pointwise.estimators.labels import class_numbers, find_classes, read_labels
from pointwise.estimators.pixels import Images
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.training import Augment, Checkpoint, CrossEntropy
from pointwise.training.augment import Augmentations, RandomFlip, RandomShift

SHIFTED_SHARE = 0.1
"""Share of its size that ``augment="auto"`` moves an image by, at most."""


class ImageClassifier(ClassifierMixin, ImageEstimator):  # type: ignore[misc]
    """Predict a class from an image.

    Images are bytes or floats ``(N, C, H, W)``, or ``(N, H, W)`` for grey ones. Bytes, and floats
    from 0 to 1, are the same images and give the same predictions; floats of any other range are
    taken as they are, and new images must then be in the same unit. The first layer of the network
    brings every channel to the training images' mean 0 and deviation 1, so it takes pixels.

    The validation images decide which epoch is kept. One training is one cycle of the step size,
    which is best at its end: it is not stopped early.

    Args:
        backbone: Name of a classifying network in ``pointwise.networks.registry.NETWORKS``;
            ``"auto"`` is Network in Network with batch norms, ``nin_mnist`` for images of up to 30
            rows or columns and ``nin_cifar`` above. Or a callable that makes a module from a number
            of classes and ``channels=``; a model with such a network cannot be saved.
        augment: Changes each training batch at random: a callable such as those of
            ``pointwise.training.augment``, ``None``, or ``"auto"``, which shifts images by up to a
            tenth of their size and, if they have three channels, mirrors them left to right. That
            suits photographs: give ``RandomShift`` alone where left and right matter in colour,
            as in text and signs, and ``None`` where the exact place does.
        learning_rate: Largest step size of AdamW.
        batch_size: Images of a step. Default: a power of two near a fiftieth of the images, from 16
            to 128.
        max_epochs: Times that every image is seen, unless time runs out.
        validation_fraction: Share of images held out, of every class alike.
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
        classes_: The class labels, sorted.
        network_: The trained network, which takes pixels in the unit of ``pixels_``.
        pixels_: Channels, size and unit of the training images.
        architecture_: Name and sizes of the backbone, or ``None`` for one of your own.
        history_: One record per epoch: training and validation loss, step size, seconds.
        best_epoch_: Number of the epoch whose weights were kept.
        rows_: Number of training and of validation images.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013. Smith and Topin, Super-Convergence, 2018 (one
        cycle). Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (AdamW).

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> X = (X[:200] / 16).reshape(-1, 8, 8)
        >>> model = ImageClassifier(max_epochs=1, batch_size=20, random_state=0).fit(X, y[:200])
        >>> model.predict_proba(X[:2]).shape, model.class_maps(X[:2]).shape
        ((2, 10), (2, 10, 2, 2))
    """

    _loss_name: ClassVar[str] = "cross-entropy"

    def __init__(
        self,
        backbone: str | Callable[..., nn.Module] = "auto",
        *,
        augment: Augment | Literal["auto"] | None = "auto",
        learning_rate: float = 4e-3,
        batch_size: int | None = None,
        max_epochs: int = 20,
        validation_fraction: float = 0.1,
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

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        validation_data: tuple[Any, Any] | None = None,
        groups: Any = None,
        checkpoint: str | Path | Checkpoint | None = None,
    ) -> Self:
        """Fit to labelled images.

        Args:
            X: Images ``(N, C, H, W)``, or ``(N, H, W)`` for grey ones.
            y: Class labels ``(N,)``, of any one kind.
            validation_data: ``(X, y)`` to find the best epoch with; all of ``X`` then trains.
            groups: Group of each image, such as the video that it is a frame of: no group is split
                between training and validation, nor all of a class held out.
            checkpoint: File to keep the state in, so that a killed fit resumes from it.

        Returns:
            The estimator.

        Raises:
            ValueError: If the images, labels, groups or a parameter are not as they must be.
        """
        return self._fit(X, y, validation_data, checkpoint, groups)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the probability of every class.

        Args:
            X: Images as in ``fit``, of any one size.

        Returns:
            ``(N, K)``, the classes in the order of ``classes_``; each row sums to 1.

        Raises:
            ValueError: If the images are not like those in training but for their size.
        """
        with torch.no_grad():
            logits = torch.cat(list(self._outputs(X)))
        proba: NDArray[np.float64] = logits.double().softmax(1).numpy()
        return proba

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable class.

        Args:
            X: Images as in ``fit``, of any one size.

        Returns:
            Class labels ``(N,)``.

        Raises:
            ValueError: If the images are not like those in training but for their size.
        """
        best = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def class_maps(self, X: Any) -> NDArray[np.float32]:
        """Where the network sees each class: its class maps before they are averaged.

        A class's map averaged over all positions is the class's logit (``predict_proba`` is their
        softmax), so each position's share in the decision can be read off. The last maps of a
        network that ends in a linear layer go through that layer position by position, which is the
        same thing: the layer is a 1x1 convolution.

        Args:
            X: Images as in ``fit``, of any one size.

        Returns:
            ``(N, K, h, w)``, as large as the network's last maps.

        Raises:
            ValueError: If the images are not like those in training but for their size.
            DataError: If the network does not end in a global average pool and a linear layer.

        Reference:
            Lin, Chen and Yan, Network in Network, 2013, section 4.6. Zhou et al., Learning Deep
            Features for Discriminative Localization, 2016, section 2.
        """
        with torch.no_grad():
            maps = [_class_maps(self.network_, images).cpu() for images in self._batches(X)]
        found: NDArray[np.float32] = torch.cat(maps).contiguous().numpy()
        return found

    def _read_target(self, y: Any, images: Images, *, reset: bool) -> NDArray[Any]:
        labels = read_labels(y, len(images), "images")
        if reset:
            self.classes_ = find_classes(labels)
        return class_numbers(labels, self.classes_).astype(np.int64)

    def _architecture(self, backbone: str) -> dict[str, Any]:
        side = min(self.pixels_.height, self.pixels_.width)
        return classifier_config(backbone, len(self.classes_), self.pixels_.channels, side)

    def _output_shape(self, height: int, width: int) -> tuple[int, ...]:
        return (1, len(self.classes_))

    def _auto_augment(self) -> Augment | None:
        pixels = int(SHIFTED_SHARE * min(self.pixels_.height, self.pixels_.width))
        shift = RandomShift(pixels)
        if self.pixels_.channels == 3:
            return Augmentations(shift, RandomFlip())
        return shift if pixels else None

    def _objective(self, target: Tensor, held: Tensor) -> CrossEntropy:
        return CrossEntropy(1)


def _class_maps(network: nn.Module, images: Tensor) -> Tensor:
    """Maps ``(N, K, h, w)`` whose means are the logits."""
    seen: list[Tensor] = []
    pools = [module for module in network.modules() if isinstance(module, GlobalAveragePool)]
    hooks = [
        pool.register_forward_hook(lambda _, given, __: seen.append(given[0])) for pool in pools
    ]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    candidates = seen[-1:]
    if seen and linear and linear[-1].in_features == seen[-1].shape[1]:
        candidates.append(linear[-1](seen[-1].movedim(1, -1)).movedim(-1, 1))
    for maps in candidates:
        means = maps.mean((2, 3))
        if means.shape == logits.shape and torch.allclose(means, logits, rtol=1e-3, atol=1e-3):
            return maps
    raise DataError(
        "class maps need a network whose end is a global average pool of class maps, or of maps "
        "and a linear layer after it (pointwise.nn.GlobalAveragePool): this one has another"
    )
