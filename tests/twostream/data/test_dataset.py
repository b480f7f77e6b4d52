from __future__ import annotations

import numpy as np
import pytest

from flow_extract.store import StoreEntry
from twostream.data.dataset import read_snippets, training_sample
from twostream.data.dataset import test_views as views_of
from twostream.data.records import VideoRecord
from twostream.data.stored import StoredVideo
from twostream.inference.protocols import PROTOCOLS
from twostream.transforms.augmentation import Augmentation
from twostream.transforms.clips import crop_and_resize
from twostream.transforms.presets import MODALITIES

from ..conftest import MiniProject

RGB, FLOW = MODALITIES["spatial"], MODALITIES["motion"]


@pytest.fixture
def video(mini: MiniProject) -> StoredVideo:
    """24 frames of 96 x 96, so 23 flow pairs."""
    name = "BlueVertical/v_BlueVertical_g01_c01"
    path = mini.root / "store" / f"{name}.safetensors"
    return StoredVideo(VideoRecord(name, 0, "g"), path, length=23)


def test_snippets_are_the_stored_frames_and_pairs(video: StoredVideo) -> None:
    entry = StoreEntry(video.path)
    rgb = read_snippets(video, RGB, [3, 3, 20])
    assert rgb.shape == (3, 1, 96, 96, 3)
    assert (rgb[:, 0] == entry.read_rgb([3, 3, 20])).all()
    flow = read_snippets(video, FLOW, [0, 13])
    assert flow.shape == (2, 10, 96, 96, 2)
    assert (flow[1] == entry.read_flow(13, 10)).all()


def test_a_short_video_repeats_its_last_pair(video: StoredVideo) -> None:
    short = StoredVideo(video.record, video.path, length=4)
    flow = read_snippets(short, FLOW, [0])
    pairs = StoreEntry(video.path).read_flow(0, 4)
    assert (flow[0] == pairs[[0, 1, 2, 3, 3, 3, 3, 3, 3, 3]]).all()


@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_training_samples_repeat_with_their_seed(video: StoredVideo, modality: object) -> None:
    clips = [
        training_sample(
            video,
            modality,
            num_segments=3,
            size=64,
            augmentation=Augmentation(),
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        for seed in (5, 5, 6)
    ]
    assert clips[0].shape == (3, modality.snippet_length, modality.channels, 64, 64)
    assert clips[0].dtype == np.uint8
    assert (clips[0] == clips[1]).all()
    assert (clips[0] != clips[2]).any()


def test_one_segment_alone_is_the_one_of_the_whole_sample(video: StoredVideo) -> None:
    options = {"num_segments": 3, "size": 64, "augmentation": Augmentation()}
    whole = training_sample(video, RGB, rng=np.random.default_rng(5), **options)
    for segment in (1, 2, 3):
        alone = training_sample(video, RGB, only=segment, rng=np.random.default_rng(5), **options)
        assert (alone == whole[[segment - 1]]).all()


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_views_are_crops_of_snippets(video: StoredVideo, modality: object, name: str) -> None:
    protocol = PROTOCOLS[name]
    side = round(56 * protocol.scale)
    clips = views_of(video, modality, protocol, size=56)
    assert clips.shape == (
        protocol.num_snippets, protocol.num_crops,
        modality.snippet_length, modality.channels, side, side,
    )  # fmt: skip
    positions = 23 - modality.snippet_length + 1
    snippets = read_snippets(video, modality, protocol.starts(positions, protocol.num_snippets))
    for r, (box, flip) in enumerate(protocol.views(96, 96)):
        expected = crop_and_resize(snippets[-1], box, size=side)
        expected = modality.flip(expected) if flip else expected
        assert (np.moveaxis(clips[-1, r], 1, -1) == expected).all()
