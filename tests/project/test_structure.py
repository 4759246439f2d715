"""How the code is laid out: tests mirror modules, and parameters are explained."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from tests.project.test_repository import ROOT, tracked_files

PACKAGES = (
    "benchmark",
    "bundle",
    "model_export",
    "reports",
    "service",
    "simulation",
    "steerstream",
)
WITHOUT_MIRROR = {
    "service/steerstream_service/domain.py",
    "steerstream/__main__.py",
    "steerstream/metadata.py",
    "steerstream/models.py",
}
"""Modules without a test module of the same name; the set may only shrink. Records and names have
nothing to test alone; the command is tested by `drive/test_command.py`."""

MANY = 3
"""So many parameters are explained one by one."""


def modules(*folders: str) -> list[Path]:
    """The modules that people wrote, relative to the checkout."""
    return [
        path.relative_to(ROOT)
        for path in tracked_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
        if "v1" not in path.parts
    ]


def mirror(module: Path) -> Path:
    """The test module: `tests/service/engine/test_batching.py` for the server's `batching`."""
    folder, *parts = module.parts
    inside = parts if folder == "steerstream" else parts[1:]
    return Path("tests", folder, *inside[:-1], f"test_{module.stem.strip('_')}.py")


def test_tests_mirror_modules():
    found = {
        str(module)
        for module in modules("bundle", "service", "steerstream")
        if module.name != "__init__.py" and not (ROOT / mirror(module)).exists()
    }
    assert found == WITHOUT_MIRROR


@functools.cache
def classes() -> dict[str, list[ast.ClassDef]]:
    """All classes by name."""
    found: dict[str, list[ast.ClassDef]] = {}
    for module in modules(*PACKAGES):
        for node in ast.walk(ast.parse((ROOT / module).read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def overrides(function: ast.FunctionDef | ast.AsyncFunctionDef, owner: ast.ClassDef) -> bool:
    """Whether a base class has the method, and so explains its parameters."""
    for base in owner.bases:
        name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
        for node in classes().get(name, ()):
            methods = {getattr(item, "name", None) for item in node.body}
            if function.name in methods or overrides(function, node):
                return True
    return False


def public_functions(
    node: ast.AST, owner: ast.ClassDef | None = None
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Yield public functions with their names and docstrings; a class explains `__init__`."""
    for item in ast.iter_child_nodes(node):
        name = getattr(item, "name", "_")
        if isinstance(item, ast.ClassDef) and not name.startswith("_"):
            yield from public_functions(item, item)
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(item) or ""
            if owner and name == "__init__":
                yield owner.name, item, docstring + (ast.get_docstring(owner) or "")
            elif not name.startswith("_") and not (owner and overrides(item, owner)):
                yield f"{owner.name}.{name}" if owner else name, item, docstring


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    names = [item.arg for item in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in {"self", "cls"}]


def test_public_functions_explain_three_or_more_parameters():
    found = {
        f"{module}: {name}"
        for module in modules(*PACKAGES)
        for name, function, docstring in public_functions(ast.parse((ROOT / module).read_text()))
        if len(parameters(function)) >= MANY and "Args:" not in docstring
    }
    assert found == set()
