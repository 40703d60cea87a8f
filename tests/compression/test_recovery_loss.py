"""Losses to recover by, against torch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from pointwise.compression.fitting.recovery_data import read_samples
from pointwise.compression.fitting.recovery_loss import Divergence, LabelError, OutputError


def itself(output: Tensor) -> Tensor:
    return output


SHAPES = [(4, 3), (4, 5, 2, 3), (4, 1), (4, 1, 6)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@each_shape
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_divergence_is_that_of_torch(shape: tuple[int, ...], temperature: float) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, *shape, dtype=torch.float64)
    loss = Divergence(itself, lambda numbers: theirs[numbers], temperature)
    for found, t in ((loss.loss, temperature), (loss.score, 1.0)):
        if shape[1] == 1:
            p, q = (s[:, 0] / t for s in (ours, theirs))
            wanted = F.binary_cross_entropy_with_logits(p, q.sigmoid(), reduction="none")
            wanted = wanted - F.binary_cross_entropy_with_logits(q, q.sigmoid(), reduction="none")
        else:
            mine, target = (ours / t).log_softmax(1), (theirs / t).softmax(1)
            wanted = F.kl_div(mine, target, reduction="none").sum(1)
        assert_close(found(ours, torch.arange(4)), t**2 * wanted.reshape(4, -1).mean(1))


def test_masked_scores_count_for_nothing() -> None:
    theirs = torch.tensor([[1.0, -torch.inf, 2.0]])
    ours = torch.tensor([[0.5, -torch.inf, 0.0]], requires_grad=True)
    loss = Divergence(itself, lambda _: theirs).score(ours, torch.arange(1))
    few = ours[:, [0, 2]].log_softmax(1)
    wanted = F.kl_div(few, theirs[:, [0, 2]].softmax(1), reduction="batchmean")
    assert_close(loss, wanted[None])
    loss.sum().backward()
    assert ours.grad is not None
    assert ours.grad.isfinite().all()


@each_shape
def test_cross_entropy_counts_known_positions(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    scores = torch.randn(shape, dtype=torch.float64)
    labels = torch.randint(0, max(2, shape[1]), (4, *shape[2:]), dtype=torch.uint8)
    labels[0] = 255
    found = LabelError(itself, 255).score(scores, labels)
    for i in range(4):
        row, known = scores[i].reshape(shape[1], -1), labels[i].flatten() != 255
        if not known.any():
            assert found[i] == 0
            continue
        one = labels[i].flatten()
        each = (
            F.binary_cross_entropy_with_logits(row[0], one.double(), reduction="none")
            if shape[1] == 1
            else -row.log_softmax(0).gather(0, one.long()[None])[0]
        )
        assert_close(found[i], each[known].mean())


def test_outputs_of_any_kind_are_compared_number_by_number() -> None:
    output = {"a": torch.tensor([[1.0, 2.0]]), "b": (torch.tensor([3.0]), torch.tensor([7]))}
    error = OutputError(lambda _: torch.tensor([[0.0, 0.0, 0.0]]), 2.0)
    assert_close(error.loss(output, torch.tensor([0])), torch.tensor([(1 + 4 + 9) / 3 / 2]))


def test_samples_keep_what_is_the_same_for_all() -> None:
    example = (torch.ones(1, 3), "word", torch.ones(7))
    batches = [
        (torch.full((n, 3), float(n)), "word", torch.arange(7.0), torch.arange(n)) for n in (2, 5)
    ]
    found = read_samples(batches, example)
    assert found.count == 7
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 0, 1, 2, 3, 4]
    x, word, same = found.at(torch.tensor([1, 2]))
    assert x.tolist() == [[2.0] * 3, [5.0] * 3]
    assert (word, same.tolist()) == ("word", [0, 1, 2, 3, 4, 5, 6])
