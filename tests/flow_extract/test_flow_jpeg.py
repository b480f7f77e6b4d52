"""Flow coded by our own loops: the bytes that OpenCV's libjpeg writes, whatever the picture."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_extract.batch import extract_folder
from flow_extract.codecs import CODECS, MANY_VIDEOS, preload_for
from flow_extract.executor import run_jobs
from flow_extract.flow_jpeg import encode_flow, tables_of
from flow_extract.jpeg_loops import COEFFICIENT_BITS, find_busy, side_by_side
from flow_extract.methods import FLOW_METHODS
from flow_extract.quantize import quantize
from flow_extract.settings import extraction_settings
from flow_extract.video import read_frames


def opencv(pair: np.ndarray, quality: int) -> bytes:
    """The same picture, coded by OpenCV."""
    picture = np.hstack([pair[..., 0], pair[..., 1]])
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def still(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, random.integers(256), np.uint8)


def noise(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.integers(0, 256, shape, np.uint8)


def extremes(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 255 * random.integers(0, 2, shape, np.uint8)


def dots(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(random.random(shape) < 0.02, noise(random, shape), np.uint8(128))


def smooth(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    steps = random.normal(size=shape).cumsum(0).cumsum(1)
    return np.clip(128 + 100 * steps / np.abs(steps).max(), 0, 255).astype(np.uint8)


def fine_waves(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Only the last coefficients of a block are not 0: more than 16 zeros come before them."""
    y, x = np.indices(shape[:2])
    wave = np.cos((2 * y + 1) * 7 * np.pi / 16) * np.cos((2 * x + 1) * 7 * np.pi / 16)
    waves = 128 + random.integers(1, 127) * wave[..., np.newaxis].repeat(2, axis=2)
    return waves.round().astype(np.uint8)


@pytest.mark.parametrize("picture", [still, noise, extremes, dots, smooth, fine_waves])
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    quality=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_the_bytes_are_those_of_opencv(picture, height, width, quality, seed):
    pair = picture(np.random.default_rng(seed), (height, width, 2))
    assert encode_flow(pair, quality) == opencv(pair, quality)


@pytest.mark.parametrize("quality", [1, 50, 95, 100])
@pytest.mark.parametrize("picture", [noise, extremes, fine_waves])
def test_large_pictures_too(picture, quality):
    pair = picture(np.random.default_rng(0), (241, 341, 2))
    assert encode_flow(pair, quality) == opencv(pair, quality)


def test_flow_of_a_real_clip(shared_data):
    video = shared_data / "ucf101-clips/videos/Archery/v_Archery_g02_c02.avi"
    frames = np.stack(list(islice(read_frames(video), 12)))
    for pair in quantize(FLOW_METHODS["dis"]()(frames)):
        assert encode_flow(pair, 95) == opencv(pair, 95)
        words = side_by_side(pair)
        assert 0 < find_busy(words).size < words.size // 8  # both ways through a block are gone


def test_a_view_whose_channels_lie_apart():
    pair = np.moveaxis(noise(np.random.default_rng(0), (2, 24, 40)), 0, 2)
    assert encode_flow(pair, 95) == opencv(pair, 95)


def test_threads_do_not_meet():
    random = np.random.default_rng(0)
    pairs = [smooth(random, (64, 80, 2)) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda pair: encode_flow(pair, 95), pairs)) == [
            opencv(pair, 95) for pair in pairs
        ]


@pytest.mark.parametrize("quality", [1, 20, 50, 75, 95, 100])
def test_division_is_exact(quality):
    """For every coefficient that can occur, with every divisor of the table."""
    numbers = np.arange(2**COEFFICIENT_BITS - 1024)
    for half, multiplier, shift in tables_of(8, 16, quality).divisors.tolist():
        assert (numbers.max() + half) * multiplier < 2**31
        wanted = (numbers + half) // (2 * half)
        np.testing.assert_array_equal((numbers + half) * multiplier >> shift, wanted)


def test_a_picture_too_large_for_jpeg():
    with pytest.raises(ValueError, match="65538 x 8 is too large for JPEG"):
        encode_flow(np.zeros((8, 32_769, 2), np.uint8), 95)


def test_the_codec_takes_the_loops_where_they_are_loaded(monkeypatch):
    pair = smooth(np.random.default_rng(0), (64, 80, 2))
    encode = CODECS["jpeg"].encode_flow
    with_loops = encode(pair, quality=95)
    monkeypatch.setattr("flow_extract.flow_jpeg.encode_flow", lambda pair, quality: b"loops")
    assert encode(pair, quality=95) == b"loops"
    monkeypatch.delitem(sys.modules, "flow_extract.flow_jpeg")
    assert encode(pair, quality=95) == with_loops


def test_only_many_videos_are_worth_loading_them():
    assert preload_for("jpeg", videos=MANY_VIDEOS) == ("flow_extract.flow_jpeg",)
    assert preload_for("jpeg", videos=MANY_VIDEOS - 1) == ()
    assert preload_for("raw", videos=MANY_VIDEOS) == ()


@pytest.mark.parametrize("preload", [(), ("flow_extract.flow_jpeg",)])
def test_jobs_find_them_loaded(preload):
    """Equal bytes do not tell; in a process of its own, as a fork server runs already in this."""
    script = (
        "from flow_extract.executor import run_jobs\n"
        "loaded = \"'flow_extract.flow_jpeg' in __import__('sys').modules\"\n"
        f"run = run_jobs(eval, [loaded], workers=1, timeout=60, preload={preload!r})\n"
        "print([outcome.value for _, outcome in run])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"[{bool(preload)}]"


@pytest.mark.parametrize(("many", "loaded"), [(1, True), (2, False)])
def test_extraction_loads_them_for_many(many, loaded, make_video, tmp_path, monkeypatch):
    monkeypatch.setattr("flow_extract.codecs.MANY_VIDEOS", many)
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos" / "v.avi")
    asked: list[str] = []

    def engine(function, jobs, *, preload, **options):
        asked.extend(preload)
        yield from run_jobs(function, jobs, preload=preload, **options)

    report = extract_folder(
        tmp_path / "videos",
        tmp_path / "store",
        settings=extraction_settings("dis", {}, bound=20.0, short_side=None),
        workers=1,
        timeout=60,
        progress=lambda items, total: items,
        engine=engine,
    )
    assert (len(report.done), "flow_extract.flow_jpeg" in asked) == (1, loaded)
