"""Whole networks of transformers with the channels first: what they take and give stays."""

import pickle
from typing import Any

import pytest
import torch
from calibrated import randomised
from torch import Tensor, nn
from torch.testing import assert_close

import torchvision_models  # noqa: F401  (before transformers: torchvision may lack operators)
from pointwise.surgery.layouts import channels_first

transformers = pytest.importorskip("transformers")

TEXT = {"vocab_size": 50, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": TEXT | {"hidden_size": 16, "intermediate_size": 24},
    "deberta-v2": TEXT | {"hidden_size": 16, "intermediate_size": 24, "relative_attention": True},
    "distilbert": {"vocab_size": 50, "dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2},
    "gpt2": {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "use_cache": False}
    | {"bos_token_id": 1, "eos_token_id": 1},
    "opt": TEXT | {"hidden_size": 16, "ffn_dim": 24, "use_cache": False, "word_embed_proj_dim": 16},
    "llama": TEXT | {"hidden_size": 16, "intermediate_size": 24, "use_cache": False},
    "t5": {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    | {"use_cache": False},
    "vit": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    | {"num_attention_heads": 2, "image_size": 32, "patch_size": 8},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(name: str, **more: Any) -> nn.Module:
    config = transformers.AutoConfig.for_model(name, **(CONFIGS[name] | more))
    model: nn.Module = transformers.AutoModel.from_config(config)
    return model


def inputs(name: str, samples: int = 2, length: int = 7) -> dict[str, Tensor]:
    if name == "vit":
        return {"pixel_values": torch.randn(samples, 3, 32, 32, dtype=torch.float64)}
    ids = torch.randint(5, 50, (samples, length))
    return {"input_ids": ids} | ({"decoder_input_ids": ids} if name == "t5" else {})


def signalling(name: str, **more: Any) -> nn.Module:
    """A network whose outputs tell, in float64."""
    return randomised(build(name, **more).double())


def assert_same(new: nn.Module, model: nn.Module, given: dict[str, Any]) -> None:
    with torch.no_grad():
        y, expected = new(**given), model(**given)
    assert type(y) is type(expected)
    assert list(y) == list(expected)
    for name in expected:
        assert_close(y[name], expected[name], atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("name", CONFIGS)
def test_whole_networks(name: str):
    model = signalling(name)
    new, swaps = channels_first(model, inputs(name))
    assert "takes any batch" in swaps[-1].reason
    alone = "; takes any batch but of one: the input differs in form from the example: ne must be"
    assert (alone in swaps[-1].reason) == (name in ("gpt2", "llama"))
    assert not any(isinstance(part, nn.Linear) for part in new.modules())
    assert [
        swap.path for swap in swaps if swap.after is None and "LayerNorm" not in swap.before
    ] == []
    assert_same(new, model, inputs(name, samples=3))
    assert set(new.state_dict()) == set(model.state_dict())


PADDED = {"after": (0, slice(4, None)), "before": (1, slice(0, 3))}
"""Where a batch is padded; before a text the first rows of a causal mask are empty."""


@pytest.mark.parametrize("where", PADDED)
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_masks_are_read_at_each_call(name: str, where: str):
    model = signalling(name)
    given = inputs(name)
    whole = torch.ones_like(given["input_ids"])
    new, _ = channels_first(model, given | {"attention_mask": whole})
    padded = whole.clone()
    padded[PADDED[where]] = 0
    assert_same(new, model, given | {"attention_mask": padded})
    with torch.no_grad():
        with_mask, without = model(**given, attention_mask=padded), model(**given)
    assert not torch.equal(with_mask[0], without[0])


@pytest.mark.parametrize("name", ["bert", "deberta-v2", "gpt2", "opt", "llama", "t5"])
def test_texts_of_other_lengths(name: str):
    model = signalling(name)
    new, _ = channels_first(model, inputs(name))
    assert_same(new, model, inputs(name, samples=3, length=11))


def test_what_the_example_lacks_is_refused():
    new, _ = channels_first(build("bert").eval(), inputs("bert"))
    message = "the input differs in form from the example: attention_mask must be None"
    with pytest.raises(AssertionError, match=f"^{message}$"):
        new(**inputs("bert"), attention_mask=torch.ones(2, 7))


def test_options_by_name():
    model = signalling("gpt2", use_cache=True)
    given = inputs("gpt2") | {"use_cache": False}
    new, _ = channels_first(model, given)
    assert_same(new, model, given)


def test_caches_are_refused():
    message = (
        "model must have a forward that can be written out: in its own forward: it gives back or "
        "takes a DynamicCache, which is no tensor: give use_cache=False"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        channels_first(build("gpt2", use_cache=True).eval(), inputs("gpt2"))


def test_pickles():
    model = signalling("bert")
    new, _ = channels_first(model, inputs("bert"))
    assert_same(pickle.loads(pickle.dumps(new)), model, inputs("bert"))
