"""Compressed models leave torch: exported programs and ONNX compute what they compute."""

import pytest
import torch
from compress_models import MODELS, Model, made
from torch.testing import assert_close

from blocks import check_onnx, outputs
from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress
from pointwise.surgery.equivalence import call


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_exported_programs(model: Model) -> None:
    network, example, _ = made(model)
    small = compress(network, Budget(macs=0.9), example).model
    args, named = ((), example) if isinstance(example, dict) else ((example,), {})
    program = torch.export.export(small, args, named)
    with torch.no_grad():
        found, expected = call(program.module(), example), call(small, example)
    assert_close(outputs(found), outputs(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "unet", "twice", "attention"])
def test_onnx(name: str) -> None:
    network, example, batches = made(MODELS[name])
    done = compress(
        network, Budget(macs=0.9), example, data=batches[:1], logits=MODELS[name].logits
    )
    assert done.plan.layers
    check_onnx(done.model, example, tolerance=1e-3)
