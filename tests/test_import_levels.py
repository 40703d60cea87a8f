"""Imports point down: read from the source, so that a late or conditional import counts too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pointwise

ROOT = Path(pointwise.__file__).parent

LEVELS = {
    "_shapes": 0,
    "_atomic": 0,
    "_pages": 0,
    "errors": 0,
    "functional": 1,
    "nn": 2,
    "data": 3,
    "inspection": 3,
    "networks": 3,
    "training": 3,
    "runtime": 4,
    "maps": 5,
    "modelfiles": 5,
    "surgery": 5,
    "compression": 6,
    "estimators": 7,
    "export": 8,
    "reports": 7,
    "studies": 8,
    "cli": 9,
}
"""The level of every folder and module at the top of the package."""

ROOT_MODULES = ("__init__", "__main__")  # they present the package, and may import any of it

HEAVY = (
    *("dask", "geopandas", "halide", "jinja2", "matplotlib", "pandas", "rasterio", "rich"),
    *("rioxarray", "sklearn", "typer", "xarray", "zarr"),
)
"""What takes long to import: only on first use, so that ``import pointwise`` is quick."""

MAY_BE_HEAVY = ("cli", "estimators", "export", "reports", "studies")


def part(path: Path) -> str:
    """The folder or module at the top of the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def package_files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


FILES = [path for path in package_files() if part(path) not in ROOT_MODULES]
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def imported(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    """Dotted names that one import statement reaches; relative ones from ``package``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = package[: len(package) + 1 - node.level] if node.level else ()
    module = ".".join((*above, *([node.module] if node.module else [])))
    return [f"{module}.{alias.name}" for alias in node.names]


def own_imports(source: str, package: tuple[str, ...] = ("pointwise",)) -> list[str]:
    """Everything of this package that a source imports, wherever the statement stands."""
    names = [name for node in ast.walk(ast.parse(source)) for name in imported(node, package)]
    return [name for name in names if name.split(".")[0] == "pointwise"]


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def statements_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported: not in functions, not for type checkers."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if is_type_checking(node):
            yield from statements_on_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from statements_on_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from statements_on_import(handler.body)


def heavy_on_import(source: str) -> list[str]:
    """Heavy libraries that importing a source imports."""
    names = [
        name for node in statements_on_import(ast.parse(source).body) for name in imported(node, ())
    ]
    return [name for name in names if name.split(".")[0] in HEAVY]


def complaint(mine: str, name: str) -> str | None:
    """Why the part ``mine`` may not import ``name``."""
    _, *inner = name.split(".")
    if not inner or inner[0] not in LEVELS:
        return f"imports {name}: the root of the package, or a part without a level"
    if inner[0] == mine or LEVELS[inner[0]] < LEVELS[mine]:
        return None
    return f"{mine} (level {LEVELS[mine]}) imports {inner[0]} (level {LEVELS[inner[0]]})"


def test_every_part_has_a_level() -> None:
    assert {part(path) for path in FILES} <= LEVELS.keys()
    assert len(FILES) > 20


@each_file
def test_imports_point_down(path: Path) -> None:
    package = ("pointwise", *path.relative_to(ROOT).parent.parts)
    names = own_imports(path.read_text("utf-8"), package)
    complaints = [complaint(part(path), name) for name in names]
    assert [c for c in complaints if c] == []


@each_file
def test_heavy_libraries_wait_for_their_first_use(path: Path) -> None:
    if part(path) not in MAY_BE_HEAVY:
        assert heavy_on_import(path.read_text("utf-8")) == []
    else:
        assert LEVELS[part(path)] >= LEVELS["estimators"]


def test_the_root_imports_nothing_heavy() -> None:
    for name in ROOT_MODULES:
        assert heavy_on_import((ROOT / f"{name}.py").read_text("utf-8")) == []


# --- The guard itself ---

BAD_IMPORTS = {
    "up": ("nn", "from pointwise.training import train"),
    "up_by_module": ("functional", "import pointwise.nn.mlp"),
    "up_late": ("nn", "def f():\n    from pointwise.estimators import load"),
    "up_for_types": ("nn", "if TYPE_CHECKING:\n    from pointwise.data.table import Table"),
    "up_relative": ("nn", "from ..training import train"),
    "sibling": ("data", "from pointwise.training import Rows"),
    "root": ("reports", "from pointwise import load"),
    "root_module": ("reports", "import pointwise"),
    "root_relative": ("reports", "from .. import load"),
    "unknown": ("reports", "from pointwise.helpers import x"),
}


@pytest.mark.parametrize(("mine", "source"), BAD_IMPORTS.values(), ids=BAD_IMPORTS.keys())
def test_the_guard_sees(mine: str, source: str) -> None:
    names = own_imports(source, ("pointwise", mine))
    assert [name for name in names if complaint(mine, name)] == names
    assert len(names) == 1


GOOD_IMPORTS = {
    "down": ("nn", "from pointwise.functional import pointwise"),
    "own": ("nn", "from pointwise.nn.mlp import MLP"),
    "own_relative": ("nn", "from .mlp import MLP"),
    "part_from_root": ("nn", "from pointwise import functional"),
    "errors": ("functional", "from pointwise.errors import DataError"),
    "others": ("nn", "import torch\nfrom numpy.typing import NDArray"),
}


@pytest.mark.parametrize(("mine", "source"), GOOD_IMPORTS.values(), ids=GOOD_IMPORTS.keys())
def test_the_guard_lets_pass(mine: str, source: str) -> None:
    names = own_imports(source, ("pointwise", mine))
    assert [complaint(mine, name) for name in names] == [None] * len(names)


HEAVY_IMPORTS = {
    "top": ("import pandas as pd", ["pandas"]),
    "submodule": ("from sklearn.base import clone", ["sklearn.base.clone"]),
    "tried": ("try:\n    import rich\nexcept ImportError:\n    import typer", ["rich", "typer"]),
    "conditional": ("if x:\n    pass\nelse:\n    import jinja2", ["jinja2"]),
    "class": ("class A:\n    import matplotlib", ["matplotlib"]),
    "late": ("def f():\n    import pandas", []),
    "method": ("class A:\n    def f(self):\n        import pandas", []),
    "types": ("if TYPE_CHECKING:\n    import pandas", []),
    "light": ("import torch, numpy", []),
}


@pytest.mark.parametrize(("source", "found"), HEAVY_IMPORTS.values(), ids=HEAVY_IMPORTS.keys())
def test_the_guard_sees_heavy_imports(source: str, found: list[str]) -> None:
    assert heavy_on_import(source) == found
