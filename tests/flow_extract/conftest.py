"""Small videos made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flow_extract.extract import Job
from flow_extract.settings import extraction_settings
from flow_extract.synthetic import moving_clip, smooth_texture, translation


@pytest.fixture
def write_mjpg() -> Callable[[Path, np.ndarray], None]:
    """`write_mjpg(path, clip)` writes frames uint8 (T, H, W, 3) RGB as a Motion-JPEG AVI."""
    import cv2

    def write(path: Path, clip: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (clip.shape[2], clip.shape[1])
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
        assert writer.isOpened()
        for frame in clip:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()

    return write


@pytest.fixture
def make_video(write_mjpg) -> Callable[..., Path]:
    """`make_video(path, frames=12, size=(48, 64), seed=0)` writes a moving texture as MJPG."""

    def make(path: Path, *, frames: int = 12, size: tuple[int, int] = (48, 64), seed=0) -> Path:
        texture = smooth_texture(size, rng=np.random.default_rng(seed))
        clip, _ = moving_clip(texture, [translation(1.5, -0.5)] * (frames - 1))
        write_mjpg(path, clip)
        return path

    return make


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """`make_job(video, **settings)`: the job of one video, into the store `tmp_path / "store"`."""

    def make(video: Path, *, method: str = "dis", bound: float = 20.0, short_side=None) -> Job:
        settings = extraction_settings(method, {}, bound=bound, short_side=short_side)
        return Job(video.stem, video, video.name, tmp_path / "store", settings)

    return make
