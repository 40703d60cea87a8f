"""Both engines against the definition in float64: every step, layout, type, tail and width."""

import math

import pytest
import torch
from runtime_chains import (
    LAYOUTS,
    arranged,
    as_rows,
    assert_runs,
    each_engine,
    needs_halide,
)
from torch import nn

from pointwise.functional import Affine
from pointwise.nn import (
    MLP,
    CategoryEncoder,
    ChannelScale,
    LayerNorm,
    NumberEncoder,
    TableNetwork,
)
from pointwise.runtime.chain import (
    Activation,
    Argmax,
    Chain,
    Clip,
    Concat,
    Impute,
    Lookup,
    Missing,
    Normalize,
    OneHot,
    Pick,
    Residual,
    Scale,
    SmoothClip,
    Softmax,
    Spread,
    Step,
)
from pointwise.runtime.compiled import CompiledChain, Engine
from pointwise.runtime.lowering import read_chain
from pointwise.runtime.reference import evaluate

NAN = math.nan


def numbers(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def matrix(c_in: int, c_out: int, groups: int = 1, bias: bool = True) -> Affine:
    weight = numbers(c_out, c_in // groups) / (c_in // groups) ** 0.5
    return Affine(weight, numbers(c_out) if bias else None, groups)


def chain_of(net: nn.Module) -> Chain:
    chain = read_chain(net.eval())
    assert isinstance(chain, Chain)
    return chain


HIDDEN = Activation("silu")

PLAIN = Chain(5, [matrix(5, 17), Activation("relu"), matrix(17, 20, bias=False)])
ENDS_IN_ONE = Chain(5, [matrix(5, 17), Activation("relu"), matrix(17, 1)])
FILLING = Chain(
    4,
    [
        matrix(4, 16),
        Activation("relu"),
        matrix(16, 96),
        HIDDEN,
        Clip(-numbers(96).abs(), numbers(96).abs()),
        matrix(96, 32, bias=False),
        Scale(numbers(32), numbers(32), numbers(32)),
    ],
)
"""Every layer fills whole vectors: rows are not turned."""
FROM_ONE = Chain(1, [matrix(1, 17), Activation("relu"), matrix(17, 3)])

CHAINS: dict[str, Chain] = {
    "nothing": Chain(5, []),
    "activation": Chain(5, [Activation("tanh")]),
    "matrix": Chain(5, [matrix(5, 3)]),
    "groups": Chain(6, [matrix(6, 9, 3), HIDDEN, matrix(9, 12, 3)]),
    "scale": Chain(3, [Scale(numbers(3), numbers(3), numbers(3)), matrix(3, 4)]),
    "scale_last": Chain(5, [matrix(5, 7), HIDDEN, Scale(numbers(7), numbers(7), numbers(7))]),
    "clip": Chain(3, [Clip(-numbers(3).abs(), numbers(3).abs()), matrix(3, 4)]),
    "smooth_clip": Chain(3, [SmoothClip(3.0), matrix(3, 4)]),
    "pick": Chain(5, [Pick((4, 0, 0, 2)), matrix(4, 3)]),
    "pick_hidden": Chain(5, [matrix(5, 9), HIDDEN, Pick((8, 1, 2)), matrix(3, 3)]),
    "concat": Chain(5, [Concat(((Pick((0, 1)), HIDDEN), (), (matrix(5, 3),))), matrix(10, 3)]),
    "residual": Chain(5, [matrix(5, 9), Residual((HIDDEN, matrix(9, 9))), matrix(9, 2)]),
    "residual_deep": Chain(
        5, [matrix(5, 18), Residual((matrix(18, 31), HIDDEN, matrix(31, 18))), HIDDEN]
    ),
    "residual_first": Chain(5, [Residual((HIDDEN, matrix(5, 5))), HIDDEN, matrix(5, 5)]),
    "normalize": Chain(5, [matrix(5, 17), Normalize(), HIDDEN, matrix(17, 4)]),
    "normalize_first": Chain(5, [Normalize(), matrix(5, 4)]),
    "softmax": Chain(5, [matrix(5, 17), Softmax()]),
    "argmax": Chain(5, [matrix(5, 17), Argmax()]),
    "probable": Chain(5, [matrix(5, 17), Softmax(), Argmax()]),
    "members": Chain(5, [matrix(5, 4 * 17), HIDDEN, matrix(4 * 17, 4 * 3, 4)]),
    "members_of_one": Chain(5, [matrix(5, 4 * 17), HIDDEN, matrix(4 * 17, 4, 4)]),
    "members_softmax": Chain(5, [matrix(5, 4 * 17), HIDDEN, matrix(4 * 17, 4 * 3, 4), Softmax(4)]),
    "members_normalize": Chain(
        5, [matrix(5, 4 * 17), Normalize(4), HIDDEN, matrix(4 * 17, 4 * 3, 4)]
    ),
    "spread": Chain(5, [matrix(5, 4 * 17), HIDDEN, matrix(4 * 17, 4 * 3, 4), Spread(4)]),
    "mean": Chain(5, [matrix(5, 4 * 17), HIDDEN, matrix(4 * 17, 4, 4), Spread(4, deviation=False)]),
    "vote": Chain(
        5,
        [
            matrix(5, 3 * 17),
            HIDDEN,
            matrix(3 * 17, 3 * 4, 3),
            Softmax(3),
            Spread(3, deviation=False),
            Argmax(),
        ],
    ),
}


@each_engine
@pytest.mark.parametrize("name", CHAINS)
def test_every_step(name: str, engine: Engine) -> None:
    chain = CHAINS[name]
    assert_runs(chain, arranged("planar", chain.c_in), engine)


ON_ROWS = ("nothing", "concat", "residual_first", "argmax", "members", "members_of_one", "spread")
"""One of each way to read the input and to write the output."""


@each_engine
@pytest.mark.parametrize("name", ON_ROWS)
def test_steps_on_rows(name: str, engine: Engine) -> None:
    chain = CHAINS[name]
    assert_runs(chain, arranged("rows", chain.c_in), engine)


@each_engine
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "chain", [PLAIN, ENDS_IN_ONE, FILLING, FROM_ONE], ids=["5-20", "5-1", "4-32", "1-3"]
)
def test_every_layout(layout: str, chain: Chain, engine: Engine) -> None:
    assert_runs(chain, arranged(layout, chain.c_in), engine)


CHECKED = {"filling": FILLING, "plain": PLAIN, **{name: CHAINS[name] for name in ON_ROWS}}


@needs_halide
@pytest.mark.parametrize("layout", ["rows", "planar"])
@pytest.mark.parametrize("name", CHECKED)
def test_halide_finds_nothing_to_object_to(name: str, layout: str) -> None:
    """By default it does not look, to compile faster; named targets make it check every array."""
    import halide as hl

    from pointwise.runtime.fused import Fused

    chain = CHECKED[name]
    x = arranged(layout, chain.c_in)
    source = x.T[None] if layout == "rows" else x.flatten(2)
    dtype = chain.dtype or torch.float32
    shape = (len(source), source.shape[2], chain.c_out)
    out = torch.empty(shape, dtype=dtype).transpose(1, 2)
    out = out if layout == "rows" else out.contiguous()
    Fused(chain, target=hl.get_host_target().to_string()).run(source, out)
    expected = evaluate(chain, as_rows(source).double()).to(dtype)
    torch.testing.assert_close(as_rows(out), expected, atol=2e-6, rtol=2e-6)


DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float64",
)


@each_engine
@pytest.mark.parametrize("layout", ["rows", "planar", "a_few_positions"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type(dtype: str, layout: str, engine: Engine) -> None:
    assert_runs(PLAIN, arranged(layout, 5, getattr(torch, dtype)), engine, atol=1e-4)


@each_engine
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_types_of_rows_of_few_channels(dtype: str, engine: Engine) -> None:
    x = arranged("rows", 4, getattr(torch, dtype))
    assert_runs(FILLING, x, engine, atol=1e-4, rtol=1e-4)
    assert_runs(Chain(4, [matrix(4, 3)]), x, engine, atol=1e-4)


@each_engine
@pytest.mark.parametrize("positions", [1, 31, 32, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097])
def test_every_tail(positions: int, engine: Engine) -> None:
    x = torch.randn(1, 5, positions, generator=torch.Generator().manual_seed(0))
    assert_runs(PLAIN, x, engine)
    assert_runs(PLAIN, x[0].T, engine)
    assert_runs(PLAIN, x[0].T.contiguous(), engine)


@needs_halide
@pytest.mark.parametrize("dtype", ["float32", "uint16", "float64"])
@pytest.mark.parametrize("shape", [(1, 64, 5120), (1, 70, 5003), (3, 64, 4100), (1, 200, 4099)])
def test_wide_planar_memory(shape: tuple[int, int, int], dtype: str) -> None:
    chain = Chain(shape[1], [matrix(shape[1], 9), HIDDEN, matrix(9, 3)])
    x = (50 * numbers(*shape).abs()).to(getattr(torch, dtype))
    assert_runs(chain, x, "fused", atol=1e-4, rtol=1e-5)
    assert_runs(chain, x[:, :, 3:], "fused", atol=1e-4, rtol=1e-5)


@needs_halide
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("positions", [256, 257, 511, 512, 1000, 4099])
def test_copied_tiles_write_what_they_should_and_no_more(positions: int, samples: int) -> None:
    import halide as hl

    from pointwise.runtime.fused import Fused

    chain = Chain(70, [matrix(70, 9), HIDDEN, matrix(9, 3)])
    x = numbers(samples, 70, positions).float()
    around = torch.full((samples, 3, positions + 64), NAN)
    Fused(chain, target=hl.get_host_target().to_string()).run(x, around[:, :, 32:-32])
    expected = evaluate(chain, as_rows(x).double()).float()
    torch.testing.assert_close(as_rows(around[:, :, 32:-32]), expected, atol=1e-5, rtol=1e-5)
    assert around[:, :, :32].isnan().all()
    assert around[:, :, -32:].isnan().all()


MANY_OUT: dict[str, Chain] = {
    "narrow_in": Chain(5, [matrix(5, 9), HIDDEN, matrix(9, 17)]),
    "wide_in": Chain(70, [matrix(70, 9), HIDDEN, matrix(9, 70)]),
    "deep": Chain(5, [matrix(5, 17), HIDDEN, matrix(17, 20), HIDDEN, matrix(20, 33), HIDDEN]),
    "matrix": Chain(5, [matrix(5, 40)]),
    "wide_matrix": Chain(60, [matrix(60, 40)]),
    "twice": Chain(5, [matrix(5, 30), matrix(30, 16)]),
    "widest": Chain(5, [matrix(5, 2500), HIDDEN, matrix(2500, 16)]),
    "softmax": Chain(5, [matrix(5, 48), Softmax()]),
    "residual": Chain(5, [matrix(5, 50), Residual((HIDDEN, matrix(50, 50))), HIDDEN]),
    "concat": Chain(30, [Concat(((HIDDEN,), (matrix(30, 40),)))]),
    "spread": Chain(5, [matrix(5, 4 * 9), HIDDEN, matrix(4 * 9, 4 * 50, 4), Spread(4)]),
    "members": Chain(5, [matrix(5, 4 * 9), HIDDEN, matrix(4 * 9, 4 * 50, 4)]),
}
"""Of plain ones each block of the last matrix goes through several tiles in a row."""


@needs_halide
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("positions", [256, 257, 1000, 4099])
@pytest.mark.parametrize("name", MANY_OUT)
def test_blocks_write_what_they_should_and_no_more(
    name: str, positions: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import halide as hl

    from pointwise.runtime import fused

    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr(fused, "PARALLEL_MACS", 0)
    chain = MANY_OUT[name]
    x = numbers(3, chain.c_in, positions).float()
    around = torch.full((3, chain.c_out, positions + 64), NAN)
    asked = fused.Fused(chain, target=hl.get_host_target().to_string())
    for some in (slice(3), slice(1)):
        asked.run(x[some], around[some, :, 32:-32])
    expected = evaluate(chain, as_rows(x).double()).float()
    torch.testing.assert_close(as_rows(around[:, :, 32:-32]), expected, atol=1e-5, rtol=1e-5)
    assert around[:, :, :32].isnan().all()
    assert around[:, :, -32:].isnan().all()


@needs_halide
@pytest.mark.parametrize("macs", [1 << 16, 1 << 18, 1 << 20])
def test_long_inputs_run_in_slices(macs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointwise.runtime.fused.SLICE_MACS", macs)
    chain = Chain(64, [matrix(64, 9), HIDDEN, matrix(9, 3)])
    assert_runs(chain, numbers(1, 64, 10_007).float(), "fused")


@each_engine
def test_tiles_that_outgrow_the_stack(engine: Engine) -> None:
    hidden, classes, members = 40, 700, 16
    steps = [
        matrix(5, members * hidden),
        HIDDEN,
        matrix(members * hidden, members * classes, members),
        Spread(members),
    ]
    assert_runs(Chain(5, steps), arranged("rows", 5), engine)


@each_engine
def test_chains_of_wide_layers(engine: Engine) -> None:
    chain = Chain(5, [matrix(5, 2500), HIDDEN, matrix(2500, 3)])
    assert_runs(chain, arranged("rows", 5), engine, atol=1e-5, rtol=1e-5)


# --- What tables need ---

GAPS = torch.tensor([[1.0, NAN, -1.0, 3.0], [NAN, 2.0, 1.0, -1.0], [0.0, 0.0, NAN, NAN]])


def table_network(members: int) -> TableNetwork:
    torch.manual_seed(0)
    encoder = NumberEncoder([0.0, 1.0], [1.0, 2.0], [True, False], [[0.0, 1.0, 3.0], []])
    categories = CategoryEncoder([[0.75, 0.25, 0.0], [0.01] * 100])
    mlp = MLP(
        [encoder.c_out + categories.c_out, 8, 8, 2],
        members=members,
        norm=LayerNorm,
        activation=nn.GELU,
        residual=True,
    )
    return TableNetwork(encoder, categories, mlp, ChannelScale([2.0, 300.0], [0.0, 1.0])).eval()


@each_engine
@pytest.mark.parametrize("members", [1, 3])
def test_the_network_of_a_table(members: int, engine: Engine) -> None:
    net = table_network(members)
    x = GAPS.repeat(40, 1)
    with torch.no_grad():
        expected = net(x)
    got = CompiledChain(chain_of(net), engine=engine)(x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)


STEPS_ON_GAPS: dict[str, Step] = {
    "impute": Impute(torch.tensor([1.0, 2.0, 3.0, 4.0])),
    "missing": Missing(),
    "clip": Clip(torch.full((4,), -0.5), torch.full((4,), 0.5)),
    "one_hot": OneHot(torch.tensor([1.0, 0.0, -1.0, 3.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])),
    "relu": Activation("relu"),
    "normalize": Normalize(),
    "softmax": Softmax(),
}


@each_engine
@pytest.mark.parametrize("name", STEPS_ON_GAPS)
def test_what_is_missing_stays_missing(name: str, engine: Engine) -> None:
    assert_runs(Chain(4, [STEPS_ON_GAPS[name]]), GAPS.repeat(30, 1), engine)


@each_engine
def test_a_missing_channel_makes_its_position_missing(engine: Engine) -> None:
    x = torch.randn(1, 5, 500)
    x[0, 2, 17] = NAN
    got = CompiledChain(PLAIN, engine=engine)(x)
    missing = got.isnan()
    assert missing[0, :, 17].all()
    assert missing.sum() == PLAIN.c_out


@each_engine
def test_the_first_missing_score_wins_as_in_pytorch(engine: Engine) -> None:
    x = torch.randn(6, 500)
    x[torch.rand(6, 500) < 0.2] = NAN
    x[:, 7], x[:, 8] = NAN, -math.inf
    chain = Chain(6, [Scale(torch.zeros(6), torch.ones(6), torch.zeros(6)), Argmax()])
    got = CompiledChain(chain, engine=engine)(x[None])
    torch.testing.assert_close(got[0, 0], x.argmax(0))


@each_engine
def test_lookup_takes_the_last_row_for_unseen_codes(engine: Engine) -> None:
    table = numbers(5, 3)
    codes = torch.tensor([[0.0], [3.0], [-1.0], [4.0], [NAN], [7.0], [-2.0]]).repeat(40, 1)
    chain = Chain(1, [Lookup(table)])
    expected = table[[0, 3, 4, 4, 4, 4, 0]].repeat(40, 1)
    torch.testing.assert_close(evaluate(chain, codes.double()), expected)
    got = CompiledChain(chain, engine=engine)(codes)
    torch.testing.assert_close(got, expected.float())
