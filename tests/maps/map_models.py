"""Networks for the tests of maps, drawn and not trained; what a map must hold at each pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pointwise.maps import InputBand, Output, PixelModel
from pointwise.nn import MLP
from pointwise.nn.encoding import CategoryEncoder, NumberEncoder
from pointwise.nn.table import ChannelScale, TableNetwork

Array = NDArray[Any]


def table_model(
    gaps: Sequence[bool] = (False, False, False),
    *,
    members: int = 1,
    classes: Sequence[Any] | None = None,
    targets: Sequence[str] = ("value",),
    levels: Sequence[str] = (),
    level_gaps: bool = False,
    offsets: Sequence[float] = (),
    seed: int = 0,
    **more: Any,
) -> PixelModel:
    """A network as the estimators build it: columns ``b0``, ``b1``, ... and perhaps ``soil``."""
    torch.manual_seed(seed)
    outputs = len(classes) if classes is not None else len(targets)
    count = len(gaps)
    edges = [[-1.0, 0.0, 1.0] for _ in gaps]
    numbers = NumberEncoder([0.1] * count, [1.5] * count, list(gaps), edges)
    share = 1 / (len(levels) + 1)
    categories = CategoryEncoder([[share] * (len(levels) + 1)] if levels else [])
    scale = ChannelScale(
        [1.0 if classes is not None else 2.0] * outputs,
        [0.0 if classes is not None else 5.0] * outputs,
    )
    mlp = MLP([numbers.c_out + categories.c_out, 12, outputs], members=members)
    for parameter in mlp.parameters():
        parameter.data.mul_(3.0)  # so that classes differ from pixel to pixel
    at = dict(enumerate(offsets))
    bands = [InputBand(f"b{i}", gaps=g, offset=at.get(i, 0.0)) for i, g in enumerate(gaps)]
    if levels:
        bands.append(InputBand("soil", gaps=level_gaps, levels=tuple(levels)))
    return PixelModel(
        network=TableNetwork(numbers, categories, mlp, scale).eval(),
        bands=tuple(bands),
        members=members,
        classes=None if classes is None else tuple(classes),
        targets=tuple(targets),
        **more,
    )


def predict_pixel(model: PixelModel, output: Output, values: Sequence[float | None]) -> list[float]:
    """What a map holds at one pixel, written down from the rule; ``None`` is a missing value."""
    known = zip(values, model.used, strict=True)
    lacks = any(value is None and not band.gaps for value, band in known)
    if lacks or all(value is None for value in values):
        return [output.nodata] * len(output.bands)
    coded = [_coded(v, band) for v, band in zip(values, model.used, strict=True)]
    x = torch.tensor([coded], dtype=torch.float64)
    with torch.no_grad():
        y = model.network.double()(x)[0].reshape(model.members, -1)
    model.network.float()
    if output.kind == "value":
        deviation = y.std(0, correction=0).tolist() if output.spread else []
        return [*y.mean(0).tolist(), *deviation]
    proba = y.softmax(1)
    if output.kind == "class":
        return [list(output.codes)[int(proba.mean(0).argmax())]]
    deviation = proba.std(0, correction=0).tolist() if output.spread else []
    return [*proba.mean(0).tolist(), *deviation]


def _coded(value: float | None, band: InputBand) -> float:
    if value is None:
        return float("nan")
    if not band.levels:
        return value - band.offset
    levels = [float(level) for level in band.levels]
    return float(levels.index(value)) if value in levels else -1.0


def predict_pixels(model: PixelModel, output: Output, pixels: Array, missing: Array) -> Array:
    """``predict_pixel`` at every pixel of ``(C, P)``, as ``(B, P)``."""
    columns = [
        predict_pixel(
            model, output, [None if gone else float(v) for v, gone in zip(p, m, strict=True)]
        )
        for p, m in zip(pixels.T, missing.T, strict=True)
    ]
    return np.array(columns, dtype=np.float64).reshape(-1, len(output.bands)).T
