from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from flow_extract.store.reader import STORE_FILE, StoreEntry
from twostream.data import dataset
from twostream.data.dataset import (
    SharedPictures,
    TrainingSamples,
    VideoDataset,
    ViewWriter,
    read_views,
    views_of_entry,
    views_shape,
    write_snippets,
)
from twostream.data.protocols import (
    PROTOCOLS,
    find_protocol,
    random_in_segments,
    random_snippets,
    whole_frame,
)
from twostream.data.splits import Split, VideoRecord, read_split, read_ucf101
from twostream.data.stored import StoredVideo
from twostream.transforms.augmentation import Augmentation, corners, draw_view, jittered_square
from twostream.transforms.clips import View, cut_views
from twostream.transforms.presets import MODALITIES, Modality, modality_of
from twostream_base.errors import InputError
from twostream_base.tensor_file import write_tensor_file

from ..conftest import MiniProject
from ..transforms.plain_views import plain_views

RGB, FLOW = MODALITIES["spatial"], MODALITIES["motion"]


@pytest.fixture
def video(mini: MiniProject) -> StoredVideo:
    """24 frames of 96 x 96, so 23 flow pairs."""
    name = "BlueVertical/v_BlueVertical_g01_c01"
    path = mini.root / "store" / f"{name}.safetensors"
    return StoredVideo(VideoRecord(name, 0, "g"), path, length=23)


@pytest.mark.parametrize("change", ["swapped", "other settings", "gone"])
@pytest.mark.parametrize("train", [True, False])
def test_a_store_file_that_changed_since_it_was_joined_is_named(
    mini: MiniProject, tmp_path: Path, change: str, train: bool
) -> None:
    split = read_split("ucf101", mini.root / "annotations")
    store = shutil.copytree(mini.root / "store", tmp_path / "store")
    videos = VideoDataset(store, split, train=train, input_size=32, protocol="segments:1")
    videos[0]
    first, second = (video.path for video in videos.videos[:2])
    if change == "swapped":
        shutil.copy(second, first)
    elif change == "other settings":
        with StoreEntry(first)._file as file:
            arrays = {key: file.read(key) for key in file.tensors}
            header = {**file.header, "settings_hash": "0" * 64}
        write_tensor_file(first, STORE_FILE, header, arrays)
    else:
        first.unlink()
    with pytest.raises(InputError, match=re.escape(str(first))) as caught:
        videos[0]
    if change != "gone":
        assert "changed since this command began" in str(caught.value)
    assert videos[1] is not None


def plain_snippet(video: StoredVideo, modality: Modality, start: int) -> np.ndarray:
    """(T, H, W, C); where the video ends early its last picture repeats."""
    entry = StoreEntry(video.path)
    whole = entry.read_rgb(range(24)) if modality is RGB else entry.read_flow(0, 23)
    return whole[np.minimum(start + np.arange(modality.snippet_length), video.length - 1)]


PLAIN = Augmentation()


def sample_of(
    video: StoredVideo,
    modality: Modality,
    *,
    seed: int,
    size: int = 64,
    only: int = 0,
    augmentation: Augmentation = PLAIN,
) -> np.ndarray:
    samples = TrainingSamples(
        [video], modality, num_segments=3, input_size=size, augmentation=augmentation,
        only_segment=only,
    )  # fmt: skip
    assert samples.shape == (
        1 if only else 3, modality.snippet_length, modality.channels, size, size,
    )  # fmt: skip
    out = np.empty(samples.shape, dtype=np.uint8)
    samples.write(0, out, rng=np.random.default_rng(seed))
    return out


@pytest.mark.parametrize("length", [23, 12, 4])
@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_samples_equal_the_plain_way(video: StoredVideo, modality: Modality, length: int) -> None:
    video = StoredVideo(video.record, video.path, length=length)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        positions = max(1, length - modality.snippet_length + 1)
        starts = random_in_segments(positions, 3, rng=rng)
        view = View(corners(96, 96, scales=modality.scales, size=64, rng=rng), rng.random() < 0.5)
        expected = [
            plain_views(plain_snippet(video, modality, start), [view], size=64)[0]
            for start in starts
        ]
        assert (sample_of(video, modality, seed=seed) == expected).all()


@pytest.mark.parametrize("modality", [RGB, FLOW], ids=lambda m: m.name)
def test_jittered_samples_are_scaled_once_and_their_vectors_too(
    video: StoredVideo, modality: Modality
) -> None:
    """Frames of 96 scaled to a short side of 64 to 150, of which 64 are cut."""
    augmentation, sides = Augmentation(jitter=(64, 150)), set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        starts = random_in_segments(video.length - modality.snippet_length + 1, 3, rng=rng)
        box = jittered_square(96, 96, jitter=(64, 150), size=64, rng=rng)
        view = View(box, rng.random() < 0.5)
        sides.add(box.height)
        expected = np.stack([
            plain_views(plain_snippet(video, modality, start), [view], size=64)[0]
            for start in starts
        ])  # fmt: skip
        if modality is FLOW:
            vectors = (expected.astype(float) - 128) * (64 / box.height)
            expected = np.clip(np.rint(128 + vectors), 1, 255).astype(np.uint8)
        sample = sample_of(video, modality, seed=seed, augmentation=augmentation)
        assert (sample == expected).all()
    assert min(sides) < 64 < max(sides)


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
    write = ViewWriter([video], modality, protocol).write
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
    write = ViewWriter([video], FLOW, protocol).write
    out = np.empty((25, *views_shape(FLOW, protocol, size=32)), dtype=np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, [(0, number) for number in range(25)], out))
    assert sorted(decoded) == list(range(23))


def test_whole_pictures_hold_all_views(video: StoredVideo) -> None:
    """Ten crops of 84 out of 96 x 96, cut from what is written once for all of them."""
    protocol = PROTOCOLS["tsn25x10"]
    expected = views_of_entry(video, FLOW, protocol, size=84)
    write = ViewWriter([video], FLOW, replace(protocol, views=whole_frame)).write
    pictures = np.empty((25, 1, 10, 2, 96, 96), np.uint8)
    for number, out in enumerate(pictures):
        write((0, number), out)
    cuts = cut_views(
        torch.from_numpy(pictures[:, 0]), protocol.views(96, 96), u_channels=FLOW.u_channels
    )
    assert np.array_equal(cuts, expected)


class Numbered:
    """An entry whose picture `i` is full of `i`, and that notes what was decoded."""

    size = (4, 5)

    def __init__(self, broken: int = -1) -> None:
        self.decoded: list[int] = []
        self.broken = broken

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        for index in indices:
            if index == self.broken:
                raise ValueError(f"{key} {index} is broken")
            self.decoded.append(index)
            yield np.full((4, 5, 2), index, np.uint8)


def shared(entry: Numbered) -> Callable[[Sequence[int]], Iterator[Any]]:
    return partial(SharedPictures(cast("StoreEntry", entry)), "flow")


def numbers(pictures: Any) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in pictures]


def test_threads_get_what_they_ask_for_and_decode_it_once() -> None:
    entry, barrier = Numbered(), Barrier(8)
    pictures = shared(entry)

    def ask(start: int) -> list[int]:
        barrier.wait()
        return numbers(pictures(range(start, start + 6)))

    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(ask, range(8)))
    assert asked == [list(range(start, start + 6)) for start in range(8)]
    assert sorted(entry.decoded) == list(range(13))


def test_only_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CACHED_BYTES", 0)
    monkeypatch.setattr(dataset, "CACHED_AT_LEAST", 3)
    entry = Numbered()
    pictures = shared(entry)
    assert numbers(pictures(range(5))) == [0, 1, 2, 3, 4]
    assert numbers(pictures([1, 2, 3, 4])) == [1, 2, 3, 4]
    assert entry.decoded == [0, 1, 2, 3, 4, 1]


def test_an_error_reaches_all_who_wait() -> None:
    pictures = shared(Numbered(broken=2))
    for _ in range(2):
        with pytest.raises(ValueError, match="flow 2 is broken"):
            list(pictures(range(4)))


@pytest.fixture
def split(mini: MiniProject) -> Split:
    return read_split(read_ucf101, mini.root / "annotations", split=1)


def test_a_data_set_gives_the_samples_that_training_takes(mini: MiniProject, split: Split) -> None:
    training = VideoDataset(str(mini.root / "store"), split, input_size=64, seed=3)
    assert len(training) == 12
    assert training.names == [record.name for record in split.train]
    assert training.class_names == ("BlueVertical", "RedHorizontal")
    for epoch in (0, 2):
        training.set_epoch(epoch)
        for index in (0, 11):
            clip, label = training[index]
            expected = np.empty((3, 10, 2, 64, 64), np.uint8)
            rng = np.random.default_rng((3, epoch, index))
            training.samples.write(index, expected, rng=rng)
            assert torch.equal(clip, torch.from_numpy(expected))
            assert label == split.train[index].label
    with pytest.raises(IndexError):
        training[12]


def test_workers_of_a_plain_loader_change_nothing(mini: MiniProject, split: Split) -> None:
    training = VideoDataset(mini.root / "store", split, "spatial", input_size=32, seed=0)
    kept = pickle.loads(pickle.dumps(training))  # as workers that are spawned get it
    epochs = []
    for workers in (0, 2):
        loader = DataLoader(
            training, batch_size=5, num_workers=workers, persistent_workers=workers > 0
        )
        for epoch in (0, 1):
            training.set_epoch(epoch)
            epochs.append([clips for clips, _ in loader])
    assert [len(batch) for batch in epochs[0]] == [5, 5, 2]
    for batches, others in ((epochs[0], epochs[2]), (epochs[1], epochs[3])):
        assert all(torch.equal(*pair) for pair in zip(batches, others, strict=True))
    assert not torch.equal(epochs[0][0], epochs[1][0])
    kept.set_epoch(1)
    assert torch.equal(kept[0][0], epochs[1][0][0])


def test_without_a_seed_torch_draws(mini: MiniProject, split: Split) -> None:
    training = VideoDataset(mini.root / "store", split, input_size=32)
    clips = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        clips.append(training[0][0])
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])


def test_a_test_clip_holds_the_views_of_its_protocol(mini: MiniProject, split: Split) -> None:
    """They are those that scoring takes, crops of a snippet one after the other."""
    testing = VideoDataset(
        mini.root / "store", split, train=False, protocol="segments:25x3", input_size=56
    )
    assert testing.names == [record.name for record in split.test]
    clip, _ = testing[1]
    assert clip.shape == (25 * 3, 10, 2, 64, 64)
    write = ViewWriter(testing.videos, FLOW, find_protocol("segments:25x3")).write
    views = np.empty((3, 10, 2, 64, 64), np.uint8)
    for number in (0, 24):
        write((1, number), views)
        assert (clip[3 * number : 3 * number + 3].numpy() == views).all()


def test_missing_videos_are_named(mini: MiniProject, split: Split) -> None:
    absent = VideoRecord("BlueVertical/absent", 0, "g")
    longer = replace(split, train=(*split.train, absent))
    with pytest.raises(InputError, match="BlueVertical/absent .*--allow-missing"):
        VideoDataset(mini.root / "store", longer)
    training = VideoDataset(mini.root / "store", longer, allow_missing=True)
    assert training.missing == {"BlueVertical/absent": "not extracted"}
    assert len(training) == 12


class Counted:
    """A store file whose pictures hold their kind and index in every pixel."""

    size = (8, 12)

    def __init__(self) -> None:
        self.decoded: list[tuple[str, int]] = []

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        for index in indices:
            self.decoded.append((key, index))
            channels = 3 if key == "rgb" else 2
            yield np.full((8, 12, channels), 200 + index if key == "rgb" else index, np.uint8)


def joint_clip(*, length: int, stack: int, frame_interval: int = 1) -> Modality:
    return modality_of("joint", clip_length=length, frame_interval=frame_interval, stack=stack)


def shown(clip: np.ndarray) -> list[list[list[int]]]:
    """The value of each channel, of each time step of each snippet (S, T, C, H, W)."""
    return [[[int(channel.max()) for channel in step] for step in snippet] for snippet in clip]


def test_rgb_and_flow_of_a_joint_snippet_are_of_the_same_moment() -> None:
    """23 flow pairs: the frame in the middle of each ten; pairs beyond the end repeat the last."""
    entry, joint = Counted(), MODALITIES["joint"]
    views = read_views(
        entry.pictures, joint, find_protocol("segments:2"), length=23, frame_size=(8, 12), size=8
    )
    assert views.shape == (2, 1, 1, 23, 8, 8)
    assert shown(views[:, 0]) == [
        [[208] * 3 + [v for pair in range(3, 13) for v in (pair, pair)]],
        [[215] * 3 + [v for pair in range(10, 20) for v in (pair, pair)]],
    ]
    assert len(entry.decoded) == len(set(entry.decoded))  # each picture once
    short = read_views(
        Counted().pictures, joint, find_protocol("segments:1"), length=3, frame_size=(8, 8), size=8
    )
    assert shown(short[:, 0]) == [[[202] * 3 + [0, 0, 1, 1] + [2] * 16]]


def test_rgb_and_flow_of_a_joint_clip_are_of_the_same_moments() -> None:
    """A frame and a flow pair, or a stack of three, at each of its time steps."""
    one = find_protocol("segments:1")

    def clip(modality: Modality, length: int) -> list[list[list[int]]]:
        pictures = Counted().pictures
        read = read_views(pictures, modality, one, length=length, frame_size=(8, 8), size=8)
        return shown(read[:, 0])

    assert clip(joint_clip(length=4, stack=1, frame_interval=2), 9) == [
        [[200 + t] * 3 + [t, t] for t in (1, 3, 5, 7)]
    ]
    assert clip(joint_clip(length=6, stack=3, frame_interval=0), 10) == [
        [[203] * 3 + [2, 2, 3, 3, 4, 4], [207] * 3 + [6, 6, 7, 7, 8, 8]]
    ]


def test_a_joint_sample_is_the_samples_of_both_streams(mini: MiniProject) -> None:
    """The crop, the mirroring and the moments that one draw gives, byte for byte."""
    split = read_split("ucf101", mini.root / "annotations")
    store, options = str(mini.root / "store"), {"input_size": 48, "seed": 3, "num_segments": 2}
    joint = VideoDataset(store, split, "joint", **options)
    mirrored = set()
    for index in range(6):
        video, rng = joint.videos[index], np.random.default_rng((3, 0, index))
        snippets = random_snippets(video.length, 2, **joint.modality.sampling, rng=rng)
        view = draw_view(96, 96, joint.modality, Augmentation(), size=48, rng=rng)
        mirrored.add(view.mirrored)
        parts, cut = [], [joint.modality.split_snippet(snippet) for snippet in snippets]
        rgb_and_flow = [list(map(list, of_both)) for of_both in zip(*cut, strict=True)]
        for part, indices in zip(joint.modality.parts, rgb_and_flow, strict=True):
            out = np.empty((2, 1, len(indices[0]), part.channels, 48, 48), np.uint8)
            pictures = video.open().pictures
            write_snippets(pictures, indices, [view], out, modality=replace(part, stack=1))
            parts.append(out.reshape(2, 1, -1, 48, 48))
        assert np.array_equal(joint[index][0], np.concatenate(parts, axis=2))
    assert mirrored == {False, True}


@pytest.mark.parametrize("clip", [{"clip_length": 8}, {"frame_interval": 2}])
def test_joint_snippets_of_other_lengths_name_the_cure(
    mini: MiniProject, clip: dict[str, int]
) -> None:
    split = read_split("ucf101", mini.root / "annotations")
    with pytest.raises(InputError, match=r"network\.modality") as error:
        VideoDataset(str(mini.root / "store"), split, "joint", **clip)
    key, value = next(iter(clip.items()))
    assert f"{key} {value}" in str(error.value)


def test_colours_change_in_rgb_alone_and_moves_in_both(mini: MiniProject) -> None:
    split = read_split("ucf101", mini.root / "annotations")
    store = str(mini.root / "store")

    def clip(seed: int = 5, **augmentation: Any) -> np.ndarray:
        options = {"input_size": 48, "seed": seed, "num_segments": 1}
        changed = Augmentation(**augmentation)
        return VideoDataset(store, split, "joint", augmentation=changed, **options)[0][0].numpy()

    plain, coloured = clip(), clip(colour=0.8)
    assert not np.array_equal(plain[:, :, :3], coloured[:, :, :3])
    assert np.array_equal(plain[:, :, 3:], coloured[:, :, 3:])
    still, moved = clip(14), clip(14, rand_augment=30.0)  # this seed draws a move
    assert not np.array_equal(still[:, :, :3], moved[:, :, :3])
    assert not np.array_equal(still[:, :, 3:], moved[:, :, 3:])
    narrow = clip(jitter=(96, 96))
    assert narrow.shape == plain.shape
