"""Clips of long videos: lists with times, and which frames of the stored video they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from flow_extract.store.reader import StoreEntry, open_entry
from twostream.data.dataset import VideoDataset
from twostream.data.make_lists import read_all_splits, take_inventory
from twostream.data.splits import Split, VideoRecord, known_groups, known_times, read_split
from twostream.data.stored import clip_frames, join_store
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError

from ..conftest import MiniProject

HEADER = "video,start,end,label,subset\n"
FILM = "BlueVertical/v_BlueVertical_g01_c01"  # 24 frames at 25 a second


def read(folder: Path, rows: str, *, header: str = HEADER) -> Split:
    (folder / "clips.csv").write_text(header + rows)
    return read_split("timed", folder)


def test_lists_of_clips(tmp_path: Path) -> None:
    rows = "a/film.mp4,0.5,2,run,train\nb,0,1,jump,test\na/film.mp4,2,4,jump,train\n"
    split = read(tmp_path, rows)
    assert split.class_names == ("jump", "run")
    first = "a/film@00000.500-00002.000"
    assert split.train == (
        VideoRecord(first, 1, "a/film", "a/film", 0.5, 2),
        VideoRecord("a/film@00002.000-00004.000", 0, "a/film", "a/film", 2, 4),
    )
    assert split.test[0].stored_name == "b"
    assert known_groups(split.train) == ("a/film", "a/film")
    assert known_times(split.train).tolist() == [[0.5, 2], [2, 4]]  # type: ignore[union-attr]
    assert known_times([VideoRecord("a", 0, "a")]) is None
    (tmp_path / "classes.txt").write_text("run\nwalk\njump\n")
    assert read(tmp_path, rows).class_names == ("run", "walk", "jump")


def test_times_in_frames(tmp_path: Path) -> None:
    header = "video,start,end,label,fps,subset\n"
    split = read(tmp_path, "a,10,25,run,25,train\nb,0,50,run,,test\n", header=header)
    assert [(r.start, r.end) for r in split.records] == [(0.4, 1), (0, 50)]


def test_several_splits(tmp_path: Path) -> None:
    for number in (1, 3):
        (tmp_path / f"clips{number:02d}.csv").write_text(
            f"{HEADER}a,0,{number},run,train\nb,0,1,run,test\n"
        )
    splits = read_all_splits("timed", tmp_path)
    assert {number: split.train[0].end for number, split in splits.items()} == {1: 1, 3: 3}


@pytest.mark.parametrize(
    ("rows", "facts"),
    [
        ("a,0,1,run,training\n", r"clips\.csv:2: subset 'training'.*train, val, test"),
        ("a,0,1,run,\n", r"clips\.csv:2: subset ''"),
        ("a,1,1,run,train\n", r"clips\.csv:2: .*1 s"),
        ("a,0,1,run,train\na,0,1,jump,test\n", r"clips\.csv:3: a@.* already.*clips\.csv:2"),
        ("../a,0,1,run,train\n", r"clips\.csv:2: .*\.\."),
        ("a,0,1,run,train\n", r"clips\.csv: the test list is empty"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, rows: str, facts: str) -> None:
    with pytest.raises(InputError, match=facts):
        read(tmp_path, rows)


def test_lists_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clips01\.csv: no such file.*end,label,subset"):
        read_split("timed", tmp_path)
    read(tmp_path, "a,0,1,run,train\nb,0,1,run,test\n")
    with pytest.raises(InputError, match="one split"):
        read_split("timed", tmp_path, split=2)
    (tmp_path / "classes.txt").write_text("walk\n")
    with pytest.raises(InputError, match=r"clips\.csv:2: 'run'.*classes\.txt"):
        read_split("timed", tmp_path)


def test_frames_of_a_clip() -> None:
    def frames(
        start: float, end: float, fps: float | None = 25.0, **header: bool
    ) -> tuple[int, int]:
        record = VideoRecord("a@", 0, "a", "a", start, end)
        return clip_frames(record, {"fps": fps, **header}, store=Path("store"))

    assert frames(0, 1) == (0, 25)
    assert frames(0.5, 1) == (12, 25)
    assert frames(0.4, 0.6, 29.97) == (12, 18)
    with pytest.raises(InputError, match="store: .* a .*0 to 1.*frame rate"):
        frames(0, 1, None)
    with pytest.raises(InputError, match="store: .* a .*0 to 1.*--drop-repeated"):
        frames(0, 1, drop_repeated=True)


def test_clips_are_joined_with_the_store_of_whole_videos(mini: MiniProject, tmp_path: Path) -> None:
    rows = f"{FILM},0.2,0.6,a,train\n{FILM},0,9,a,test\n{FILM},0.94,1.2,b,train\n{FILM},2,3,b,val\n"
    split = read(tmp_path, rows)
    store, rgb, flow = mini.root / "store", MODALITIES["spatial"], MODALITIES["motion"]
    joined = join_store(split.records, store, modality=rgb, allow_missing=True)
    clips = {video.record.start: (video.first, video.length) for video in joined.videos}
    assert clips == {0.2: (5, 10), 0: (0, 24)}
    assert [round(float(name.split("@")[1][:9]), 2) for name in joined.missing] == [0.94, 2]
    reason = joined.missing[f"{FILM}@00002.000-00003.000"]
    assert all(fact in reason for fact in ("2 to 3 s", "0.96 s"))
    joined = join_store(split.records[:1], store, modality=flow)
    assert [(video.first, video.length) for video in joined.videos] == [(5, 9)]
    with pytest.raises(InputError, match=r"2 of 4.*0\.94 to 1\.2 s"):
        join_store(split.records, store, modality=flow)


@pytest.mark.parametrize(
    ("stream", "key", "length", "starts"),
    [("spatial", "rgb", 1, [5 + 3, 5 + 10]), ("motion", "flow", 10, [5 + 1, 5 + 3])],
)
def test_snippets_lie_within_the_clip(
    mini: MiniProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: str,
    key: str,
    length: int,
    starts: list[int],
) -> None:
    """Of frames 5 to 18 of the film, so 14 frames or 13 pairs: 4 starts of ten pairs."""
    split = read(tmp_path, f"{FILM},0.2,0.76,a,test\n{FILM},0,0.76,b,train\n")
    asked: list[tuple[str, list[int]]] = []
    read_pictures = StoreEntry.pictures

    def record(entry: StoreEntry, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        asked.append((key, list(indices)))
        return read_pictures(entry, key, indices)

    monkeypatch.setattr(StoreEntry, "pictures", record)
    store = mini.root / "store"
    test = VideoDataset(store, split, stream, train=False, protocol="segments:2", input_size=32)
    test[0]
    indices = sorted({start + step for start in starts for step in range(length)})
    assert asked == [(key, indices)]
    asked.clear()
    clip = test.videos[0].open()
    rest = range(test.videos[0].length)
    shown = list(clip.pictures(key, rest))
    expected = read_pictures(open_entry(store, FILM), key, [5 + index for index in rest])
    assert all(map(np.array_equal, shown, expected))


def test_training_samples_stay_in_the_clip(
    mini: MiniProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = read(tmp_path, f"{FILM},0.2,0.44,a,train\n{FILM},0,0.76,b,test\n")
    seen: set[int] = set()
    read_pictures = StoreEntry.pictures

    def record(entry: StoreEntry, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        seen.update(indices)
        return read_pictures(entry, key, indices)

    monkeypatch.setattr(StoreEntry, "pictures", record)
    train = VideoDataset(mini.root / "store", split, "spatial", input_size=32, seed=0)
    for epoch in range(12):
        train.set_epoch(epoch)
        train[0]
    assert seen == set(range(5, 11))


def test_the_inventory_counts_films_and_clips(mini: MiniProject, tmp_path: Path) -> None:
    rows = f"{FILM},0.2,0.6,a,train\n{FILM},0,0.2,b,train\nnone,0,9,a,test\n{FILM},0.6,0.8,b,test\n"
    read(tmp_path, rows)
    store = mini.root / "store"
    report = take_inventory("timed", mini.root / "videos", tmp_path, store=store)
    assert (report["videos"], report["missing"]) == (1, ["none"])
    split = report["splits"][0]
    assert (split["train"], split["test"], split["missing"]) == (2, 2, 1)
    assert report["store"]["stored"] == 1
