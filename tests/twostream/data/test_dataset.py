from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flow_extract.store import StoreEntry
from twostream.data.dataset import sample_shape, views_shape, views_writer, write_sample
from twostream.data.records import VideoRecord
from twostream.data.sampling import random_in_segments
from twostream.data.stored import StoredVideo
from twostream.inference.protocols import PROTOCOLS
from twostream.transforms.augmentation import Augmentation
from twostream.transforms.boxes import View, random_corner_box
from twostream.transforms.presets import MODALITIES, Modality

from ..conftest import MiniProject
from ..transforms.plain_views import plain_views

RGB, FLOW = MODALITIES["spatial"], MODALITIES["motion"]


@pytest.fixture
def video(mini: MiniProject) -> StoredVideo:
    """24 frames of 96 x 96, so 23 flow pairs."""
    name = "BlueVertical/v_BlueVertical_g01_c01"
    path = mini.root / "store" / f"{name}.safetensors"
    return StoredVideo(VideoRecord(name, 0, "g"), path, length=23)


def plain_snippet(video: StoredVideo, modality: Modality, start: int) -> np.ndarray:
    """(T, H, W, C); where the video ends early its last picture repeats."""
    entry = StoreEntry(video.path)
    whole = entry.read_rgb(range(24)) if modality is RGB else entry.read_flow(0, 23)
    return whole[np.minimum(start + np.arange(modality.snippet_length), video.length - 1)]


def sample_of(
    video: StoredVideo, modality: Modality, *, seed: int, size: int = 64, only: int = 0
) -> np.ndarray:
    shape = sample_shape(modality, num_segments=1 if only else 3, size=size)
    out = np.empty(shape, dtype=np.uint8)
    write_sample(
        video, modality, out, num_segments=3, only=only, augmentation=Augmentation(),
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return out


@pytest.mark.parametrize("length", [23, 12, 4])
@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_samples_equal_the_plain_way(video: StoredVideo, modality: Modality, length: int) -> None:
    video = StoredVideo(video.record, video.path, length=length)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        positions = max(1, length - modality.snippet_length + 1)
        starts = random_in_segments(positions, 3, rng=rng)
        view = View(random_corner_box(96, 96, scales=modality.scales, rng=rng), rng.random() < 0.5)
        expected = [
            plain_views(plain_snippet(video, modality, start), [view], size=64)[0]
            for start in starts
        ]
        assert (sample_of(video, modality, seed=seed) == expected).all()


def test_a_short_video_repeats_its_last_pair(video: StoredVideo) -> None:
    short = StoredVideo(video.record, video.path, length=4)
    for segment in sample_of(short, FLOW, seed=0):
        assert (segment[4:] == segment[3]).all()
        assert (segment[2] != segment[3]).any()


@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_training_samples_repeat_with_their_seed(video: StoredVideo, modality: Modality) -> None:
    samples = [sample_of(video, modality, seed=seed) for seed in (5, 5, 6)]
    assert (samples[0] == samples[1]).all()
    assert (samples[0] != samples[2]).any()


def test_one_segment_alone_is_the_one_of_the_whole_sample(video: StoredVideo) -> None:
    whole = sample_of(video, RGB, seed=5)
    for segment in (1, 2, 3):
        assert (sample_of(video, RGB, seed=5, only=segment) == whole[[segment - 1]]).all()


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_views_equal_the_plain_way(video: StoredVideo, modality: Modality, name: str) -> None:
    protocol = PROTOCOLS[name]
    side = round(56 * protocol.scale)
    shape = views_shape(modality, protocol, size=56)
    assert shape == (
        protocol.num_crops, modality.snippet_length, modality.channels, side, side,
    )  # fmt: skip
    write = views_writer([video], modality, protocol)
    out = np.empty((protocol.num_snippets, *shape), dtype=np.uint8)
    items = [(0, number) for number in range(protocol.num_snippets)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, items, out))
    starts = protocol.starts(23 - modality.snippet_length + 1, protocol.num_snippets)
    views = protocol.views(96, 96)
    for start, found in zip(starts, out, strict=True):
        clip = plain_snippet(video, modality, start)
        assert (found == plain_views(clip, views, size=side)).all()


@pytest.mark.parametrize("threads", [1, 4])
def test_each_picture_of_a_video_is_decoded_once(
    video: StoredVideo, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """25 snippets of 10 pairs show 23 pairs, 250 times, in ten views each."""
    decoded: list[int] = []
    pictures = StoreEntry.pictures

    def counted(entry: StoreEntry, key: str, indices: list[int]) -> object:
        decoded.extend(indices)
        return pictures(entry, key, indices)

    monkeypatch.setattr(StoreEntry, "pictures", counted)
    protocol = PROTOCOLS["tsn25x10"]
    write = views_writer([video], FLOW, protocol)
    out = np.empty((25, *views_shape(FLOW, protocol, size=32)), dtype=np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, [(0, number) for number in range(25)], out))
    assert sorted(decoded) == list(range(23))
