"""Rules of the source tree: who imports whom, and what the packages load."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Imports point down: a package may import those named beside it, a room the rooms before it.
PACKAGES = {
    "twostream_base": (),
    "flow_extract": ("twostream_base",),
    "fusion": ("twostream_base",),
    "twostream": ("twostream_base", "flow_extract", "fusion"),
}
ROOMS = {
    "flow_extract": "synthetic methods store video extraction layouts display",
    "fusion": "tables combining evaluation events fitting exchange reporting paper_table workflows "
    "find_events",
    "twostream": "compute transforms data models scoring training prediction sequence export "
    "commands cli __main__",
}
# Flow methods that are written in torch.
IN_TORCH = [
    f"flow_extract.methods.{name}"
    for name in ("raft", "tvl1_torch", "tvl1_triton", "median_network")
]
NOT_FOR_A_FACE = ("torch", "torchvision", "cv2", "numba", "scipy.stats")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache  # when the first test runs: most processes that collect this file run none of them
def trees() -> dict[str, ast.Module]:
    """Every file, parsed once for all tests."""
    return {
        module_name(path): ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imported_names(tree: ast.Module) -> set[str]:
    """All modules that a file imports, wherever in it; `from a import b` is a, unless b is ours."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & trees().keys()) or {node.module}
    return names


@cache
def imports() -> dict[str, set[str]]:
    return {module: imported_names(tree) for module, tree in trees().items()}


def arrows() -> dict[str, set[str]]:
    """Module -> our own modules that it imports."""
    return {module: names & imports().keys() - {module} for module, names in imports().items()}


def test_packages_import_only_those_below() -> None:
    wrong = [
        (module, name)
        for module, names in arrows().items()
        for name in sorted(names)
        if name.partition(".")[0] not in (package_of(module), *PACKAGES[package_of(module)])
    ]
    assert wrong == []


def test_rooms_import_only_those_below() -> None:
    wrong = []
    for module, names in arrows().items():
        rooms = ROOMS.get(package_of(module), "").split()
        for name in sorted(names):
            inside = package_of(name) == package_of(module) and rooms
            if inside and room_of(module) and room_of(name):
                above, below = rooms.index(room_of(module)), rooms.index(room_of(name))
                wrong += [(module, name)] if below > above else []
    assert wrong == []


def package_of(module: str) -> str:
    return module.split(".")[0]


def room_of(module: str) -> str:
    """The folder, or the file, right below the package; empty for the package itself."""
    return (*module.split("."), "")[1]


def test_no_import_circle() -> None:
    graph = arrows()
    while leaves := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in leaves}
    assert graph == {}


def test_libraries_are_imported_where_they_belong() -> None:
    """click by the commands alone, torch not by flow and fusion, torchvision by one file."""
    wrong = []
    for module, names in imports().items():
        libraries = {name.partition(".")[0] for name in names}
        allowed = {
            "click": module.startswith(("twostream.commands", "twostream.cli")),
            "torch": package_of(module) in ("twostream", "twostream_base") or module in IN_TORCH,
            "torchvision": module == "twostream_base.vision",
        }
        wrong += [(module, name) for name, may in allowed.items() if name in libraries and not may]
    assert wrong == []


def test_faces_load_nothing_heavy_and_all_their_names_exist() -> None:
    code = (
        "import importlib, json, sys\n"
        "loaded = {}\n"
        f"for face in {[name for name in PACKAGES if name != 'twostream_base']}:\n"
        "    importlib.import_module(face)\n"
        f"    loaded[face] = [name for name in {NOT_FOR_A_FACE} if name in sys.modules]\n"
        "print(json.dumps(loaded))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    faces = {"flow_extract": [], "fusion": [], "twostream": []}
    assert json.loads(done.stdout) == faces
    for module in map(importlib.import_module, faces):
        assert module.__all__
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_no_file_name_that_says_nothing() -> None:
    empty = {"utils", "misc", "common", "helpers", "base", "core", "manager"}
    assert not {module.rpartition(".")[2] for module in imports()} & empty
