from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.exchange.formats.external_scores import ExternalScores
from fusion.exchange.importing import (
    VideoList,
    columns_by_labels,
    columns_by_name,
    import_scores,
    name_rows,
    read_class_names,
    read_order,
)
from fusion.tables.score_file import four_axes
from twostream_base.errors import InputError

PATH = Path("preds.pickle")
LISTED = ["HandstandPushups/v_HandStandPushups_g01_c01", "Archery/v_Archery_g01_c02"]
LIST = VideoList(LISTED, [1, 0], ["A", "H"])


def external(
    names: list[str] | None = None, labels: list[int] | None = None, scores: object = None
) -> ExternalScores:
    array = np.array([[1, 2], [3, 4]] if scores is None else scores, dtype=np.float32)
    return ExternalScores(
        PATH,
        None if names is None else tuple(names),
        four_axes(array),
        None if labels is None else np.array(labels),
    )


def test_videos_take_spelling_order_and_labels_of_the_list() -> None:
    scores = external(["Archery_g01_c02", "HandstandPushups_g01_c01"])
    table = import_scores(scores, listed=LIST, metadata={"stream": "s"})
    assert table.names == tuple(LISTED)
    assert table.scores[:, 0, 0].tolist() == [[3, 4], [1, 2]]
    assert table.labels.tolist() == [1, 0]
    assert table.class_names == ("A", "H")
    assert table.score_type == "logits"
    assert table.metadata == {"stream": "s"}


def test_without_a_list_the_file_speaks_for_itself() -> None:
    table = import_scores(external(["a", "b"], labels=[1, -1]))
    assert table.names == ("a", "b")
    assert table.class_names == ("0", "1")
    assert table.labels.tolist() == [1, -1]
    assert import_scores(external(["a", "b"])).labels.tolist() == [-1, -1]


def test_the_type_of_the_scores() -> None:
    named = external(["a", "b"])
    summed = import_scores(named, metadata={"stream": "s"}, summed_over=19)
    assert summed.score_type == "logit_sum"
    assert summed.metadata == {"stream": "s", "summed_over": 19}
    assert import_scores(named).score_type == "logits"
    assert import_scores(external(["a", "b"], scores=[[0.25, 0.75], [1, 0]])).score_type == "probs"


def test_classes_in_another_order_are_known_by_name() -> None:
    scores = replace(external(LISTED, labels=[0, 1]), class_names=("h", "A"))
    table = import_scores(scores, listed=LIST)
    assert table.scores[:, 0, 0].tolist() == [[2, 1], [4, 3]]
    assert table.labels.tolist() == [1, 0]
    assert table.metadata["class_order"] == "brought into that of the list"
    with pytest.raises(InputError, match=r"its 2 classes are not the 2 of the list: a, b"):
        import_scores(replace(scores, class_names=("b", "h")), listed=LIST)


def test_classes_in_another_order_are_known_by_the_labels() -> None:
    table = import_scores(external(LISTED, labels=[0, 1]), listed=LIST)
    assert table.scores[:, 0, 0].tolist() == [[2, 1], [4, 3]]
    assert table.metadata["class_order"] == "brought into that of the list"
    same = import_scores(external(LISTED, labels=[1, 0]), listed=LIST)
    assert same.scores[:, 0, 0].tolist() == [[1, 2], [3, 4]]
    assert "class_order" not in same.metadata


def test_labels_that_contradict_the_list() -> None:
    message = r"1 labels contradict the list: Archery/v_Archery_g01_c02 \(0, in the file 1\)"
    with pytest.raises(InputError, match=message):
        import_scores(external(LISTED, labels=[1, 1]), listed=LIST)


def test_rows_without_names() -> None:
    with pytest.raises(InputError, match="holds no video names; .*--order LIST"):
        import_scores(external(), listed=LIST)


def test_scores_that_are_not_numbers_name_file_and_video() -> None:
    broken = external(["Archery/a", "Archery/b"], scores=[[1, 2], [np.nan, 4]])
    with pytest.raises(InputError, match=r"^preds.pickle: scores that are NaN .* Archery/b"):
        import_scores(broken)


@pytest.mark.parametrize(
    "names",
    [
        ["Archery_g01_c02", "HandstandPushups_g01_c01"],
        ["v_archery_G01_c02.avi", "any/folder/v_HandstandPushups_g01_c01.MP4"],
        ["Archery/v_Archery_g01_c02", "HandstandPushups/v_HandStandPushups_g01_c01"],
    ],
)
def test_names_in_other_spellings(names: list[str]) -> None:
    table = import_scores(external(names), listed=LIST)
    assert table.scores[:, 0, 0].tolist() == [[3, 4], [1, 2]]


def test_missing_and_extra_videos_are_listed() -> None:
    with pytest.raises(InputError) as caught:
        import_scores(external(["Archery_g01_c02", "Bowling_g01_c01"]), listed=LIST)
    assert (
        "preds.pickle: not the 2 videos of the list: 1 missing "
        "(HandstandPushups/v_HandStandPushups_g01_c01); 1 not listed (Bowling_g01_c01)"
    ) in str(caught.value)


@pytest.mark.parametrize("names", [["Archery_g01_c02", "v_archery_g01_c02"], [LISTED[0]] * 2])
def test_doubled_videos(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"preds.pickle: .*(Archery|HandStand)"):
        import_scores(external(names), listed=LIST)


def test_a_file_and_the_name_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("name,label,a,b\nv1,b,1,2\n")
    table = import_scores(tmp_path / "s.csv", format="csv", metadata={"stream": "s"})
    assert (table.names, table.class_names, table.labels.tolist()) == (("v1",), ("a", "b"), [1])
    with pytest.raises(InputError, match="give its format; known: two-stream-pickle"):
        import_scores(tmp_path / "s.csv")


@given(order=st.permutations(range(6)))
def test_both_ways_find_any_order(order: list[int]) -> None:
    listed = np.arange(6)
    labels = np.argsort(order)  # what we call class order[i] they call i
    names = "abcdef"
    in_file = [names[index] for index in order]
    columns = columns_by_name(in_file, list(names.upper()), path=Path("f"))
    assert [in_file[column] for column in columns] == list(names)
    assert columns_by_labels(labels, listed, classes=6) == columns


@pytest.mark.parametrize(
    ("labels", "listed", "columns"),
    [
        ([0, 2, 1], [0, 1, 2], [0, 2, 1]),
        ([0, 0, 1], [0, 1, 2], None),  # two of ours are one of in_file
        ([0, 1, 2], [0, 0, 1], None),  # two of in_file are one of ours
        ([1, -1], [0, 1], None),  # a class without videos would have to move
        ([-1, 1], [0, 1], [0, 1, 2]),
    ],
)
def test_what_labels_tell(labels: list[int], listed: list[int], columns: list[int] | None) -> None:
    assert columns_by_labels(np.array(labels), np.array(listed), classes=3) == columns


def test_class_names_with_and_without_numbers(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("1 Archery\n2 Bowling\n")
    assert read_class_names(path) == ("Archery", "Bowling")
    path.write_text("3 point shot\nabseiling\n")
    assert read_class_names(path) == ("3 point shot", "abseiling")
    path.write_text("")
    with pytest.raises(InputError, match=r"classes.txt: names no classes"):
        read_class_names(path)


ORDER = [("Archery/a", 1), ("Archery/b", 0)]


def test_rows_get_the_names_of_the_order() -> None:
    named = name_rows(external(labels=[1, 0]), ORDER)
    assert named.names == ("Archery/a", "Archery/b")
    assert named.labels is not None
    assert named.labels.tolist() == [1, 0]


def test_labels_come_from_the_order_where_the_file_has_none() -> None:
    named = name_rows(external(), [("a", 1), ("b", None)])
    assert named.labels is not None
    assert named.labels.tolist() == [1, -1]


def test_labels_that_contradict_the_order() -> None:
    message = r"1 labels contradict the order list: Archery/b \(0, in the file 1\).*--sort-order"
    with pytest.raises(InputError, match=message):
        name_rows(external(labels=[1, 1]), ORDER)


def test_another_number_of_rows() -> None:
    with pytest.raises(InputError, match="2 rows, but the order lists 1; is it the list of"):
        name_rows(external(), ORDER[:1])


def test_rows_that_have_names() -> None:
    with pytest.raises(InputError, match="holds video names; --order is for files without"):
        name_rows(external(["a", "b"]), ORDER)


def test_an_order_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("b/v 2.avi 12 1\n\na/HammerThrow\na/Hammering.mp4 7\nclip_01 30 0\n")
    listed = [("b/v 2", 1), ("a/HammerThrow", None), ("a/Hammering", None), ("clip_01", 0)]
    assert read_order(path) == listed
    assert read_order(path, sort=True) == [listed[1], listed[2], listed[0], listed[3]]


def test_an_order_of_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("run/first.avi\nrun/second.avi\n")
    (tmp_path / "list.txt").write_text("run/2 30 1\nrun/1 40 1\n")
    read = read_order(tmp_path / "list.txt", numbered=tmp_path / "all.txt")
    assert read == [("run/second", 1), ("run/first", 1)]
    (tmp_path / "list.txt").write_text("run/3 30 1\n")
    with pytest.raises(InputError, match=r"all.txt: '3' is not a line of it; it has 2"):
        read_order(tmp_path / "list.txt", numbered=tmp_path / "all.txt")


def test_an_empty_order_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n")
    with pytest.raises(InputError, match="list.txt: lists no videos"):
        read_order(path)
