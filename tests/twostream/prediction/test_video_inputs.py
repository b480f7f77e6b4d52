from __future__ import annotations

from pathlib import Path

import pytest

from twostream.prediction.predict import find_inputs
from twostream_base.errors import InputError


def test_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.avi", "b/c/1.mp4", "a.avi", "b/notes.txt", "b/x.avi", "b/x.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    inputs = find_inputs(["b", "a.avi"], workplace=tmp_path / "work")
    assert inputs.videos == {
        "b/2.avi": Path("b/2.avi"),
        "b/c/1.mp4": Path("b/c/1.mp4"),
        "a.avi": Path("a.avi"),
    }
    assert list(inputs.refused) == ["b/x"]
    assert "would share one name" in inputs.refused["b/x"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="x.avi: no such file or folder"):
        find_inputs(["x.avi"], workplace=tmp_path)
    with pytest.raises(InputError, match="no videos in this folder"):
        find_inputs([str(tmp_path)], workplace=tmp_path)
