"""Situations that users of other tools have reported, each with the outcome its README asks for.

Those on decoding are in `tests/flow_extract/video/test_decode.py`; `tests/twostream/scoring/` has
networks scored on their training videos, `tests/twostream/sequence/` pictures without zeros,
`tests/twostream/training/test_trainer.py` batches of one video.
"""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from flow_extract.store.reader import scan_store

Run = Callable[..., Result]


@pytest.fixture
def case(
    twostream: Run, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Run]:
    """Copies a reported case, makes its files, and enters its folder."""

    def enter(name: str) -> Run:
        folder = shutil.copytree(shared_data / "reported-cases" / name, tmp_path / name)
        monkeypatch.chdir(folder)
        runpy.run_path("make.py")
        return twostream

    return enter


def test_several_labels_a_video(case: Callable[[str], Run]) -> None:
    twostream = case("lists-with-more-columns")
    init = ["init", "--dataset", "path-lists", "--videos", "videos", "--annotations"]
    for lists, line in (("two-labels", 2), ("frames-and-labels", 1)):
        refused = twostream(*init, lists, exit_code=2).stderr
        assert f"{lists}/train.txt:{line}: " in refused
        assert "Several labels a video are not supported" in refused
    lists = Path("parts")
    lists.mkdir()
    for name in ("train.txt", "test.txt"):  # path, first frame, frames, label
        (lists / name).write_text(f"{name[:2]}.avi 1 12 0\n")
    assert "nor parts of videos (first frame, frames, label)" in (
        twostream(*init, "parts", exit_code=2).stderr
    )


def test_names_with_dots(case: Callable[[str], Run]) -> None:
    twostream = case("dotted-names")
    paths = ["--videos", "videos", "--annotations"]
    shutil.copytree("lists", "with-suffix")
    for file in Path("with-suffix").iterdir():
        rows = [row.rpartition(" ") for row in file.read_text().splitlines()]
        file.write_text("".join(f"{name}.avi {label}\n" for name, _, label in rows))
    for options in (
        ["folder", *paths, "own"],
        ["path-lists", *paths, "lists"],
        ["path-lists", *paths, "with-suffix"],
        ["folder", *paths, "own-2", "--group-file", "groups.csv"],
    ):
        shown = json.loads(twostream("init", "--json", "--force", "--dataset", *options).stdout)
        assert (shown["videos"], shown["missing"], shown["unlisted"]) == (9, [], [])


def test_classes_that_nothing_is_learnt_of(case: Callable[[str], Run]) -> None:
    twostream = case("classes-without-training")
    init = ["init", "--dataset", "path-lists", "--videos", "videos", "--force", "--annotations"]
    for lists, count in (("shifted", 2), ("lacking", 1)):
        refused = twostream(*init, lists, exit_code=2).stderr
        assert f"none to learn from: 2 ({count}); do labels count from 0 in both lists?" in refused
        assert (
            f"test videos: class 2 ({count})" in twostream(*init, lists, "--allow-untrained").stdout
        )
    assert "no video at all: class 1, 2, 3, 4, 5 and 1 more" in twostream(*init, "gaps").stdout


def test_kinetics_as_it_lies_on_disks(case: Callable[[str], Run]) -> None:
    twostream = case("kinetics-on-disk")
    for place in ("as-listed", "underscores", "flat", "parts", "only-id"):
        paths = ["--videos", place, "--annotations", "lists", "--force"]
        shown = json.loads(twostream("init", "--json", "--dataset", "kinetics", *paths).stdout)
        assert (shown["videos"], shown["missing"], shown["unlisted"]) == (4, [], [])
        is_elsewhere = {"as-listed": 0}.get(place, 4)
        assert len(shown["elsewhere"]) == is_elsewhere


def test_official_lists_of_videos_without_folders_of_their_classes(
    twostream: Run, tmp_path: Path
) -> None:
    for folder in ("ucf", "hmdb", "ucf-lists", "hmdb-lists"):
        Path(folder).mkdir()
    lists = Path("ucf-lists")
    (lists / "classInd.txt").write_text("1 Archery\n")
    for split in (1, 2, 3):
        (lists / f"trainlist0{split}.txt").write_text("Archery/v_Archery_g08_c01.avi 1\n")
        (lists / f"testlist0{split}.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
        names = "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi 1 \nB_clap_u_nm_np1_fr_med_1.avi 2 \n"
        Path("hmdb-lists", f"clap_test_split{split}.txt").write_text(names)
    for name in ("ucf/v_Archery_g08_c01.avi", "ucf/v_Archery_g01_c01.avi",
                 "hmdb/#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi",
                 "hmdb/B_clap_u_nm_np1_fr_med_1.avi"):  # fmt: skip
        Path(name).write_bytes(b"-")
    for dataset, folder in (("ucf101", "ucf"), ("hmdb51", "hmdb")):
        paths = ["--videos", folder, "--annotations", f"{folder}-lists", "--force"]
        shown = twostream("init", "--dataset", dataset, *paths).stdout
        assert "2 videos found" in shown
        assert "found by their file names: " in shown


def test_pictures_without_flow(case: Callable[[str], Run]) -> None:
    twostream = case("pictures-without-flow")
    lists = Path("lists")
    for file in list(lists.iterdir()):  # Something-Something V1 is shipped in the same form
        name = file.name.replace("jester", "something-something")
        Path("something").mkdir(exist_ok=True)
        Path("something", name).write_bytes(file.read_bytes())
    for dataset, folder in (("jester", "lists"), ("something", "something")):
        paths = ["--videos", "frames", "--annotations", folder, "--force"]
        shown = json.loads(twostream("init", "--json", "--dataset", dataset, *paths).stdout)
        assert (shown["videos"], shown["missing"], shown["unlisted"]) == (5, [], [])
    twostream("extract-flow")
    twostream("convert-flow", "img", "store2", "--from", "xy", "--to", "store")
    for store, flows in (("store", 11), ("store2", 0)):
        headers = scan_store(store).values()
        assert [(h["status"], h["counts"]["frames"], h["counts"]["flows"]) for h in headers] == [
            ("ok", 12, flows)
        ] * 5
