"""A compressed model as a folder: plan, weights and report; nothing is pickled.

With the constructor of the original model it is read back without any of the code that compressed
it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn

from pointwise._atomic import read_current, replace_folder
from pointwise.compression.plans.plan import Plan
from pointwise.compression.plans.plan_schema import FORMAT, REMEDY
from pointwise.errors import ModelFileError, first_line
from pointwise.networks._weights import load as load_weights

if TYPE_CHECKING:
    from pointwise.compression.reports.report import CompressionReport

PLAN, WEIGHTS, REPORT = "plan.json", "model.safetensors", "report.json"


class _Compressed(Protocol):
    """What is saved: see ``compress.Compressed``."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def plan(self) -> Plan: ...

    @property
    def report(self) -> "CompressionReport": ...


def check_folder(folder: str | Path) -> None:
    """Refuse, before any long work, a folder that ``save`` would refuse after it.

    Args:
        folder: Folder to be written; it may be there or not.

    Raises:
        ModelFileError: If it is a file, or holds other things than a compressed model.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     check_folder(f"{home}/small")
        ...     _ = Path(home, "photo.jpg").write_bytes(b"")
        ...     check_folder(home)
        Traceback (most recent call last):
            ...
        pointwise.errors.ModelFileError: ... holds other things than a compressed model, ...
    """
    path = Path(folder)
    if not path.exists():
        return
    if not path.is_dir():
        raise ModelFileError(f"{path} is a file, a compressed model is a folder: give another name")
    if all(entry.name.startswith(".") for entry in path.iterdir()):
        return
    try:
        ours = f'"format": "{FORMAT}"' in read_current(path, PLAN).decode("utf-8", "replace")
    except OSError:
        ours = False
    if not ours:
        raise ModelFileError(
            f"{path} holds other things than a compressed model, so it is left alone: give another "
            "folder, or empty this one"
        )


def save(compressed: _Compressed, folder: str | Path) -> None:
    """Write a compressed model as one step: plan, weights and report; nothing is pickled.

    Args:
        compressed: What ``compress`` gave.
        folder: Folder to make, an empty one, or one with a compressed model to replace.

    Raises:
        ModelFileError: If the folder holds other things or cannot be written, or a part of the
            state is no tensor.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from pointwise.compression.budget import Budget
        >>> from pointwise.compression.compress import compress
        >>> model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        >>> small = compress(model, Budget(macs=0.5), torch.randn(4, 16))
        >>> with tempfile.TemporaryDirectory() as home:
        ...     save(small, home + "/small")
        ...     again = load(home + "/small", model)
        >>> sum(p.numel() for p in again.parameters()) < 300
        True
    """
    check_folder(folder)
    state = compressed.model.state_dict()
    files = {
        PLAN: compressed.plan.to_json().encode(),
        REPORT: compressed.report.to_json().encode(),
        WEIGHTS: _encode(state),
    }
    try:
        with replace_folder(folder) as new:
            for name, data in files.items():
                (new / name).write_bytes(data)
    except OSError as error:
        raise ModelFileError(f"cannot write the folder {folder}: {error.strerror}") from error


def load(folder: str | Path, model: nn.Module) -> nn.Module:
    """Read a compressed model back into its original constructor's model.

    Args:
        folder: Folder that ``save`` or ``pointwise compress`` wrote.
        model: A model as the original constructor makes it, with any weights; it is left as it is.

    Returns:
        The compressed model, with the type, device and training flags of ``model``.

    Raises:
        ModelFileError: If a file is missing or damaged, or the model is not the one that was
            compressed: the layers or tensors that do not fit are named.

    Example:
        >>> load("no-such-folder-anywhere", nn.Linear(2, 2))
        Traceback (most recent call last):
            ...
        pointwise.errors.ModelFileError: no-such-folder-anywhere/plan.json cannot be read: No ...
    """
    path = Path(folder)
    plan = Plan.from_json(_text(path), where=str(path / PLAN))
    try:
        tensors = read_tensors(_bytes(path, WEIGHTS))
    except ModelFileError:
        raise
    except Exception as error:  # a header can lie in many ways
        raise ModelFileError(
            f"{path / WEIGHTS} does not hold tensors as safetensors says ({first_line(error)}); "
            f"{REMEDY}"
        ) from None
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.is_meta:
            raise ModelFileError(
                f"model must have memory for its weights, {name!r} is on the meta device: build it "
                "on another, or call to_empty(device='cpu')"
            )
    built = plan.apply(model)
    try:
        return load_weights(built, tensors)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"{path / WEIGHTS}: {first_line(error)}") from error


def _encode(state: Mapping[str, Any]) -> bytes:
    copies = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.is_meta or tensor.layout != torch.strided:
            got = type(tensor).__name__
            if isinstance(tensor, Tensor):
                got = f"a {tensor.layout} tensor on {tensor.device}"
            raise ModelFileError(
                f"the state of the model must be dense tensors with values, {name!r} is {got}"
            )
        # Clones, since safetensors refuses tensors that share memory (tied weights).
        copies[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return write_tensors(copies, metadata={"format": "pt"})


def _text(path: Path) -> str:
    try:
        return _bytes(path, PLAN).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ModelFileError(f"{path / PLAN} is not UTF-8 text; {REMEDY}") from None


def _bytes(path: Path, name: str) -> bytes:
    try:
        return read_current(path, name)
    except OSError as error:
        raise ModelFileError(f"{path / name} cannot be read: {error.strerror}; {REMEDY}") from None
