"""Detection heads: torchvision's with the same weights, and plain torch layers at every rank."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchvision_models  # noqa: F401  (before torchvision: it may lack operators)
from blocks import check_block
from cases import CONVS
from pointwise.nn.detection import MaskHead, RPNHead
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm, LayerNorm

SPACE = {1: (7,), 2: (5, 4), 3: (3, 2, 4)}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def with_weights_of(block: nn.Module, reference: nn.Module) -> nn.Module:
    """The reference with a block's values, in the order in which both hold them."""
    pairs = zip(reference.state_dict().items(), block.state_dict().values(), strict=True)
    reference.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return reference.eval()


def drawn(block: nn.Module) -> nn.Module:
    """The block with every parameter and statistic drawn: offsets start at 0, frozen norms at 1."""
    for tensor in block.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2, 0.8) if tensor.ndim == 1 else tensor.uniform_(-0.3, 0.3)
    return block.eval()


class OfTensors(nn.Module):
    """A head as a function of two tensors, not of a list of them."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor, y: Tensor) -> list[Tensor]:
        objectness, deltas = self.head([x, y])
        return [*objectness, *deltas]


# --- The proposal head ---


@pytest.mark.parametrize("depth", [1, 2])
def test_the_proposal_head_is_torchvisions(depth: int) -> None:
    from torchvision.models.detection.rpn import RPNHead as Reference

    block = drawn(RPNHead(6, 3, depth=depth))
    reference = with_weights_of(block, Reference(6, 3, conv_depth=depth))
    maps = [torch.randn(2, 6, 8, 7), torch.randn(2, 6, 4, 4), torch.randn(2, 6, 1, 1)]
    torch.testing.assert_close(block(maps), reference(maps), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", SPACE)
def test_the_proposal_head_is_a_3x3_and_two_1x1s(rank: int) -> None:
    block = drawn(RPNHead(4, 2, rank=rank))
    conv, parts = CONVS[rank], (block.shared, block.objectness, block.deltas)
    shared, objectness, deltas = (
        with_weights_of(part, plain)
        for part, plain in zip(
            parts,
            (
                nn.Sequential(conv(4, 4, 3, padding=1), nn.ReLU()),
                conv(4, 2, 1),
                conv(4, 2 * 2 * rank, 1),
            ),
            strict=True,
        )
    )
    x = torch.randn(2, 4, *SPACE[rank])
    expected = ([objectness(shared(x))], [deltas(shared(x))])
    torch.testing.assert_close(block([x]), expected, rtol=1e-4, atol=1e-5)


# --- The mask head ---


def test_the_mask_head_is_torchvisions_head_and_predictor() -> None:
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    block = drawn(MaskHead(6, 5, widths=(8, 4), c_up=7))
    reference = nn.Sequential(MaskRCNNHeads(6, (8, 4), 1), MaskRCNNPredictor(4, 7, 5))
    with_weights_of(block, reference)
    x = torch.randn(3, 6, 14, 14)
    torch.testing.assert_close(block(x), reference(x), rtol=1e-4, atol=1e-5)
    assert block(x).shape == (3, 5, 28, 28)


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("widths", [(), (5,), (5, 6)])
def test_the_mask_head_is_3x3s_a_doubling_and_a_1x1(rank: int, widths: tuple[int, ...]) -> None:
    block = drawn(MaskHead(4, 3, widths=widths, c_up=2, rank=rank))
    layers: list[nn.Module] = []
    c_in = 4
    for width in widths:
        layers += [CONVS[rank](c_in, width, 3, padding=1), nn.ReLU()]
        c_in = width
    layers += [TRANSPOSED[rank](c_in, 2, 2, 2), nn.ReLU(), CONVS[rank](2, 3, 1)]
    reference = with_weights_of(block, nn.Sequential(*layers))
    x = torch.randn(2, 4, *SPACE[rank])
    torch.testing.assert_close(block(x), reference(x), rtol=1e-4, atol=1e-5)


def test_no_regions_give_no_masks() -> None:
    head = MaskHead(4, 3, widths=(5,), c_up=2)
    y = head(torch.ones(0, 4, 14, 14))
    assert y.shape == (0, 3, 28, 28)
    y.sum().backward()


# --- The frozen norm ---


@pytest.mark.parametrize("rank", SPACE)
def test_a_frozen_norm_is_batch_norm_in_inference_mode(rank: int) -> None:
    block = drawn(FrozenBatchNorm(4, eps=1e-2)).train()
    norm = BATCH_NORMS[rank](4, eps=1e-2)
    norm.load_state_dict({**block.state_dict(), "num_batches_tracked": torch.tensor(0)})
    x = torch.randn(3, 4, *SPACE[rank])
    before = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    torch.testing.assert_close(block(x), norm.eval()(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(block.state_dict(), before, rtol=0, atol=0)
    assert not list(block.parameters())


def test_a_frozen_norm_is_torchvisions() -> None:
    from torchvision.ops.misc import FrozenBatchNorm2d

    block, x = drawn(FrozenBatchNorm(4)), torch.randn(3, 4, 5, 6)
    reference = FrozenBatchNorm2d(4)
    reference.load_state_dict(block.state_dict())
    torch.testing.assert_close(block(x), reference(x), rtol=1e-6, atol=1e-6)


# --- All of them ---

BLOCKS = {
    "proposals tokens": (lambda: OfTensors(RPNHead(3, 1, rank=1)), (1, 3, 7), (1, 3, 4)),
    "proposals image": (lambda: OfTensors(RPNHead(3, 2)), (2, 3, 5, 4), (2, 3, 3, 2)),
    "proposals volume": (
        lambda: OfTensors(RPNHead(2, 1, rank=3, norm=BatchNorm, activation=nn.SiLU)),
        (1, 2, 2, 3, 4),
        (1, 2, 1, 2, 2),
    ),
    "mask tokens": (lambda: MaskHead(3, 2, widths=(2,), c_up=2, rank=1), (2, 3, 5)),
    "mask image": (lambda: MaskHead(3, 2, widths=(4, 2), c_up=2), (2, 3, 4, 3)),
    "mask volume": (
        lambda: MaskHead(2, 3, widths=(2,), c_up=2, rank=3, norm=LayerNorm, activation=nn.GELU),
        (1, 2, 2, 3, 2),
    ),
    "frozen norm": (lambda: FrozenBatchNorm(3), (2, 3, 4, 5)),
    "frozen norm tokens": (lambda: FrozenBatchNorm(3), (2, 3, 4)),
}


@pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(case: tuple) -> None:
    make, *shapes = case
    check_block(drawn(make()), *(torch.randn(shape) for shape in shapes))


def test_bfloat16() -> None:
    x = torch.randn(2, 4, 6, 6, dtype=torch.bfloat16)
    objectness, deltas = RPNHead(4, 3).bfloat16()([x])
    mask = MaskHead(4, 3, widths=(4,), c_up=4).bfloat16()(x)
    normed = FrozenBatchNorm(4).bfloat16()(x)
    assert {y.dtype for y in (*objectness, *deltas, mask, normed)} == {torch.bfloat16}


def test_the_heads_start_as_their_papers_say() -> None:
    head = RPNHead(64, 16)
    for name, parameter in head.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.1)
    mask = MaskHead(64, 64, widths=(64,), c_up=64)
    assert not any(p.any() for name, p in mask.named_parameters() if name.endswith("bias"))
    fan_out = {"convs.0.conv.weight": 64 * 9, "up.conv.weight": 64 * 4, "logits.weight": 64}
    for name, fan in fan_out.items():
        assert mask.get_parameter(name).std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.1)


def test_device_and_type_reach_every_parameter() -> None:
    options = {"device": "meta", "dtype": torch.float64}
    for block in (
        RPNHead(4, 3, norm=BatchNorm, **options),
        MaskHead(4, 3, norm=BatchNorm, **options),
        FrozenBatchNorm(4, **options),
    ):
        tensors = [t for t in block.state_dict().values() if t.is_floating_point()]
        assert {(t.device.type, t.dtype) for t in tensors} == {("meta", torch.float64)}


REFUSALS = {
    "anchors": (lambda: RPNHead(4, 0), "anchors and depth must be at least 1: got 0 and 1"),
    "depth": (lambda: RPNHead(4, 3, depth=0), "anchors and depth must be at least 1: got 3 and 0"),
    "proposals c_in": (
        lambda: RPNHead(0, 3),
        "c_in, c_out and groups must be at least 1: got 0, 0 and 1",
    ),
    "proposals rank": (lambda: RPNHead(4, 3, rank=0), "rank must be 1, 2 or 3, got 0"),
    "proposals channels": (
        lambda: RPNHead(4, 3)([torch.ones(1, 3, 5, 5)]),
        "x must have shape (N, 4, H, W), got (1, 3, 5, 5)",
    ),
    "proposals axes": (
        lambda: RPNHead(4, 3)([torch.ones(1, 4, 5)]),
        "x must have shape (N, 4, H, W), got (1, 4, 5)",
    ),
    "mask sizes": (
        lambda: MaskHead(4, 0, widths=(2,)),
        "c_in, widths, c_up and classes must be at least 1: got (4, 2, 256, 0)",
    ),
    "mask rank": (lambda: MaskHead(4, 3, rank=4), "rank must be 1, 2 or 3, got 4"),
    "mask channels": (
        lambda: MaskHead(4, 3, widths=(2,))(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 4, H, W), got (1, 3, 5, 5)",
    ),
    "mask channels without widths": (
        lambda: MaskHead(4, 3, widths=())(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 4, H, W), got (1, 3, 5, 5)",
    ),
    "mask axes": (
        lambda: MaskHead(4, 3)(torch.ones(4, 5, 5)),
        "x must have shape (N, 4, H, W), got (4, 5, 5)",
    ),
    "norm": (lambda: FrozenBatchNorm(0), "channels must be at least 1, got 0"),
    "norm channels": (
        lambda: FrozenBatchNorm(4)(torch.ones(1, 3, 5)),
        "x must have shape (N, 4, *S), got (1, 3, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
