"""Mask R-CNN: a ResNet, a feature pyramid, and heads that find objects and outline them."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from pointwise.networks._weights import load, rename, shape_of
from pointwise.networks.resnet import TORCHVISION_NAMES, ResNet, resnet50
from pointwise.nn.conv import MakeNorm
from pointwise.nn.detection import MaskHead, RPNHead
from pointwise.nn.norm import FrozenBatchNorm
from pointwise.nn.pyramid import FeaturePyramid

STAGES = (256, 512, 1024, 2048)
"""Channels of a ResNet's maps, the finest first."""

ANCHORS = (32, 64, 128, 256, 512)
"""Side in pixels of the square anchor of each map, the finest first."""

RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors at each position."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of the red, green and blue of photographs."""

REGION = 7
"""Rows and columns of the map that the box head sees of a region; the mask head sees 14."""

BODY, TRACKED = "backbone.body.", ".num_batches_tracked"

DETECTOR_NAMES = (
    (r"^backbone\.fpn\.inner_blocks\.(\d+)\.(?:0\.)?", r"backbone.pyramid.laterals.\1.conv."),
    (r"^backbone\.fpn\.layer_blocks\.(\d+)\.(?:0\.)?", r"backbone.pyramid.smooths.\1.conv."),
    (r"^rpn\.head\.conv\.(?:0\.0\.)?", "rpn.head.shared.0.conv."),
    (r"^rpn\.head\.cls_logits\.", "rpn.head.objectness."),
    (r"^rpn\.head\.bbox_pred\.", "rpn.head.deltas."),
    *(
        (
            rf"^roi_heads\.mask_head\.(?:{i}\.0|mask_fcn{i + 1})\.",
            f"roi_heads.mask_head.convs.{i}.conv.",
        )
        for i in range(4)
    ),
    (r"^roi_heads\.mask_predictor\.conv5_mask\.", "roi_heads.mask_head.up.conv."),
    (r"^roi_heads\.mask_predictor\.mask_fcn_logits\.", "roi_heads.mask_head.logits."),
)
"""Rules that turn torchvision's names into ours, the present ones and those of older files."""


class PyramidBackbone(nn.Module):
    """A ResNet and the pyramid on its four maps, in the form that torchvision's detectors take.

    Args:
        body: The network. Its classifier is taken off.
        width: Number of channels of every map.

    Shape:
        ``(N, channels, H, W)`` to maps of ``width`` channels, by name: ``"0"`` to ``"3"`` at
        strides of 4, 8, 16 and 32 pixels, and ``"pool"`` at 64.

    Example:
        >>> import torch
        >>> backbone = PyramidBackbone(ResNet(depths=(1, 1, 1, 1), width=8), 16)
        >>> {name: tuple(y.shape[2:]) for name, y in backbone(torch.ones(1, 3, 64, 96)).items()}
        {'0': (16, 24), '1': (8, 12), '2': (4, 6), '3': (2, 3), 'pool': (1, 2)}
    """

    def __init__(self, body: ResNet, width: int = 256) -> None:
        super().__init__()
        body.register_module("head", nn.Identity())  # parameters that no loss would reach
        self.body = body
        self.pyramid = FeaturePyramid(STAGES, width, coarser=True)
        self.out_channels = width  # the name that torchvision asks for

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map ``(N, channels, H, W)`` to the pyramid's maps, by name."""
        maps = self.pyramid(self.body.maps(x))
        return dict(zip(("0", "1", "2", "3", "pool"), maps, strict=True))


class MaskRCNN(nn.Module):
    """Finds the objects of images: box, class, score and mask of each.

    ResNet, feature pyramid, proposal head and mask head are made of this package's blocks. Anchors,
    sampling, losses and the box head are torchvision's, which has to be installed; its model is the
    attribute ``detector``, where thresholds and counts can be set:
    ``network.detector.roi_heads.score_thresh``. Torchvision's compiled RoIAlign knows no bfloat16:
    use ``torch.autocast``, and float32 where the edges of boxes matter to a pixel.

    Args:
        body: The ResNet that sees the image, taken over: its classifier is taken off.
        classes: Number of classes, the background included, which is class 0.
        width: Number of channels of the pyramid and the mask head.
        hidden: Number of units of the box head's two layers.
        anchors: Side in pixels of the square anchor of each of the five maps, the finest first.
        min_size: Pixels that the shorter side of every image is scaled to.
        max_size: Pixels that the longer side has at most.
        mean: What is subtracted from each channel. Default: that of photographs for three
            channels, otherwise 0.
        std: What each channel is then divided by. Default: that of photographs for three
            channels, otherwise 1.

    Raises:
        ImportError: If torchvision is not installed.
        ValueError: If there are less than two classes, a size is not positive, or ``anchors``,
            ``mean`` or ``std`` has not as many entries as there are maps or channels.

    Shape:
        A list of images ``(channels, H, W)`` of any sizes, values 0 to 1. In inference mode, to a
        list of dicts: ``boxes`` ``(D, 4)`` as left, top, right, bottom, ``labels`` ``(D,)``,
        ``scores`` ``(D,)`` and ``masks`` ``(D, 1, H, W)``. In training mode, with a list of dicts
        of ``boxes``, ``labels`` and ``masks`` ``(D, H, W)`` as targets, to the losses by name.

    Reference:
        He, Gkioxari, Dollar and Girshick, Mask R-CNN, 2017, section 3; Lin et al., Feature Pyramid
        Networks for Object Detection, 2017, section 4.
    """

    def __init__(
        self,
        body: ResNet,
        classes: int = 91,
        *,
        width: int = 256,
        hidden: int = 1024,
        anchors: Sequence[int] = ANCHORS,
        min_size: int = 800,
        max_size: int = 1333,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2, background included: got {classes}")
        if min(width, hidden, min_size) < 1 or max_size < min_size:
            raise ValueError(
                "width, hidden and min_size must be at least 1, and max_size at least min_size: "
                f"got {width}, {hidden}, {min_size} and {max_size}"
            )
        if len(anchors) != len(ANCHORS) or min(anchors) < 1:
            raise ValueError(f"anchors must be {len(ANCHORS)} positive sizes, got {tuple(anchors)}")
        self.channels = body.channels
        usual = IMAGENET if self.channels == 3 else ((0.0,) * self.channels, (1.0,) * self.channels)
        mean, std = mean or usual[0], std or usual[1]
        if not len(mean) == len(std) == self.channels or min(std) <= 0:
            raise ValueError(
                f"mean and std must have {self.channels} entries, one per channel, and std be "
                f"positive: got {tuple(mean)} and {tuple(std)}"
            )
        self.detector = _detector(
            PyramidBackbone(body, width),
            classes,
            hidden,
            anchors,
            (min_size, max_size),
            (mean, std),
        )

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None
    ) -> Any:
        """Find the objects of images, or in training mode give the losses against targets."""
        if not len(images):
            raise ValueError("images must be at least one, got none")
        for image in images:
            if image.ndim != 3 or len(image) != self.channels or not image.numel():
                raise ValueError(
                    f"images must have shape ({self.channels}, H, W), got {tuple(image.shape)}"
                )
        if self.training and (targets is None or len(targets) != len(images)):
            got = "none" if targets is None else len(targets)
            raise ValueError(
                f"targets must be given in training mode, one per image: got {got} for "
                f"{len(images)} images"
            )
        return self.detector(list(images), None if targets is None else list(targets))

    @classmethod
    def from_torchvision(
        cls,
        state_dict: Mapping[str, Tensor],
        *,
        norm: MakeNorm = FrozenBatchNorm,
        min_size: int = 800,
        max_size: int = 1333,
    ) -> Self:
        """Build the network that a state dict of torchvision's is of, with its weights.

        Args:
            state_dict: That of ``maskrcnn_resnet50_fpn``, with any number of classes and input
                channels, under its present or its older names.
            norm: Makes the ResNet's norms. The published weights ``COCO_V1`` are used with an
                ``eps`` of 0: ``functools.partial(FrozenBatchNorm, eps=0.0)``.
            min_size: Pixels that the shorter side of every image is scaled to.
            max_size: Pixels that the longer side has at most.

        Returns:
            The network; classes and channels are read from the shapes.

        Raises:
            ImportError: If torchvision is not installed.
            ValueError: If it is not the state dict of a ``maskrcnn_resnet50_fpn``.
        """
        name = "maskrcnn_resnet50_fpn"
        classes = shape_of(state_dict, "roi_heads.box_predictor.cls_score.weight", name, 2)[0]
        channels = shape_of(state_dict, f"{BODY}conv1.weight", name, 4)[1]
        body = resnet50(channels=channels, norm=norm)
        network = cls(body, classes, min_size=min_size, max_size=max_size)
        load(network.detector, _fitting(_named_as_ours(state_dict), network.detector.state_dict()))
        return network


def mask_rcnn(
    classes: int = 91,
    *,
    channels: int = 3,
    norm: MakeNorm = FrozenBatchNorm,
    min_size: int = 800,
    max_size: int = 1333,
) -> MaskRCNN:
    """Mask R-CNN on ResNet-50: 44,401,393 parameters at 91 classes, those of COCO and background.

    Args:
        classes: Number of classes, the background included.
        channels: Number of input channels.
        norm: Makes the ResNet's norms. Trained from random weights it needs ones that learn:
            ``BatchNorm``, which adds 53,120 parameters.
        min_size: Pixels that the shorter side of every image is scaled to.
        max_size: Pixels that the longer side has at most.

    Returns:
        The network, with random weights.

    Example:
        >>> network = mask_rcnn(2)  # doctest: +SKIP
        >>> network.eval()([torch.rand(3, 240, 320)])[0].keys()  # doctest: +SKIP
        dict_keys(['boxes', 'labels', 'scores', 'masks'])
    """
    body = resnet50(channels=channels, norm=norm)
    return MaskRCNN(body, classes, min_size=min_size, max_size=max_size)


def _detector(
    backbone: PyramidBackbone,
    classes: int,
    hidden: int,
    anchors: Sequence[int],
    sizes: tuple[int, int],
    scaling: tuple[Sequence[float], Sequence[float]],
) -> nn.Module:
    """Torchvision's model of our parts."""
    try:
        from torchvision.models import detection
    except ImportError as error:
        raise ImportError("Mask R-CNN needs torchvision: pip install torchvision") from error
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

    width = backbone.out_channels
    detector: nn.Module = detection.MaskRCNN(
        backbone,
        min_size=sizes[0],
        max_size=sizes[1],
        image_mean=list(scaling[0]),
        image_std=list(scaling[1]),
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in anchors), (RATIOS,) * len(anchors)
        ),
        rpn_head=RPNHead(width, len(RATIOS)),
        box_head=TwoMLPHead(width * REGION**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, classes),
        mask_head=MaskHead(width, classes, widths=(width,) * 4, c_up=width),
        mask_predictor=nn.Identity(),  # the mask head has it
    )
    return detector


def _named_as_ours(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a ``maskrcnn_resnet50_fpn`` under our names."""
    body = {k.removeprefix(BODY): v for k, v in state_dict.items() if k.startswith(BODY)}
    rest = {k: v for k, v in state_dict.items() if not k.startswith(BODY)}
    renamed = rename(body, TORCHVISION_NAMES)
    return {**{BODY + k: v for k, v in renamed.items()}, **rename(rest, DETECTOR_NAMES)}


def _fitting(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is given, with the counts of batches that ``own`` has: frozen norms count none."""
    counts = {key: tensor for key, tensor in own.items() if key.endswith(TRACKED)}
    used = {k: v for k, v in given.items() if k in own or not k.endswith(TRACKED)}
    return {**counts, **used}
