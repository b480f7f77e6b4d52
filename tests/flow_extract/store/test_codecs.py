import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.codecs import CODECS, dequantize, load_codec, quantize
from flow_extract.store.header import settings_hash
from flow_extract.store.reader import StoreEntry, entry_path
from flow_extract.synthetic import affine_flow, moving_clip, rotation, smooth_texture
from twostream_base import tensor_file
from twostream_base.errors import InputError

SIZES = [(48, 64), (121, 161), (1, 1), (16, 16)]


@pytest.fixture(params=CODECS)
def name(request):
    if request.param == "lz4":
        pytest.importorskip("lz4")
    return request.param


@pytest.fixture
def codec(name):
    return CODECS[name]


def quality(codec) -> int | None:
    return None if codec.lossless else 95


def as_array(blob: bytes) -> np.ndarray:
    return np.frombuffer(blob, np.uint8)


def flow_and_back(codec, pair: np.ndarray) -> np.ndarray:
    blob = codec.encode_flow(pair, quality=quality(codec))
    return codec.decode_flow(as_array(blob), pair.shape[:2])


def rgb_and_back(codec, frame: np.ndarray) -> np.ndarray:
    blob = codec.encode_rgb(frame, quality=quality(codec))
    return codec.decode_rgb(as_array(blob), frame.shape[:2])


@pytest.mark.parametrize("size", SIZES)
def test_flow_comes_back_with_u_and_v_in_place(codec, size):
    pair = quantize(affine_flow(rotation(5, centre=(30, 20)), size))
    decoded = flow_and_back(codec, pair)
    assert (decoded.shape, decoded.dtype) == (pair.shape, np.uint8)
    assert np.abs(decoded.astype(int) - pair).mean() < 1


def test_channels_come_apart_as_batches_want_them(codec):
    """So that loading copies rows, and need not sort channels; RGB of JPEG alone is interleaved."""
    flow = flow_and_back(codec, np.zeros((48, 64, 2), np.uint8))
    frame = rgb_and_back(codec, np.zeros((48, 64, 3), np.uint8))
    assert (flow.strides[1], frame.strides[1]) == (1, 1 if codec.lossless else 3)


@pytest.mark.parametrize("size", SIZES)
def test_frame_comes_back_with_its_colours(codec, size):
    texture = smooth_texture(size, rng=np.random.default_rng(0), cutoff=0.03)
    frame = moving_clip(np.stack([texture, texture * 0, 1 - texture], axis=-1), [])[0][0]
    decoded = rgb_and_back(codec, frame)
    assert (decoded.shape, decoded.dtype) == (frame.shape, np.uint8)
    assert np.abs(decoded.astype(int) - frame).mean() < 4


def test_lossless_means_exact_even_for_noise(codec):
    noise = np.random.default_rng(0).integers(0, 256, (37, 41, 3), np.uint8)
    assert (rgb_and_back(codec, noise) == noise).all() == codec.lossless
    assert (flow_and_back(codec, noise[..., :2]) == noise[..., :2]).all() == codec.lossless


def test_still_flow_is_exact(codec):
    assert (flow_and_back(codec, np.full((240, 320, 2), 128, np.uint8)) == 128).all()


def test_damaged_blob_is_an_error(codec):
    rng = np.random.default_rng(0)
    blob = codec.encode_flow(rng.integers(0, 256, (48, 64, 2), np.uint8), quality=quality(codec))
    for damaged in (b"", blob[: len(blob) // 3], b"text" * 20):
        with pytest.raises(ValueError, match=r"no (whole JPEG|whole LZ4|picture)"):
            codec.decode_flow(as_array(damaged), (48, 64))


def test_picture_of_another_size_is_an_error(codec):
    blob = codec.encode_flow(np.full((48, 64, 2), 128, np.uint8), quality=quality(codec))
    with pytest.raises(ValueError, match=r"not 64 x 48|no picture of 32 x 48|no whole LZ4"):
        codec.decode_flow(as_array(blob), (48, 32))


def test_too_large_a_picture_is_an_error():
    with pytest.raises(ValueError, match="too large"):
        CODECS["jpeg"].encode_flow(np.zeros((1, 40_000, 2), np.uint8), quality=95)


@pytest.fixture
def stored(name, make_video, tmp_path):
    """The store file of a video of 14 frames, in each codec."""
    video = make_video(tmp_path / "v.avi", frames=14)
    settings = extraction_settings("dis", {}, bound=20.0, short_side=None, codec=name)
    assert extract_video(Job("v", video, "v.avi", tmp_path, settings)).status == "ok"
    return entry_path(tmp_path, "v")


def test_store_of_each_codec_reads_back_what_its_blobs_hold(name, codec, stored):
    entry, tensors = StoreEntry(stored), load_file(stored)
    assert entry.header["codec"] == name
    assert entry.header["quality"] == (95 if name == "jpeg" else None)
    flow, offsets = entry.read_flow(2, 10), tensors["flow_offsets"].astype(int)
    for n, pair in enumerate(flow, start=2):
        blob = tensors["flow"][offsets[n] : offsets[n + 1]]
        assert (codec.decode_flow(blob, (48, 64)) == pair).all()
    assert entry.read_rgb([0, 13]).shape == (2, 48, 64, 3)


def test_stack_of_ten_is_one_read(stored, monkeypatch):
    reads, pread = [], os.pread

    def counted(handle, length, begin):
        reads.append(length)
        return pread(handle, length, begin)

    monkeypatch.setattr(tensor_file, "_FIRST_READ", 8)
    entry = StoreEntry(stored)
    monkeypatch.setattr(os, "pread", counted)
    assert entry.read_flow(3, 10).shape == (10, 48, 64, 2)
    assert len(reads) == 1


def test_codec_is_part_of_the_settings(name):
    settings = [
        extraction_settings("dis", {}, bound=20.0, short_side=None, codec=codec)
        for codec in ("jpeg", name)
    ]
    same = settings_hash(settings[0]) == settings_hash(settings[1])
    assert same == (name == "jpeg")


def test_unknown_codec():
    with pytest.raises(InputError, match="codec 'png' is not one of jpeg, raw, lz4"):
        load_codec("png")


def test_absent_library_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "lz4.block", None)
    with pytest.raises(InputError, match="pip install lz4"):
        extraction_settings("dis", {}, bound=20.0, short_side=None, codec="lz4")


def test_known_values_at_bound_20():
    flow = np.array([0, 20, -20, 25, -1e9, 10, -10, 20 / 127, 0.05, -0.05], np.float32)
    expected = [128, 255, 1, 255, 1, 192, 64, 129, 128, 128]  # 63.5 above and below: to even
    assert quantize(flow, bound=20).tolist() == expected


def test_every_level_comes_back():
    levels = np.arange(1, 256, dtype=np.uint8)
    for bound in (1, 8, 20, 33.3):
        assert (quantize(dequantize(levels, bound=bound), bound=bound) == levels).all()


def test_zero_is_exact_and_directions_mirror():
    assert dequantize(np.array([128], np.uint8)) == 0.0
    flow = np.linspace(0, 25, 1000, dtype=np.float32)
    assert (quantize(flow).astype(int) - 128 == 128 - quantize(-flow).astype(int)).all()


@given(st.lists(st.floats(-1e6, 1e6, width=32)), st.floats(0.5, 100))
def test_error_is_at_most_half_a_level(values, bound):
    flow = np.array(values, np.float32)
    error = np.abs(dequantize(quantize(flow, bound=bound), bound=bound) - flow.clip(-bound, bound))
    assert (error <= bound / 254 * (1 + 1e-4)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="not finite"):
        quantize(np.array([0.0, bad, 1.0], np.float32))
