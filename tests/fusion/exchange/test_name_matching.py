from __future__ import annotations

from pathlib import Path

import pytest

from fusion.exchange.importing import match_names
from twostream_base.errors import InputError

PATH = Path("preds.pickle")
LISTED = ["HandstandPushups/v_HandStandPushups_g01_c01", "Archery/v_Archery_g01_c02"]


@pytest.mark.parametrize(
    "theirs",
    [
        ["Archery_g01_c02", "HandstandPushups_g01_c01"],
        ["v_archery_G01_c02.avi", "any/folder/v_HandstandPushups_g01_c01.MP4"],
        ["Archery/v_Archery_g01_c02", "HandstandPushups/v_HandStandPushups_g01_c01"],
    ],
)
def test_names_match_in_other_spellings(theirs: list[str]) -> None:
    assert match_names(theirs, LISTED, path=PATH) == [1, 0]


def test_folders_tell_videos_apart_when_they_are_written_alike() -> None:
    names = ["a/001", "b/001"]
    assert match_names(names[::-1], names, path=PATH) == [1, 0]
    with pytest.raises(InputError, match="cannot be told apart by file name: 'b/001' comes twice"):
        match_names(["001", "002"], names, path=PATH)


def test_missing_and_extra_videos_are_listed() -> None:
    with pytest.raises(InputError) as caught:
        match_names(["Archery_g01_c02", "Bowling_g01_c01"], LISTED, path=PATH)
    assert (
        "preds.pickle: not the 2 videos of the list: 1 missing "
        "(HandstandPushups/v_HandStandPushups_g01_c01); 1 not listed (Bowling_g01_c01)"
    ) in str(caught.value)


def test_doubled_videos() -> None:
    with pytest.raises(InputError, match="preds.pickle: videos cannot be told apart"):
        match_names(["Archery_g01_c02", "v_archery_g01_c02"], LISTED, path=PATH)
