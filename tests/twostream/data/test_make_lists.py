from __future__ import annotations

from pathlib import Path

import pytest

from twostream.data.make_lists import groups_by_pattern, groups_from_csv, write_lists
from twostream.data.splits import read_split
from twostream_base.errors import InputError

NAMES = [
    *(f"run/v_run_g{g:02d}_c{c}" for g in range(1, 6) for c in (1, 2)),
    *(f"a walk/v_walk_g{g:02d}_c1" for g in range(1, 5)),
    "rare/v_rare_g01_c1",
]


def test_lists_are_read_back_with_groups_apart(tmp_path: Path) -> None:
    left_out = write_lists(
        tmp_path, NAMES, group_of=groups_by_pattern(r"_(g\d+)_"), test_fraction=0.3, min_videos=2
    )
    assert left_out == {"rare": 1}
    tests = []
    for split in (1, 2, 3):
        lists = read_split("folder", tmp_path, split=split)
        assert lists.class_names == ("a walk", "run")
        names = sorted(record.name for record in (*lists.train, *lists.test))
        assert names == sorted(NAMES[:-1])
        assert not {r.group for r in lists.train} & {r.group for r in lists.test}
        assert {r.group.split("/")[0] for r in lists.test} == {"a walk", "run"}
        tests.append(lists.test)
    assert len(set(tests)) > 1


def test_the_same_names_give_the_same_lists(tmp_path: Path) -> None:
    for folder, names in (("a", NAMES), ("b", NAMES[::-1])):
        write_lists(tmp_path / folder, names, group_of=str, test_fraction=0.3)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_names_that_end_in_a_number_are_read_as_they_are(tmp_path: Path) -> None:
    names = [f"{folder}/take {number}" for folder in ("run", "walk") for number in range(1, 5)]
    write_lists(tmp_path, names, group_of=str, test_fraction=0.4)
    assert sorted(record.name for record in read_split("folder", tmp_path).records) == names


def test_groups_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "MANIFEST.csv"
    path.write_text("file,class,source\nrun/a.mp4,run,7\nrun/b.mp4,run,7\nrun/d.mp4,run,\n")
    group_of = groups_from_csv(path, column="source")
    assert group_of("run/b") == "7"
    for name in ("run/c", "run/d"):
        with pytest.raises(InputError, match=f"no row with a source for the video '{name}'"):
            group_of(name)
    with pytest.raises(InputError, match="no column 'film'; it has file, class, source"):
        groups_from_csv(path, column="film")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x", "loose"], "one folder a class; these do not: loose"),
        (["a/x", "a/y"], "the only class folder of 1 or more videos is a; at least 2"),
        (["a/x", "b/y"], "no hold-out is possible"),
    ],
)
def test_names_that_give_no_lists(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_lists(tmp_path, names, group_of=str, test_fraction=0.3)


@pytest.mark.parametrize(
    ("names", "which"),
    [
        (["a/x", "b/y"], "no class folder has 2 or more"),
        (["a/x", "a/y", "b/z"], "the only .* 2 or more videos is a"),
    ],
)
def test_classes_that_are_too_small(tmp_path: Path, names: list[str], which: str) -> None:
    cure = "at least 2 classes are needed: lower --min-videos, or give as --videos"
    with pytest.raises(InputError, match=f"{which}.*; {cure}"):
        write_lists(tmp_path, names, group_of=str, test_fraction=0.3, min_videos=2)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "not a regular expression"), ("g01", "needs parentheses"), ("_(x)_", "does not match")],
)
def test_patterns_that_do_not_work(pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        groups_by_pattern(pattern)("run/v_run_g01_c1")


def test_dots_in_names_are_no_suffix(tmp_path: Path) -> None:
    names = [f"{folder}/clip.{number}" for folder in ("bike", "dive") for number in range(6)]
    groups = tmp_path / "sources.csv"
    groups.write_text("".join(["video,source\n", *(f"{name},{name[-1]}\n" for name in names)]))
    group_of = groups_from_csv(groups, column="source")
    write_lists(tmp_path, names, group_of=group_of, test_fraction=0.3)
    split = read_split("folder", tmp_path, split=1)
    assert {record.name: record.group for record in (*split.train, *split.test)} == {
        name: name[-1] for name in names
    }


def test_a_class_that_would_be_a_comment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="class '# run'"):
        write_lists(
            tmp_path, ["# run/a", "# run/b", "jump/c", "jump/d"], group_of=str, test_fraction=0.5
        )
