from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.fitting.hold_out import grouped_folds, video_groups
from twostream_base.errors import InputError


@pytest.mark.parametrize(
    ("name", "how", "dataset", "group"),
    [
        ("Archery/v_Archery_g02_c03", None, "ucf101", "v_archery_g02"),
        ("HandstandPushups/v_HandStandPushups_g01_c02", "ucf101", None, "v_handstandpushups_g01"),
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
    with pytest.raises(InputError, match="no group for 1 videos: v4"):
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
        ("a/b", "ucf101", None, "'a/b' is no UCF101 name"),
        ("kick/12", None, "hmdb51", "is no HMDB51 name"),
        ("a/b", "(", None, "no regular expression"),
        ("a/b", "x", None, "finds nothing in a/b"),
    ],
)
def test_groups_that_are_not_known(
    name: str, how: str | None, dataset: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        video_groups([name], how, dataset=dataset)


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
