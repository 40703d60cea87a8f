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
    words = os.environ.get("CC", "cc")
    try:
        command = shlex.split(words)
    except ValueError:  # a quote that does not end
        command = [words]
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
        DataError: If the files cannot be written, the compiler fails, or what it built cannot be
            loaded.
    """
    try:
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:  # of a name that is too long, on a full disk
        raise DataError(f"the files cannot be written to be built: {error.strerror}") from error
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
        first = next((line for line in said if "error" in line), said[0])
        raise DataError(f"the C compiler {command[0]} fails: {first}")
    try:
        return ctypes.CDLL(str(made))
    except OSError as error:  # of another machine, or in a folder where nothing may be run
        raise DataError(f"what {command[0]} built cannot be loaded: {error}") from error
