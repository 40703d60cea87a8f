"""A network as scikit-learn's and as ours, and the libraries that map scikit-learn's."""

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin
from sklearn.neural_network import MLPClassifier, MLPRegressor

from pointwise.maps import PixelModel, as_pixel_model, map_array
from pointwise.nn import MLP

Array = NDArray[Any]
Call = Callable[[], Any]

PACKAGES = {"sklearn-raster": "sklearn_raster", "Pyspatialml": "pyspatialml"}


def installed(package: str) -> bool:
    """Whether a peer is here."""
    return importlib.util.find_spec(PACKAGES[package]) is not None


def same_network(widths: tuple[int, ...], classes: int) -> tuple[Any, PixelModel]:
    """Random weights in scikit-learn's MLP, in float32, and in ours."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, widths[0])).astype(np.float32)
    kind = MLPClassifier if classes else MLPRegressor
    y = np.arange(256) % classes if classes else rng.normal(size=(256, widths[-1]))
    theirs = kind(hidden_layer_sizes=widths[1:-1], max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        theirs.fit(x, y if classes or widths[-1] > 1 else y.ravel())
    network = MLP(widths)
    layers = list(network.parameters())
    with torch.no_grad():
        for i, (weight, bias) in enumerate(zip(theirs.coefs_, theirs.intercepts_, strict=True)):
            layers[2 * i].copy_(torch.from_numpy(weight.T))
            layers[2 * i + 1].copy_(torch.from_numpy(bias))
    return theirs, as_pixel_model(network, classes=range(classes) if classes else None)


def contenders(theirs: Any, ours: PixelModel, image: Array, folder: Path) -> dict[str, Call]:
    """Calls that map the same network over the same image ``(C, rows, columns)``."""
    calls: dict[str, Call] = {
        "pointwise": lambda: map_array(ours, image, engine="fused"),  # compiled once, for all
        "scikit-learn": lambda: predict_reshaped(theirs, image),
    }
    if installed("sklearn-raster"):
        wrapped = sklearn_raster_of(theirs, image)
        calls["sklearn-raster"] = lambda: wrapped.predict(image)
    if installed("Pyspatialml"):
        source = write_image(folder / "image.tif", image)
        calls["Pyspatialml"] = lambda: pyspatialml_map(theirs, source)
    return calls


def predict_reshaped(theirs: Any, image: Array) -> Array:
    """What people write by hand."""
    flat: Array = theirs.predict(image.reshape(len(image), -1).T)
    return flat.T.reshape(-1, *image.shape[1:])


def sklearn_raster_of(theirs: Any, image: Array) -> Any:
    """The same network in sklearn-raster's wrapper, which takes unfitted estimators only."""
    from sklearn.base import clone
    from sklearn_raster import FeatureArrayEstimator

    wrapped = FeatureArrayEstimator(clone(theirs))
    some = np.random.default_rng(0).normal(size=(64, len(image))).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped.fit(some, theirs.predict(some))
    wrapped.wrapped_estimator.__dict__.update(theirs.__dict__)
    return wrapped


def pyspatialml_map(theirs: Any, source: Path) -> Array:
    """Pyspatialml reads a file and writes one."""
    if not hasattr(np, "find_common_type"):  # 0.22.1 needs it; NumPy 2 has it no more
        np.find_common_type = lambda types, _: np.result_type(*types)  # type: ignore[attr-defined]
    from pyspatialml import Raster

    with warnings.catch_warnings(), tempfile.NamedTemporaryFile(suffix=".tif") as made:
        warnings.simplefilter("ignore")
        Raster([str(source)]).predict(theirs, file_path=made.name, progress=False)
        with rasterio.open(made.name) as file:
            result: Array = file.read()
    return result


def write_image(path: Path, image: Array) -> Path:
    """An image as a tiled GeoTIFF without compression."""
    bands, rows, columns = image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=bands,
        height=rows,
        width=columns,
        dtype=image.dtype,
        crs="EPSG:32618",
        transform=from_origin(500_000, 4_000_000, 30, 30),
        tiled=True,
        blockxsize=256,
        blockysize=256,
    ) as file:
        file.write(image)
    return path
