from __future__ import annotations

from pathlib import Path

import pytest

from twostream.sequence.lists import check_lists, csv_lists, list_frames, phoenix2014, phoenix2014t
from twostream.sequence.records import SequenceRecord
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
    with pytest.raises(InputError, match="^1080 .*: 01April_2010.*--allow-missing"):
        check_lists(lists, allow_missing=False)


def test_csv_lists(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("name,glosses,frames\na,A B,clips/a.avi\nb,A,\n")
    (tmp_path / "val.csv").write_text("name,glosses\nc,A\n")
    for path in ("videos/clips/a.avi", "videos/b"):
        (tmp_path / path).mkdir(parents=True)
    lists = csv_lists(tmp_path, tmp_path / "videos")
    assert [r.frames.relative_to(tmp_path) for r in lists["train"]] == [
        Path("videos/clips/a.avi"), Path("videos/b"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="^1 .*: c;.*--allow-missing"):
        check_lists(lists, allow_missing=False)
    with pytest.raises(InputError, match="validation"):
        check_lists(lists, allow_missing=True)
    (tmp_path / "videos/c").mkdir()
    assert check_lists(lists, allow_missing=False) == (lists, [])


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
    with pytest.raises(InputError, match=": a;"):
        check_lists(csv_lists(tmp_path, tmp_path), allow_missing=False)


def test_frames_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("images0002.png", "images0010.png", "images0001.png", "notes.txt"):
        (tmp_path / name).touch()
    record = SequenceRecord("a", tmp_path, ("A",))
    names = [path.name for path in list_frames(record)]
    assert names == ["images0001.png", "images0002.png", "images0010.png"]
    with pytest.raises(InputError, match=r"b: .*\*.png"):
        list_frames(SequenceRecord("b", tmp_path / "b", ("A",)))
