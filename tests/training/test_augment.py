"""Random changes of images: what moves, how masks move along, and where randomness comes from."""

import pickle
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import Tensor

from pointwise.training.augment import (
    Augmentations,
    RandomColour,
    RandomCrop,
    RandomFlip,
    RandomScale,
    RandomShift,
)

STEPS = {
    "colour": RandomColour(),
    "shift": RandomShift(2),
    "crop": RandomCrop(5, 6),
    "flip": RandomFlip(),
    "scale": RandomScale(0.7, 1.6),
    "all": Augmentations(RandomFlip(), RandomScale(0.7, 1.6), RandomShift(3), RandomCrop(6, 5)),
}
each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def images_like(masks: Tensor, channels: int = 3, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Images whose every pixel is its mask's number, so that both can be compared after."""
    return masks[:, None].repeat(1, channels, 1, 1).to(dtype)


def some_masks(n: int = 16, height: int = 8, width: int = 9) -> Tensor:
    return torch.randint(5, (n, height, width), dtype=torch.uint8)


@each_step
def test_labels_are_left_alone(step) -> None:
    x, y = images_like(some_masks()), torch.arange(16)
    assert step(x, y)[1] is y


@pytest.mark.parametrize("step", [STEPS[name] for name in ("shift", "crop", "flip")])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_masks_move_with_their_images(step, channels: int, dtype: torch.dtype) -> None:
    y = some_masks()
    x = images_like(y, channels, dtype)
    moved, mask = step(x, y)
    assert (moved.dtype, mask.dtype) == (dtype, torch.uint8)
    assert torch.equal(moved, images_like(mask, channels, dtype))
    assert mask.shape[1:] == moved.shape[2:]
    assert not torch.equal(moved[..., :5, :5], x[..., :5, :5])


def test_scaled_masks_move_with_their_images() -> None:
    y = torch.zeros(64, 24, 24, dtype=torch.uint8)
    y[:, 8:16, 8:16] = 1
    x, mask = RandomScale(0.5, 2.0)(images_like(y), y)
    assert (x.dtype, mask.dtype) == (torch.float32, torch.uint8)
    # A linear and a nearest pixel are on the same side of a half but for the rounding of ties.
    assert ((x[:, 0] > 0.5) == (mask == 1)).float().mean() > 0.99
    areas = mask.flatten(1).sum(1)
    assert areas.min() < 40
    assert areas.max() > 120


@each_step
def test_the_same_random_numbers_give_the_same_images(step) -> None:
    y = some_masks()
    torch.manual_seed(3)
    first = step(images_like(y), y)
    torch.manual_seed(3)
    second = step(images_like(y), y)
    third = step(images_like(y), y)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], third[0])


@each_step
def test_images_draw_apart_and_inputs_are_left_alone(step) -> None:
    one = some_masks(1)
    y = one.repeat(16, 1, 1)
    x = images_like(y)
    moved, _ = step(x, y)
    assert len({image.numpy().tobytes() for image in moved}) > 1
    assert torch.equal(x, images_like(y))
    assert torch.equal(y, one.repeat(16, 1, 1))


def test_shift_by_every_distance_up_to_the_most() -> None:
    x = torch.arange(7.0).repeat(400, 1, 7, 1)  # each pixel is its column
    moved, _ = RandomShift(2)(x, torch.zeros(400))
    assert set((moved[:, 0, 0, 3] - 3).tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    rows, _ = RandomShift(2)(x.transpose(2, 3), torch.zeros(400))
    assert set((rows[:, 0, 3, 0] - 3).tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_shift_repeats_the_edge_and_marks_the_outside_in_masks() -> None:
    columns = torch.arange(4.0).repeat(200, 1, 4, 1)
    y = torch.zeros(200, 4, 4, dtype=torch.uint8)
    moved, mask = RandomShift(1, outside=255)(columns, y)
    right = moved[:, 0, 0, 0] == 1  # moved to the left: its last column is repeated
    assert right.any()
    assert (moved[right, 0, :, 3] == 3).all()
    assert (mask[right][:, :, 3] == 255).all()
    assert set(mask.unique().tolist()) == {0, 255}
    still = (mask == 0).all(1).all(1)
    assert torch.equal(moved[still], columns[still])
    assert (RandomShift(1)(columns, y)[1] == 0).all()


def test_shift_by_nothing_is_nothing() -> None:
    x = torch.rand(4, 2, 5, 6)
    assert torch.equal(RandomShift(0)(x, torch.zeros(4))[0], x)


def test_every_second_image_is_mirrored() -> None:
    x = torch.arange(4.0).repeat(1000, 1, 1, 1)
    moved, _ = RandomFlip()(x, torch.zeros(1000))
    mirrored = (moved == x.flip(-1)).flatten(1).all(1)
    assert 430 < mirrored.sum() < 570
    assert torch.equal(moved[~mirrored], x[~mirrored])


def test_crops_come_from_anywhere() -> None:
    x = torch.arange(30.0).reshape(1, 1, 5, 6).repeat(300, 1, 1, 1)
    moved, _ = RandomCrop(4, 4)(x, torch.zeros(300))
    assert moved.shape == (300, 1, 4, 4)
    assert set(moved[:, 0, 0, 0].tolist()) == {0.0, 1.0, 2.0, 6.0, 7.0, 8.0}
    assert (moved[:, 0, 3, 3] - moved[:, 0, 0, 0] == 21).all()


def test_a_crop_of_the_whole_is_the_whole() -> None:
    x = torch.rand(4, 2, 5, 6)
    assert torch.equal(RandomCrop(5, 6)(x, torch.zeros(4))[0], x)


def test_a_factor_of_one_is_nothing() -> None:
    x, y = torch.rand(4, 2, 5, 6), some_masks(4, 5, 6)
    moved, mask = RandomScale(1, 1, outside=9)(x, y)
    torch.testing.assert_close(moved, x)
    assert torch.equal(mask, y)


def test_shrunk_masks_are_marked_around_the_image() -> None:
    y = torch.ones(8, 16, 16, dtype=torch.uint8)
    x, mask = RandomScale(0.5, 0.5, outside=255)(images_like(y), y)
    assert ((mask == 1).flatten(1).sum(1) == 64).all()
    assert ((mask == 255) | (mask == 1)).all()
    assert (x == 1).all()  # the edge, repeated
    assert (RandomScale(0.5, 0.5)(images_like(y), y)[1] == 1).all()


def test_enlarged_images_are_a_part_of_them() -> None:
    x = torch.arange(16.0).repeat(200, 1, 16, 1)
    moved, _ = RandomScale(2, 2)(x, torch.zeros(200))
    first, last = moved[:, 0, 0, 0], moved[:, 0, 0, 15]
    torch.testing.assert_close(last - first, torch.full((200,), 7.5), atol=0.6, rtol=0)
    assert first.min() < 1
    assert last.max() > 14


def test_colours_change_by_one_factor_and_offset_per_channel_within_the_bounds() -> None:
    x, masks = torch.rand(400, 3, 6, 7), some_masks(400, 6, 7)
    changed, same = RandomColour(brightness=0.4, contrast=0.0, tint=0.2)(x, masks)
    assert same is masks
    factors = changed / x
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(x))
    assert 0.5 < factors.log().abs().max() <= 0.6 + 1e-5
    tints = (factors[:, :, 0, 0] / factors[:, :1, 0, 0]).log()
    assert 0.3 < tints.abs().max() <= 0.4 + 1e-5


def test_contrast_stretches_around_the_mean_of_an_image() -> None:
    x = torch.rand(200, 3, 6, 7)
    changed, _ = RandomColour(brightness=0.0, contrast=0.5, tint=0.0)(x, torch.arange(200))
    torch.testing.assert_close(changed.mean((1, 2, 3)), x.mean((1, 2, 3)))
    stretched = (changed.std((1, 2, 3)) / x.std((1, 2, 3))).log()
    assert 0.4 < stretched.abs().max() <= 0.5 + 1e-5


def test_colours_by_nothing_are_the_images() -> None:
    x = torch.randint(256, (4, 3, 5, 5), dtype=torch.uint8)
    changed, _ = RandomColour(brightness=0, contrast=0, tint=0)(x, torch.arange(4))
    torch.testing.assert_close(changed, x.float())


@each_step
def test_steps_are_told_apart_and_travel(step) -> None:
    again = pickle.loads(pickle.dumps(step))
    assert again == step
    assert repr(again) == repr(step)
    assert len({repr(other) for other in STEPS.values()}) == len(STEPS)
    assert repr(RandomShift(2)) != repr(RandomShift(3))


def test_steps_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        RandomShift(2).pixels = 3


def test_steps_go_one_after_another() -> None:
    x, y = images_like(some_masks()), torch.arange(16)
    assert Augmentations()(x, y) == (x, y)
    double = Augmentations(lambda x, y: (2 * x, y), lambda x, y: (x + 1, y))
    assert torch.equal(double(x, y)[0], 2 * x + 1)


REFUSALS = {
    "colour": (
        lambda: RandomColour(contrast=-0.1),
        "brightness, contrast and tint must be finite and at least 0, got 0.3, -0.1, 0.05",
    ),
    "shift": (lambda: RandomShift(-1), "pixels must be at least 0, got -1"),
    "crop": (lambda: RandomCrop(0, 4), "height and width must be at least 1, got 0 and 4"),
    "order": (
        lambda: RandomScale(2, 1),
        "smallest and largest must be positive and in order, got 2 and 1",
    ),
    "zero": (
        lambda: RandomScale(0, 1),
        "smallest and largest must be positive and in order, got 0 and 1",
    ),
    "small": (
        lambda: RandomCrop(9, 4)(torch.ones(1, 1, 8, 8), torch.ones(1)),
        "images must be at least 9 x 4 to crop, got 8 x 8",
    ),
    "rank": (
        lambda: RandomFlip()(torch.ones(1, 8, 8), torch.ones(1)),
        "images must have shape (N, C, H, W), got (1, 8, 8)",
    ),
    "mask": (
        lambda: RandomFlip()(torch.ones(1, 1, 8, 8), torch.ones(1, 8, 7)),
        "masks must have the size of their images, (8, 8), got (8, 7)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=r"must") as caught:
        call()
    assert str(caught.value) == message
