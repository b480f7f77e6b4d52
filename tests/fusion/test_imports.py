from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion.formats.foreign_scores import ForeignScores, four_axes
from fusion.imports import import_ordered, import_scores, read_order
from twostream.errors import InputError

PATH = Path("preds.pickle")
LISTED = ["HandstandPushups/v_HandStandPushups_g01_c01", "Archery/v_Archery_g01_c02"]
ORDER = [("Archery/a", 1), ("Archery/b", 0)]


def foreign(
    names: list[str] | None = None, labels: list[int] | None = None, scores: object = None
) -> ForeignScores:
    array = np.array([[1, 2], [3, 4]] if scores is None else scores, dtype=np.float32)
    return ForeignScores(
        PATH,
        None if names is None else tuple(names),
        four_axes(array),
        None if labels is None else np.array(labels),
    )


@pytest.mark.parametrize(
    "theirs",
    [
        ["Archery_g01_c02", "HandstandPushups_g01_c01"],
        ["v_archery_G01_c02.avi", "any/folder/v_HandstandPushups_g01_c01.MP4"],
        ["Archery/v_Archery_g01_c02", "HandstandPushups/v_HandStandPushups_g01_c01"],
    ],
)
def test_names_match_in_other_spellings(theirs: list[str]) -> None:
    table = import_scores(
        foreign(theirs), names=LISTED, labels=[1, 0], class_names=["A", "H"], about={"stream": "s"}
    )
    assert table.names == tuple(LISTED)
    assert table.scores[:, 0, 0].tolist() == [[3, 4], [1, 2]]
    assert table.labels.tolist() == [1, 0]
    assert table.class_names == ("A", "H")
    assert table.kind == "logits"
    assert table.about == {"stream": "s"}


def test_folders_tell_videos_apart_when_they_are_written_alike() -> None:
    names = ["a/001", "b/001"]
    table = import_scores(foreign(names[::-1]), names=names, labels=[0, 1], about={})
    assert table.scores[:, 0, 0].tolist() == [[3, 4], [1, 2]]
    with pytest.raises(InputError, match="cannot be told apart by file name: 'b/001' comes twice"):
        import_scores(foreign(["001", "002"]), names=names, labels=[0, 1], about={})


def test_missing_and_extra_videos_are_listed() -> None:
    theirs = foreign(["Archery_g01_c02", "Bowling_g01_c01"])
    with pytest.raises(InputError) as caught:
        import_scores(theirs, names=LISTED, labels=[1, 0], about={})
    assert (
        "preds.pickle: not the 2 videos of the list: 1 missing "
        "(HandstandPushups/v_HandStandPushups_g01_c01); 1 not listed (Bowling_g01_c01)"
    ) in str(caught.value)


def test_doubled_videos() -> None:
    theirs = foreign(["Archery_g01_c02", "v_archery_g01_c02"])
    with pytest.raises(InputError, match="preds.pickle: videos cannot be told apart"):
        import_scores(theirs, names=LISTED, labels=[1, 0], about={})


def test_the_kind_of_the_scores() -> None:
    summed = import_ordered(foreign(), order=ORDER, about={"stream": "s"}, summed_over=19)
    assert summed.kind == "logit_sum"
    assert summed.about == {"stream": "s", "summed_over": 19}
    assert import_ordered(foreign(), order=ORDER, about={}).kind == "logits"
    probs = foreign(scores=[[0.25, 0.75], [1, 0]])
    assert import_ordered(probs, order=ORDER, about={}).kind == "probs"


def test_rows_get_the_names_of_the_order() -> None:
    table = import_ordered(foreign(labels=[1, 0]), order=ORDER, about={})
    assert table.names == ("Archery/a", "Archery/b")
    assert table.class_names == ("0", "1")
    assert table.labels.tolist() == [1, 0]


def test_labels_come_from_the_order_where_the_file_has_none() -> None:
    table = import_ordered(foreign(), order=[("a", 1), ("b", None)], about={})
    assert table.labels.tolist() == [1, -1]


def test_labels_that_contradict_the_order() -> None:
    message = r"1 labels contradict the order list: Archery/b \(0, in the file 1\).*--sort-order"
    with pytest.raises(InputError, match=message):
        import_ordered(foreign(labels=[1, 1]), order=ORDER, about={})


def test_another_number_of_rows() -> None:
    with pytest.raises(InputError, match="2 rows, but the order lists 1; is it the list of"):
        import_ordered(foreign(), order=ORDER[:1], about={})


def test_the_wrong_way_in() -> None:
    with pytest.raises(InputError, match="holds no video names; .*--order LIST"):
        import_scores(foreign(), names=LISTED, labels=[0, 1], about={})
    with pytest.raises(InputError, match="holds video names; --order is for files without"):
        import_ordered(foreign(["a", "b"]), order=ORDER, about={})


def test_scores_that_are_not_numbers_name_file_and_video() -> None:
    broken = foreign(scores=[[1, 2], [np.nan, 4]])
    with pytest.raises(InputError, match=r"^preds.pickle: scores that are NaN .* Archery/b"):
        import_ordered(broken, order=ORDER, about={})


def test_an_order_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("b/v 2.avi 12 1\n\na/HammerThrow\na/Hammering.mp4 7\nclip_01 30 0\n")
    listed = [("b/v 2", 1), ("a/HammerThrow", None), ("a/Hammering", None), ("clip_01", 0)]
    assert read_order(path) == listed
    assert read_order(path, sort=True) == [listed[1], listed[2], listed[0], listed[3]]


def test_an_empty_order_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n")
    with pytest.raises(InputError, match="list.txt: lists no videos"):
        read_order(path)
