"""Mask R-CNN: torchvision's with the same weights, end to end, and one step of training."""

import builtins
import re
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

import torchvision_models  # noqa: F401  (before torchvision: it may lack operators)
from blocks import settled
from cases import channels_last
from pointwise.networks.mask_rcnn import MaskRCNN, PyramidBackbone, mask_rcnn
from pointwise.networks.resnet import ResNet
from pointwise.nn.detection import MaskHead, RPNHead
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm

SMALL = {"min_size": 96, "max_size": 128}
FEW = {
    "rpn_pre_nms_top_n_test": 60,
    "rpn_post_nms_top_n_test": 20,
    "box_score_thresh": 0.0,
    "box_detections_per_img": 10,
}
CLASSES = 91


@cache
def theirs() -> nn.Module:
    """Torchvision's network with drawn weights whose maps and scores are neither tiny nor huge."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(1)
    network = settled(
        maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=CLASSES, **SMALL, **FEW
        )
    )
    with torch.no_grad():
        maps = network.backbone(torch.randn(1, 3, 96, 128))
        for block, x in zip(network.backbone.fpn.layer_blocks, maps.values(), strict=False):
            block[0].weight /= x.std()
        heads, boxes = network.rpn.head, network.roi_heads.box_predictor
        for layer in (heads.cls_logits, heads.bbox_pred, boxes.cls_score, boxes.bbox_pred):
            layer.weight *= 10
    return network


def few(network: MaskRCNN) -> MaskRCNN:
    """The network with as few proposals and detections as the reference."""
    network.detector.rpn._pre_nms_top_n = {"training": 60, "testing": 60}
    network.detector.rpn._post_nms_top_n = {"training": 20, "testing": 20}
    network.detector.roi_heads.score_thresh = 0.0
    network.detector.roi_heads.detections_per_img = 10
    return network


@cache
def ours() -> MaskRCNN:
    return few(MaskRCNN.from_torchvision(theirs().state_dict(), **SMALL)).eval()


def tiny(channels: int = 3, classes: int = 3, norm: type = BatchNorm) -> MaskRCNN:
    """One block a stage and narrow heads."""
    body = ResNet(depths=(1, 1, 1, 1), channels=channels, width=8, norm=norm)
    anchors = (8, 16, 24, 32, 48)
    network = MaskRCNN(
        body, classes, width=16, hidden=32, anchors=anchors, min_size=64, max_size=96
    )
    return few(network)


def target(height: int, width: int, label: int = 1) -> dict[str, Tensor]:
    """One object, in the middle half of an image."""
    mask = torch.zeros(1, height, width, dtype=torch.uint8)
    mask[:, height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 1
    box = [width // 4, height // 4, width * 3 // 4, height * 3 // 4]
    boxes = torch.tensor([box], dtype=torch.float32)
    return {"boxes": boxes, "labels": torch.tensor([label]), "masks": mask}


# --- Against torchvision ---


def test_the_parameters_are_as_many_as_published() -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    with torch.device("meta"):
        network, learning = mask_rcnn(), mask_rcnn(norm=BatchNorm)
        reference = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    count = sum(p.numel() for p in network.parameters())
    assert count == 44_401_393
    assert sum(p.numel() for p in learning.parameters()) == count + 53_120
    assert sum(p.numel() for p in reference.parameters()) == count + 53_120


def test_the_maps_are_torchvisions() -> None:
    x = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        expected, found = theirs().backbone(x), ours().detector.backbone(x)
    assert list(found) == list(expected)
    torch.testing.assert_close(found, dict(expected), rtol=1e-4, atol=1e-4)


def test_the_proposal_head_gives_what_torchvisions_does() -> None:
    maps = [torch.randn(2, 256, size, size + 1) for size in (24, 12, 6, 3, 2)]
    with torch.no_grad():
        expected, found = theirs().rpn.head(maps), ours().detector.rpn.head(maps)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_mask_head_gives_what_torchvisions_does() -> None:
    x, (first, second) = (
        torch.randn(3, 256, 14, 14),
        (theirs().roi_heads, ours().detector.roi_heads),
    )
    with torch.no_grad():
        expected = first.mask_predictor(first.mask_head(x))
        found = second.mask_predictor(second.mask_head(x))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_detections_are_torchvisions() -> None:
    images = [torch.rand(3, 90, 110), torch.rand(3, 128, 100)]
    with torch.no_grad():
        expected, found = theirs()(images), ours()(images)
    assert [len(one["boxes"]) for one in found] == [10, 10]
    for one in found:
        sides = one["boxes"][:, 2:] - one["boxes"][:, :2]
        assert sides.min() > 0.1
        assert one["scores"].unique().numel() == 10
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def renamed_as_once(name: str) -> str:
    """The name that a tensor had in the files torchvision published first."""
    name = re.sub(r"(fpn\.(?:inner|layer)_blocks\.\d)\.0\.", r"\1.", name)
    name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    return re.sub(r"mask_head\.(\d)\.0", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}", name)


def test_older_files_load_and_so_do_those_of_frozen_norms() -> None:
    state = {
        renamed_as_once(name): tensor
        for name, tensor in theirs().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert "roi_heads.mask_head.mask_fcn4.bias" in state
    expected = ours().state_dict()
    for norm in (FrozenBatchNorm, partial(BatchNorm, eps=0.0)):
        found = MaskRCNN.from_torchvision(state, norm=norm).state_dict()
        shared = {name: tensor for name, tensor in found.items() if name in expected}
        torch.testing.assert_close(shared, expected, rtol=0, atol=0)


def test_counts_of_batches_are_kept_where_the_norm_has_them() -> None:
    state = dict(theirs().state_dict())
    state["backbone.body.bn1.num_batches_tracked"] = torch.tensor(7)
    network = MaskRCNN.from_torchvision(state, norm=BatchNorm)
    assert network.detector.backbone.body.stem.norm.num_batches_tracked == 7


def test_classes_and_channels_are_read_from_the_weights() -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    reference = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4)
    reference.backbone.body.conv1 = nn.Conv2d(5, 64, 7, 2, 3, bias=False)
    network = MaskRCNN.from_torchvision(reference.state_dict())
    assert network.channels == 5
    assert network.detector.roi_heads.mask_head.logits.c_out == 4


def test_torchvisions_network_takes_our_heads() -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **SMALL, **FEW).eval()
    network.load_state_dict(theirs().state_dict())
    network.rpn.head = RPNHead(256, 3)
    network.rpn.head.load_state_dict(ours().detector.rpn.head.state_dict())
    network.roi_heads.mask_head = MaskHead(256, CLASSES)
    network.roi_heads.mask_head.load_state_dict(ours().detector.roi_heads.mask_head.state_dict())
    network.roi_heads.mask_predictor = nn.Identity()
    images = [torch.rand(3, 96, 96)]
    with torch.no_grad():
        torch.testing.assert_close(network(images), theirs()(images), rtol=1e-4, atol=1e-4)


# --- Use ---


@pytest.mark.parametrize("channels", [1, 3, 12])
def test_any_size_and_number_of_channels(channels: int) -> None:
    network = settled(tiny(channels, classes=4))
    images = [torch.rand(channels, h, w) for h, w in ((64, 64), (50, 131), (200, 90))]
    with torch.no_grad():
        found = network(images)
    for image, one in zip(images, found, strict=True):
        count = len(one["boxes"])
        assert count > 0
        assert one["masks"].shape == (count, 1, *image.shape[1:])
        assert one["masks"].min() >= 0
        assert one["masks"].max() <= 1
        assert set(one["labels"].tolist()) <= {1, 2, 3}


def test_channels_last_images_give_the_same() -> None:
    network, images = settled(tiny()), [torch.rand(3, 64, 80)]
    with torch.no_grad():
        expected = network(images)
        found = network.to(memory_format=torch.channels_last)(
            [channels_last(image[None])[0] for image in images]
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bfloat16() -> None:
    network, image = settled(tiny()), torch.rand(3, 64, 80)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        maps = network.detector.backbone(image[None, :, :, :64])
        found = network([image])
    with torch.no_grad():
        found += network.bfloat16()([image.bfloat16()])
    assert {y.dtype for y in maps.values()} == {torch.bfloat16}
    for one in found:
        assert len(one["boxes"]) > 0
        assert all(torch.isfinite(tensor).all() for tensor in one.values())


def step(network: MaskRCNN) -> tuple[float, list[str]]:
    """One step on two images: the loss, and the parameters that got no gradient."""
    optimizer = torch.optim.SGD(network.train().parameters(), lr=1e-3)
    images = [torch.rand(3, 64, 80), torch.rand(3, 72, 64)]
    losses = network(images, [target(64, 80), target(72, 64, label=2)])
    assert set(losses) == {
        "loss_objectness",
        "loss_rpn_box_reg",
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
    }
    loss = sum(losses.values())
    loss.backward()
    optimizer.step()
    missed = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    return loss.item(), missed


@pytest.mark.parametrize("norm", [BatchNorm, FrozenBatchNorm])
def test_one_step_of_training_reaches_every_parameter(norm: type) -> None:
    network = tiny(norm=norm)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    loss, missed = step(network)
    assert 0 < loss < 100
    assert missed == []
    assert all(not torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_the_published_network_trains_a_step() -> None:
    network = few(mask_rcnn(3, **SMALL, norm=BatchNorm))
    loss, missed = step(network)
    assert 0 < loss < 100
    assert missed == []


def test_an_image_without_objects_is_background() -> None:
    nothing = {
        "boxes": torch.empty(0, 4),
        "labels": torch.empty(0, dtype=torch.long),
        "masks": torch.empty(0, 64, 64, dtype=torch.uint8),
    }
    losses = tiny().train()([torch.rand(3, 64, 64)] * 2, [nothing, target(64, 64)])
    assert torch.isfinite(sum(losses.values()))


def test_photographs_are_normalised_and_other_channels_left_alone() -> None:
    assert tiny().detector.transform.image_mean == [0.485, 0.456, 0.406]
    assert tiny(2).detector.transform.image_mean == [0, 0]
    assert tiny(2).detector.transform.image_std == [1, 1]


def test_the_backbone_gives_named_maps_and_has_no_classifier() -> None:
    backbone = PyramidBackbone(ResNet(depths=(1, 1, 1, 1), width=8), 4)
    assert not any("head" in name for name, _ in backbone.named_parameters())
    maps = backbone(torch.ones(1, 3, 64, 64))
    assert [tuple(y.shape[1:]) for y in maps.values()] == [(4, s, s) for s in (16, 8, 4, 2, 1)]


# --- Refusals ---


def build(**options: object) -> MaskRCNN:
    with torch.device("meta"):
        return MaskRCNN(ResNet(depths=(1, 1, 1, 1)), **options)


REFUSALS = {
    "classes": (
        lambda: build(classes=1),
        "classes must be at least 2, background included: got 1",
    ),
    "sizes": (
        lambda: build(min_size=100, max_size=99),
        "width, hidden and min_size must be at least 1, and max_size at least min_size: "
        "got 256, 1024, 100 and 99",
    ),
    "width": (
        lambda: build(width=0),
        "width, hidden and min_size must be at least 1, and max_size at least min_size: "
        "got 0, 1024, 800 and 1333",
    ),
    "anchors": (lambda: build(anchors=(8, 16)), "anchors must be 5 positive sizes, got (8, 16)"),
    "mean": (
        lambda: build(mean=(0.5,)),
        "mean and std must have 3 entries, one per channel, and std be positive: "
        "got (0.5,) and (0.229, 0.224, 0.225)",
    ),
    "std": (
        lambda: build(mean=(0.5,) * 3, std=(1, 1, 0)),
        "mean and std must have 3 entries, one per channel, and std be positive: "
        "got (0.5, 0.5, 0.5) and (1, 1, 0)",
    ),
    "no images": (lambda: tiny()([]), "images must be at least one, got none"),
    "channels": (
        lambda: tiny()([torch.ones(3, 64, 64), torch.ones(1, 64, 64)]),
        "images must have shape (3, H, W), got (1, 64, 64)",
    ),
    "axes": (
        lambda: tiny()(torch.ones(2, 64, 64)),
        "images must have shape (3, H, W), got (64, 64)",
    ),
    "empty": (
        lambda: tiny()([torch.ones(3, 0, 64)]),
        "images must have shape (3, H, W), got (3, 0, 64)",
    ),
    "no targets": (
        lambda: tiny().train()([torch.ones(3, 64, 64)]),
        "targets must be given in training mode, one per image: got none for 1 images",
    ),
    "too few targets": (
        lambda: tiny().train()([torch.ones(3, 64, 64)] * 2, [target(64, 64)]),
        "targets must be given in training mode, one per image: got 1 for 2 images",
    ),
    "not its weights": (
        lambda: MaskRCNN.from_torchvision({}),
        "state_dict must be that of torchvision's maskrcnn_resnet50_fpn: "
        "it lacks roi_heads.box_predictor.cls_score.weight",
    ),
    "weights missing": (
        lambda: MaskRCNN.from_torchvision(
            {k: v for k, v in theirs().state_dict().items() if k != "backbone.body.conv1.weight"}
        ),
        "state_dict must be that of torchvision's maskrcnn_resnet50_fpn: "
        "it lacks backbone.body.conv1.weight",
    ),
    "weights left over": (
        lambda: MaskRCNN.from_torchvision({**theirs().state_dict(), "more": torch.ones(1)}),
        "state_dict must fit MaskRCNN: it has also more",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_without_torchvision_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "torchvision":
            raise ImportError("No module named 'torchvision'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    message = "Mask R-CNN needs torchvision: pip install torchvision"
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        tiny()
