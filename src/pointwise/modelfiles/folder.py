"""The model folder: ``model.safetensors``, ``config.json``, ``README.md``, perhaps ``report.json``.

Reading runs nothing from the files: weights are safetensors, the rest is JSON, and both are checked
against the digests in ``config.json``. Writing replaces a model as one step.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from pointwise._atomic import replace_folder
from pointwise.errors import ModelFileError
from pointwise.modelfiles._contents import (
    CARD,
    CONFIG,
    REMEDY,
    REPORT,
    Contents,
    read_contents,
)
from pointwise.modelfiles._json import decode_object, encode_object, plain
from pointwise.modelfiles.schema import FORMAT, SCHEMA_VERSION, WEIGHTS, check_config
from pointwise.modelfiles.target import cannot_write, files_to_replace


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds: its config, its tensors by name, and its report.

    The report is ``None`` where there is none or it is damaged, since no prediction needs it;
    ``read_report`` says which.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    report: dict[str, Any] | None


def write_model(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    card: str,
    report: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder, or replace one, as one step: a kill leaves the old model or the new.

    Files in the folder that are not the model's stay. The model can be read at any moment of the
    writing and is then the old one or the new one.

    Args:
        path: Folder to make, or an empty one, or one with a model to replace.
        tensors: Weights by name, on any device; shared and strided memory is fine.
        config: Entries of ``schema.KEYS`` and others; ``format``, ``schema_version``,
            ``pointwise_version`` and ``files`` are filled in here.
        card: Text of ``README.md``, see ``model_card``.
        report: What ``report.json`` is to hold. Default: no such file.

    Raises:
        ModelFileError: If the folder holds other things, an entry is missing or not for JSON, a
            tensor cannot be stored, or the files cannot be written.

    Example:
        >>> import tempfile
        >>> config = {"task": "regression", "estimator": "PointwiseRegressor", "columns": ["a"]}
        >>> config |= {"targets": ["y"], "classes": None, "network": {}, "parameters": {}}
        >>> config |= {"training": {}, "metrics": {"rmse": 0.5}}
        >>> with tempfile.TemporaryDirectory() as home:
        ...     write_model(f"{home}/model", {"w": torch.ones(2)}, config, card="# A model")
        ...     model = read_model(f"{home}/model")
        >>> model.tensors["w"], model.config["metrics"]
        (tensor([1., 1.]), {'rmse': 0.5})
    """
    path = Path(path)
    files = {WEIGHTS: _encode_tensors(tensors)}
    if report is not None:
        files[REPORT] = encode_object(report, REPORT)
    files[CONFIG] = _encode_config(config, files)
    files[CARD] = card.encode("utf-8", errors="backslashreplace")
    try:
        replaced = files_to_replace(path)
        if report is None and REPORT in replaced:  # made void: removing would be a second step
            files[REPORT] = b"{}\n"
        with replace_folder(path) as folder:
            for name, data in files.items():
                (folder / name).write_bytes(data)
    except OSError as error:
        raise ModelFileError(cannot_write(path, error.strerror)) from error


def read_model(path: str | Path) -> ModelFolder:
    """Read a model folder, of this version or an older one; nothing in it is run.

    Args:
        path: Folder that ``write_model`` wrote.

    Returns:
        Its config in today's form, its tensors on the CPU, and its report.

    Raises:
        ModelFileError: If the folder is missing, not a model, too new, damaged or unreadable.
    """
    contents = read_contents(path, [WEIGHTS, REPORT])
    tensors = _decode_tensors(contents.checked(WEIGHTS), str(contents.folder / WEIGHTS))
    report = None
    with contextlib.suppress(ModelFileError):
        report = _report(contents)
    return ModelFolder(contents.config, tensors, report)


def read_config(path: str | Path) -> dict[str, Any]:
    """Read and check the config of a model folder without its weights.

    Args:
        path: Folder that ``write_model`` wrote.

    Returns:
        The config in today's form.

    Raises:
        ModelFileError: If the folder is missing, not a model, too new, damaged or unreadable.
    """
    return read_contents(path, []).config


def read_report(path: str | Path) -> dict[str, Any]:
    """Read the report of a model folder.

    Args:
        path: Folder that ``write_model`` wrote.

    Returns:
        What ``report.json`` holds.

    Raises:
        ModelFileError: If the folder is no model, or its report is absent, damaged or unreadable.
    """
    return _report(read_contents(path, [REPORT]))


def _report(contents: Contents) -> dict[str, Any]:
    return decode_object(contents.checked(REPORT), str(contents.folder / REPORT))


def _encode_config(config: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    listed = {
        name: {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
    }
    head = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "pointwise_version": _version()}
    full = head | plain({key: config[key] for key in config if key not in head}, CONFIG)
    full["files"] = listed
    check_config(full, CONFIG)
    return encode_object(full, CONFIG)


def _encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    copies = {}
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided or name == "__metadata__":
            raise ModelFileError(
                f"the tensor {name!r} cannot be stored ({tensor.layout} on {tensor.device}); "
                "give dense tensors with values, under another name than __metadata__"
            )
        # Clones, since safetensors refuses tensors that share memory (tied weights).
        copies[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return save(copies, metadata={"format": "pt"})


def _decode_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    try:
        return load(data)
    except Exception as error:  # a header can lie in many ways
        raise ModelFileError(
            f"{where} does not hold tensors as safetensors says ({error}): {REMEDY}"
        ) from None


def _version() -> str:
    try:
        return metadata.version("pointwise")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "0+unknown"
