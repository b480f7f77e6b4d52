from __future__ import annotations

from pathlib import Path

import pytest

from twostream_base.errors import InputError
from twostream_base.video_names import hmdb51_group, match_names, ucf101_group, without_suffix


def test_names_are_found_as_spelt_or_without_case() -> None:
    listed = ["HandstandPushups/v_HandStandPushups_g01_c01", "A/x", "A/y"]
    available = ["HandStandPushups/v_HandStandPushups_g01_c01", "A/x", "B/y"]
    assert match_names(listed, available) == {listed[0]: available[0], "A/x": "A/x"}


@pytest.mark.parametrize(
    ("name", "available"),
    [
        ("Archery/v_Archery_g01_c02", "archery_G01_c02"),
        ("Archery/v_Archery_g01_c02", "v_Archery_g01_c02.AVI"),
        ("Archery/v_Archery_g01_c02", "any/folder/v_archery_g01_c02"),
        ("a/clip.5s", "clip.5s.mkv"),
    ],
)
def test_folder_suffix_and_mark_may_be_ignored(name: str, available: str) -> None:
    assert match_names([name], [available], ignore_folders=True) == {name: available}
    assert match_names([name], [available]) == {}


def test_folders_tell_videos_apart_where_both_have_them() -> None:
    names = ["a/001", "b/001"]
    assert match_names(names, names[::-1], ignore_folders=True) == {name: name for name in names}


@pytest.mark.parametrize(
    ("listed", "available", "ignore_folders"),
    [
        (["A/X"], ["A/x", "a/X"], False),  # two files
        (["A/X", "a/x"], ["A/x"], False),  # two listed names
        (["a/001", "b/001"], ["001", "002"], True),
        (["a/001", "b/001"], ["a/001", "c/001"], True),  # c/001 is not b/001
        (["a/001"], ["001", "v_001"], True),
    ],
)
def test_names_that_could_be_several(
    listed: list[str], available: list[str], ignore_folders: bool
) -> None:
    with pytest.raises(InputError, match="could be any of .*(001|x|X)"):
        match_names(listed, available, ignore_folders=ignore_folders)


@pytest.mark.parametrize(
    ("listed", "available", "found"),
    [
        ("run/a", "train/run/a", "train/run/a"),
        ("videos/run/a", "run/a", "run/a"),
        ("data/ucf/Run/a", "run/a", "run/a"),
        ("air drumming/abcdefghij1_000010_000020", "air_drumming/abcdefghij1_000010_000020", None),
        ("air drumming/abcdefghij1_000010_000020", "val/abcdefghij1", None),
        ("run/a", "run/a.mp4", None),  # a folder of pictures, say
        ("run/clip_01", "walk/clip_01", ""),  # perhaps another one: the name is short
    ],
)
def test_moved_videos(listed: str, available: str, found: str | None) -> None:
    expected = {} if found == "" else {listed: found or available}
    assert match_names([listed], [available], moved=True) == expected
    assert match_names([listed], [available]) == {}


def test_a_moved_video_is_found_only_where_one_fits() -> None:
    assert match_names(["run/a"], ["x/run/a", "y/run/a"], moved=True) == {}
    assert match_names(["x/run/a", "y/run/a"], ["run/a"], moved=True) == {}
    clips = ["id_of_video_000000_000010", "id_of_video_000010_000020"]
    assert match_names(clips, ["id_of_video"], moved=True) == {}
    assert match_names(
        ["run/long_file_name", "x/long_file_name"], ["run/long_file_name"], moved=True
    ) == {"run/long_file_name": "run/long_file_name"}


def test_only_suffixes_of_videos_are_dropped() -> None:
    assert without_suffix("clip_001.5s.avi") == "clip_001.5s"
    assert without_suffix("clip_001.5s") == "clip_001.5s"
    assert without_suffix("a/b.OGV") == "a/b"


@pytest.mark.parametrize(
    ("group_of", "name", "group"),
    [
        (ucf101_group, "Archery/v_Archery_g02_c03", "archery_g02"),
        (ucf101_group, "HandstandPushups/v_HandStandPushups_g01_c02", "handstandpushups_g01"),
        (ucf101_group, "HandstandPushups_g01_c02", "handstandpushups_g01"),
        (ucf101_group, "Archery/clip", None),
        (hmdb51_group, "kick/FILM_2_kick_f_cm_np1_ba_bad_0", "FILM_2"),
        (hmdb51_group, "kick_ball/kick_kick_ball_f_cm_np1_ba_bad_0", "kick"),
        (hmdb51_group, "kick/clip", None),
    ],
)
def test_groups(group_of, name: str, group: str | None) -> None:  # noqa: ANN001
    assert group_of(name) == group


def test_scenes_of_the_official_lists(shared_data: Path) -> None:
    lines = (shared_data / "official-splits/ucfTrainTestlist/testlist01.txt").read_text().split()
    groups = {ucf101_group(line.removesuffix(".avi")) for line in lines}
    assert None not in groups
    assert len(groups) == 101 * 7
