from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from twostream.data import toy

Run = Callable[..., Result]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two classes of four sources with two clips each, one class of one clip, and a text file."""
    folder = tmp_path / "clips"
    names = [f"{c}/v_{c}_g{g}_c{k}.avi" for c in ("run", "walk") for g in range(4) for k in (1, 2)]
    for name in [*names, "rare/v_rare_g0_c1.avi", "README.txt"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"-")
    return folder


def test_a_folder_with_groups_in_the_names(twostream: Run, clips: Path) -> None:
    result = twostream("init", "--dataset", "folder", "--videos", "clips", "--min-videos", "2",
                       "--group-pattern", r"_(g\d+)_")  # fmt: skip
    assert result.stdout.splitlines() == [
        "folder: 2 classes, 16 videos found, in 8 groups",
        *(f"  split {n}: 12 train, 4 test; 0 of them missing" for n in (1, 2, 3)),
        "  in no list: rare/v_rare_g0_c1",
        "  no videos: README.txt",
        "wrote lists of 3 random splits to annotations",
        "left out 1 classes (1 videos) with fewer than 2 videos: rare",
        "wrote twostream.toml",
    ]
    assert result.stderr == "next: twostream extract-flow\n"
    assert tomllib.loads(Path("twostream.toml").read_text()) == {
        "dataset": "folder", "videos": "clips", "annotations": "annotations",
        "store": "store", "runs": "runs",
        "init": {"group-pattern": r"_(g\d+)_", "min-videos": 2},
    }  # fmt: skip
    again = twostream("init", "--dataset", "folder", "--videos", "clips", exit_code=2)
    assert "twostream.toml exists in this folder already" in again.output
    assert "--update" in again.output
    assert "--force" in again.output


def test_a_folder_without_groups_is_warned(twostream: Run, clips: Path) -> None:
    (clips / "rare" / "v_rare_g0_c1.avi").unlink()
    result = twostream("init", "--dataset", "folder", "--videos", "clips")
    assert "--group-pattern" in result.output


def test_groups_in_a_file_beside_the_videos_are_named(twostream: Run, clips: Path) -> None:
    """Once the lists are drawn, groups that they part are counted."""
    (clips / "rare" / "v_rare_g0_c1.avi").unlink()
    names = sorted(path.relative_to(clips).as_posix() for path in clips.rglob("*.avi"))
    rows = [f"{name},{name.split('_')[-2]}" for name in names]
    (clips / "frames.csv").write_text("file,source id\nother.avi,g0\n")  # of other videos
    (clips / "MANIFEST.csv").write_text("\n".join(["file,Source_ID", *rows, ""]))
    init = ["init", "--dataset", "folder", "--videos", "clips"]
    found = f"--group-file {Path('clips/MANIFEST.csv')} --group-column Source_ID"
    assert found in twostream(*init).stdout
    again = twostream(*init, *found.split(), "--force", "--json")
    assert json.loads(again.stdout)["groups_at"] is None
    parted = [split["parted"] for split in json.loads(again.stdout)["splits"]]
    for split, count in zip((1, 2, 3), parted, strict=True):
        sides = [
            {name.split("_")[-2] for name in Path(f"annotations/{part}list0{split}.txt").read_text()
             .replace(".avi", "").split() if "_g" in name}
            for part in ("train", "test")
        ]  # fmt: skip
        assert count == len(sides[0] & sides[1]) > 0
    Path("annotations").rename("old")
    result = twostream(*init, *found.split(), "--force")
    assert "others to learn from" not in result.stdout
    assert found not in result.stdout


def test_groups_for_lists_that_are_there(twostream: Run, clips: Path) -> None:
    init = ["init", "--dataset", "folder", "--videos", "clips", "--min-videos", "2"]
    twostream(*init)
    lists = {path.name: path.read_bytes() for path in Path("annotations").glob("*.txt")}
    pattern = ["--group-pattern", r"_(g\d+)_"]
    refused = twostream(*init, *pattern, "--force", "--group-file", "clips/README.txt", exit_code=2)
    assert "--group-pattern and --group-file" in refused.output
    Path("twostream.toml").unlink()
    refused = twostream(*init, *pattern, exit_code=2)
    assert f"{Path('annotations/groups.csv')}: it is there already; --force" in refused.output
    result = twostream(*init, *pattern, "--force")
    assert "in 8 groups" in result.output
    assert "walk/v_walk_g3_c2,walk/g3\n" in Path("annotations/groups.csv").read_text()
    assert lists == {path.name: path.read_bytes() for path in Path("annotations").glob("*.txt")}
    official(Path("lists"), "walk/v_walk_g9_c9.avi")
    options = ["--annotations", "lists", "--allow-missing", "--force", "--group-pattern", "_(c.)"]
    twostream("init", "--dataset", "ucf101", "--videos", "clips", *options)
    assert "run/v_run_g0_c1,run/c1\n" in Path("lists/groups.csv").read_text()


def official(folder: Path, *names: str) -> None:
    folder.mkdir()
    (folder / "classInd.txt").write_text("1 run\n2 walk\n")
    for split in (1, 2, 3):
        (folder / f"trainlist0{split}.txt").write_text(
            "run/v_run_g0_c1.avi 1\nwalk/v_walk_g0_c1.avi 2\n"
        )
        lines = "".join(f"{name}\n" for name in ("walk/v_walk_g1_c1.avi", *names))
        (folder / f"testlist0{split}.txt").write_text(lines)


def test_missing_videos_need_permission(twostream: Run, clips: Path) -> None:
    official(Path("lists"), "walk/v_walk_g9_c9.avi")
    command = ["init", "--dataset", "ucf101", "--videos", "clips", "--annotations", "lists"]
    refused = twostream(*command, exit_code=2)
    assert "split 1: 2 train, 2 test; 1 of them missing" in refused.output
    assert "missing: walk/v_walk_g9_c9" in refused.output
    assert not Path("twostream.toml").exists()
    report = json.loads(twostream(*command, "--allow-missing", "--json").stdout)
    assert report["missing"] == ["walk/v_walk_g9_c9"]
    assert tomllib.loads(Path("twostream.toml").read_text())["allow-missing"] is True


def test_doubled_files_are_refused_by_name(twostream: Run, clips: Path) -> None:
    official(Path("lists"))
    (clips / "run" / "v_run_g3_c1.mp4").write_bytes(b"-")
    result = twostream("init", "--dataset", "ucf101", "--videos", "clips", "--annotations", "lists")
    assert "refused: run/v_run_g3_c1: v_run_g3_c1.avi, v_run_g3_c1.mp4 would share" in result.output


def test_paths_in_the_project_file_are_relative_but_for_absolute_ones_to_elsewhere(
    twostream: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = clips.parent / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    twostream("init", "--dataset", "folder", "--videos", clips, "--annotations", project / "lists",
              "--store", "../store", "--min-videos", "2")  # fmt: skip
    assert tomllib.loads(Path("twostream.toml").read_text()) == {
        "dataset": "folder", "videos": str(clips), "annotations": "lists", "store": "../store",
        "runs": "runs", "init": {"min-videos": 2},
    }  # fmt: skip


def test_a_broken_file_of_groups_is_replaced(twostream: Run, clips: Path) -> None:
    init = ["init", "--dataset", "folder", "--videos", "clips", "--min-videos", "2"]
    twostream(*init)
    Path("annotations", "groups.csv").write_text('"run/v_run_g0_c1,g\n')
    assert "--force" in twostream(*init, "--force", exit_code=2).output
    pattern = ["--group-pattern", r"_(g\d+)_"]
    assert "in 8 groups" in twostream(*init, "--force", *pattern).output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "ucf101"], "Missing option '--videos'"),
        (["--dataset", "ucf101", "--videos", "clips"], "Missing option '--annotations'"),
        (["--dataset", "folder", "--videos", "nowhere"], "nowhere: no such folder of videos"),
        (["--dataset", "charades"], "'charades' is not one of ucf101, hmdb51, folder, toy"),
    ],
)
def test_mistakes(twostream: Run, clips: Path, options: list[str], message: str) -> None:
    assert message in twostream("init", *options, exit_code=2).output


def test_toy(twostream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "CLASSES", toy.CLASSES[:2])
    monkeypatch.setattr(toy, "NUM_GROUPS", 3)
    result = twostream("init", "--dataset", "toy")
    assert "toy: 2 classes, 6 videos found" in result.output
    assert "split 3: 4 train, 2 test; 0 of them missing" in result.output
    extracted = twostream("extract-flow", "--json")
    assert json.loads(extracted.stdout)["done_now"] == 6


def test_toy_where(twostream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "WHERE_GROUPS", 3)
    result = twostream("init", "--dataset", "toy-where")
    assert "toy-where: 2 classes, 6 videos found" in result.output
    assert "split 3: 4 train, 2 test; 0 of them missing" in result.output


def test_a_class_that_is_only_tested_needs_permission(twostream: Run, clips: Path) -> None:
    lists = clips.parent / "lists"
    lists.mkdir()
    names = sorted(path.relative_to(clips).as_posix() for path in clips.rglob("*.avi"))
    (lists / "train.txt").write_text("".join(f"{name} 0\n" for name in names[:-1]))
    (lists / "test.txt").write_text(f"{names[-1]} 1\n")
    arguments = ("init", "--dataset", "path-lists", "--videos", clips, "--annotations", lists)
    result = twostream(*arguments, exit_code=2)
    assert "1 (1)" in result.stderr
    assert "1 (1)" in result.stdout
    assert not Path("twostream.toml").exists()
    assert "--allow-untrained" in result.stderr
    allowed = twostream(*arguments, "--allow-untrained")
    assert "no training video, but test videos: class 1 (1)" in allowed.stdout
    assert "no test video, but training videos: class 0 (16)" in allowed.stdout
    (lists / "classes.txt").write_text("walk\nrun\nswim\n")
    report = json.loads(twostream(*arguments, "--allow-untrained", "--force", "--json").stdout)
    assert report["empty"] == ["swim"]
    assert report["splits"] == [
        {"split": 1, "train": 16, "val": 0, "test": 1, "missing": 0,
         "untrained": {"run": 1}, "untested": {"walk": 16}, "parted": 0}
    ]  # fmt: skip


def test_videos_in_other_folders_are_found_and_said(twostream: Run, clips: Path) -> None:
    lists = clips.parent / "lists"
    lists.mkdir()
    names = sorted(path.relative_to(clips).as_posix() for path in clips.rglob("*.avi"))
    (lists / "train.txt").write_text("".join(f"/data/{name} 0\n" for name in names[:-1]))
    (lists / "test.txt").write_text("C:\\data\\" + names[-1].replace("/", "\\") + " 0\n")
    result = twostream("init", "--dataset", "path-lists", "--videos", clips, "--annotations", lists)
    assert result.exit_code == 0
    assert (
        f"data/{names[0].removesuffix('.avi')} at {names[0].removesuffix('.avi')}" in result.stdout
    )


def test_an_update_keeps_splits_and_is_shown_before_it_is_made(
    twostream: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twostream("init", "--dataset", "folder", "--videos", "clips", "--min-videos", "2",
              "--group-pattern", r"_(g\d+)_")  # fmt: skip
    lists = Path("annotations")
    before = {path.name: path.read_bytes() for path in lists.iterdir()}
    (clips / "walk").rename(clips / "walking")
    (clips / "run" / "v_run_g0_c2.avi").unlink()
    for name in ("run/v_run_g9_c1.avi", "walking/v_walk_g1_c3.avi"):
        (clips / name).write_bytes(b"-")
    monkeypatch.chdir(clips)  # also from below the project's folder
    planned = twostream("init", "--update", "--dry-run").stdout.splitlines()
    assert planned[0] == "2 added: run/v_run_g9_c1, walking/v_walk_g1_c3"
    assert planned[4:7] == [
        "1 gone: run/v_run_g0_c2; removed.csv keeps their sides",
        "renamed classes: walk -> walking",
        "left out, as classes of too few videos: rare (1)",
    ]
    assert planned[7].startswith("--dry-run: would write classInd.txt, groups.csv, removed.csv, te")
    assert before == {path.name: path.read_bytes() for path in (clips.parent / lists).iterdir()}
    monkeypatch.chdir(clips.parent)
    facts = json.loads(twostream("init", "--update", "--dry-run", "--json").stdout)["update"]
    assert (facts["renamed"], facts["gone"]) == ({"walk": "walking"}, ["run/v_run_g0_c2"])
    project = Path("twostream.toml").read_bytes()
    done = twostream("init", "--update").stdout.splitlines()
    assert done[-len(planned) :] == [
        line.replace("--dry-run: would write", "wrote") for line in planned
    ]
    assert done[0] == "folder: 2 classes, 17 videos found, in 9 groups"
    again = twostream("init", "--update").stdout
    assert "the lists are up to date" in again
    assert "wrote" not in again
    assert Path("twostream.toml").read_bytes() == project


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--update", "--force"], "--update keeps what is there, --force replaces it"),
        (["--update", "--videos", "elsewhere"], "--update takes videos from"),
        (
            ["--dataset", "folder", "--videos", "clips", "--dry-run"],
            "--dry-run belongs to --update",
        ),
    ],
)
def test_what_does_not_go_with_an_update(
    twostream: Run, clips: Path, options: list[str], message: str
) -> None:
    assert "no twostream.toml in this folder" in twostream("init", "--update", exit_code=2).output
    twostream("init", "--dataset", "folder", "--videos", "clips", "--min-videos", "2")
    assert message in twostream("init", *options, exit_code=2).output


def test_an_update_of_official_lists_checks_them_again(twostream: Run, clips: Path) -> None:
    official(Path("lists"))
    arguments = ["--videos", "clips", "--annotations", "lists", "--group-pattern", "_(g.)_"]
    twostream("init", "--dataset", "ucf101", *arguments)
    groups = Path("lists", "groups.csv")
    groups.write_text(groups.read_text().replace("run/g0", "by hand"))
    lists = {path.name: path.read_bytes() for path in Path("lists").glob("*.txt")}
    for split in (1, 2, 3):
        with Path("lists", f"trainlist0{split}.txt").open("a") as file:
            file.write("run/v_run_g2_c1 1\n")
    assert "3 train, 1 test; 0 of them missing" in twostream("init", "--update").stdout
    assert groups.read_text().splitlines()[:2] == [
        "run/v_run_g0_c1,by hand", "run/v_run_g2_c1,run/g2",
    ]  # fmt: skip
    assert {path.name for path in Path("lists").glob("*.txt")} == set(lists)


def test_what_is_stored_is_compared_with_the_lists(
    twostream: Run, make_video: Callable[..., Path]
) -> None:
    for name in ("a/1", "a/2", "b/1", "b/2"):
        make_video(Path("clips", f"{name}.avi"), frames=2)
    twostream("init", "--dataset", "folder", "--videos", "clips")
    twostream("extract-flow")
    Path("clips/b").rename("clips/c")
    make_video(Path("clips/c/3.avi"), frames=2)
    shown = twostream("init", "--update").stdout
    assert "renamed classes: b -> c" in shown
    assert "in the store: 2 of them" in shown
    assert "not in the store: 3, c/1, c/2, c/3" in shown
    assert "stored, in no list: 2, b/1, b/2" in shown
    report = json.loads(twostream("init", "--update", "--json").stdout)
    assert report["store"] == {
        "stored": 2, "not_stored": ["c/1", "c/2", "c/3"], "unlisted": ["b/1", "b/2"],
    }  # fmt: skip


def test_lists_of_other_videos_are_refused_also_with_missing_ones_allowed(
    twostream: Run, clips: Path
) -> None:
    official(Path("lists"))
    Path("empty").mkdir()
    arguments = ["--videos", "empty", "--annotations", "lists", "--allow-missing"]
    refused = twostream("init", "--dataset", "ucf101", *arguments, exit_code=2)
    assert "empty: none of the 3 listed videos is below this folder" in refused.stderr
    assert not Path("twostream.toml").exists()
