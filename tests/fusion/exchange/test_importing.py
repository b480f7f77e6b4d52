from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.foreign_scores import ForeignScores, four_axes
from fusion.exchange.importing import VideoList, import_scores
from twostream_base.errors import InputError

PATH = Path("preds.pickle")
LISTED = ["HandstandPushups/v_HandStandPushups_g01_c01", "Archery/v_Archery_g01_c02"]
LIST = VideoList(LISTED, [1, 0], ["A", "H"])


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


def test_videos_take_spelling_order_and_labels_of_the_list() -> None:
    theirs = foreign(["Archery_g01_c02", "HandstandPushups_g01_c01"])
    table = import_scores(theirs, listed=LIST, about={"stream": "s"})
    assert table.names == tuple(LISTED)
    assert table.scores[:, 0, 0].tolist() == [[3, 4], [1, 2]]
    assert table.labels.tolist() == [1, 0]
    assert table.class_names == ("A", "H")
    assert table.kind == "logits"
    assert table.about == {"stream": "s"}


def test_without_a_list_the_file_speaks_for_itself() -> None:
    table = import_scores(foreign(["a", "b"], labels=[1, -1]), about={})
    assert table.names == ("a", "b")
    assert table.class_names == ("0", "1")
    assert table.labels.tolist() == [1, -1]
    assert import_scores(foreign(["a", "b"]), about={}).labels.tolist() == [-1, -1]


def test_the_kind_of_the_scores() -> None:
    named = foreign(["a", "b"])
    summed = import_scores(named, about={"stream": "s"}, summed_over=19)
    assert summed.kind == "logit_sum"
    assert summed.about == {"stream": "s", "summed_over": 19}
    assert import_scores(named, about={}).kind == "logits"
    assert (
        import_scores(foreign(["a", "b"], scores=[[0.25, 0.75], [1, 0]]), about={}).kind == "probs"
    )


def test_classes_in_another_order_are_known_by_name() -> None:
    theirs = replace(foreign(LISTED, labels=[0, 1]), class_names=("h", "A"))
    table = import_scores(theirs, listed=LIST, about={})
    assert table.scores[:, 0, 0].tolist() == [[2, 1], [4, 3]]
    assert table.labels.tolist() == [1, 0]
    assert table.about["class_order"] == "brought into that of the list"
    with pytest.raises(InputError, match=r"its 2 classes are not the 2 of the list: a, b"):
        import_scores(replace(theirs, class_names=("b", "h")), listed=LIST, about={})


def test_classes_in_another_order_are_known_by_the_labels() -> None:
    table = import_scores(foreign(LISTED, labels=[0, 1]), listed=LIST, about={})
    assert table.scores[:, 0, 0].tolist() == [[2, 1], [4, 3]]
    assert table.about["class_order"] == "brought into that of the list"
    same = import_scores(foreign(LISTED, labels=[1, 0]), listed=LIST, about={})
    assert same.scores[:, 0, 0].tolist() == [[1, 2], [3, 4]]
    assert "class_order" not in same.about


def test_labels_that_contradict_the_list() -> None:
    message = r"1 labels contradict the list: Archery/v_Archery_g01_c02 \(0, in the file 1\)"
    with pytest.raises(InputError, match=message):
        import_scores(foreign(LISTED, labels=[1, 1]), listed=LIST, about={})


def test_rows_without_names() -> None:
    with pytest.raises(InputError, match="holds no video names; .*--order LIST"):
        import_scores(foreign(), listed=LIST, about={})


def test_scores_that_are_not_numbers_name_file_and_video() -> None:
    broken = foreign(["Archery/a", "Archery/b"], scores=[[1, 2], [np.nan, 4]])
    with pytest.raises(InputError, match=r"^preds.pickle: scores that are NaN .* Archery/b"):
        import_scores(broken, about={})
