"""``MLP``: many members are many MLPs, at any rank; residuals, dropout, copies, export."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from cases import MEMORY, LayerCase, channels_last, each_rank
from pointwise.nn import ACTIVATIONS, MLP, BatchNorm, LayerNorm, PointwiseConv

CHANNELS = (6, 8, 8, 5, 2)
NORMS: dict[str, Callable[..., nn.Module] | None] = {
    "none": None,
    "batch": BatchNorm,
    "layer": LayerNorm,
}
each_norm = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())


def make(members: int = 3, **options: object) -> MLP:
    return MLP(CHANNELS, members=members, dtype=torch.float64, **options)


def separately(mlp: MLP, x: Tensor) -> Tensor:
    """Every member on its own, outputs side by side."""
    return torch.cat([mlp.member(i)(x) for i in range(mlp.members)], 1)


def randomised(mlp: MLP) -> MLP:
    """Give norms scales and statistics that differ from channel to channel."""
    for tensor in [*mlp.norms.parameters(), *mlp.norms.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return mlp


def test_is_a_stack_of_layers() -> None:
    mlp, x = make(members=1), torch.randn(4, 6).double()
    layers = [m for p in mlp.layers for m in (p.to_linear(), nn.ReLU())]
    assert_close(mlp(x), nn.Sequential(*layers[:-1])(x))


@each_rank
@each_norm
@pytest.mark.parametrize("training", [True, False], ids=["training", "predicting"])
@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
def test_members_are_separate_networks(
    rank: int, norm: Callable[..., nn.Module] | None, training: bool, residual: bool
) -> None:
    mlp = randomised(make(norm=norm, residual=residual)).train(training)
    x = LayerCase(rank, dtype=torch.float64).x()
    expected = separately(mlp, x)
    y = mlp(x)
    assert y.shape == (len(x), 3 * 2, *x.shape[2:])
    assert_close(y, expected)


@each_norm
@pytest.mark.parametrize("memory", MEMORY)
def test_members_in_any_memory_order(norm: Callable[..., nn.Module] | None, memory: str) -> None:
    mlp, x = make(norm=norm), MEMORY[memory](LayerCase(2, dtype=torch.float64).x())
    assert_close(mlp(x), separately(mlp, x))


@each_norm
def test_gradients_of_members_are_separate(norm: Callable[..., nn.Module] | None) -> None:
    mlp, x = make(norm=norm), torch.randn(5, 6).double().requires_grad_()
    alone = [mlp.member(i) for i in range(3)]
    mlp(x).square().sum().backward()
    together, x.grad = x.grad, None
    for member in alone:
        member(x).square().sum().backward()
    assert_close(together, x.grad)
    for i, member in enumerate(alone):
        for mine, theirs in zip(mlp.parameters(), member.parameters(), strict=True):
            assert_close(mine.grad.chunk(3)[i], theirs.grad)


def test_batch_statistics_are_of_each_member() -> None:
    mlp, x = make(norm=BatchNorm), torch.randn(9, 6, 4).double()
    alone = [mlp.member(i) for i in range(3)]
    mlp(x)
    for i, member in enumerate(alone):
        member(x)
        for mine, theirs in zip(mlp.norms, member.norms, strict=True):
            assert_close(mine.running_var.chunk(3)[i], theirs.running_var)
            assert_close(mine.num_batches_tracked, theirs.num_batches_tracked)


def test_members_start_different() -> None:
    mlp = make()
    for layer in mlp.layers:
        for one, two in pairwise(layer.weight.chunk(3)):
            assert (one != two).all()
    one, two, three = mlp(torch.randn(5, 6).double()).chunk(3, 1)
    assert not torch.isclose(one, two).any()
    assert not torch.isclose(two, three).any()


def test_members_draw_as_single_networks_do() -> None:
    torch.manual_seed(3)
    mlp = MLP([16, 64, 1], members=50)
    for layer, fan_in in zip(mlp.layers, (16, 64), strict=True):
        assert 0.95 * fan_in**-0.5 < layer.weight.abs().max() <= fan_in**-0.5


@each_rank
@pytest.mark.parametrize("members", [1, 3])
def test_output_lies_in_memory_as_the_input_does(rank: int, members: int) -> None:
    mlp, x = make(members), LayerCase(rank, dtype=torch.float64).x()
    assert mlp(x).is_contiguous()
    assert mlp(channels_last(x)).movedim(1, -1).is_contiguous()


@pytest.mark.parametrize("samples", [0, 1])
@pytest.mark.parametrize("members", [1, 3])
@each_rank
def test_empty_and_single_batches(rank: int, members: int, samples: int) -> None:
    mlp = make(members, norm=LayerNorm)
    x = LayerCase(rank, dtype=torch.float64, samples=samples).x()
    y = mlp(x)
    assert y.shape == (samples, 2 * members, *x.shape[2:])
    y.sum().backward()
    assert all(p.grad is not None for p in mlp.parameters())


def test_dropout_only_in_training() -> None:
    mlp, x = MLP([6, 4000, 1], members=2, dropout=0.25), torch.randn(3, 6)
    assert not torch.equal(mlp(x), mlp(x))
    mlp.eval()
    assert_close(mlp(x), mlp(x), rtol=0, atol=0)
    mlp.train()
    seen: list[Tensor] = []
    mlp.layers[1].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    mlp(x)
    shares = (seen[0].reshape(2, 4000, 3) == 0).double().mean(1)
    assert_close(shares, torch.full((2, 3), 0.5 + 0.5 * 0.25).double(), rtol=0, atol=0.05)


def test_residual_adds_where_widths_agree() -> None:
    mlp, x = MLP([4, 4, 4, 3, 3], members=2, residual=True).double(), torch.randn(5, 4).double()
    plain = copy.deepcopy(mlp)
    plain.residual = False
    assert not torch.isclose(mlp(x), plain(x)).all()
    h0 = mlp.layers[0](x).relu()  # 4 to 4, but the members' common input is not added
    h1 = (h0 + mlp.layers[1](h0)).relu()  # 4 to 4
    h2 = mlp.layers[2](h1).relu()  # 4 to 3
    assert_close(mlp(x), mlp.layers[3](h2))  # 3 to 3, but the output is no hidden layer


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_runs_and_reaches_members(name: str) -> None:
    mlp = make(activation=ACTIVATIONS[name])
    x = torch.randn(4, 6).double()
    assert all(type(a) is ACTIVATIONS[name] for a in mlp.activations)
    assert_close(mlp(x), separately(mlp, x))
    assert [type(a) for a in mlp.member(0).activations] == [type(a) for a in mlp.activations]


def test_member_keeps_options_of_activation_and_norm() -> None:
    norm = partial(BatchNorm, eps=0.5)
    mlp = randomised(make(activation=partial(nn.LeakyReLU, 0.4), norm=norm, dropout=0.3).eval())
    mlp.layers[0].weight.requires_grad_(False)
    alone, x = mlp.member(2), torch.randn(4, 6).double()
    assert_close(alone(x), mlp(x)[:, 4:])
    assert (alone.members, alone.dropout.p, alone.training) == (1, 0.3, False)
    assert [p.requires_grad for p in alone.parameters()] == [
        p.requires_grad for p in mlp.parameters()
    ]
    with torch.no_grad():
        alone.layers[1].weight.zero_()
    assert mlp.layers[1].weight.abs().sum() > 0


@each_norm
@pytest.mark.parametrize("members", [1, 3])
def test_copies_and_pickles(members: int, norm: Callable[..., nn.Module] | None) -> None:
    mlp, x = randomised(make(members, norm=norm)).eval(), torch.randn(4, 6).double()
    for made in (copy.deepcopy(mlp), pickle.loads(pickle.dumps(mlp))):
        assert_close(made(x), mlp(x), rtol=0, atol=0)
        with torch.no_grad():
            made.layers[0].weight.zero_()
        assert mlp.layers[0].weight.abs().sum() > 0


@each_norm
def test_state_dict_round_trip(norm: Callable[..., nn.Module] | None) -> None:
    mlp, other = randomised(make(norm=norm)).eval(), make(norm=norm).eval()
    other.load_state_dict(mlp.state_dict())
    x = torch.randn(4, 6).double()
    assert_close(other(x), mlp(x), rtol=0, atol=0)


def test_public_layers_are_grouped_convolutions() -> None:
    mlp = make()
    assert [(p.c_in, p.c_out, p.groups) for p in mlp.layers] == [
        (6, 24, 1),
        (24, 24, 3),
        (24, 15, 3),
        (15, 6, 3),
    ]
    assert all(type(p) is PointwiseConv for p in mlp.layers)
    x = torch.randn(2, 6, 5).double()
    layers = [m for p in mlp.layers for m in (p.to_conv(1), nn.ReLU())]
    assert_close(mlp(x), nn.Sequential(*layers[:-1])(x))


class Copies(TorchDispatchMode):
    """Counts what moves memory, and how much of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("clone", "copy_", "_to_copy", "cat", "index"):
            self.sizes.append(made.numel())
        return made


@pytest.mark.parametrize("shape", [(7, 6), (1, 6, 4, 5), (3, 6, 20)], ids=["rows", "one", "many"])
def test_training_copies_input_and_output_and_nothing_between(shape: tuple[int, ...]) -> None:
    mlp, x = MLP([6, 32, 32, 1], members=4), torch.randn(shape)
    positions = x.numel() // 6
    with Copies() as seen:
        mlp(x).sum().backward()
    hidden = positions * 4 * 32
    assert [size for size in seen.sizes if size >= hidden] == []
    assert sum(seen.sizes) <= positions * 6 + 2 * positions * 4  # in; out, and its gradient


def test_the_gradient_of_single_outputs_is_not_copied_member_by_member() -> None:
    mlp, x = MLP([6, 32, 32, 1], members=16), torch.randn(64, 6)
    mlp(x).square().sum().backward()
    with torch.profiler.profile() as profile:  # sees the copies that a batched product makes
        mlp(x).square().sum().backward()
    clones = [event for event in profile.events() if event.name == "aten::clone"]
    assert len(clones) <= 3  # the input, the output, and its gradient


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "channels": (lambda: MLP([3]), "channels must name input and output at least, got [3]"),
    "members": (lambda: MLP([3, 1], members=0), "members must be at least 1, got 0"),
    "member": (lambda: make().member(3), "member must be from 0 to 2, got 3"),
    "negative_member": (lambda: make().member(-1), "member must be from 0 to 2, got -1"),
    "input": (
        lambda: make()(torch.ones(2, 5, 7)),
        "x must have shape (N, 6, *S), got (2, 5, 7)",
    ),
    "input_axes": (lambda: make()(torch.ones(6)), "x must have shape (N, 6, *S), got (6,)"),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        call()
    assert str(error.value) == message


@pytest.mark.parametrize("space", [(), (7, 9)], ids=["rank0", "rank2"])
@pytest.mark.parametrize("members", [1, 3])
@each_norm
def test_exports_with_any_batch_and_size(
    norm: Callable[..., nn.Module] | None, members: int, space: tuple[int, ...]
) -> None:
    mlp = make(members, norm=norm).eval()
    sizes = {0: torch.export.Dim("batch")}
    sizes |= {2: torch.export.Dim("height"), 3: torch.export.Dim("width")} if space else {}
    x = torch.randn(3, 6, *space).double()
    program = torch.export.export(mlp, (x,), dynamic_shapes={"x": sizes}).module()
    for n, *other in ((3, *space), (8, *(s + 4 for s in space))):
        x = torch.randn(n, 6, *other).double()
        assert_close(program(x), mlp(x))


@pytest.mark.parametrize("members", [1, 3])
def test_device_and_dtype_are_honoured(members: int) -> None:
    mlp = MLP(CHANNELS, members=members, norm=LayerNorm, device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in mlp.parameters()} == {("meta", torch.bfloat16)}
