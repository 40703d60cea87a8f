"""A library built by the machine's own C compiler, and called."""

import ctypes
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pointwise.errors import DataError


def compiler() -> list[str] | None:
    """The C compiler of this machine: ``CC`` of the environment, or ``cc``.

    Returns:
        The command, or ``None`` if there is none.
    """
    command = shlex.split(os.environ.get("CC", "cc"))
    return command if command and shutil.which(command[0]) else None


def linked(files: Mapping[str, bytes], folder: Path, command: list[str]) -> ctypes.CDLL:
    """Build the files of a library and load it.

    Args:
        files: The files.
        folder: An empty folder to build in.
        command: The compiler.

    Returns:
        The library, loaded.

    Raises:
        DataError: If the compiler fails.
    """
    for name, data in files.items():
        (folder / name).write_bytes(data)
    made = folder / "library.so"
    sources = [name for name in files if not name.endswith(".h")]
    run = subprocess.run(
        [*command, "-O2", "-shared", "-fPIC", "-o", str(made), *sources],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"it ends with {run.returncode}"]
        error = next((line for line in said if "error" in line), said[0])
        raise DataError(f"the C compiler {command[0]} fails: {error}")
    return ctypes.CDLL(str(made))
