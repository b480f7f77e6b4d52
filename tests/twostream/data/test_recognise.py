from __future__ import annotations

from pathlib import Path

import pytest

from twostream.data.recognise import recognise
from twostream_base.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos in one folder a class; what is in them is looked at by no test."""
    for name in ("run/a.avi", "run/b.avi", "jump/c.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def write(folder: Path, **files: str) -> Path:
    lists = folder.parent / "lists"
    lists.mkdir()
    for name, text in files.items():
        (lists / name.replace("__", ".")).write_text(text)
    return lists


def test_one_folder_a_class(folder: Path) -> None:
    known = recognise(folder, None, store=Path("store"))
    assert (known.dataset, known.why) == ("folder", "one folder a class")
    assert (known.classes, known.splits, known.group_pattern) == (2, (1, 2, 3), "")
    assert list(known.videos) == ["jump/c", "run/a", "run/b"]


def test_names_that_tell_the_scene(folder: Path) -> None:
    for path in list(folder.rglob("*.*")):
        path.rename(path.with_name(f"v_Run_g0{ord(path.stem) - 96}_c01{path.suffix}"))
    known = recognise(folder, None, store=Path("store"))
    assert known.group_pattern == "_(g[0-9]+)_c[0-9]+$"
    assert "scenes" in known.groups


def test_a_file_that_tells_the_scene(folder: Path) -> None:
    rows = ["file,label,source_id", "run/a.avi,run,1", "run/b.avi,run,1", "jump/c.mp4,jump,2"]
    table = folder / "list.csv"
    table.write_text("\n".join(rows))
    known = recognise(folder, None, store=Path("store"))
    assert known.group_file == (str(table), "source_id")
    assert known.groups == f"groups by source_id of {table}"
    table.write_text("\n".join(rows[:3]))  # not of all videos
    assert recognise(folder, None, store=Path("store")).group_file is None


def test_no_labels(folder: Path) -> None:
    with pytest.raises(InputError) as error:
        recognise(folder / "run", None, store=Path("store"))
    for fact in ("no labels: a, b lie in no class folder", "--annotations", "predict"):
        assert fact in str(error.value)


def test_a_folder_too_high(folder: Path) -> None:
    with pytest.raises(InputError, match="folder is videos; at least 2 classes are needed"):
        recognise(folder.parent, None, store=Path("store"))


LISTS = {
    "ucf101": {
        "classInd__txt": "1 jump\n2 run\n",
        **{f"trainlist0{k}__txt": "run/v_run_g01_c01.avi 2\n" for k in (1, 2, 3)},
        **{f"testlist0{k}__txt": "jump/v_jump_g02_c01.avi\n" for k in (1, 2, 3)},
    },
    "folder": {
        "classInd__txt": "1 jump\n2 run\n",
        **{f"trainlist0{k}__txt": "run/a.avi 2\n" for k in (1, 2, 3)},
        **{f"testlist0{k}__txt": "jump/c.mp4\n" for k in (1, 2, 3)},
    },
    "hmdb51": {
        f"{name}_test_split{k}__txt": "a.avi 1\nb.avi 2\n"
        for name in ("run", "jump")
        for k in (1, 2, 3)
    },
    "kinetics": {
        f"{name}__csv": f"label,youtube_id,time_start,time_end,split\nrun,{name},1,11,{name}\n"
        for name in ("train", "val")
    },
    "jester": {
        "jester-v1-labels__csv": "run\njump\n",
        "jester-v1-train__csv": "1;run\n",
        "jester-v1-validation__csv": "2;jump\n",
    },
    "something": {
        "labels__json": '{"run": "0", "jump": "1"}',
        "train__json": '[{"id": "1", "template": "run"}]',
        "validation__json": '[{"id": "2", "template": "jump"}]',
    },
    "path-lists": {"train__txt": "run/a.avi 0\n", "val__txt": "jump/c.mp4 1\n"},
}


@pytest.mark.parametrize("dataset", LISTS)
def test_lists_of_every_data_set(dataset: str, folder: Path) -> None:
    lists = write(folder, **LISTS[dataset])
    known = recognise(folder, lists, store=Path("store"))
    # Version 1 of Something-Something and Jester have lists alike, which are read alike.
    assert known.dataset == {"jester": "something"}.get(dataset, dataset)
    # Of those listed, how many are there: run/a, run/b and jump/c.
    of_folder = dataset in ("folder", "hmdb51", "path-lists")
    assert (known.train, known.test) == ((1, 1) if of_folder else (0, 0))
    assert known.splits == ((1, 2, 3) if dataset in ("ucf101", "folder", "hmdb51") else (1,))


def test_lists_of_no_known_kind(folder: Path) -> None:
    lists = write(folder, notes__md="nothing")
    with pytest.raises(InputError, match=r"ucf101, hmdb51, .* but notes.md; give --dataset NAME"):
        recognise(folder, lists, store=Path("store"))
    with pytest.raises(InputError, match=r"classInd.txt: no such list file"):
        recognise(folder, lists, store=Path("store"), dataset="ucf101")
