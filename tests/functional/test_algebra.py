"""The algebra of maps against applying the maps: for every combination of groups, in float64."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from pointwise.functional import Affine, add, block_diagonal, compose, fold_affine, regroup

GROUPS = (1, 2, 3, 4, 6)
CHANNELS = (12, 24)  # every number of groups divides them
quick = settings(max_examples=60)


def random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@st.composite
def affines(draw: st.DrawFn, c_in: int | None = None, c_out: int | None = None) -> Affine:
    """A random map of the given channels, or of any."""
    c_in = c_in or draw(st.sampled_from(CHANNELS))
    c_out = c_out or draw(st.sampled_from(CHANNELS))
    groups, seed = draw(st.sampled_from(GROUPS)), draw(st.integers(0, 99))
    bias = random(c_out, seed=seed + 100) if draw(st.booleans()) else None
    return Affine(random(c_out, c_in // groups, seed=seed), bias, groups)


@st.composite
def chains(draw: st.DrawFn, length: int) -> list[Affine]:
    """Maps that follow one another."""
    channels = [draw(st.sampled_from(CHANNELS)) for _ in range(length + 1)]
    return [draw(affines(*pair)) for pair in pairwise(channels)]


@st.composite
def parallels(draw: st.DrawFn) -> list[Affine]:
    """Maps of equal channels."""
    c_in, c_out = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS))
    return draw(st.lists(affines(c_in, c_out), min_size=1, max_size=3))


def inputs(affine: Affine, *space: int) -> Tensor:
    return random(3, affine.c_in, *space, seed=7)


def assert_same_map(one: Affine, two: Affine) -> None:
    x = inputs(one, 5)
    assert_close(one(x), two(x))
    assert one.groups == two.groups


@quick
@given(chains(2))
def test_compose_is_one_map_after_the_other(chain: list[Affine]) -> None:
    first, second = chain
    merged = compose(first, second)
    for x in (inputs(first), inputs(first, 4, 5)):
        assert_close(merged(x), second(first(x)))
    assert merged.groups == math.gcd(first.groups, second.groups)


@quick
@given(chains(3))
def test_compose_is_associative(chain: list[Affine]) -> None:
    one, two, three = chain
    left, right = compose(compose(one, two), three), compose(one, compose(two, three))
    assert_same_map(left, right)
    assert_close(left.weight, right.weight)


@quick
@given(affines(), st.booleans())
def test_compose_with_the_identity_changes_nothing(affine: Affine, before: bool) -> None:
    size = affine.c_in if before else affine.c_out
    ones = torch.ones(size, 1, dtype=torch.float64)
    identity = Affine(ones, groups=size)  # diagonal
    merged = compose(identity, affine) if before else compose(affine, identity)
    assert_same_map(merged, affine)
    assert_close(merged.weight, affine.weight, rtol=0, atol=0)


@quick
@given(affines(), st.booleans(), st.booleans())
def test_fold_affine_is_the_scaling_before_or_after(
    affine: Affine, before: bool, shifted: bool
) -> None:
    size = affine.c_in if before else affine.c_out
    scale = random(size, seed=1)
    shift = random(size, seed=2) if shifted else None
    folded = fold_affine(affine, scale, shift, before=before)

    def scaled(x: Tensor) -> Tensor:
        return x * scale[:, None] + (0 if shift is None else shift[:, None])

    x = inputs(affine, 5)
    assert_close(folded(x), affine(scaled(x)) if before else scaled(affine(x)))
    assert folded.groups == affine.groups
    assert (folded.bias is None) == (affine.bias is None and shift is None)


@quick
@given(affines(), st.booleans())
def test_fold_affine_is_compose_with_a_diagonal(affine: Affine, before: bool) -> None:
    size = affine.c_in if before else affine.c_out
    scale, shift = random(size, seed=1), random(size, seed=2)
    diagonal = Affine(scale[:, None], shift, size)
    merged = compose(diagonal, affine) if before else compose(affine, diagonal)
    assert_same_map(fold_affine(affine, scale, shift, before=before), merged)


@quick
@given(parallels())
def test_add_sums_the_outputs(maps: list[Affine]) -> None:
    merged, x = add(*maps), inputs(maps[0], 5)
    assert_close(merged(x), torch.stack([m(x) for m in maps]).sum(0))
    assert merged.groups == math.gcd(*(m.groups for m in maps))


@quick
@given(st.lists(affines(), min_size=1, max_size=4))
def test_block_diagonal_runs_maps_side_by_side(maps: list[Affine]) -> None:
    merged = block_diagonal(*maps)
    parts = [inputs(m, 5) * (i + 1) for i, m in enumerate(maps)]
    expected = torch.cat([m(x) for m, x in zip(maps, parts, strict=True)], 1)
    assert_close(merged(torch.cat(parts, 1)), expected)


def test_block_diagonal_of_equal_shapes_has_groups() -> None:
    maps = [Affine(random(4, 3, seed=i), groups=2) for i in range(3)]
    merged = block_diagonal(*maps)
    assert (merged.groups, merged.weight.shape, merged.bias) == (6, (12, 3), None)


def test_block_diagonal_of_unequal_shapes_is_dense() -> None:
    wide, narrow = Affine(random(4, 3, seed=0), random(4, seed=1)), Affine(random(2, 5, seed=2))
    merged = block_diagonal(wide, narrow)
    assert (merged.groups, merged.weight.shape) == (1, (6, 8))
    assert_close(merged.weight[:4, 3:], torch.zeros(4, 5, dtype=torch.float64), rtol=0, atol=0)
    assert_close(merged.bias, torch.cat([wide.bias, torch.zeros(2).double()]), rtol=0, atol=0)


@quick
@given(affines(), st.sampled_from(GROUPS))
def test_regroup_is_the_same_map_with_fewer_groups(affine: Affine, groups: int) -> None:
    if affine.groups % groups:
        message = f"groups must divide the map's groups: got {groups} for {affine.groups}"
        with pytest.raises(ValueError, match=f"^{message}$"):
            regroup(affine, groups)
        return
    fewer, x = regroup(affine, groups), inputs(affine, 5)
    assert_close(fewer(x), affine(x))
    assert (fewer.groups, fewer.weight.shape) == (
        groups,
        (affine.c_out, affine.c_in // groups),
    )


@quick
@given(affines())
def test_sizes_and_blocks(affine: Affine) -> None:
    g = affine.groups
    assert affine.blocks().shape == (g, affine.c_out // g, affine.c_in // g)
    assert affine(inputs(affine)).shape == (3, affine.c_out)


def test_gradients_flow_through_the_algebra() -> None:
    first = Affine(random(4, 3, seed=0).requires_grad_(), random(4, seed=1).requires_grad_(), 2)
    second = Affine(random(5, 4, seed=2).requires_grad_())
    scale = random(5, seed=3).requires_grad_()
    x = random(2, 6, seed=4)

    def merged(w: Tensor, b: Tensor, v: Tensor, s: Tensor) -> Tensor:
        return fold_affine(compose(Affine(w, b, 2), Affine(v)), s)(x)

    given_ = (first.weight, first.bias, second.weight, scale)
    assert torch.autograd.gradcheck(merged, given_)


ONE, TWO = Affine(torch.ones(4, 3)), Affine(torch.ones(5, 6))
ERRORS = {
    "compose": (
        lambda: compose(ONE, TWO),
        "channels between the maps must agree: the first puts out 4, the second takes 6",
    ),
    "fold_scale": (
        lambda: fold_affine(ONE, torch.ones(3)),
        "scale must have shape (4,), got (3,)",
    ),
    "fold_scale_before": (
        lambda: fold_affine(ONE, torch.ones(4), before=True),
        "scale must have shape (3,), got (4,)",
    ),
    "fold_shift": (
        lambda: fold_affine(ONE, torch.ones(4), torch.ones(4, 1)),
        "shift must have shape (4,), got (4, 1)",
    ),
    "add_unequal": (
        lambda: add(ONE, TWO),
        "parallel maps must have equal channels, got (C_in, C_out) of [(3, 4), (6, 5)]",
    ),
    "add_nothing": (lambda: add(), "add needs at least one map, got none"),
    "block_nothing": (
        lambda: block_diagonal(),
        "block_diagonal needs at least one map, got none",
    ),
    "regroup": (
        lambda: regroup(Affine(torch.ones(4, 1), groups=4), 3),
        "groups must divide the map's groups: got 3 for 4",
    ),
    "regroup_zero": (
        lambda: regroup(ONE, 0),
        "groups must divide the map's groups: got 0 for 1",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(call, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        call()
    assert str(error.value) == message
