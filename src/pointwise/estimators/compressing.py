"""Fitted estimators whose network was compressed: made, told in a model folder, and built again."""

import copy
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from pointwise.data.table import as_table
from pointwise.errors import DifferenceError, ModelFileError
from pointwise.estimators.base import TableEstimator
from pointwise.estimators.image_base import ImageEstimator
from pointwise.training.objective import mixed_scores

if TYPE_CHECKING:
    from pointwise.compression.compress import Compressed
    from pointwise.compression.statistics.scores import Logits

Network = TypeVar("Network", bound=nn.Module)
Fitted = TypeVar("Fitted", bound=TableEstimator | ImageEstimator)


def compressed_estimator(model: Fitted, compressed: "Compressed") -> Fitted:
    """Put a compressed network in the place of an estimator's own.

    Args:
        model: The fitted estimator, which is left as it is.
        compressed: What ``compress`` made of its ``network_``.

    Returns:
        The same estimator with the compressed network; it can be saved like any other.

    Raises:
        DifferenceError: If the network was made of another: its layers or sizes, or the means and
            scales of the data that it was fitted to, are not the estimator's.
        NotFittedError: If the model is not fitted.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.compression import Budget, compress
        >>> from pointwise.estimators import PointwiseClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = PointwiseClassifier(members=2, max_epochs=3, random_state=0).fit(X, y)
        >>> done = compress(model.network_, Budget(macs=0.8), torch.zeros(1, 4))
        >>> small = compressed_estimator(model, done)
        >>> small.predict(X).shape, small.compressed_[0].layers == done.plan.layers
        ((150,), True)
    """
    check_is_fitted(model, "network_")
    foreign = "compressed must be made of the network_ of this estimator, it is of another network"
    try:
        built = compressed.plan.apply(model.network_)
    except ModelFileError as error:
        raise DifferenceError(f"{foreign}: {error}") from None
    names = {name: value.shape for name, value in built.state_dict().items()}
    found = {name: value.shape for name, value in compressed.model.state_dict().items()}
    if names != found:
        raise DifferenceError(foreign)
    theirs = _learnt_by_counting(compressed.model)
    for name, value in _learnt_by_counting(built).items():
        if not torch.equal(theirs[name].to(value), value):
            raise DifferenceError(f"{foreign}: {name!r} holds other values")
    small = copy.copy(model)
    network: Any = copy.deepcopy(compressed.model).eval()
    small.network_ = network
    small.__dict__.pop("held_out_errors_", None)  # they are of the given network
    small.compressed_ = (*getattr(model, "compressed_", ()), compressed.plan)
    return small


def class_scores(model: TableEstimator | ImageEstimator) -> "Logits":
    """Tell what picks class scores out of the outputs of a fitted estimator's network.

    The network of a table model puts out what all members say, which ``compress`` would take for
    one row of class scores.

    Args:
        model: The fitted estimator.

    Returns:
        ``logits`` for ``compress``: the logarithms of the members' mean probabilities for a
        classifier of tables; the outputs for a model of images; ``False`` for a regressor, which
        puts out none.

    Raises:
        NotFittedError: If the model is not fitted.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.estimators import PointwiseClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = PointwiseClassifier(members=2, max_epochs=3, random_state=0).fit(X, y)
        >>> rows = torch.tensor(X[:5], dtype=torch.float32)
        >>> class_scores(model)(model.network_(rows)).exp().sum(1).round().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    check_is_fitted(model, "network_")
    if isinstance(model, ImageEstimator):
        return _itself
    if not hasattr(model, "classes_"):
        return False
    return partial(mixed_scores, members=model.network_.mlp.members)


def _itself(output: Any) -> Any:
    return output


def _learnt_by_counting(network: nn.Module) -> dict[str, Tensor]:
    """What no compression changes: buffers, but for the norms', which are counted anew."""
    return {
        f"{path}.{name}": value
        for path, module in network.named_modules()
        if not hasattr(module, "running_mean")
        for name, value in module.named_buffers(recurse=False)
    }


def told_plans(model: TableEstimator | ImageEstimator) -> dict[str, Any]:
    """What a model folder says of a compressed network.

    Args:
        model: The fitted estimator.

    Returns:
        An entry of ``config.json`` with a plan for each time that it was compressed; none if it
        never was.
    """
    plans = getattr(model, "compressed_", ())
    return {"compressed": [json.loads(plan.to_json()) for plan in plans]} if plans else {}


def apply_plans(network: Network, config: Mapping[str, Any]) -> tuple[Network, dict[str, Any]]:
    """Build a network as it was when it was saved, compressed or not.

    Args:
        network: The network as it was before it was compressed, with any weights.
        config: Config of the model folder.

    Returns:
        The network, and the attributes of the estimator that tell of it.

    Raises:
        ModelFileError: If a plan does not fit the network.
    """
    entries: Sequence[Any] = config.get("compressed", ())
    if not entries:
        return network, {}
    from pointwise.compression.plans.plan import Plan

    where = "config.json: compressed"
    plans = tuple(Plan.from_json(json.dumps(entry), where=where) for entry in entries)
    for plan in plans:
        network = cast(Network, plan.apply(network))
    return network, {"compressed_": plans}


def learning_rows(model: TableEstimator | ImageEstimator, X: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Data as an estimator's network and its loss take them, for learning on from labels.

    Args:
        model: The fitted estimator.
        X: A table, or images.
        y: Targets or labels, or masks.

    Returns:
        Inputs in float32; and class numbers, masks of class numbers with 255 where the class is
        not known, or targets ``(N, targets)``.

    Raises:
        DataError: If they are not such as the estimator was fitted to.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.estimators import PointwiseClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = PointwiseClassifier(members=2, max_epochs=1, random_state=0).fit(X, y)
        >>> inputs, labels = learning_rows(model, X[:2], y[:2])
        >>> inputs.shape, labels
        (torch.Size([2, 4]), tensor([0, 0]))
    """
    check_is_fitted(model, "network_")
    if isinstance(model, ImageEstimator):
        images = model.pixels_.read(X)
        target = model._read_target(y, images, reset=False)
        return torch.from_numpy(np.ascontiguousarray(images)).float(), torch.from_numpy(target)
    table = as_table(X)
    target = model._read_target(y, table.rows, reset=False)
    numbers = np.asarray(target)
    kind = np.float32 if numbers.dtype.kind == "f" else np.int64
    return torch.from_numpy(model.coding_.encode(table, np.float32)), torch.from_numpy(
        numbers.astype(kind)
    )
