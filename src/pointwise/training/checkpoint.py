"""A training's state in one file, written atomically: a run killed at any moment resumes."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pointwise._atomic import write_bytes
from pointwise.errors import CheckpointError


class Checkpoint:
    """Where a training keeps its state, and how often.

    The file is safetensors with a JSON header: reading it executes nothing. It is replaced as a
    whole, so a run killed inside a write leaves the state before it.

    Args:
        path: The file. Its folder is made on the first write.
        every_s: Least number of seconds between two writes; 0 writes after each epoch.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = Checkpoint(Path(folder) / "run.ckpt", every_s=0)
        ...     checkpoint.write("abc", {"w": torch.ones(2)}, {"epoch": 3})
        ...     checkpoint.read("abc")
        ({'w': tensor([1., 1.])}, {'epoch': 3})
    """

    def __init__(self, path: str | Path, *, every_s: float = 10.0) -> None:
        self.path, self.every_s = Path(path), every_s
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last write is long enough ago."""
        return time.monotonic() - self._written >= self.every_s

    def write(self, run: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the file.

        Args:
            run: Fingerprint of the run that the state belongs to.
            tensors: Weights and the optimiser's state.
            state: Everything else, as JSON holds it.

        Raises:
            CheckpointError: If the file cannot be written; the old one is then untouched.
        """
        # Copies, since safetensors refuses tensors that share memory, as tied weights do.
        copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        text = json.dumps(state)
        digest = fingerprint(copies, (run, text))
        data = save(copies, {"run": run, "state": text, "digest": digest})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, data)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {self.path} cannot be written ({error}): see to the disk, and resume"
            ) from error
        self._written = time.monotonic()

    def read(self, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the file back.

        Args:
            run: Fingerprint of the run that asks.

        Returns:
            Tensors and state, or ``None`` if there is no file.

        Raises:
            CheckpointError: If the file cannot be read, is none of ours, was changed, or belongs to
                another run.
        """
        if self.path.is_dir():
            raise CheckpointError(f"checkpoint {self.path} is a folder: name a file")
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                # Copies, since the file is only mapped, and the next write replaces it.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"checkpoint {self.path} cannot be read ({error}): if it is one, delete it to "
                "start afresh, else give another name"
            ) from error
        if not {"run", "state", "digest"} <= header.keys():
            raise CheckpointError(f"{self.path} is no checkpoint of a training: give another name")
        if header["digest"] != fingerprint(tensors, (header["run"], header["state"])):
            raise CheckpointError(
                f"checkpoint {self.path} was changed after it was written: delete it to start "
                "afresh"
            )
        if header["run"] != run:
            raise CheckpointError(
                f"checkpoint {self.path} belongs to another run (other data, parameters or seed): "
                "resume with what it was started with, or delete it to start afresh"
            )
        state: dict[str, Any] = json.loads(header["state"])
        return tensors, state

    def remove(self) -> None:
        """Delete the file, if it is there."""
        self.path.unlink(missing_ok=True)


def fingerprint(tensors: Mapping[str, Tensor], settings: object) -> str:
    """Digest of everything that decides how a run ends: initial weights, data and settings.

    Args:
        tensors: Named tensors.
        settings: Any object whose ``repr`` tells its values.

    Returns:
        Hexadecimal SHA-256.

    Example:
        >>> fingerprint({"x": torch.ones(2)}, "a") == fingerprint({"x": torch.zeros(2)}, "a")
        False
    """
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
