"""The operators that the tests lend torchvision: cases whose answers are known by hand."""

import pytest
import torch
from torch import Tensor

from torchvision_models import nms, roi_align

BOXES = torch.tensor(
    [
        [0.0, 0.0, 10.0, 10.0],
        [0.0, 0.0, 10.0, 8.0],  # 80 of 100 shared with the first
        [0.0, 5.0, 10.0, 15.0],  # 50 of 150 shared with the first, 30 of 150 with the second
        [20.0, 20.0, 30.0, 30.0],  # alone
        [20.0, 20.0, 30.0, 30.0],  # the same again
    ]
)
SCORES = torch.tensor([0.5, 0.9, 0.4, 0.3, 0.6])


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0.1, [1, 4]),  # the second drops the first and the third
        (0.25, [1, 4, 2]),
        (0.85, [1, 4, 0, 2]),
        (1.0, [1, 4, 0, 2, 3]),
    ],
)
def test_suppression_keeps_the_best_of_what_overlaps(threshold: float, kept: list[int]) -> None:
    assert nms(BOXES, SCORES, threshold).tolist() == kept


def test_suppression_drops_only_what_overlaps_more_than_the_threshold() -> None:
    assert nms(BOXES[:2], SCORES[:2], 0.8).tolist() == [1, 0]
    assert nms(BOXES[:2], SCORES[:2], 0.79).tolist() == [1]


def test_suppression_of_nothing_and_of_ties() -> None:
    kept = nms(torch.empty(0, 4), torch.empty(0), 0.5)
    assert (kept.tolist(), kept.dtype) == ([], torch.long)
    assert nms(BOXES[3:], torch.ones(2), 0.5).tolist() == [0]


def test_suppression_is_what_torchvision_calls() -> None:
    from torchvision.ops import batched_nms

    same = torch.tensor([0, 0, 0, 1, 2])  # boxes of different classes do not suppress one another
    assert batched_nms(BOXES, SCORES, same, 0.5).tolist() == [1, 4, 2, 3]


def ramp(height: int = 12, width: int = 16) -> Tensor:
    """Two images: ``x + 100 y`` at the pixel of column ``x`` and row ``y``, and its negative."""
    plane = torch.arange(width) + 100.0 * torch.arange(height)[:, None]
    return torch.stack([plane, -plane])[:, None]


def centres(low: float, high: float, count: int) -> Tensor:
    """The middle of each of ``count`` equal cells."""
    return low + (torch.arange(count) + 0.5) * (high - low) / count


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("aligned", [False, True])
def test_a_ramp_is_its_value_at_the_middle_of_a_cell(
    samples: int, scale: float, aligned: bool
) -> None:
    box = torch.tensor([2.0, 1.5, 9.5, 7.0]) / scale
    rois = torch.stack([torch.cat([torch.tensor([i]), box]) for i in (1.0, 0.0)])
    found = roi_align(ramp(), rois, scale, 3, 5, samples, aligned)
    shift = 0.5 if aligned else 0.0
    expected = (
        centres(2 - shift, 9.5 - shift, 5) + 100 * centres(1.5 - shift, 7 - shift, 3)[:, None]
    )
    torch.testing.assert_close(found, torch.stack([-expected, expected])[:, None])


def test_outside_the_image_the_border_goes_on_for_one_pixel_and_is_then_zero() -> None:
    image = torch.full((1, 1, 4, 4), 8.0)
    rois = torch.tensor([[0.0, -2.0, 0.0, 2.0, 2.0]])
    found = roi_align(image, rois, 1.0, 1, 4, 1, False)
    assert found.flatten().tolist() == [0, 8, 8, 8]  # sampled at columns -1.5, -0.5, 0.5 and 1.5


def test_a_box_of_no_size_is_one_pixel_unless_aligned() -> None:
    rois = torch.tensor([[0.0, 3.0, 2.0, 3.0, 2.0]])
    assert roi_align(ramp(), rois, 1.0, 1, 1, 2, False).item() == pytest.approx(3.5 + 250)
    assert roi_align(ramp(), rois, 1.0, 1, 1, 2, True).item() == pytest.approx(2.5 + 150)


def test_no_boxes_give_no_regions() -> None:
    assert roi_align(ramp(), torch.empty(0, 5), 1.0, 7, 7, 2, False).shape == (0, 1, 7, 7)


def test_gradients_reach_the_image() -> None:
    image = ramp().double().requires_grad_()
    rois = torch.tensor([[0, 2.2, 1.7, 9.5, 7.1], [1, 0.3, 0.4, 3.3, 5.9]], dtype=torch.float64)
    roi_align(image, rois, 1.0, 2, 3, 2, True).sum().backward()
    shares = image.grad.sum((1, 2, 3))  # every cell of a box is a mean of pixels: 1 each
    assert shares.tolist() == pytest.approx([2 * 3, 2 * 3])
