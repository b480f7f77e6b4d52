"""The house rules that a machine can hold: who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Imports point down this list; fusion and flow_extract stand on one floor.
FLOORS = {"twostream_base": 0, "flow_extract": 1, "fusion": 1, "twostream": 2}
PACKAGES = tuple(FLOORS)
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def imports(path: Path) -> Iterator[str]:
    """Our own modules that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            candidates = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        yield from (name for name in candidates if name.partition(".")[0] in PACKAGES)


def test_imports_point_down() -> None:
    for path in FILES:
        package = module_name(path).partition(".")[0]
        for imported in imports(path):
            other = imported.partition(".")[0]
            assert other == package or FLOORS[other] < FLOORS[package], (path, imported)


def test_no_import_circle() -> None:
    graph = {module_name(path): set(imports(path)) - {module_name(path)} for path in FILES}
    while leaves := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in leaves}
    assert not graph


def test_only_vision_imports_torchvision() -> None:
    for path in FILES:
        found = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if (isinstance(node, ast.Import) and node.names[0].name.startswith("torchvision"))
            or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchvision"))
        ]
        assert not found or module_name(path) == "twostream_base.vision"


def test_no_file_name_that_says_nothing() -> None:
    empty = {"utils", "misc", "common", "helpers", "base", "core", "manager"}
    assert not {path.stem for path in FILES} & empty
