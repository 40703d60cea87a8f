"""A network with what a map does to its outputs, compiled: members, probabilities, classes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pointwise.errors import DataError, first_line
from pointwise.functional import Affine
from pointwise.inspection.copying import copy_model
from pointwise.maps.outputs import Output
from pointwise.maps.pixel_model import PixelModel
from pointwise.runtime import Chain, CompiledChain, read_chain
from pointwise.runtime.chain import Argmax, Scale, Softmax, Spread, Step
from pointwise.runtime.compiled import ENGINES, Engine

Array = NDArray[Any]

_TRIED_PIXELS = 24
_CLOSE = 1e-3


class NetworkRun:
    """Runs a model's network and all that follows it, tile by tile where that is possible.

    Args:
        model: The model.
        output: What to put out.
        engine: As for ``CompiledChain``; a network that is no chain runs as it is.

    Attributes:
        engine: ``"fused"``, ``"chunks"`` or ``"network"``.

    Raises:
        DataError: If the network's outputs are not those of the model, or a pixel's depends on
            others.
        ImportError: If the fused engine was asked for and Halide is not installed.
        ValueError: If the engine is unknown, or the fused one cannot run the network.
    """

    def __init__(self, model: PixelModel, output: Output, engine: Engine) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
        network = model.network
        if any(module.training for module in network.modules()):
            network = copy_model(network).eval()
        self._network: _Plain | None = None
        chain = read_chain(network)
        if isinstance(chain, str):
            if engine == "fused":
                raise ValueError(f"the fused engine cannot run this network: {chain}")
            self._network = _Plain(network, len(model.used), model.members * model.outputs)
            chain = Chain(model.members * model.outputs, ())
        _check_channels(model, chain, read=self._network is None)
        steps = _finish(chain.steps, model, output)
        asked: Engine = engine if self._network is None else "chunks"
        self._compiled = CompiledChain(Chain(chain.c_in, steps), engine=asked)
        self.engine = self._compiled.engine if self._network is None else "network"

    def __call__(self, x: Array, out: Array) -> None:
        """Predict.

        Args:
            x: Coded pixels ``(C, P)``.
            out: Room for the outputs ``(B, P)``: int64 for classes, else float32.
        """
        values = x if self._network is None else self._network(x)
        self._compiled(values, axis=0, out=out)


def _check_channels(model: PixelModel, chain: Chain, *, read: bool) -> None:
    if read and chain.c_in != len(model.used):
        raise DataError(
            f"the network takes {chain.c_in} channels, got {len(model.used)} bands: "
            f"{', '.join(band.name for band in model.used)}"
        )
    if chain.c_out != model.members * model.outputs:
        raise DataError(
            f"the network puts out {chain.c_out} channels, not {model.members} x {model.outputs} "
            "(members x outputs of each)"
        )


def _finish(steps: tuple[Step, ...], model: PixelModel, output: Output) -> tuple[Step, ...]:
    """The network's steps and those that make the map of its outputs."""
    members = model.members
    if output.kind == "value":
        mean = _mean_targets(steps, members, output.spread) if members > 1 else steps
        return (*mean, _ends(output)) if output.half_widths else mean
    if members == 1:
        return (*steps, Argmax() if output.kind == "class" else Softmax())
    shares = (*steps, Softmax(members), Spread(members, output.spread))
    return (*shares, Argmax()) if output.kind == "class" else shares


def _ends(output: Output) -> Affine:
    """The targets, what else there is, and the targets less and plus half an interval."""
    half = torch.tensor(output.half_widths)
    given = len(output.bands) - 2 * len(half)
    every = torch.eye(given)
    targets, nothing = every[: len(half)], torch.zeros(given)
    return Affine(torch.cat([every, targets, targets]), torch.cat([nothing, -half, half]))


def _mean_targets(steps: tuple[Step, ...], members: int, spread: bool) -> tuple[Step, ...]:
    """The mean before the scale of the targets: a spread around 1e9 would be lost in float32."""
    last = steps[-1] if steps else None
    if not isinstance(last, Scale):
        return (*steps, Spread(members, spread))
    parts = [v.reshape(members, -1) for v in (last.centre, last.factor, last.shift)]
    if any(not torch.equal(v, v[:1].expand_as(v)) for v in parts):
        return (*steps, Spread(members, spread))
    centre, factor, shift = (v[0] for v in parts)
    if spread:
        nothing = torch.zeros_like(centre)
        centre, shift = torch.cat([centre, nothing]), torch.cat([shift, nothing])
        factor = torch.cat([factor, factor.abs()])
    return (*steps[:-1], Spread(members, spread), Scale(centre, factor, shift))


class _Plain:
    """A network that is no chain, as a function of pixels ``(C, P)``."""

    def __init__(self, network: nn.Module, c_in: int, c_out: int) -> None:
        self._network, self._c_out = network, c_out
        like = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
        self._device, self._dtype = like.device, like.dtype
        self._axes = self._find_axes(c_in)

    def __call__(self, x: Array) -> Tensor:
        values = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        return self._forward(values, self._axes)

    @torch.no_grad()
    def _forward(self, x: Tensor, axes: int) -> Tensor:
        x = x.to(self._device, self._dtype)
        if axes == 2:
            y = self._network(x.T).T
        else:
            y = self._network(x.reshape(1, len(x), *[1] * (axes - 3), -1))
            y = y.reshape(y.shape[1], -1)
        made: Tensor = y.float().cpu()
        return made

    def _find_axes(self, c_in: int) -> int:
        """How many axes its input has, found by trying; every pixel must stand for itself."""
        x = torch.linspace(-1, 1, c_in * _TRIED_PIXELS).reshape(c_in, -1)
        problem = ""
        for axes in (4, 3, 2, 5):
            try:
                y = self._forward(x, axes)
            except Exception as error:  # whatever a foreign network raises
                problem = problem or first_line(error)
                continue
            if y.shape != (self._c_out, _TRIED_PIXELS):
                problem = f"it gives {tuple(y.shape)} for {c_in} bands of {_TRIED_PIXELS} pixels"
                continue
            turned = self._forward(x.flip(1), axes).flip(1)
            alone = self._forward(x[:, :1], axes)
            limit = _CLOSE * max(1.0, float(y.abs().max()))
            if max(float((turned - y).abs().max()), float((alone - y[:, :1]).abs().max())) <= limit:
                return axes
            problem = "what it gives for a pixel depends on other pixels"
        raise DataError(
            f"{type(self._network).__name__} cannot map pixels one by one: {problem}; "
            f"it must take {c_in} channels and give {self._c_out} at every position"
        )
