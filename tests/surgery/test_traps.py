"""The traps that other libraries' surgery fell into, each as a case that they got wrong.

Where a trap is a habit and not a bug, the test is over the source of the package.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pointwise import surgery
from pointwise.inspection import cost
from pointwise.nn import PointwiseConv
from pointwise.surgery import (
    channels_first,
    check_equivalent,
    convolutionalize,
    crop_difference,
    fold,
    respell,
    restore,
    to_conv,
    to_linear,
    to_pointwise,
)

SOURCES = sorted(Path(surgery.__file__).parent.rglob("*.py"))

IMAGE = torch.linspace(-1, 1, 2 * 4 * 8 * 8).reshape(2, 4, 8, 8)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- 1. Matching on less than the whole rule ---

ONLY_NEARLY = {
    "stride": lambda: nn.Conv2d(4, 4, 1, stride=2),
    "stride_of_one_axis": lambda: nn.Conv2d(4, 4, 1, stride=(1, 2)),
    "padding": lambda: nn.Conv2d(4, 4, 1, padding=1),
    "padding_of_one_axis": lambda: nn.Conv2d(4, 4, 1, padding=(0, 1)),
    "groups": lambda: nn.Conv2d(4, 4, 1, groups=2),
    "no_bias": lambda: nn.Conv2d(4, 4, 1, stride=2, bias=False),
}


@pytest.mark.parametrize("convert", [to_linear, to_pointwise, to_conv])
@pytest.mark.parametrize("case", ONLY_NEARLY)
def test_a_1x1_that_is_none_computes_what_it_did(case: str, convert: Any) -> None:
    model = nn.Sequential(ONLY_NEARLY[case](), nn.ReLU())
    new, _ = convert(model)
    assert new(IMAGE).shape == model(IMAGE).shape
    torch.testing.assert_close(new(IMAGE), model(IMAGE))


# --- 2. Counting by class name ---


class Matrix(nn.Module):
    """A pointwise map that no class name tells."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("dc,nchw->ndhw", self.weight, x)


SAME_MAP = {
    "conv": lambda: nn.Conv2d(4, 6, 1, bias=False),
    "pointwise": lambda: PointwiseConv(4, 6, bias=False),
    "einsum": Matrix,
    "linear_of_conv": lambda: to_linear(nn.Conv2d(4, 6, 1, bias=False))[0],
    "pointwise_of_conv": lambda: to_pointwise(nn.Conv2d(4, 6, 1, bias=False))[0],
    "channels_first": lambda: channels_first(nn.Sequential(Matrix(), nn.ReLU()), IMAGE)[0],
}


@pytest.mark.parametrize("case", SAME_MAP)
def test_one_map_has_one_cost_whatever_it_is_called(case: str) -> None:
    model, macs = SAME_MAP[case](), 2 * 8 * 8 * 4 * 6
    assert cost(model, IMAGE).total.macs == macs
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(IMAGE)
    assert counter.get_total_flops() == 2 * macs


# --- 3. to 6. Registries, config soup, one class for everything, keywords passed through ---


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_registry_is_filled_on_import(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = [node for node in ast.walk(tree) if hasattr(node, "decorator_list")]
    named = [ast.unparse(one) for owner in owners for one in owner.decorator_list]
    assert not [name for name in named if "regist" in name.lower()]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]


def test_options_are_arguments_and_no_files() -> None:
    folder = Path(surgery.__file__).parent
    others = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert others == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_file_or_function_does_everything(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 400
    for function in functions(ast.parse(source)):
        assert body_lines(function) <= 60, function.name
        if function.name != "forward":  # SplitAttention takes what torch's attention takes
            assert len(function.args.args) <= 7, function.name  # with self


@pytest.mark.parametrize("name", surgery.__all__)
def test_options_are_spelled_out(name: str) -> None:
    public = getattr(surgery, name)
    if not (inspect.isfunction(public) or inspect.isclass(public)):
        assert name == "Rule"
        return
    own = inspect.signature(public).parameters.values()
    assert not [one.name for one in own if one.kind is inspect.Parameter.VAR_KEYWORD]


# --- 7. A from_x that does not copy ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_made_from_a_layer_computes_what_it_did(dtype: torch.dtype) -> None:
    x = IMAGE.to(dtype)
    conv, linear = nn.Conv2d(4, 6, 1, dtype=dtype), nn.Linear(4, 6, dtype=dtype)
    torch.testing.assert_close(PointwiseConv.from_conv(conv)(x), conv(x))
    rows = linear(x.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(PointwiseConv.from_linear(linear)(x), rows)


# --- 8. Forgetting a property of the old module ---


def test_every_axis_keeps_its_own_stride_and_padding() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, (3, 5), stride=(1, 2), padding=(1, 2)), nn.BatchNorm2d(6))
    folded, _ = fold(model.eval(), IMAGE)
    assert (folded[0].stride, folded[0].padding) == ((1, 2), (1, 2))
    torch.testing.assert_close(folded(IMAGE), model(IMAGE))


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "not_affine"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_one_rule_folds_norms_into_both_kinds_of_layer(kind: str, bias: bool, affine: bool) -> None:
    layer = nn.Conv1d(4, 6, 1, bias=bias) if kind == "conv" else nn.Linear(4, 6, bias=bias)
    model = nn.Sequential(layer, nn.BatchNorm1d(6, affine=affine)).double().eval()
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    x = torch.randn(3, 4, 7, dtype=torch.float64) if kind == "conv" else torch.randn(3, 4).double()
    folded, _ = fold(model, x)
    torch.testing.assert_close(folded(x), model(x))
    assert folded[0].weight.requires_grad
    assert folded[0].bias.requires_grad  # also where there was none before
    assert folded[0].bias.dtype == torch.float64


# --- 9. Untying what was shared ---


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(4, 4)
        self.a, self.b = nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.b(x)


SHARING = {
    "to_conv": to_conv,
    "to_pointwise": to_pointwise,
    "there_and_back": lambda model: restore(to_conv(model)[0]),
    "channels_first": lambda model: channels_first(model, torch.randn(2, 3, 4)),
    "fold": lambda model: fold(model.eval(), torch.randn(2, 3, 4)),
}


@pytest.mark.parametrize("case", SHARING)
def test_a_layer_of_two_parents_stays_one(case: str) -> None:
    model = Twice()
    new, _ = SHARING[case](model)
    assert len(list(new.parameters())) == 2
    with torch.no_grad():
        for one in (model, new):
            for parameter in one.parameters():
                parameter.mul_(2)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(new(x), model(x))


# --- 10. Restoring less than was changed ---


def partly_frozen() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3)
    ).train()
    model[1].eval()
    return model


LOOKING = {
    "check_equivalent": lambda model: check_equivalent(model, model, IMAGE),
    "to_conv": lambda model: to_conv(model, example=IMAGE),
    "convolutionalize": lambda model: convolutionalize(model, IMAGE),
    "crop_difference": lambda model: crop_difference(
        model, convolutionalize(model, IMAGE)[0], torch.randn(1, 4, 12, 12)
    ),
    "respell": lambda model: respell(model, IMAGE, seconds=0.05),
    "channels_first": lambda model: channels_first(model, IMAGE),
    "cost": lambda model: cost(model, IMAGE),
}


@pytest.mark.parametrize("case", LOOKING)
def test_a_frozen_norm_stays_frozen(case: str) -> None:
    model = partly_frozen()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    LOOKING[case](model)
    assert [part.training for part in model] == [True, False, True, True, True]
    assert model.training
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


# --- 11. Closures over modules ---


class Closing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = self.parts = nn.ModuleDict({"up": nn.Linear(4, 8), "down": nn.Linear(8, 4)})
        self.mlp = lambda x: parts.down(parts.up(x).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


@pytest.mark.parametrize("convert", [to_conv, to_pointwise])
def test_layers_that_a_function_closes_over_are_named_and_left(convert: Any) -> None:
    _, swaps = convert(Closing())
    reason = "a function in the attribute 'mlp' of the model holds it: a copy would run the old one"
    assert [(swap.path, swap.after, swap.reason) for swap in swaps] == [
        ("parts.up", None, reason),
        ("parts.down", None, reason),
    ]


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = PointwiseConv(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y: Tensor = self.norm(self.layer(x)).relu()
        return y


@pytest.mark.parametrize("surgery_of", ["to_conv", "fold", "channels_first", "to_torch"])
def test_runs_of_the_given_model_leave_no_trace_in_its_buffers(surgery_of: str) -> None:
    model, x = Counting().eval(), torch.randn(3, 4, 7)
    new, _ = getattr(surgery, surgery_of)(model, example=x)
    check_equivalent(model, new, x)
    assert model.calls == 0
