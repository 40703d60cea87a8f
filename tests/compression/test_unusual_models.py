"""Models that keep, lock, switch or put out what others do not."""

import copy
import json
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pointwise.compression import Budget, Recovery, compress, trade_off
from pointwise.compression.fitting import lockstep
from pointwise.errors import DataError

X = torch.randn(256, 32, generator=torch.Generator().manual_seed(0))
HALF = Budget(macs=0.6)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))
    ).eval()


class Around(nn.Module):
    """Layers inside a context."""

    def __init__(self, context: Any) -> None:
        super().__init__()
        self.net = layers()
        self.context = context

    def forward(self, x: Tensor) -> Tensor:
        with self.context():
            out: Tensor = self.net(x)
        return out


LOCK = threading.Lock()


def locked() -> threading.Lock:
    return LOCK


def warned() -> Any:
    return warnings.catch_warnings(action="ignore")


def by_math() -> Any:
    return sdpa_kernel(SDPBackend.MATH)


@contextmanager
def without_onednn() -> Iterator[None]:  # torch's own sets more, and warns of that
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def switches() -> list[Any]:
    return [
        list(warnings.filters),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.mkldnn.enabled,
    ]


@pytest.mark.parametrize("context", [locked, warned, by_math, without_onednn])
def test_what_a_forward_switches_or_locks_is_put_back(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockstep, "PATIENCE_S", 0.3)
    compress(layers(), HALF, X[:1], data=X)  # imports, which add filters of their own
    before = switches()
    done = compress(Around(context), HALF, X[:1], data=X)
    assert switches() == before
    assert not LOCK.locked()
    plain = compress(layers(), HALF, X[:1], data=X)
    torch.testing.assert_close(done.model(X), plain.model(X), rtol=1e-4, atol=1e-5)


class Keeping(nn.Module):
    """Keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()
        self.seen: dict[str, list[Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.seen["x"] = [self.net[0](x)]
        out: Tensor = self.net(x)
        return out


def test_activations_that_a_model_keeps_hold_no_graph_afterwards() -> None:
    model = Keeping()
    model(X)  # with a graph
    compress(copy.deepcopy(layers()), HALF, X[:1], data=X)
    done = compress(model, HALF, X[:1], data=X)
    assert done.report.rows
    assert not model.seen["x"][0].requires_grad
    copy.deepcopy(model)


class Outputs(nn.Module):
    """Its second output has another first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.net(x)
        return y, y.mean(0, keepdim=True)


def test_outputs_may_have_first_axes_of_their_own() -> None:
    done = compress(Outputs(), HALF, X[:1], data=X)
    assert done.report.rows
    with pytest.raises(DataError, match=r"first axis is that of the samples.*logits="):
        compress(Outputs(), HALF, X[:1], data=X, recover=Recovery(data=[X], epochs=1))


class Graph(nn.Module):
    """A buffer of a layout that torch cannot compare."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()
        self.register_buffer("adjacency", torch.eye(32).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net((self.adjacency @ x.T).T)
        return out


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_buffers_stay() -> None:
    model = Graph()
    done = compress(model, HALF, X[:1], data=X)
    for one in (model, done.model):
        torch.testing.assert_close(one.adjacency.to_dense(), torch.eye(32))


@pytest.mark.parametrize("share", [np.float64(0.6), np.float32(0.6), Fraction(3, 5)])
def test_a_share_of_any_kind_is_kept_as_a_number(share: Any) -> None:
    done = compress(layers(), Budget(macs=share), X[:1])
    (target,) = json.loads(done.report.to_json())["targets"]
    assert target["asked"] == pytest.approx(0.6)


@pytest.mark.parametrize("kind", [np.asarray, list])
def test_labels_need_not_be_tensors(kind: Any) -> None:
    labels = torch.arange(256) % 5
    given = Recovery(data=[(X, kind(labels.tolist()))], epochs=1, loss="labels")
    done = compress(layers(), HALF, X[:1], data=X, recover=given)
    assert any("labels" in note for note in done.report.notes)


def test_paths_to_exclude_may_come_from_a_generator() -> None:
    def paths() -> Iterator[str]:
        yield "2"

    rows = compress(layers(), Budget(macs=0.8), X[:1], exclude=paths()).report.rows  # type: ignore[arg-type]
    assert {row.path: row.form for row in rows}["2"] is None


@pytest.mark.filterwarnings("ignore")  # of torch's own making
def test_a_compiled_model_is_asked_for_as_it_was() -> None:
    compiled = layers()
    compiled.compile()
    for model in (torch.compile(layers()), compiled):
        with pytest.raises(ValueError, match=r"the one before torch\.compile"):
            compress(model, HALF, X[:1])  # type: ignore[arg-type]


def test_why_nothing_can_be_compressed_is_said() -> None:
    with pytest.raises(ValueError, match="0 layers can be compressed; 3 cannot: it is excluded"):
        compress(layers(), HALF, X[:1], exclude=["0", "2", "4"])


@pytest.mark.parametrize("of", ["latency", "time"])
def test_curves_over_what_is_not_counted_are_refused_before_any_work(of: Any) -> None:
    with pytest.raises(ValueError, match="of must be one of macs, params, bytes"):
        trade_off(layers(), X[:1], of=of)


def test_an_example_and_data_of_other_kinds_are_told_of() -> None:
    with pytest.raises(ValueError, match="example must be an input of the model, got None"):
        compress(layers(), HALF, None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="from_numpy"):
        compress(layers(), HALF, X[:1], data=X.numpy())  # type: ignore[arg-type]


def test_recovery_in_bfloat16_judges_by_divergences_that_are_none_below_zero() -> None:
    model, x = layers().bfloat16(), X.bfloat16()
    done = compress(model, HALF, x[:1], data=x, recover=Recovery(data=[x], epochs=1))
    note = next(note for note in done.report.notes if "divergence" in note)
    figures = re.search(r"from (\S+) to (\S+) with", note)
    assert figures is not None, note
    assert min(map(float, figures.groups())) >= 0
