import numpy as np
import pytest

from flow_extract.codecs import CODECS
from flow_extract.quantize import quantize
from flow_extract.synthetic import affine_flow, moving_clip, rotation, smooth_texture

SIZES = [(48, 64), (121, 161), (1, 1), (16, 16)]


@pytest.fixture(params=CODECS.values(), ids=CODECS.keys())
def codec(request):
    return request.param


def as_array(blob: bytes) -> np.ndarray:
    return np.frombuffer(blob, np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_flow_comes_back_with_u_and_v_in_place(codec, size):
    pair = quantize(affine_flow(rotation(5, centre=(30, 20)), size))
    decoded = codec.decode_flow(as_array(codec.encode_flow(pair, quality=95)))
    assert decoded.shape == pair.shape
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pair).mean() < 1


@pytest.mark.parametrize("size", SIZES)
def test_frame_comes_back_with_its_colours(codec, size):
    texture = smooth_texture(size, rng=np.random.default_rng(0), cutoff=0.03)
    frame = moving_clip(np.stack([texture, texture * 0, 1 - texture], axis=-1), [])[0][0]
    decoded = codec.decode_rgb(as_array(codec.encode_rgb(frame, quality=95)))
    assert decoded.shape == frame.shape
    assert np.abs(decoded.astype(int) - frame).mean() < 4


def test_still_flow_is_exact(codec):
    still = np.full((240, 320, 2), 128, np.uint8)
    assert (codec.decode_flow(as_array(codec.encode_flow(still, quality=95))) == 128).all()


def test_damaged_blob_is_an_error(codec):
    blob = codec.encode_flow(np.full((48, 64, 2), 128, np.uint8), quality=95)
    for damaged in (b"", blob[: len(blob) // 3], b"text" * 20):
        with pytest.raises(ValueError, match="no whole JPEG"):
            codec.decode_flow(as_array(damaged))


def test_too_large_a_picture_is_an_error(codec):
    with pytest.raises(ValueError, match="too large"):
        codec.encode_flow(np.zeros((1, 40_000, 2), np.uint8), quality=95)
