from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_extract import Job, extract_video, extraction_settings
from twostream.data.toy import write_video
from twostream.sequence.batches import (
    crop,
    evenly_spaced,
    mirrored,
    padded_batches,
    read_clip,
    temporal_jitter,
)
from twostream.sequence.lists import SequenceRecord, find_frames
from twostream_base.errors import InputError


def clip(frames: int, value: int) -> np.ndarray:
    return np.full((frames, 1, 2, 2), value, np.uint8)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order_and_are_padded(threads: int) -> None:
    order = [2, 0, 1, 3]
    batches, count = padded_batches(
        lambda index: clip(index + 1, 5 + index), order, batch_size=3, threads=threads
    )
    first, second = batches
    assert count == 2
    assert [indices for _, _, indices in (first, second)] == [[2, 0, 1], [3]]
    assert first[0][:, :, 0, 0, 0].tolist() == [[7, 7, 7], [5, 0, 0], [6, 6, 0]]
    assert first[1].tolist() == [3, 1, 2]
    assert second[0].shape == (1, 4, 1, 2, 2)


@given(st.integers(1, 500), st.integers(0, 99), st.integers(1, 300))
def test_temporal_jitter(frames: int, seed: int, most: int) -> None:
    """120 of 100 frames, of which 24 are dropped: 96; never more than the limit, in order."""
    positions = temporal_jitter(frames, rng=np.random.default_rng(seed), max_frames=most)
    longer = frames + int(0.2 * frames)
    assert len(positions) == min(longer - int(0.2 * longer), most)
    assert positions == sorted(positions)
    assert 0 <= positions[0] <= positions[-1] < frames
    assert max(positions.count(p) for p in positions) <= 2


def test_temporal_jitter_of_a_hundred_frames() -> None:
    positions = temporal_jitter(100, rng=np.random.default_rng(0))
    assert len(positions) == 96
    assert 0 < 96 - len(set(positions)) <= 20


def test_evenly_spaced() -> None:
    assert evenly_spaced(4, max_frames=5) == [0, 1, 2, 3]
    assert evenly_spaced(9, max_frames=5) == [0, 2, 4, 6, 8]


def test_crop() -> None:
    clip = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    part = crop(clip, [1, 0, 0], size=2, top=1, left=3)
    assert part.shape == (3, 3, 2, 2)
    assert (part[0, 2] == clip[1, 1:3, 3:5, 2]).all()
    assert (part[1] == part[2]).all()


def test_mirrored() -> None:
    """128 is no motion; what moved right by one (129) then moves left. v and RGB keep values."""
    clip = np.arange(100, 100 + 5 * 2, dtype=np.uint8).reshape(1, 5, 1, 2)
    clip[0, 3, 0] = 128, 129
    expected = [[[101, 100]], [[103, 102]], [[105, 104]], [[127, 128]], [[109, 108]]]
    assert mirrored(clip, stream="joint").tolist() == [expected]
    assert mirrored(clip[:, 3:], stream="motion").tolist() == [expected[3:]]
    assert mirrored(clip[:, :3], stream="spatial").tolist() == [expected[:3]]


@pytest.fixture
def moving() -> np.ndarray:
    """A texture that moves two pixels to the right each frame."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (64, 96)), (0, 0), 2)
    wide = 255 * (wide - wide.min()) / np.ptp(wide)
    frames = [wide[:, 20 - 2 * t : 84 - 2 * t] for t in range(5)]
    return np.repeat(np.rint(frames).astype(np.uint8)[..., None], 3, axis=3)


def test_pictures_in_a_folder(tmp_path: Path, moving: np.ndarray) -> None:
    moving[..., 0] //= 2  # red, to see the order of the colours
    for number in (9, 8, 11, 10, 12):  # not in the order of their names
        cv2.imwrite(str(tmp_path / f"images{number:04d}.png"), moving[number - 8][:, :, ::-1])
    (tmp_path / "notes.txt").touch()
    record = SequenceRecord("a", tmp_path, ("A",))
    assert (read_clip(record, side=64, stream="spatial") == moving).all()
    assert read_clip(record, side=32, stream="spatial").shape == (5, 32, 32, 3)


@pytest.mark.parametrize("stream", ["spatial", "motion"])
def test_pictures_are_in_the_order_of_their_numbers(
    tmp_path: Path, moving: np.ndarray, stream: str
) -> None:
    """The reported case: numbers without leading zeros gave other results, silently."""
    clips = []
    for kind, name in (("padded", "{:05d}.png"), ("plain", "{}.png"), ("capital", "x-{}.PNG")):
        (tmp_path / kind).mkdir()
        for number, frame in enumerate(moving, 8):
            cv2.imwrite(str(tmp_path / kind / name.format(number)), frame)
        record = SequenceRecord(kind, tmp_path / kind, ("A",))
        clips.append(read_clip(record, side=32, stream=stream))
    assert (clips[1] == clips[0]).all()
    assert (clips[2] == clips[0]).all()
    (tmp_path / "plain" / "9.png").unlink()
    record = SequenceRecord("v", tmp_path / "plain", ("A",))
    with pytest.raises(InputError, match=r"plain: 1 of 5 pictures are missing, number 9; .*v out"):
        read_clip(record, side=32, stream=stream)


def test_video_file_and_flow(tmp_path: Path, moving: np.ndarray) -> None:
    write_video(tmp_path / "a.avi", moving)
    record = SequenceRecord("a", tmp_path / "a.avi", ("A",))
    assert read_clip(record, side=64, stream="spatial").shape == (5, 64, 64, 3)
    flow = read_clip(record, side=64, stream="motion")
    assert flow.shape == (5, 64, 64, 2)
    middle = flow[:, 16:48, 16:48].reshape(-1, 2).mean(axis=0)
    assert middle == pytest.approx((128 + 2 * 127 / 20, 128), abs=2)
    assert (flow[4] == flow[3]).all()


def test_a_store_gives_what_the_videos_give(tmp_path: Path, moving: np.ndarray) -> None:
    """Frames and flow that were extracted once, without loss; both streams of the same frames."""
    root, store = tmp_path / "videos", tmp_path / "store"
    (root / "b").mkdir(parents=True)
    write_video(root / "b/a.avi", moving)
    extract_video(Job("b/a", root / "b/a.avi", "b/a.avi", store, extraction_settings(codec="raw")))
    record = SequenceRecord("a", root / "b/a.avi", ("A",))
    (stored,), _ = find_frames(
        [record], store=store, root=root, stream="joint", allow_missing=False
    )
    streams = ("spatial", "motion", "joint")
    clips = {stream: read_clip(record, side=64, stream=stream) for stream in streams}
    assert (clips["joint"] == np.concatenate([clips["spatial"], clips["motion"]], axis=3)).all()
    for stream in streams:
        assert (read_clip(stored, side=64, stream=stream) == clips[stream]).all(), stream
    half = read_clip(stored, side=32, stream="joint")
    assert half.shape == (5, 32, 32, 5)
    values = half[:, 8:24, 8:24, 3:].reshape(-1, 2).mean(axis=0)
    assert values == pytest.approx((128 + 2 * 127 / 20, 128), abs=2), "pixels of the store"


def test_broken_files(tmp_path: Path, moving: np.ndarray) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="a: .*1.png"):
        read_clip(SequenceRecord("a", tmp_path / "a", ("A",)), side=8, stream="spatial")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: a folder without numbered pictures"):
        read_clip(SequenceRecord("e", tmp_path / "empty", ("A",)), side=8, stream="spatial")
    with pytest.raises(InputError, match="b.avi"):
        read_clip(SequenceRecord("b", tmp_path / "b.avi", ("A",)), side=8, stream="spatial")
    write_video(tmp_path / "c.avi", moving[:1])
    with pytest.raises(InputError, match="c.avi: one frame"):
        read_clip(SequenceRecord("c", tmp_path / "c.avi", ("A",)), side=64, stream="motion")


def test_the_frames_of_a_damaged_video_where_a_part_is_enough(make_video, tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.avi", frames=9).read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: len(data) * 2 // 3])
    record = SequenceRecord("a", tmp_path / "a.avi", ("A",))
    with pytest.raises(InputError, match="a.avi: .*ends early.*--use-damaged"):
        read_clip(record, side=8, stream="spatial")
    assert 1 < len(read_clip(replace(record, use_damaged=True), side=8, stream="spatial")) < 9
