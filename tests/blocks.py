"""What every block and network must do; a test of one calls these with its cases."""

import copy
import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from cases import channels_last
from pointwise.functional.layout import is_channels_last


def settled(block: nn.Module) -> nn.Module:
    """The block in inference mode, its norms with statistics that are not 0 and 1."""
    for module in block.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.uniform_(-0.5, 0.5)
    return block.eval()


def outputs(result: Any) -> list[Tensor]:
    """The tensors of a result, in order."""
    if isinstance(result, Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for value in values for tensor in outputs(value)]


def check_block(block: nn.Module, *inputs: Tensor) -> None:
    """All that holds of every block: gradients, export, ONNX, and both memory orders."""
    block = settled(block)
    check_gradients(block, *inputs)
    check_channels_last(block, *inputs)
    check_export(block, *inputs)
    check_onnx(block, *inputs)


def check_gradients(block: nn.Module, *inputs: Tensor) -> None:
    """Gradients of inputs and parameters against finite differences, in float64."""
    exact = copy.deepcopy(block).double()
    xs = [x.double().requires_grad_() for x in inputs]
    names = [name for name, _ in exact.named_parameters()]

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, given[len(xs) :], strict=True))
        y = torch.func.functional_call(exact, parameters, given[: len(xs)])
        return tuple(outputs(y))

    parameters = [p.detach().requires_grad_() for p in exact.parameters()]
    torch.autograd.gradcheck(call, (*xs, *parameters), fast_mode=True)


def check_channels_last(block: nn.Module, *inputs: Tensor) -> None:
    """Channels-last inputs give the same values, and maps that are channels-last."""
    with torch.no_grad():
        expected = outputs(block(*inputs))
        found = outputs(block(*(channels_last(x) for x in inputs)))
    for y, z in zip(expected, found, strict=True):
        largest = max(1.0, float(y.abs().max())) if y.numel() else 1.0  # sums round by as much
        torch.testing.assert_close(z, y, rtol=1e-4, atol=1e-5 * largest)
        if z.ndim > 2:
            assert is_channels_last(z), f"strides {z.stride()} of shape {tuple(z.shape)}"


def check_export(block: nn.Module, *inputs: Tensor) -> None:
    """``torch.export`` takes the block, and the program computes the same."""
    program = torch.export.export(block, inputs)
    with torch.no_grad():
        expected, found = outputs(block(*inputs)), outputs(program.module()(*inputs))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def check_onnx(block: nn.Module, *inputs: Tensor, tolerance: float = 1e-4) -> None:
    """The block as ONNX, run by ONNX Runtime, computes the same."""
    import onnxruntime

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own parts
        program = torch.onnx.export(block, inputs, dynamo=True, verbose=False)
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    names = [given.name for given in session.get_inputs()]
    found = session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))
    with torch.no_grad():
        expected = outputs(block(*inputs))
    for y, z in zip(expected, found, strict=True):
        torch.testing.assert_close(torch.from_numpy(z), y, rtol=tolerance, atol=tolerance)
