"""Networks on the command line: published ones by name, fitted ones, and those of a user's code."""

import contextlib
import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pointwise.errors import DataError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, ...]

IMAGE = (3, 224, 224)
"""One image of the usual size: channels, rows, columns."""

LARGEST = 2**40
"""Numbers in an input: torch counts the bytes of a tensor in 63 bits, and networks widen."""

BUILDER = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
"""``module:function``, both with dots if need be; on Windows a path has a separator after ``:``."""

PACKED = "a .pt2 file can run code when it is read, so it is written and never read"

INSIDE = ("state_dict", "model_state_dict", "model")
"""Under which of its entries a checkpoint may hold the weights."""


def parse_shape(text: str) -> Shape:
    """Read channels and sizes from text.

    Args:
        text: Such as ``3,224,224``.

    Returns:
        The numbers.

    Raises:
        BadParameter: If they are not whole numbers above 0, or far too many values.
    """
    try:
        shape = tuple(map(int, text.split(",")))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1 or math.prod(shape) > LARGEST:
        raise typer.BadParameter(
            "it must be channels, then sizes, whole numbers above 0 with commas between them and "
            f"a product of at most {LARGEST:,}, such as 3,224,224: got {text!r}",
            param_hint="--input",
        )
    return shape


def fitted(folder: Path) -> "tuple[nn.Module, Shape]":
    """Read the network of a model folder.

    Args:
        folder: Folder that ``fit`` wrote.

    Returns:
        The network, and the shape of one row or one training image.
    """
    from pointwise.estimators import ImageClassifier, Segmenter, load

    model = load(folder)
    if isinstance(model, ImageClassifier | Segmenter):
        pixels = model.pixels_
        return model.network_, (pixels.channels, pixels.height, pixels.width)
    network = model.network_
    return network, (network.numbers.c_in + network.categories.c_in,)


def is_builder(text: str) -> bool:
    """Whether a text is ``module:function``.

    Args:
        text: What was given for a model.

    Returns:
        Whether it is.
    """
    return BUILDER.fullmatch(text) is not None


def build_from(text: str) -> "nn.Module":
    """Call the function of the user's that builds a network.

    The module is looked for in the current directory first. It is code, and it is run because the
    user names it on the command line; nothing is ever imported by a name from a file.

    Args:
        text: ``module:function``; the function takes no arguments.

    Returns:
        What it builds.

    Raises:
        DataError: If there is no such module or function, it fails, or it builds no module.
    """
    from torch import nn

    name, _, path = text.partition(":")
    with _current_directory_first():
        found: Any = _import(name)
        for part in path.split("."):
            if not hasattr(found, part):
                raise DataError(f"{name} has no function {path!r}; {_offers(sys.modules[name])}")
            found = getattr(found, part)
        if not callable(found):
            raise DataError(
                f"{text} must be a function that builds a network, it is a {type(found).__name__}"
            )
        try:
            network = found()
        except (Exception, SystemExit) as error:  # whatever the user's code raises
            raise DataError(
                f"{text}() must build a network, it failed: {_in_words(error)}"
            ) from error
    if not isinstance(network, nn.Module):
        raise DataError(
            f"{text}() must return a torch.nn.Module, it returned a {type(network).__name__}"
        )
    return network


def load_weights(network: "nn.Module", path: Path) -> None:
    """Copy the weights of a file into a network that has exactly these.

    Args:
        network: The network.
        path: A safetensors file, or a checkpoint that torch reads with ``weights_only``: a state
            dict, also as its entry ``state_dict``, ``model_state_dict`` or ``model``.

    Raises:
        DataError: If the file cannot be read, or its weights are not those of the network.
    """
    from pointwise.networks._weights import load

    tensors = _read_weights(path)
    try:
        load(network, tensors)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: {_in_words(error, named=False)}") from error


def find_network(
    model: str, shape: Shape | None, weights: Path | None, *, trained: bool
) -> "tuple[nn.Module, Shape]":
    """The network that a user names, on the CPU in evaluation mode, and the shape of an input.

    Args:
        model: A model folder, the name of a published network, or ``module:function``.
        shape: What the user gives for ``--input``.
        weights: What the user gives for ``--weights``.
        trained: Whether a published network must be given weights.

    Returns:
        The network, and ``shape`` or what is usual.

    Raises:
        BadParameter: If a folder is given weights.
        DataError: If there is no such network, or its weights do not fit or are missing.
    """
    from pointwise.networks import NETWORKS, build

    path = Path(model)
    if path.suffix == ".pt2":
        raise DataError(f"MODEL cannot be {model}: {PACKED}; give module:function")
    if path.is_dir():
        if weights is not None:
            raise typer.BadParameter("a model folder has its weights", param_hint="--weights")
        network, usual = fitted(path)
        return network.eval().cpu(), shape or usual
    shape = shape or IMAGE
    if is_builder(model):
        network = build_from(model)
    elif model in NETWORKS:
        if trained and weights is None:
            raise DataError(f"{model} has no weights of its own: give them with --weights")
        network = build(model, channels=shape[0])
    else:
        hint = f"; {path} is a file: weights go with --weights" if path.is_file() else ""
        raise DataError(
            f"MODEL must be a model folder, module:function or one of {', '.join(NETWORKS)}, "
            f"got {model!r}{hint}"
        )
    if weights is not None:
        load_weights(network, weights)
    return network.eval(), shape


def drawn_example(network: "nn.Module", shape: Shape, *, told: bool) -> "Tensor":
    """Two inputs to verify with, the same in every run.

    Args:
        network: The network.
        shape: Channels and sizes of an input.
        told: Whether the user gave the shape.

    Returns:
        Random numbers ``(2, *shape)``.

    Raises:
        DataError: If the network holds no values, or cannot take them.
    """
    import torch

    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        raise DataError(
            f"{type(network).__name__} must hold values, to be verified: some of its tensors are "
            "on the meta device"
        )
    first = next(network.parameters(), torch.empty(0))
    drawn = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    example = drawn.to(first.device, first.dtype if first.is_floating_point() else None)
    try:
        with torch.no_grad():
            network(example)
    except Exception as error:  # whatever the network raises
        raise DataError(
            f"{type(network).__name__} cannot take one tensor of random numbers of shape "
            f"{tuple(example.shape)}: {first_line(error)}{'' if told else '; give --input'}"
        ) from error
    return example


def _import(name: str) -> Any:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        lacking = error.name if isinstance(error, ModuleNotFoundError) else None
        if lacking is not None and f"{name}.".startswith(f"{lacking}."):
            raise DataError(
                f"there is no module {name!r}, neither in the current directory nor installed; "
                "give MODEL as module:function, without .py"
            ) from error
        raise DataError(f"importing {name} failed: {_in_words(error)}") from error


@contextlib.contextmanager
def _current_directory_first() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _offers(module: Any) -> str:
    """The functions and classes that a module defines itself."""
    names = [
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
    ]
    return f"it has {', '.join(names[:10])}" if names else "it has none of its own"


def _read_weights(path: Path) -> "dict[str, Tensor]":
    if path.suffix == ".pt2":
        raise DataError(f"--weights cannot be {path}: {PACKED}; give a safetensors file")
    if not path.is_file():
        raise DataError(f"there is no file {path}; --weights takes a safetensors file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except Exception as error:  # a header can lie in many ways
            raise DataError(
                f"{path} does not hold tensors as safetensors says: {_in_words(error)}"
            ) from error
    return _state_dict(_read_checkpoint(path), path)


def _read_checkpoint(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can hold anything
        raise DataError(
            f"{path} cannot be read as weights alone, which is all that is read of a checkpoint "
            f"({type(error).__name__}); save its state_dict() as safetensors"
        ) from error


def _state_dict(found: Any, path: Path) -> "dict[str, Tensor]":
    from torch import Tensor

    inside = [found[key] for key in INSIDE if key in found] if isinstance(found, dict) else []
    for one in (found, *inside):
        if isinstance(one, dict) and one and all(isinstance(v, Tensor) for v in one.values()):
            return {str(key): value for key, value in one.items()}
    held = f"a {type(found).__name__}"
    if isinstance(found, dict):
        held += f" with {', '.join(repr(key) for key in list(found)[:5])}"
    raise DataError(f"{path} must hold tensors by name, it holds {held}")


def _in_words(error: BaseException, *, named: bool = True) -> str:
    """The first line of an error, behind its class."""
    first = next(iter(str(error).splitlines()), "")
    if not named:
        return first or type(error).__name__
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
