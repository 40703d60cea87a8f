"""What every command says of itself, fast and without the heavy libraries."""

import re
import subprocess
import sys
from importlib import metadata

import pytest

from pointwise.cli.app import app

COMMANDS = [
    *("fit", "predict", "evaluate", "report", "cost", "whatif", "compare", "convert", "compress"),
    "export",
    "bench",
]


def test_the_commands_are_these():
    assert [command.callback.__name__ for command in app.registered_commands] == COMMANDS


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_every_option_and_an_example(command, pointwise):
    ran = pointwise(f"{command} --help")
    assert (ran.code, ran.err) == (0, "")
    words = " ".join(ran.out.split())
    if command:
        assert f"Example: pointwise {command} " in words
        assert "--json" in words
    else:
        assert all(name in words for name in COMMANDS)
    rows = [line.strip("│ ") for line in ran.out.splitlines() if re.match(r"│ *\*? *--", line)]
    assert rows
    assert all(len(row.split("  ")) > 1 for row in rows)  # each option says what it does


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_without_arguments_help_is_shown_and_the_use_was_wrong(command, pointwise):
    ran = pointwise(command)
    assert ran.code == 2
    assert "Usage:" in ran.out + ran.err


def test_the_version_is_that_of_the_package(pointwise):
    assert pointwise("--version") == type(pointwise("--version"))(
        0, metadata.version("pointwise") + "\n", ""
    )


def test_help_needs_no_heavy_library():
    script = (
        "import sys; from pointwise.cli.app import main\n"
        "sys.argv = ['pointwise', 'fit', '--help']\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'pyarrow', 'matplotlib', 'numpy', 'scipy'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Usage:" in run.stdout
    assert run.stderr == ""


def test_the_package_runs_as_a_program():
    run = subprocess.run(
        [sys.executable, "-m", "pointwise", "predict", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Usage: python -m pointwise predict" in run.stdout
