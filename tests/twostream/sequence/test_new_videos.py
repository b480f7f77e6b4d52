from __future__ import annotations

from pathlib import Path

import pytest

from twostream.sequence.lists import check_glosses, find_new_videos
from twostream.sequence.records import SequenceRecord
from twostream_base.errors import InputError


def test_videos_and_folders_of_pictures_by_name(tmp_path: Path) -> None:
    for path in ("b/c.mp4", "a/1.png", "a/2.png", "b/d/1.jpg", "b/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert find_new_videos(tmp_path, None) == (
        SequenceRecord("a", tmp_path / "a", ()),
        SequenceRecord("b/c", tmp_path / "b/c.mp4", ()),
        SequenceRecord("b/d", tmp_path / "b/d", ()),
    )


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
