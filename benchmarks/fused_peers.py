"""Fused chains and the inference engines beside them, ready to be called on the same memory."""

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fused_machine import Call
from fused_networks import chain_of
from pointwise.runtime import CompiledChain

OURS = "fused"
EXACT = ("eager", "torch.compile", "onnxruntime", "openvino f32")
"""Peers of equal precision, by the start of their names."""


def torch_peers(net: nn.Module, x: Tensor) -> dict[str, Call]:
    peers: dict[str, Call] = {"eager": lambda: net(x)}
    try:
        compiled = torch.compile(net)
        compiled(x)
        peers["torch.compile"] = lambda: compiled(x)
    except Exception as error:
        print(f"torch.compile does not run here: {str(error).splitlines()[0]}", file=sys.stderr)
    return peers


def onnx_file(net: nn.Module, x: Tensor, folder: str) -> str:
    path = str(Path(folder) / "network.onnx")
    torch.onnx.export(
        net, (x[..., :2],), path, dynamo=False, dynamic_axes={"x": [3]}, input_names=["x"]
    )
    return path


def keeping(call: Call, *arrays: Any) -> Call:
    """A call that keeps alive the memory which an engine only points to."""

    def run() -> Any:
        assert arrays
        return call()

    return run


def onnxruntime_peers(path: str, x: Tensor, reused: Tensor, threads: int) -> dict[str, Call]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    array, out = x.numpy(), reused.numpy()
    name = session.get_outputs()[0].name
    binding = session.io_binding()
    binding.bind_cpu_input("x", array)
    binding.bind_output(name, "cpu", 0, np.float32, out.shape, out.ctypes.data)
    return {
        "onnxruntime": lambda: session.run(None, {"x": array}),
        "onnxruntime, reused": keeping(lambda: session.run_with_iobinding(binding), out),
    }


def openvino_peers(path: str, x: Tensor, reused: Tensor, threads: int) -> dict[str, Call]:
    import openvino as ov

    core, array, out = ov.Core(), x.numpy(), reused.numpy()
    peers: dict[str, Call] = {}
    for precision in ("f32", "bf16"):
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        model = core.read_model(path)
        model.reshape(list(array.shape))
        compiled = core.compile_model(model, "CPU", settings)
        fresh, again = compiled.create_infer_request(), compiled.create_infer_request()
        again.set_input_tensor(ov.Tensor(array, shared_memory=True))
        again.set_output_tensor(ov.Tensor(out, shared_memory=True))
        peers[f"openvino {precision}"] = lambda r=fresh: np.array(r.infer({0: array})[0])
        peers[f"openvino {precision}, reused"] = keeping(again.infer, out)
    return peers


def ours(net: nn.Module, x: Tensor, out: Tensor) -> dict[str, Call]:
    chain = chain_of(net)
    last = x.movedim(1, -1).contiguous().movedim(-1, 1)
    n, c, *sides = out.shape
    out_last = out.view(n, *sides, c).movedim(-1, 1)
    fused, chunks = CompiledChain(chain, engine="fused"), CompiledChain(chain, engine="chunks")
    return {
        OURS: lambda: fused(x),
        "fused, reused": lambda: fused(x, out=out),
        "fused rows, reused": lambda: fused(last, out=out_last),
        "chunks, reused": lambda: chunks(x, out=out),
    }


def contenders(net: nn.Module, x: Tensor, threads: int, peers: bool) -> dict[str, Call]:
    """All of them; those that use an output again share it, or large ones would fill the memory."""
    with torch.no_grad():
        reused = net(x)
    calls = ours(net, x, reused)
    if not peers:
        return calls
    calls |= torch_peers(net, x)
    with tempfile.TemporaryDirectory() as folder:
        for package, make in (("onnxruntime", onnxruntime_peers), ("openvino", openvino_peers)):
            if importlib.util.find_spec(package):
                calls |= make(onnx_file(net, x, folder), x, reused, threads)
    return calls
