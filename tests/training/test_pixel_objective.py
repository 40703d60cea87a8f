"""The loss of masks and the overlap that they are judged by."""

import pytest
import torch
import torch.nn.functional as F

from pointwise.training.objective import UNKNOWN, PixelCrossEntropy

OUTPUT = torch.randn(3, 4, 5, 6, dtype=torch.float64)
MASK = torch.randint(4, (3, 5, 6), dtype=torch.uint8)
WEIGHT = (1.0, 0.5, 2.0, 4.0)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
def test_loss_is_the_mean_over_known_pixels(weight) -> None:
    mask = MASK.clone()
    mask[0, :2], mask[1] = UNKNOWN, UNKNOWN
    found = PixelCrossEntropy(weight).loss(OUTPUT, mask)
    log_proba = OUTPUT.log_softmax(1)
    for i in range(3):
        known = (mask[i] != UNKNOWN).nonzero().tolist()
        losses = [
            -log_proba[i, int(mask[i, r, c]), r, c] * (weight or [1.0] * 4)[int(mask[i, r, c])]
            for r, c in known
        ]
        expected = torch.stack(losses).mean() if losses else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(found[i], expected)


def test_without_weights_and_unknown_pixels_it_is_the_plain_cross_entropy() -> None:
    found = PixelCrossEntropy().loss(OUTPUT, MASK).mean()
    torch.testing.assert_close(found, F.cross_entropy(OUTPUT, MASK.long()))


def test_gradients() -> None:
    mask = MASK.clone()
    mask[0, 0] = UNKNOWN
    output = OUTPUT.clone().requires_grad_()
    torch.autograd.gradcheck(lambda y: PixelCrossEntropy(WEIGHT).loss(y, mask), output)
    PixelCrossEntropy(WEIGHT).loss(output, mask).sum().backward()
    assert (output.grad[0, :, 0] == 0).all()


def test_score_is_one_minus_the_mean_overlap() -> None:
    mask = torch.tensor([[[0, 0, 1, UNKNOWN]], [[2, 2, 2, 2]], [[UNKNOWN] * 4]], dtype=torch.uint8)
    predicted = torch.tensor([[[0, 1, 1, 2]], [[2, 2, 2, 2]], [[0, 1, 2, 3]]])
    output = F.one_hot(predicted, 4).movedim(3, 1).float()
    # Of the first image classes 0 and 1 overlap by a half; of the last one nothing is known.
    torch.testing.assert_close(
        PixelCrossEntropy().score(output, mask), torch.tensor([0.5, 0.0, 0.0])
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_score_is_no_number_where_the_output_is_none(value: float) -> None:
    output = OUTPUT.clone()
    output[1, 0, 0, 0] = value
    assert PixelCrossEntropy().score(output, MASK).isfinite().tolist() == [True, False, True]


def test_its_repr_tells_it_from_others() -> None:
    assert (
        repr(PixelCrossEntropy((1.0, 2.0))) == "PixelCrossEntropy(weight=(1.0, 2.0), unknown=255)"
    )
