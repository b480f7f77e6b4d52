"""The names of the three packages: each is there, and type checkers see the same ones."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["flow_extract", "fusion", "twostream"])
def test_every_name_is_there_and_is_imported_for_type_checkers(package: str) -> None:
    face = importlib.import_module(package)
    assert [name for name in face.__all__ if getattr(face, name) is None] == []
    assert set(face.__all__) <= set(dir(face))
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'no_such_name'"):
        face.no_such_name  # noqa: B018
    tree = ast.parse(Path(str(face.__file__)).read_text())
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    assert sorted(alias.name for node in imports for alias in node.names) == face.__all__
    for node in imports:  # from where late_names has them too
        home = importlib.import_module(str(node.module))
        assert all(getattr(home, name.name) is getattr(face, name.name) for name in node.names)
