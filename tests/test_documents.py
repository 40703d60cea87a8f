"""The documents tell the truth: their code runs, prints what they show, and their links lead on.

Fences: ``python`` and ``sh`` blocks run in the order of the page, in a folder of its own; blocks
of one page share their Python names. A ``text`` block right below them is what they print: the
words must be the same, figures may differ. ``shell-session`` blocks are not run, and
``c`` blocks elsewhere (``tests/export/library``).
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import typer

from pointwise import __version__
from pointwise.cli.app import app
from test_import_levels import LEVELS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
FENCES = {"python", "sh", "text", "shell-session", "c"}

_BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BOX = re.compile(r"[─-╿]+")
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*(e[-+]?\d+)?")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, its content, its line, and what the page says that it prints."""

    kind: str
    content: str
    line: int
    printed: str | None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    blocks = []
    for number, block in enumerate(found):
        after, output = next(iter(found[number + 1 :]), None), None
        if after and after[1] == "text" and not text[block.end() : after.start()].strip():
            output = after[2]
        line = text.count("\n", 0, block.start()) + 1
        blocks.append(Block(block[1], block[2], line, output))
    return blocks


def words(text: str) -> str:
    """Text without what differs from machine to machine: figures, and the frames around them."""
    return " ".join(_NUMBER.sub("0", _BOX.sub(" ", text)).split())


def check_printed(block: Block, printed: str) -> None:
    """Compare with the page, where ``...`` stands for anything."""
    if block.printed is None:
        return
    expected = words(block.printed)
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("..."))
    assert re.fullmatch(pattern, words(printed)), (
        f"line {block.line}: the page shows\n{expected}\nbut this is printed:\n{words(printed)}"
    )


def run_python(block: Block, page: Path, names: dict[str, object]) -> str:
    code = "\n" * block.line + block.content  # so that a traceback names the line of the page
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, str(page), "exec"), names)
    return output.getvalue()


def run_shell(block: Block, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    surroundings = {"PATH": path, "COLUMNS": "80", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", block.content],
        cwd=folder,
        env=os.environ | surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}: {block.content}\n{done.stdout}"
    return done.stdout


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several threads, on a busy machine many times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run_and_print_what_the_page_shows(page, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(page):
        assert block.kind in FENCES, f"line {block.line}: a fence of another kind, {block.kind!r}"
        if block.kind == "python":
            check_printed(block, run_python(block, page, names))
        elif block.kind == "sh":
            check_printed(block, run_shell(block, tmp_path))


def test_a_page_that_shows_other_words_is_found_out():
    block = Block("python", "", 1, "2 rows of\n┃ price ┃ ...")
    check_printed(block, "540 rows of price: number")
    with pytest.raises(AssertionError, match="but this is printed"):
        check_printed(block, "540 rows of weight: number")


def anchors_of(page: Path) -> set[str]:
    """Anchors that a code host makes of a page's headings."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors_of(target), f"{page.name} links to {link}"


def command_options() -> list[tuple[str, str]]:
    commands = typer.main.get_command(app).commands
    return [
        (name, option)
        for name, command in commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    ]


@pytest.mark.parametrize(("command", "option"), command_options())
def test_every_option_is_documented_under_its_command(command, option):
    text = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `pointwise (\w+)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert command in sections, f"docs/command_line.md has no section on pointwise {command}"
    assert re.search(rf"^\| `{option}[ `]", sections[command], re.M), f"{command} {option}"


def test_every_documented_option_is_there():
    text = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    known = {option for _, option in command_options()}
    assert set(re.findall(r"^\| `(--[a-z-]+)", text, re.M)) == known


def test_architecture_names_every_folder_and_its_level():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = {name: int(level) for level, name in re.findall(r"^\| (\d) \| `(\w+)/`", text, re.M)}
    folders = {path.parent.name for path in (ROOT / "src" / "pointwise").glob("*/*.py")}
    assert listed == {name: LEVELS[name] for name in folders}


@pytest.mark.parametrize("picture", sorted((ROOT / "docs").glob("*.svg")), ids=lambda p: p.stem)
def test_picture_is_whole_and_brings_its_own_background(picture):
    root = ElementTree.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    first = root.find("{http://www.w3.org/2000/svg}rect")
    assert first is not None, "light and dark pages shine through a picture without a background"
    assert (first.get("width"), first.get("height")) == tuple(root.get("viewBox").split()[2:])


def test_changelog_tells_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in text
