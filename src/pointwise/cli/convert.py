"""``pointwise convert``: a network's linear maps in another spelling, verified."""

import contextlib
import io
import json as jsonlib
import sys
import warnings
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise._atomic import why_no_file
from pointwise.cli import networks, options
from pointwise.cli.words import print_json, print_line, say
from pointwise.errors import DataError, DifferenceError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pointwise.surgery.equivalence import Equivalence
    from pointwise.surgery.swap import Swap

SUFFIXES = (".safetensors", ".pt2")


class To(StrEnum):
    """What a network is made of afterwards."""

    conv = "conv"
    linear = "linear"
    pointwise = "pointwise"
    torch = "torch"
    dense = "dense"
    fold = "fold"
    channels_first = "channels-first"


def convert(
    model: options.Network,
    to: Annotated[
        To,
        typer.Option(
            help="conv: linear layers become 1x1 convolutions; linear: the other way; pointwise: "
            "both become PointwiseConv; torch: stock layers of torch alone; dense: a classifier "
            "becomes a predictor at every position; fold: norms and branches go into the weights; "
            "channels-first: the whole network as convolutions on (N, C, 1, S) or (N, C, H, W), "
            "without the permutes."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="File to write: .safetensors for the weights, .pt2 for the exported program.",
        ),
    ],
    on: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="C,SIZES",
            help="Channels, then the size of every axis, of an input to verify with. Default: one "
            "row or image for a folder; 3,224,224 otherwise.",
        ),
    ] = None,
    weights: options.Weights = None,
    whole_image: Annotated[
        bool,
        typer.Option(
            "--whole-image",
            help="For dense: let squeeze-and-excitation and norms take the whole image's "
            "statistics, not those of each window.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Convert a network's layers, verify that it computes the same, and write it.

    Example: `pointwise convert mynet:build --weights mynet.safetensors --to conv --out conv.pt2`
    """
    _check_out(out, model, weights)
    if whole_image and to is not To.dense:
        raise typer.BadParameter(f"it is for --to dense, not {to}", param_hint="--whole-image")
    given = None if on is None else networks.parse_shape(on)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no result
        network, shape = networks.find_network(model, given, weights, trained=True)
        example = networks.drawn_example(network, shape, told=on is not None)
        converted, swaps = _convert(network, to, example, whole_image=whole_image)
        found = _verify(network, converted, to, example)
        done = _record(model, to, shape, swaps, found) | _grid(converted)
        _write(converted, example, out, done, sizes_vary=to is To.dense)
    if json:
        print_json({**done, "out": str(out), "bytes": out.stat().st_size})
        return
    _print_swaps(f"{model} to {to.value}", swaps)
    print_line(f"{_summary(swaps)}; {found}")
    if "window" in done:
        print_line(_grid_in_words(done))
    print_line(f"{out.stat().st_size:,} bytes: {out}")


def _check_out(out: Path, model: str, weights: Path | None) -> None:
    """Refuse, before any work, a file that could not be written after it."""
    if out.suffix not in SUFFIXES:
        raise typer.BadParameter(
            f"the file must end in .safetensors or .pt2, got {str(out)!r}", param_hint="--out"
        )
    if why := why_no_file(out):
        raise DataError(f"{out}: {why}")
    if out.exists() and out.resolve().parent == Path(model).resolve():
        raise DataError(f"--out would replace a file of the model, {out}: give another")
    if weights is not None and out.resolve() == weights.resolve():
        raise DataError(f"--out would replace the weights that are read, {weights}: give another")


def _convert(
    network: "nn.Module", to: To, example: "Tensor", *, whole_image: bool
) -> "tuple[nn.Module, list[Swap]]":
    try:
        return _ways(whole_image)[to](network, example)
    except (TypeError, ValueError) as error:
        reason = str(error).replace("whole_image=True", "--whole-image")  # as it is called here
        raise DataError(f"{type(network).__name__} cannot be converted: {reason}") from error


def _ways(
    whole_image: bool,
) -> "dict[To, Callable[[nn.Module, Tensor], tuple[nn.Module, list[Swap]]]]":
    from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
    from pointwise.surgery.convolutionalize import convolutionalize
    from pointwise.surgery.fold import fold
    from pointwise.surgery.layouts import channels_first
    from pointwise.surgery.stock import to_torch

    return {
        To.conv: lambda network, _: to_conv(network),
        To.linear: lambda network, _: to_linear(network),
        To.pointwise: lambda network, _: to_pointwise(network),
        To.torch: to_torch,
        To.dense: lambda network, x: convolutionalize(network, x, whole_image=whole_image),
        To.fold: fold,
        To.channels_first: channels_first,
    }


def _verify(
    network: "nn.Module", converted: "nn.Module", to: To, example: "Tensor"
) -> "Equivalence":
    """Compare on the example; a dense network's only position there is the old one's output."""
    from torch import nn

    from pointwise.surgery.closeness import closeness
    from pointwise.surgery.equivalence import check_equivalent

    if to is To.dense:
        converted = nn.Sequential(converted, nn.Flatten())
    try:
        found = check_equivalent(network, converted, example)
    except DifferenceError:
        try:
            closeness(network, converted, example)  # goes on if it is float32's own rounding
        except DifferenceError as error:
            raise DataError(
                f"{type(network).__name__} computes something else once it is converted, so "
                f"nothing is written: {error}"
            ) from error
        found = check_equivalent(network, converted, example, rtol=float("inf"))
    if not found.has_signal:
        say("the outputs are tiny or constant on random input: no error could show")
    return found


def _record(
    model: str, to: To, shape: networks.Shape, swaps: "Sequence[Swap]", found: "Equivalence"
) -> dict[str, Any]:
    from dataclasses import asdict
    from importlib import metadata

    return {
        "model": model,
        "to": to.value,
        "input": list(shape),
        "converted": _converted(swaps),
        "left": sum(swap.after is None for swap in swaps),
        "max_abs": found.max_abs,
        "max_relative": found.max_relative,
        "swaps": [asdict(swap) for swap in swaps],
        "pointwise_version": metadata.version("pointwise"),
    }


def _grid(network: "nn.Module") -> dict[str, Any]:
    """Which window of the image each position of a dense network stands for."""
    from pointwise.surgery.dense.classifier import DenseClassifier

    if not isinstance(network, DenseClassifier):
        return {}
    return {"window": list(network.grid.size), "stride": list(network.grid.stride)}


def _grid_in_words(done: dict[str, Any]) -> str:
    window, stride = (" x ".join(map(str, done[key])) for key in ("window", "stride"))
    return f"each position stands for a window of {window} pixels, {stride} from one to the next"


def _write(
    network: "nn.Module",
    example: "Tensor",
    out: Path,
    done: dict[str, Any],
    *,
    sizes_vary: bool,
) -> None:
    from pointwise._atomic import write_bytes

    if out.suffix == ".pt2":
        data = _exported(network, example, done, sizes_vary=sizes_vary)
    else:
        data = _weights(network, done)
    try:
        write_bytes(out, data)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}") from error


def _weights(network: "nn.Module", done: dict[str, Any]) -> bytes:
    import torch
    from safetensors.torch import save

    # Clones, since safetensors refuses tensors that share memory (tied weights).
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    return save(tensors, metadata={"format": "pt", "pointwise": jsonlib.dumps(done)})


def _exported(
    network: "nn.Module", example: "Tensor", done: dict[str, Any], *, sizes_vary: bool
) -> bytes:
    """The program for any batch, and where it slides for any size that its operators take."""
    import torch
    from torch.export import Dim, export, save

    from pointwise.export.onnx.quiet import quiet

    vary, data = {0: Dim.AUTO}, io.BytesIO()
    if sizes_vary:
        vary |= dict.fromkeys(range(2, example.ndim), Dim.AUTO)
        # Where torch cannot be told otherwise, a map of one position would stay one.
        example = example.repeat(1, 1, *(2,) * (example.ndim - 2))
    try:
        with torch.no_grad(), quiet(), _one_is_any_size():
            program = export(network, (example,), dynamic_shapes=(vary,))
            # The maps of split attention are parts of one tensor: fine on the CPU, where this runs.
            warnings.filterwarnings("ignore", "No complete tensor found")
            save(program, data, extra_files={"pointwise.json": jsonlib.dumps(done)})
    except Exception as error:  # torch.export has many reasons and classes
        first = first_line(error)
        raise DataError(
            f"{type(network).__name__} cannot be exported: {first}; write .safetensors instead"
        ) from error
    return data.getvalue()


def _one_is_any_size() -> contextlib.AbstractContextManager[Any]:
    """Have torch.export treat a size of one, of a dense classifier's map, like any other."""
    from torch.fx.experimental import _config

    settings: Any = _config
    if not hasattr(settings, "backed_size_oblivious"):
        return contextlib.nullcontext()
    patched: contextlib.AbstractContextManager[Any] = settings.patch(backed_size_oblivious=True)
    return patched


def _converted(swaps: "Sequence[Swap]") -> int:
    """How many layers were; the row of the whole model is none, unless the model is a layer."""
    layers = [swap for swap in swaps if swap.path or len(swaps) == 1]
    return sum(swap.after is not None and not _tells_permutes(swap) for swap in layers)


def _tells_permutes(swap: "Swap") -> bool:
    """Whether a row is on the permutes in a module, as those of ``channels_first`` are."""
    return swap.before.endswith((" permute", " permutes"))


def _summary(swaps: "Sequence[Swap]") -> str:
    changed, left = _converted(swaps), sum(swap.after is None for swap in swaps)
    if not swaps:
        return "no layer to convert"
    return f"{changed:,} layer{'s' if changed != 1 else ''} converted, {left:,} left alone"


def _print_swaps(title: str, swaps: "Sequence[Swap]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not swaps:
        return
    table = Table(title=escape(title), title_justify="left")
    for name in ("layer", "was", "is", "remark"):
        table.add_column(name, overflow="fold")
    for swap in swaps:
        cells = (swap.path or "(the model)", swap.before, swap.after or "left alone", swap.reason)
        table.add_row(*map(escape, cells), style=None if swap.after else "dim")
    Console(highlight=False, emoji=False).print(table)
