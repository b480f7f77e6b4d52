"""Groups of videos: by rule, file or pattern; in score files; where these disagree; and folds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.combining.fuse import fuse
from fusion.combining.inputs import FusionOptions, read_inputs
from fusion.tables.groups import grouped_folds, video_groups
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable, check_table, read_head, read_scores, write_scores
from fusion.workflows import compare_files, fuse_files, report_files, tune_files
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
SCORES = [[2.0, 1.0], [1.0, 2.0], [3.0, 0.0], [0.0, 3.0]]


@pytest.mark.parametrize(
    ("name", "how", "dataset", "group"),
    [
        ("Archery/v_Archery_g02_c03", None, "ucf101", "archery_g02"),
        ("HandstandPushups/v_HandStandPushups_g01_c02", "ucf101", None, "handstandpushups_g01"),
        ("kick/FILM_2_kick_f_cm_np1_ba_bad_0", None, "hmdb51", "FILM_2"),
        ("kick_ball/kick_kick_ball_f_cm_np1_ba_bad_0", "hmdb51", None, "kick"),
        ("a/b", "video", "ucf101", "a/b"),
        ("a/fi__scene12-3", r"scene(\d+)-", None, "12"),
        ("a/fi__scene12-3", r"scene\d+", None, "scene12"),
    ],
)
def test_the_group_of_a_video(name: str, how: str | None, dataset: str | None, group: str) -> None:
    assert video_groups([name], how, dataset=dataset) == [group]


def test_groups_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text('v1,one\nv2,two\n"v,3",one\n')
    assert video_groups(["v,3", "v2", "v1"], str(path), dataset="toy") == ["one", "two", "one"]
    with pytest.raises(InputError, match="no group for 1 of 2 videos: v4"):
        video_groups(["v4", "v1"], str(path), dataset=None)
    for text, message in (("v1\n", "lines name,group"), ("v1,a\nv1,b\n", "more than once: v1")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            video_groups(["v1"], str(path), dataset=None)


@pytest.mark.parametrize(
    ("name", "how", "dataset", "message"),
    [
        ("a/b", None, "toy", r"\(data set toy\): give --groups ucf101, hmdb51, video"),
        ("a/b", None, None, "data set not known"),
        ("a/b", "ucf101", None, "--groups ucf101: no group for 1 of 1 videos: a/b"),
        ("kick/12", None, "hmdb51", "--groups hmdb51: no group .* kick/12"),
        ("a/b", "(", None, "not a regular expression"),
        ("a/b", "x", None, "--groups x: no group .* a/b"),
    ],
)
def test_groups_that_are_not_known(
    name: str, how: str | None, dataset: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        video_groups([name], how, dataset=dataset)


def in_groups(table: ScoreTable, *groups: str) -> ScoreTable:
    return replace(table, groups=groups)


def test_groups_are_kept_in_the_file_and_in_what_is_fused(make_table: Make, tmp_path: Path) -> None:
    table = in_groups(make_table(SCORES), "x", "x", "y", "y")
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        write_scores(path, table)
    assert read_scores(paths[0]).groups == table.groups
    fused = fuse({"a": paths[0], "b": paths[1]})
    assert fused.table.groups == table.groups
    write_scores(tmp_path / "old", make_table(SCORES))
    assert "groups" not in read_head(tmp_path / "old")
    assert read_scores(tmp_path / "old").groups is None


@pytest.mark.parametrize("groups", [("x",) * 3, ("x", "x", "y", ""), ("x", 1, "y", "y"), "xxyy", 7])
def test_groups_that_are_not_a_text_for_each_video(make_table: Make, groups: object) -> None:
    with pytest.raises(InputError, match="here: `groups` must be 4 texts"):
        check_table(replace(make_table(SCORES), groups=groups), where="here")


def test_groups_of_a_file_that_are_no_list(
    make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.tables.score_file.LARGE_BYTES", 0)
    path = tmp_path / "a.safetensors"
    write_scores(path, in_groups(make_table(SCORES), *"xxyy"))
    text = json.dumps(json.dumps(["x", "x", "y", "y"]))[1:-1].encode()
    assert text in (content := path.read_bytes())
    path.write_bytes(content.replace(text, b"7".ljust(len(text))))
    for in_memory in (True, False):
        with pytest.raises(InputError, match=f"{path}: `groups` must be 4 texts"):
            read_scores(path, in_memory=in_memory)


def test_groups_follow_the_videos_in_a_join(make_table: Make) -> None:
    first = make_table(SCORES, names="abcd")
    second = in_groups(make_table(SCORES, names="dcba"), "y", "y", "x", "x")
    assert join({"first": first, "second": second}).groups == ("x", "x", "y", "y")
    other_names = in_groups(first, "film 1", "film 1", "film 2", "film 2")
    assert join({"one": other_names, "two": second}).groups == other_names.groups


@pytest.mark.parametrize("groups", ["xyyy", "xxxx", "xxyz"])
def test_groups_that_contradict_each_other_name_a_video(make_table: Make, groups: str) -> None:
    table = make_table(SCORES, names="abcd")
    tables = {"one": in_groups(table, *"xxyy"), "two": in_groups(table, *groups)}
    with pytest.raises(InputError, match="groups contradict.* for [abcd]: one has it in .* two"):
        join(tables)
    assert join(tables, groups=[*"ppqq"]).groups == ("p", "p", "q", "q")
    assert join(tables, groups="video").groups == ("a", "b", "c", "d")


def test_groups_by_the_rule_of_the_data_set_where_files_do_not_know_them(make_table: Make) -> None:
    names = [f"Archery/v_Archery_g0{g}_c01" for g in (1, 2, 3, 4)]
    assert join({"a": make_table(SCORES, names=names)}).groups is None
    assert join({"a": make_table(SCORES, names=names, dataset="ucf101")}).groups == tuple(
        f"archery_g0{g}" for g in (1, 2, 3, 4)
    )
    assert join({"a": make_table(SCORES, dataset="ucf101")}).groups is None
    assert join({"a": make_table(SCORES, dataset=["ucf101"])}).groups is None


def test_an_option_stands_above_the_files(make_table: Make, tmp_path: Path) -> None:
    files = [tmp_path / f"{stream}.safetensors" for stream in "ab"]
    for file, groups in zip(files, ("xxyy", "xyyy"), strict=True):
        write_scores(file, in_groups(make_table(SCORES, stream=file.stem), *groups))
    with pytest.raises(InputError, match=r"--groups"):
        read_inputs(FusionOptions(files=files))
    joined = read_inputs(FusionOptions(files=files, groups=r"v(\d)")).joined
    assert joined.groups == ("0", "1", "2", "3")


def test_folds_tests_and_reports_take_the_groups_of_the_files(
    make_table: Make, tmp_path: Path
) -> None:
    rng, labels = np.random.default_rng(0), np.arange(48) % 2
    files = [tmp_path / f"{stream}.safetensors" for stream in "ab"]
    for file in files:
        scores = rng.normal(size=(48, 2)) + np.eye(2)[labels]
        table = make_table(scores, labels=labels, stream=file.stem, subset="test")
        write_scores(file, replace(table, groups=tuple(f"film {v // 4}" for v in range(48))))
    options = FusionOptions(files=files)
    compared = compare_files(replace(options, strategies=["mean"]))
    assert (compared["groups"], compared["test"]) == (12, "sign flips of groups")
    mark = "test labels, in group folds"
    for more in ({"calibrate": "crossfit"}, {"learn": "class-weights"}):
        fused = fuse_files(replace(options, **more), out=tmp_path / "fused")
        assert fused["fitted_on"] == mark
        assert read_scores(tmp_path / "fused").groups == read_scores(files[0]).groups
    assert tune_files(options, choose="crossfit")["fitted_on"] == mark
    page = report_files(replace(options, strategies=["mean"]))
    assert "sign-flip test of 12 whole groups" in page
    assert f"Fitted on {mark}: mean, calibrated" in page


@given(
    drawn=st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 3)), min_size=20, max_size=60),
    random=st.randoms(),
)
def test_folds_never_part_a_group_and_ignore_the_order(drawn, random) -> None:  # noqa: ANN001
    drawn = [(9, 0), (8, 1), (7, 2), *drawn]
    groups, labels = [f"g{group}" for group, _ in drawn], np.array([label for _, label in drawn])
    folds = grouped_folds(groups, labels, count=3)
    assert set(folds) == {0, 1, 2}
    assert len({(group, fold) for group, fold in zip(groups, folds, strict=True)}) == len({*groups})
    order = list(range(len(drawn)))
    random.shuffle(order)
    moved = grouped_folds([groups[row] for row in order], labels[order], count=3)
    np.testing.assert_array_equal(moved, folds[order])


def test_folds_spread_the_classes() -> None:
    names = [f"c{c}/v_c{c}_g{g:02}_c{k:02}" for c in range(4) for g in range(6) for k in range(3)]
    labels = np.repeat(np.arange(4), 18)
    folds = grouped_folds(video_groups(names, "ucf101", dataset=None), labels, count=3)
    counts = [np.bincount(labels[folds == fold], minlength=4).tolist() for fold in range(3)]
    assert counts == [[6] * 4] * 3


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_groups(count: int) -> None:
    with pytest.raises(InputError, match=rf"{count} folds of 2 groups; allowed: 2\.\.2"):
        grouped_folds(["a", "b", "a"], np.zeros(3, dtype=int), count=count)
    with pytest.raises(InputError, match="2 folds of 1 group.*--groups"):
        grouped_folds(["a", "a"], np.zeros(2, dtype=int), count=2)
