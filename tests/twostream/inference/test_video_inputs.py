from __future__ import annotations

from pathlib import Path

import pytest

from twostream.errors import InputError
from twostream.inference import video_inputs
from twostream.inference.video_inputs import find_inputs


def test_files_folders_and_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.avi", "b/c/1.mp4", "a.avi", "b/notes.txt", "b/x.avi", "b/x.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("work").mkdir()
    monkeypatch.setattr(video_inputs, "record", lambda number, path, *, seconds: path.touch())
    inputs = find_inputs(["b", "a.avi", "0"], workplace=tmp_path / "work", seconds=2)
    assert inputs.videos == {
        "b/2.avi": Path("b/2.avi"),
        "b/c/1.mp4": Path("b/c/1.mp4"),
        "a.avi": Path("a.avi"),
        "camera 0": tmp_path / "work" / "camera-0.avi",
    }
    assert list(inputs.refused) == ["b/x"]
    assert "would share one name" in inputs.refused["b/x"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="x.avi: no such file or folder"):
        find_inputs(["x.avi"], workplace=tmp_path, seconds=1)
    with pytest.raises(InputError, match="no videos in this folder"):
        find_inputs([str(tmp_path)], workplace=tmp_path, seconds=1)
