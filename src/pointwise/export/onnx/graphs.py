"""What an estimator computes, as one module of tensors: from columns or pixels to predictions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pointwise.data.coding import LARGEST, ColumnCoding, TableCoding
from pointwise.export.onnx.calendar import date_part
from pointwise.maps import InputBand, PixelModel
from pointwise.maps.levels import Levels
from pointwise.nn import TableNetwork
from pointwise.nn.encoding import UNSEEN


class TableGraph(nn.Module):
    """Columns of a table to predictions: offsets, dates and the network of a fitted estimator.

    Args:
        coding: How the columns are coded.
        network: The trained network.
        classes: Number of classes of a classifier; ``None`` for a regression.
        single: Whether a regression's predictions have no axis of targets.
        half: How far intervals reach to both sides of a prediction, for each target.

    Shape:
        One tensor ``(N, 1)`` for each column that is used, in the order of the training table:
        numbers in float64 with NaN for what is missing, dates in microseconds since 1970 in int64,
        of categories the codes of their levels. To predictions ``(N,)`` or ``(N, targets)`` in
        float64, and the lower and upper ends of intervals if any, or class numbers ``(N,)`` and
        probabilities ``(N, K)``.
    """

    half_width: Tensor
    offsets: Tensor

    def __init__(
        self,
        coding: TableCoding,
        network: TableNetwork,
        classes: int | None,
        *,
        single: bool,
        half: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.register_buffer("half_width", torch.tensor(half, dtype=torch.float64))
        self.network, self.classes, self.single = network, classes, single
        kept = [column.name for column in coding.columns if not column.ignored]
        self.numbers = [(c, kept.index(c.name)) for c in coding.numbers]
        self.categories = [kept.index(c.name) for c in coding.categories]
        offsets = [offset for column in coding.numbers for offset in _offsets(column)]
        known = offsets if any(offsets) else []
        self.register_buffer("offsets", torch.tensor(known, dtype=torch.float64))

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """Predict."""
        numbers = [part for c, i in self.numbers for part in _channels(c, columns[i])]
        codes = [columns[i] for i in self.categories]
        return self.predicted(torch.cat(numbers, 1) if numbers else None, codes)

    def predicted(self, numbers: Tensor | None, codes: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        """Predict of all number channels ``(N, C)`` in float64, and the codes of each category."""
        dtype = self.network.weight.dtype
        coded = [code.to(dtype) for code in codes]
        if numbers is not None:
            less = numbers - self.offsets if len(self.offsets) else numbers
            coded.insert(0, less.to(dtype))
        members = self.network.scaled(torch.cat(coded, 1)).unflatten(
            1, (self.network.mlp.members, -1)
        )
        if self.classes is not None:
            shares = members.softmax(2).mean(1)
            return shares.argmax(1), shares
        scale = self.network.scale  # in float64: float32 has no target like 1e9 + 1
        values: Tensor = (members.double() * scale.scale.double() + scale.shift.double()).mean(1)
        ends = _with_ends(values, self.half_width)
        return tuple(end[:, 0] if self.single else end for end in ends)


class ArrayGraph(nn.Module):
    """Rows of an array to predictions, where all columns are numbers and have no names.

    Args:
        table: The graph of the single columns.
        used: Which columns of the array the network takes.

    Shape:
        ``(N, columns)`` in float64 to what ``TableGraph`` gives.
    """

    def __init__(self, table: TableGraph, used: Sequence[int]) -> None:
        super().__init__()
        self.table, self.used = table, list(used)

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Predict."""
        return self.table.predicted(rows[:, self.used])


class PixelGraph(nn.Module):
    """Bands of images to predictions at every pixel, by the network of a table's rows.

    Args:
        model: The model as a map takes it.
        half: How far intervals reach to both sides of a prediction, for each target.

    Shape:
        ``(N, B, H, W)`` in float32, the columns of the training table as bands, to predictions
        ``(N, targets, H, W)``, and the lower and upper ends of intervals if any, or class numbers
        ``(N, H, W)`` and probabilities ``(N, K, H, W)``. Predictions and probabilities are NaN
        where a map would have nodata.
    """

    half_width: Tensor

    def __init__(self, model: PixelModel, half: Sequence[float] = ()) -> None:
        super().__init__()
        self.register_buffer("half_width", torch.tensor(half, dtype=torch.float32)[:, None, None])
        self.network, self.model = model.network, model
        self.levels = {b.name: Levels(b.name, b.levels) for b in model.used if b.levels}

    def forward(self, bands: Tensor) -> tuple[Tensor, ...]:
        """Predict."""
        place = {band.name: i for i, band in enumerate(self.model.bands)}
        used = [bands.narrow(1, place[band.name], 1) for band in self.model.used]
        known = [torch.where(x.abs() <= LARGEST, x, float("nan")) for x in used]
        coded = [self._coded(b, x) for b, x in zip(self.model.used, known, strict=True)]
        gone = torch.cat([x.isnan() for x in known], 1)
        needed = [i for i, band in enumerate(self.model.used) if not band.gaps]
        empty = (gone[:, needed].any(1) | gone.all(1))[:, None]
        members = self.network(torch.cat(coded, 1)).unflatten(1, (self.model.members, -1))
        if self.model.classes is None:
            values = torch.where(empty, float("nan"), members.mean(1))
            return _with_ends(values, self.half_width)
        shares = members.softmax(2).mean(1)
        return shares.argmax(1), torch.where(empty, float("nan"), shares)

    def _coded(self, band: InputBand, x: Tensor) -> Tensor:
        if not band.levels:
            return _less(x.double(), band.offset).to(x.dtype)
        levels = self.levels[band.name]
        coded, exact = torch.where(x.isnan(), x, UNSEEN), x.double()
        for number, code in zip(levels.numbers, levels.codes.tolist(), strict=True):
            coded = torch.where(
                exact == torch.tensor(float(number), dtype=exact.dtype), code, coded
            )
        return coded


class ImageGraph(nn.Module):
    """Images to class numbers and probabilities.

    Args:
        network: The network of a fitted classifier or segmenter, which takes pixels.

    Shape:
        ``(N, C, H, W)`` to class numbers ``(N,)`` and probabilities ``(N, K)``; of a segmenter
        ``(N, H, W)`` and ``(N, K, H, W)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict."""
        shares = self.network(images).softmax(1)
        return shares.argmax(1), shares


def _with_ends(values: Tensor, half_width: Tensor) -> tuple[Tensor, ...]:
    """Predictions, and the ends of their intervals if there are any."""
    return (values, values - half_width, values + half_width) if len(half_width) else (values,)


def _less(values: Tensor, offset: float) -> Tensor:
    """Values less an offset, in float64; torch's exporter would round a plain number to float32."""
    return values - torch.tensor(offset, dtype=torch.float64) if offset else values


def _channels(coding: ColumnCoding, column: Tensor) -> list[Tensor]:
    """The channels of one column of numbers or dates ``(N, 1)``, in float64, with their offsets."""
    if coding.kind != "date":
        return [column]
    return [date_part(column, part) for part in coding.parts]


def _offsets(coding: ColumnCoding) -> list[float]:
    """What is subtracted from each of these channels."""
    if coding.kind != "date":
        return [coding.offset]
    return [coding.offset if part == "elapsed" else 0.0 for part in coding.parts]
