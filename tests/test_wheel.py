"""The wheel holds all of the packages; `bin/check-wheel` also installs and uses it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .wheel_job import main_job

ROOT = Path(__file__).parents[1]
PACKAGES = ("twostream_base", "flow_extract", "fusion", "twostream")


def test_the_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="70")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in PACKAGES:
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=without)
    build = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_the_main_job_is_six_commands() -> None:
    commands = main_job((ROOT / "README.md").read_text())
    assert [command.split()[1] for command in commands] == [
        "init", "extract-flow", "train", "train", "fuse", "report"
    ]  # fmt: skip
