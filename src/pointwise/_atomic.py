"""Files that a kill at any moment leaves old or new, never half-written.

One file is written under a temporary name and moved over the old one. A folder cannot be exchanged
like that (no portable call swaps two folders), so its new files are gathered in a hidden folder
inside it, which one rename makes valid; then they move into place one by one. While the hidden
folder is there its files count, so a reader that looks there first (``read_current``) finds the old
files or all the new ones. A process killed between two moves leaves the rest to whoever next
reads or writes the folder (``settle``); until then other programs see some old files in place.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

READY = ".pointwise-ready"
"""Hidden subfolder whose files are complete and take the place of those of the same name above."""


def why_no_file(path: Path) -> str:
    """Say, before any work, why a file could not be written after it.

    Args:
        path: File to write.

    Returns:
        What is wrong and what to do; empty if nothing is.

    Example:
        >>> why_no_file(Path("/"))
        'is a folder: give the name of a file'
    """
    if path.is_dir():
        return "is a folder: give the name of a file"
    if not path.absolute().parent.is_dir():
        return f"there is no folder {path.parent}: make it first"
    return ""


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file as one step: a kill leaves the old file or the new one.

    Args:
        path: File to write, in a folder that exists; a link is followed.
        data: What it will hold.

    Raises:
        OSError: If it cannot be written; the old file is then untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes(Path(folder) / "state.bin", b"123")
        ...     (Path(folder) / "state.bin").read_bytes()
        b'123'
    """
    target = Path(os.path.realpath(path))
    with _temporary(target) as temporary:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    _sync_folder(target.parent)


def write_text(path: str | Path, text: str) -> None:
    r"""Write a text file as one step, in UTF-8 with its line ends as they are.

    Args:
        path: File to write, in a folder that exists; a link is followed.
        text: What it will hold; half a surrogate pair, which UTF-8 lacks, is spelt ``\udc80``.

    Raises:
        OSError: If it cannot be written; the old file is then untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(Path(folder) / "note.txt", "one\n")
        ...     (Path(folder) / "note.txt").read_text()
        'one\n'
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Give an unused name to write a file under; when the block ends well, it becomes ``path``.

    For files too large to hold in memory. If the block raises, ``path`` is untouched.

    Args:
        path: File to make or to replace, in a folder that exists; a link is followed.

    Yields:
        A name beside ``path``, under which the block makes a file.

    Raises:
        OSError: If it cannot be written; the old file is then untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     with replace_file(Path(home) / "map.tif") as temporary:
        ...         _ = temporary.write_bytes(b"123")
        ...     (Path(home) / "map.tif").read_bytes()
        b'123'
    """
    target = Path(os.path.realpath(path))
    with _temporary(target) as temporary:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    _sync_folder(target.parent)


@contextlib.contextmanager
def replace_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well, its files become those of ``path``.

    Files of ``path`` with other names stay, since they may be the user's. Read the files with
    ``read_current``. If the block raises, ``path`` is untouched.

    Args:
        path: Folder to make or to renew; its parents are made.

    Yields:
        A temporary folder beside or inside ``path``, for files (no subfolders).

    Raises:
        OSError: If it cannot be written; the old files are then untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     with replace_folder(Path(home) / "model") as folder:
        ...         _ = (folder / "config.json").write_text("{}")
        ...     read_current(Path(home) / "model", "config.json")
        b'{}'
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path / READY if path.is_dir() else path
    with _temporary(target) as work:
        work.mkdir()
        yield work
        for file in work.iterdir():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        _sync_folder(work)
        settle(path)
        work.replace(target)  # the one step that makes the new files count
    _sync_folder(target.parent)
    with contextlib.suppress(OSError):  # they count already; the next reader or writer moves them
        settle(path)


def settle(folder: Path) -> None:
    """Move the files that a killed ``replace_folder`` left on their way into place.

    Every move keeps what ``read_current`` gives, so several processes may do this at once.

    Args:
        folder: Folder that ``replace_folder`` wrote; one that is not there is left alone.

    Raises:
        OSError: If a file cannot be moved, in a folder without write permission for instance.
    """
    ready = folder / READY
    try:
        files = list(ready.iterdir())
    except FileNotFoundError:
        return
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # another process moved it first
            file.replace(folder / file.name)
    with contextlib.suppress(OSError):  # another process removed it, or made the next one
        ready.rmdir()


def read_current(folder: Path, name: str) -> bytes:
    """Read the file that counts: the one on its way into place, else the one in place.

    Args:
        folder: Folder that ``replace_folder`` wrote.
        name: File in it.

    Returns:
        What the file holds.

    Raises:
        OSError: If there is no such file, or it cannot be read.
    """
    try:
        return (folder / READY / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return (folder / name).read_bytes()


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Give an unused name beside ``target``, and remove what is left under it at the end."""
    start = f".{target.name}."
    for path in target.parent.iterdir():
        if path.name.startswith(start) and path.name.endswith(".tmp"):
            owner = path.name.removeprefix(start).partition("-")[0]
            if owner.isdecimal() and not _is_running(int(owner)):
                _remove(path)
    temporary = target.with_name(f"{start}{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    finally:
        _remove(temporary)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # signal 0 is an interrupt there: leave what may be in use
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Ask for the folder's entries to reach the disk, where the system can (Windows cannot)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
