from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flow_extract import Job, extract_video, extraction_settings
from twostream.sequence.lists import (
    SEQUENCE_DATASETS,
    SequenceRecord,
    build_vocabulary,
    check_glosses,
    check_lists,
    csv_lists,
    extraction_of,
    find_frames,
    find_new_videos,
    glosses_to_labels,
    labels_to_glosses,
    phoenix2014,
    phoenix2014t,
    read_vocabulary,
    unknown_glosses,
)
from twostream.sequence.transcripts import usual_normaliser
from twostream_base.errors import InputError

HEAD = "id|folder|signer|annotation\n"


def write_phoenix(root: Path, *, file: str = "{}.corpus.csv") -> None:
    for subset in ("train", "dev", "test"):
        row = f"a_{subset}-1|a_{subset}-1/1/*.png|Signer01|MORGEN {subset.upper()}\n"
        (root / file.format(subset)).write_text(HEAD + row)


def test_phoenix2014(tmp_path: Path) -> None:
    write_phoenix(tmp_path)
    (tmp_path / "dev/a_dev-1/1").mkdir(parents=True)
    lists = phoenix2014(tmp_path, tmp_path)
    assert lists["val"] == (
        SequenceRecord("a_dev-1", tmp_path / "dev/a_dev-1/1", ("MORGEN", "DEV")),
    )
    assert [len(lists[subset]) for subset in ("train", "val", "test")] == [1, 1, 1]


def test_phoenix2014t_lists_a_level_that_its_folders_lack(tmp_path: Path) -> None:
    for subset in ("train", "dev", "test"):
        (tmp_path / f"PHOENIX-2014-T.{subset}.corpus.csv").write_text(
            "name|video|start|end|speaker|orth|translation\n"
            f'n_{subset}|n_{subset}/1/*.png|-1|-1|Signer01|REGEN|regen "\n'
        )
    (tmp_path / "train/n_train").mkdir(parents=True)
    lists = phoenix2014t(tmp_path, tmp_path)
    assert lists["train"][0].frames == tmp_path / "train/n_train"
    assert lists["train"][0].glosses == ("REGEN",)


def test_real_list(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "wer-phoenix14" / "dev.corpus.csv").read_text()
    for subset in ("train", "dev"):
        (tmp_path / f"{subset}.corpus.csv").write_text(text)
    lists = phoenix2014(tmp_path, tmp_path)
    assert len(lists["val"]) == 540
    assert lists["test"] == ()
    with pytest.raises(InputError, match="^1,080 .*: 01April_2010.*--allow-missing"):
        check_lists(lists, stream="spatial", allow_missing=False)


def test_csv_lists(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("name,glosses,frames\na,A B,clips/a.avi\nb,A,\n")
    (tmp_path / "val.csv").write_text("name,glosses\nc,A\n")
    for path in ("videos/clips/a.avi", "videos/b"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "1.png").touch()
    (tmp_path / "videos/clips/a.avi/2.png").touch()
    lists = csv_lists(tmp_path, tmp_path / "videos")
    assert [r.frames.relative_to(tmp_path) for r in lists["train"]] == [
        Path("videos/clips/a.avi"), Path("videos/b"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="^1 .*: c;.*--allow-missing"):
        check_lists(lists, stream="spatial", allow_missing=False)
    with pytest.raises(InputError, match="validation"):
        check_lists(lists, stream="spatial", allow_missing=True)
    (tmp_path / "videos/c").mkdir()
    (tmp_path / "videos/c/1.png").touch()
    assert check_lists(lists, stream="spatial", allow_missing=False) == (lists, [])


def test_phoenix2014_si5(tmp_path: Path) -> None:
    write_phoenix(tmp_path, file="{}.SI5.corpus.csv")
    lists = SEQUENCE_DATASETS["phoenix2014-si5"](tmp_path, tmp_path)
    assert [record.frames for record in lists["test"]] == [tmp_path / "test/a_test-1/1"]
    assert usual_normaliser("phoenix2014-si5") == "phoenix2014"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (None, "train.csv: .*--annotations"),
        ("name,glosses\na,\n", "train.csv: a has no glosses"),
        ("name,glosses\n../a,A\n", r"\.\./a"),
    ],
)
def test_wrong_lists(tmp_path: Path, train: str | None, message: str) -> None:
    if train:
        (tmp_path / "train.csv").write_text(train)
    with pytest.raises(InputError, match=message):
        csv_lists(tmp_path, tmp_path)


def test_a_video_in_two_lists(tmp_path: Path) -> None:
    for subset in ("train", "val"):
        (tmp_path / f"{subset}.csv").write_text("name,glosses\na,A\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    with pytest.raises(InputError, match=": a;"):
        check_lists(csv_lists(tmp_path, tmp_path), stream="spatial", allow_missing=False)


RECORDS = [SequenceRecord("a", Path(), ("B", "A", "B")), SequenceRecord("b", Path(), ("C",))]


def test_labels_begin_after_the_blank() -> None:
    vocabulary = build_vocabulary(RECORDS, None)
    assert vocabulary == ("A", "B", "C")
    assert glosses_to_labels(("B", "X", "A"), vocabulary) == [2, 1]
    assert labels_to_glosses([2, 1], vocabulary) == ["B", "A"]
    assert unknown_glosses([SequenceRecord("c", Path(), ("A", "X"))], vocabulary) == ["X"]


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("signstate classlabel\nC 0\nB 1\nA 2\n")
    assert build_vocabulary(RECORDS, path) == ("C", "B", "A")
    path.write_text("A\nB\n")
    with pytest.raises(InputError, match="classes.txt .*: C$"):
        build_vocabulary(RECORDS, path)
    path.write_text("A\nA\n")
    with pytest.raises(InputError, match="classes.txt: .*: A$"):
        read_vocabulary(path)


def test_real_vocabulary(shared_data: Path) -> None:
    vocabulary = read_vocabulary(shared_data / "wer-phoenix14" / "newtrainingClasses.txt")
    assert (len(vocabulary), vocabulary[:2], vocabulary[-1]) == (1232, ("A", "AACHEN"), "si")


def test_videos_and_folders_of_pictures_by_name(tmp_path: Path) -> None:
    for path in ("b/c.mp4", "a/1.png", "a/2.png", "b/d/1.jpg", "b/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert find_new_videos(tmp_path, None) == (
        SequenceRecord("a", tmp_path / "a", ()),
        SequenceRecord("b/c", tmp_path / "b/c.mp4", ()),
        SequenceRecord("b/d", tmp_path / "b/d", ()),
    )


def test_gaps_between_pictures_are_named_before_any_work(tmp_path: Path) -> None:
    """As are other folders that are no row of pictures; `--allow-missing` leaves them out."""
    rows = {"whole": (1, 2, 3), "gap": (1, 2, 4), "empty": (), "cut": (8, 9)}
    for name, numbers in rows.items():
        (tmp_path / name).mkdir()
        for number in numbers:
            (tmp_path / name / f"{number}.png").touch()
    (tmp_path / "gap" / "2.jpg").touch()
    names = [*rows, "gone"]
    records = [SequenceRecord(name, tmp_path / name, ("A",)) for name in names]
    present, missing = find_frames(records, stream="spatial", allow_missing=True)
    assert [record.name for record in present] == ["whole", "cut"]
    assert missing == [
        ("gap", "2.jpg and 2.png have the same number; remove one"),
        ("empty", "a folder without numbered pictures, such as 00001.jpg"),
        ("gone", ""),
    ]
    (tmp_path / "gap" / "2.jpg").unlink()
    with pytest.raises(InputError, match=r"3 listed videos lack frames.*--allow-missing") as caught:
        find_frames(records, stream="spatial", allow_missing=False)
    assert "gap (1 of 4 pictures are missing, number 3)" in str(caught.value)


def test_damaged_video_files_are_named_before_any_work(make_video, tmp_path: Path) -> None:
    """`--allow-missing` leaves them out; `--use-damaged` takes them, but not what is no video."""
    data = make_video(tmp_path / "whole.avi", frames=9).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "none.avi").write_text("no video")
    names = ("whole", "cut", "none")
    records = [SequenceRecord(name, tmp_path / f"{name}.avi", ("A",)) for name in names]
    present, missing = find_frames(records, stream="spatial", allow_missing=True)
    assert present == (records[0],)
    assert [name for name, _ in missing] == ["cut", "none"]
    with pytest.raises(InputError, match=r"cut \(.*the file ends early") as caught:
        find_frames(records, stream="spatial", allow_missing=False)
    assert "--use-damaged" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    present, missing = find_frames(records, stream="spatial", allow_missing=True, use_damaged=True)
    assert [(record.name, record.use_damaged) for record in present] == [
        ("whole", True),
        ("cut", True),
    ]
    assert [name for name, _ in missing] == ["none"]
    lists = {"train": (records[1], records[2]), "val": (records[0],), "test": ()}
    remaining, gone = check_lists(lists, stream="spatial", allow_missing=True, use_damaged=True)
    assert remaining == {"train": (present[1],), "val": (present[0],), "test": ()}
    assert gone == ["none"]


def test_unusable_videos_are_named(tmp_path: Path) -> None:
    for name in ("a.avi", "a.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a \(a.avi, a.mp4"):
        find_new_videos(tmp_path, None)


@pytest.mark.parametrize(
    ("text", "glosses"),
    [
        ("name\nx\ny\n", [(), ()]),
        ("name,glosses\nx,A B\ny,\n", [("A", "B"), ()]),
        ("id|folder|signer|annotation\nx|x/1/*.png|S|A\ny|y|S|B\n", [("A",), ("B",)]),
    ],
)
def test_lists_with_glosses_and_without(
    tmp_path: Path, text: str, glosses: list[tuple[str, ...]]
) -> None:
    (tmp_path / "list.csv").write_text(text)
    records = find_new_videos(tmp_path, tmp_path / "list.csv")
    assert [record.glosses for record in records] == glosses
    assert [record.name for record in records] == ["x", "y"]


def test_a_name_twice(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name\nx\nx\n")
    with pytest.raises(InputError, match=": x;"):
        find_new_videos(tmp_path, tmp_path / "list.csv")


def test_glosses_of_the_network_and_others() -> None:
    def records(*sentences: str) -> list[SequenceRecord]:
        return [SequenceRecord(s, Path(s), tuple(s.split())) for s in sentences]

    run = Path("run")
    assert check_glosses(records("A B", "C"), ["A", "B"], run=run) == ["C"]
    assert check_glosses(records("", ""), ["A", "B"], run=run) == []
    with pytest.raises(InputError, match=r"run .*\(C, D\).* A, B:"):
        check_glosses(records("C", "D"), ["A", "B"], run=run)


def test_what_has_too_few_frames_is_named_before_any_work(make_video, tmp_path: Path) -> None:
    """One frame has no flow; two glosses alike need a blank between them."""
    for name, frames in (("one", 1), ("three", 3)):
        make_video(tmp_path / f"{name}.avi", frames=frames)
        (tmp_path / name).mkdir()
        for number in range(frames):
            (tmp_path / name / f"{number}.png").touch()
    rows = [("one.avi", "A"), ("one", "A"), ("three.avi", "A A"), ("three", "A B C D")]
    records = [SequenceRecord(n, tmp_path / n, tuple(glosses.split())) for n, glosses in rows]
    short = [("three", "3 frames for 4 glosses")]
    alike: dict[str, Any] = {"to_train": records, "allow_missing": True}
    assert find_frames(records, stream="spatial", **alike)[1] == short
    present, missing = find_frames(records, stream="motion", **alike)
    no_flow = [("one.avi", "one frame has no flow"), ("one", "one frame has no flow")]
    assert missing == [*no_flow, *short]
    assert [record.name for record in present] == ["three.avi"]
    # Damaged ones are not decoded whole, but one frame is found. Of what is not trained on, glosses
    # beyond the frames are errors that count.
    assert find_frames(records, stream="motion", use_damaged=True, **alike)[1] == missing
    assert find_frames(records, stream="motion", allow_missing=True)[1] == no_flow
    lists = {"train": (records[2],), "val": (records[3],), "test": ()}
    assert check_lists(lists, stream="spatial", allow_missing=True) == (lists, [])
    with pytest.raises(InputError, match=r"^2 .*longer videos") as caught:
        find_frames(records, stream="motion", allow_missing=False)
    assert "--use-damaged" not in str(caught.value)


def test_videos_in_a_store(make_video, tmp_path: Path) -> None:
    """By the path of their frames, which need not be there any more."""
    videos, store = tmp_path / "videos", tmp_path / "store"
    for name, frames in (("x/whole", 4), ("x/single", 1), ("x/short", 2)):
        (videos / "x").mkdir(parents=True, exist_ok=True)
        file = make_video(videos / f"{name}.avi", frames=frames)
        extract_video(Job(name, file, f"{name}.avi", store, extraction_settings()))
    names = ("whole", "single", "short", "gone")
    records = [SequenceRecord(n, videos / f"x/{n}.avi", ("A", "A")) for n in names]
    (videos / "x/whole.avi").unlink()
    taking: dict[str, Any] = {"store": store, "root": videos}
    taking |= {"to_train": records}
    (whole,), missing = find_frames(records, stream="motion", allow_missing=True, **taking)
    assert whole.stored is not None
    assert (whole.name, whole.stored.path) == ("whole", store / "x/whole.safetensors")
    assert missing == [
        ("single", "has 1 frame, so no flow"),
        ("short", "2 frames for 2 glosses"),
        ("gone", "not extracted"),
    ]
    assert extraction_of([whole])["method"]["name"] == "dis"
    assert extraction_of(records) == {}
    with pytest.raises(InputError, match=r"^3 .*gone \(not ext.*extract-flow.*--allow-missing"):
        find_frames(records, stream="motion", allow_missing=False, **taking)
