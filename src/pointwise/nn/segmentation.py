"""Segmentation heads: a class for every position, from one map or from a feature pyramid."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from pointwise.functional.checks import check_batches, check_finest_first, check_input
from pointwise.functional.layout import like_memory
from pointwise.nn.conv import ConvNormActivation, MakeActivation, MakeNorm
from pointwise.nn.dropout import Dropout
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.resample import resample

TORCHVISION_PARTS = {"0": "conv.conv", "1": "conv.norm", "4": "classifier"}
"""What the numbered layers of torchvision's ``FCNHead`` are called here."""


class FCNHead(nn.Module):
    """A 3x3 to fewer channels, dropout, and a 1x1 to the classes.

    It takes the place of torchvision's ``FCNHead`` in its segmentation models, which resample the
    result themselves; ``from_torchvision`` takes over the weights of one.

    Args:
        c_in: Number of input channels.
        classes: Number of classes.
        c_mid: Number of channels between the two. Default: a quarter of ``c_in``, at least 1.
        rank: Number of position axes: 1, 2 or 3.
        dropout: Share of values dropped before the 1x1, in training.
        norm: Makes the norm after the 3x3; ``None`` for none.
        activation: Makes the activation after it.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive, ``rank`` is not 1 to 3 or ``dropout`` not a share.

    Shape:
        ``(N, C_in, *S)`` to ``(N, classes, *S)``, or ``(N, classes, *size)`` where a size is given;
        channels-last if the input is.

    Reference:
        Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015:
        the 1x1 to classes (section 3.1) and the bilinear enlargement (section 3.3). The 3x3 to a
        quarter of the channels is torchvision's.

    Example:
        >>> head = FCNHead(64, 11)
        >>> head(torch.ones(2, 64, 6, 8)).shape, head(torch.ones(2, 64, 6, 8), (45, 60)).shape
        (torch.Size([2, 11, 6, 8]), torch.Size([2, 11, 45, 60]))
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        *,
        c_mid: int | None = None,
        rank: int = 2,
        dropout: float = 0.1,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        c_mid = max(c_in // 4, 1) if c_mid is None else c_mid
        self.conv = ConvNormActivation(
            c_in,
            c_mid,
            3,
            rank=rank,
            norm=norm,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.dropout = Dropout(dropout)
        self.classifier = PointwiseConv(c_mid, classes, device=device, dtype=dtype)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Map ``(N, C_in, *S)`` to ``(N, classes, *S)``, resampled to ``size`` if given."""
        y: Tensor = self.classifier(self.dropout(self.conv(x)))
        return y if size is None else resample(y, size)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the head that a state dict of torchvision's ``FCNHead`` is of, with its weights.

        Args:
            state_dict: That of ``fcn_resnet50().classifier`` or ``.aux_classifier``, say.

        Returns:
            The head; channels and classes are read from the shapes.

        Raises:
            ValueError: If it is not the state dict of an ``FCNHead``.
        """
        renamed = {}
        for key, tensor in state_dict.items():
            number, _, name = key.partition(".")
            renamed[f"{TORCHVISION_PARTS.get(number, number)}.{name}"] = tensor
        wanted = cls(4, 1, device="meta").state_dict().keys()
        if renamed.keys() != wanted:
            unlike = ", ".join(sorted(renamed.keys() ^ wanted))
            raise ValueError(
                f"state_dict must be that of torchvision's FCNHead: it lacks or has also {unlike}"
            )
        weight, classifier = renamed["conv.conv.weight"], renamed["classifier.weight"]
        head = cls(weight.shape[1], classifier.shape[0], c_mid=weight.shape[0], dtype=weight.dtype)
        head.load_state_dict(renamed)
        return head


class PyramidHead(nn.Module):
    """Every level of a feature pyramid brought to the finest level's size, added, and classified.

    The finest level goes through one 3x3. A level that is k times coarser goes through k stages of
    a 3x3 and an enlargement by two, each to exactly the size of the level before it, so that maps
    of any size work. The sum goes through a 1x1 to the classes.

    Args:
        c_in: Number of channels of every level.
        classes: Number of classes.
        levels: Number of levels.
        c_mid: Number of channels of every 3x3.
        rank: Number of position axes: 1, 2 or 3.
        norm: Makes the norm after every 3x3, ``None`` for none; the paper's is
            ``partial(nn.GroupNorm, 32)``.
        activation: Makes the activation after every 3x3.
        device: Where the parameters live.
        dtype: Type of the parameters.

    Raises:
        ValueError: If a size is not positive or ``rank`` is not 1 to 3.

    Shape:
        A list of ``(N, C_in, *S_i)``, the finest first, to ``(N, classes, *S_0)``, or
        ``(N, classes, *size)`` where a size is given; channels-last if the finest level is.

    Reference:
        Kirillov, Girshick, He and Dollar, Panoptic Feature Pyramid Networks, 2019, section 3 and
        figure 3: levels at strides of 4 to 32 pixels, 128 channels, then enlarged by four.

    Example:
        >>> levels = [torch.ones(1, 16, size, size) for size in (15, 8, 4)]
        >>> head = PyramidHead(16, 11, levels=3, c_mid=8)
        >>> head(levels).shape, head(levels, (60, 60)).shape
        (torch.Size([1, 11, 15, 15]), torch.Size([1, 11, 60, 60]))
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        *,
        levels: int = 4,
        c_mid: int = 128,
        rank: int = 2,
        norm: MakeNorm | None = BatchNorm,
        activation: MakeActivation = nn.ReLU,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels must be at least 1, got {levels}")
        self.c_in, self.rank = c_in, rank
        self.levels = nn.ModuleList(
            _Level(
                ConvNormActivation(
                    c_mid if stage else c_in,
                    c_mid,
                    3,
                    rank=rank,
                    norm=norm,
                    activation=activation,
                    device=device,
                    dtype=dtype,
                )
                for stage in range(max(level, 1))
            )
            for level in range(levels)
        )
        self.classifier = PointwiseConv(c_mid, classes, device=device, dtype=dtype)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int] | None = None) -> Tensor:
        """Map ``(N, C_in, *S_i)``, the finest first, to ``(N, classes, *S_0)`` or to ``size``."""
        if len(maps) != len(self.levels):
            raise ValueError(f"maps must be {len(self.levels)}, one per level, got {len(maps)}")
        for x in maps:
            check_input(x, self.c_in, self.rank)
        check_batches(maps)
        check_finest_first(maps)
        sizes = [tuple(x.shape[2:]) for x in maps]
        total = self.levels[0](maps[0], [])
        for level in range(1, len(maps)):
            total = total + self.levels[level](maps[level], sizes[level - 1 :: -1])
        out: Tensor = self.classifier(like_memory(total, maps[0]))
        return out if size is None else resample(out, size)


class _Level(nn.Module):
    """Convolutions, each followed by an enlargement where a size is given for it."""

    def __init__(self, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, ...]]) -> Tensor:
        """Bring ``(N, C_in, *S)`` to ``(N, C_mid, *sizes[-1])``."""
        for stage, conv in enumerate(self.stages):
            x = conv(x)
            if stage < len(sizes):
                x = resample(x, sizes[stage])
        return x
