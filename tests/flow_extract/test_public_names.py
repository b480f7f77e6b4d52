"""What `flow_extract` offers; `tests/test_architecture.py` sees what importing it loads."""

import numpy as np
import pytest

import flow_extract
from twostream_base.errors import InputError


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_frames_and_flow_of_a_video(make_video, tmp_path, frames):
    """The texture of `make_video` moves by (1.5, -0.5) pixels a frame."""
    video = make_video(tmp_path / "v.avi", frames=frames, size=(96, 128))
    rgb, flow = flow_extract.read_video(str(video), method="dis", preset="fast")
    assert (rgb.shape, rgb.dtype) == ((frames, 96, 128, 3), np.uint8)
    assert (flow.shape, flow.dtype) == ((frames - 1, 96, 128, 2), np.float32)
    if frames > 1:
        assert np.abs(flow.mean(axis=(0, 1, 2)) - [1.5, -0.5]).max() < 0.2
        assert flow_extract.flow_to_rgb(flow[0]).shape == (96, 128, 3)
    small, _ = flow_extract.read_video(video, short_side=48)
    assert small.shape == (frames, 48, 64, 3)


def test_no_video_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.avi: cannot be read"):
        flow_extract.read_video(tmp_path / "nothing.avi")


def test_a_folder_and_its_store(make_video, tmp_path):
    make_video(tmp_path / "videos" / "class" / "v.avi", frames=3)
    report = flow_extract.extract_folder(str(tmp_path / "videos"), str(tmp_path / "store"))
    assert report.counts()["done_now"] == 1
    entry = flow_extract.open_entry(tmp_path / "store", "class/v")
    assert flow_extract.dequantize(entry.read_flow(0, 2)).shape == (2, 48, 64, 2)
    assert list(flow_extract.scan_store(str(tmp_path / "store"))) == ["class/v"]
    assert flow_extract.check_store(str(tmp_path / "store"), deep=True).findings == []
