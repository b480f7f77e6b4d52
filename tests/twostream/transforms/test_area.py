from __future__ import annotations

import cv2
import numpy as np
import pytest

from twostream.transforms import area
from twostream.transforms.area import area_taps, scale_down


def test_taps() -> None:
    """Four pixels from five, each 1.25 wide: 0.8 of a whole one, 0.2 of a quarter."""
    first, weights = area_taps(5, 4)
    assert first.tolist() == [0, 1, 2, 2]
    expected = [[0.8, 0.6, 0.4, 0.0], [0.2, 0.4, 0.6, 0.2], [0.0, 0.0, 0.0, 0.8]]
    np.testing.assert_allclose(weights, expected, atol=1e-7)


@pytest.mark.parametrize("interleaved", [False, True])
def test_it_gives_the_bytes_of_opencv(interleaved: bool) -> None:
    """Sizes from just above 1 to just below 2 times; parts of larger pictures, in both layouts."""
    rng = np.random.default_rng(0)
    for height, width in [(256, 256), (225, 447), (300, 340), (441, 226)]:
        whole = rng.integers(0, 256, (height + 3, width + 5, 2), np.uint8)
        if not interleaved:
            whole = np.ascontiguousarray(whole.transpose(2, 0, 1)).transpose(1, 2, 0)
        part = whole[2 : 2 + height, 4 : 4 + width]
        out = np.empty((2, 224, 224), np.uint8)
        assert scale_down(part.transpose(2, 0, 1), out)
        for channel in range(2):
            plane = np.ascontiguousarray(part[..., channel])
            expected = cv2.resize(plane, (224, 224), interpolation=cv2.INTER_AREA)
            assert np.array_equal(out[channel], expected)


@pytest.mark.parametrize("size", [(112, 224), (224, 256), (300, 200)])
def test_other_scales_are_left_to_opencv(size: tuple[int, int]) -> None:
    out = np.zeros((1, *size), np.uint8)
    assert not scale_down(np.ones((1, 256, 256), np.uint8), out)
    assert not out.any()


def test_where_opencv_rounds_otherwise_it_does_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(area, "_is_exact", lambda: False)
    assert not scale_down(np.ones((1, 256, 256), np.uint8), np.zeros((1, 224, 224), np.uint8))
