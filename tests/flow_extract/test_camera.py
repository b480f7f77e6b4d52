import cv2
import numpy as np
import pytest

from flow_extract.camera import record
from flow_extract.video import probe, read_frames
from twostream.errors import InputError


class Camera:
    """Gives `frames` pictures, then none."""

    def __init__(self, frames, fps):
        self.left, self.fps = frames, fps

    def isOpened(self):  # noqa: N802
        return True

    def get(self, key):
        return self.fps

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((48, 64, 3), 90, np.uint8) if self.left >= 0 else None

    def release(self):
        pass


@pytest.mark.parametrize(("fps", "expected"), [(30.0, 30.0), (0.0, 25.0)])
def test_a_recording_is_a_video(tmp_path, monkeypatch, fps, expected):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(3, fps))
    record(0, tmp_path / "c.avi", seconds=60)
    monkeypatch.undo()
    assert probe(tmp_path / "c.avi").fps == expected
    frames = list(read_frames(tmp_path / "c.avi"))
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - 90).max() < 4


def test_no_camera(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(0, 30.0))
    with pytest.raises(InputError, match="camera 3: it cannot be opened or gives no picture"):
        record(3, tmp_path / "c.avi", seconds=1)
