"""What wheel and source distribution hold; `bin/check-wheel` also installs and uses them."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .wheel_job import main_job

ROOT = Path(__file__).parents[1]
PACKAGES = ("twostream_base", "flow_extract", "fusion", "twostream")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this clone."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("built")
    for name in _source_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    build = "import setuptools.build_meta as b; b.build_wheel('built'); b.build_sdist('built')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    return folder / "built"


def _source_files() -> set[str]:
    """Files of the repository: what git knows, and new ones that it does not ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listing.returncode:
        pytest.skip("needs a clone, with git")
    names = listing.stdout.decode().split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def test_the_wheel_has_every_file_of_the_packages(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {name for name in _source_files() if name.split("/")[0] in PACKAGES}
    assert packed >= {f"{package}/py.typed" for package in PACKAGES}  # types are for users too


def test_the_source_distribution_has_every_file_but_gits_own(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {info.name.partition("/")[2]: info.mode for info in tar if info.isfile()}
    missing = _source_files() - packed.keys()
    assert missing == {".gitignore"}
    assert packed["bin/test"] & 0o100  # can be executed
    assert not [name for name in packed if "__pycache__" in name]


def test_an_index_shows_licence_versions_and_readme(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Author"]
    assert metadata["Keywords"]
    versions = re.findall(r"Python :: (3\.\d+)", str(metadata.get_all("Classifier")))
    assert versions == ["3.11", "3.12", "3.13"]
    readme = metadata.get_payload(decode=True)
    assert isinstance(readme, bytes)
    assert readme.decode().strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


def test_the_main_job_is_six_commands() -> None:
    commands = main_job((ROOT / "README.md").read_text())
    assert [command.split()[1] for command in commands] == [
        "init", "extract-flow", "train", "train", "fuse", "report"
    ]  # fmt: skip
