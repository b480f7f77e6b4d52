from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.tables.join import join
from fusion.tables.score_file import UNKNOWN, ScoreTable, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
RAMP = np.arange(12).reshape(4, 3)


@given(order=st.permutations(range(4)), classes=st.permutations(range(3)))
def test_rows_and_classes_follow_the_first_table(
    make_table: Make, order: list[int], classes: list[int]
) -> None:
    first = make_table(RAMP, labels=[0, 1, 2, -1])
    second = make_table(
        RAMP[order][:, classes],
        names=[first.names[row] for row in order],
        class_names=[first.class_names[c] for c in classes],
        labels=[[*np.argsort(classes), -1][first.labels[row]] for row in order],
    )
    result = join({"a": first, "b": second})
    joined, warnings = result.tables, result.warnings
    moved = "the classes of b are in another order; they are joined by name, in that of a"
    assert warnings == ([] if classes == [0, 1, 2] else [moved])
    for table in joined.values():
        assert table.names == first.names
        assert table.class_names == first.class_names
        np.testing.assert_array_equal(table.scores, first.scores)
        np.testing.assert_array_equal(table.labels, [0, 1, 2, -1])


def test_a_label_that_one_table_knows_is_given_to_all(make_table: Make) -> None:
    joined = join({
        "a": make_table(RAMP, labels=[0, -1, 2, -1]), "b": make_table(RAMP, labels=[0, 1, -1, -1]),
    })  # fmt: skip
    assert [table.labels.tolist() for table in joined.tables.values()] == [[0, 1, 2, -1]] * 2


def test_videos_that_are_not_in_all_are_listed_with_counts(make_table: Make) -> None:
    tables = {
        "spatial": make_table(RAMP, names=["a", "b", "c", "d"]),
        "motion": make_table(RAMP[:3], names=["c", "e", "a"]),
    }
    with pytest.raises(InputError) as caught:
        join(tables)
    assert str(caught.value).startswith(
        "the videos do not join (spatial 4 videos, motion 3 videos): "
        "spatial lacks 1: e; motion lacks 2: b, d;"
    )


def test_doubled_videos_are_listed(make_table: Make) -> None:
    doubled = make_table(RAMP, names=["v0", "v1", "v1", "v2"])
    with pytest.raises(InputError, match="motion lacks 1: v3; motion has doubled 1: v1"):
        join({"spatial": make_table(RAMP), "motion": doubled})


def test_labels_that_contradict_each_other(make_table: Make) -> None:
    other = make_table(RAMP, labels=[0, 1, 0, -1])
    with pytest.raises(InputError, match=r"for 1 videos \(a, b\): v1"):
        join({"a": make_table(RAMP), "b": other})


def test_other_classes(make_table: Make) -> None:
    other = make_table(RAMP, class_names=["c0", "c1", "Bowling"])
    with pytest.raises(InputError, match="motion has other classes.*: Bowling, c2 not in both"):
        join({"spatial": make_table(RAMP), "motion": other})


@pytest.mark.parametrize("fact", ["dataset", "split", "subset"])
def test_scores_of_another_data_set_split_or_subset(make_table: Make, fact: str) -> None:
    tables = {key: make_table(RAMP, **{fact: value}) for key, value in (("a", "1"), ("b", "2"))}
    with pytest.raises(InputError, match=f"{fact} differs: a 1, b 2"):
        join(tables)
    unknown = replace(tables["b"], metadata={})
    join({"a": tables["a"], "b": unknown})


def test_what_may_be_fused_but_should_be_known(make_table: Make) -> None:
    tables = {
        "spatial": make_table(RAMP, protocol="clips19", selected_on="val", subset="test"),
        "motion": make_table(RAMP, protocol="segments3", selected_on="test", subset="test"),
        "idt": make_table(RAMP, listed=60, missing=2),
    }
    assert join(tables).warnings == [
        "the protocols differ: spatial clips19, motion segments3, idt not known",
        "motion: its epoch was selected on these very videos, so its accuracy is optimistic",
        "idt: 2 of 60 listed videos are left out (--allow-missing)",
    ]
    films = replace(make_table(RAMP, selected_on="test"), labels=np.full(len(RAMP), UNKNOWN))
    assert join({"spatial": films}).warnings == []  # new videos, which chose no epoch


def test_nothing_to_join() -> None:
    with pytest.raises(InputError, match="at least one score file"):
        join({})


def test_a_large_join_in_any_order(make_table: Make) -> None:
    names = [f"class/v{row}" for row in range(1000)]
    shuffled = random.Random(0).sample(range(1000), 1000)
    scores = np.random.default_rng(0).normal(size=(1000, 5))
    moved = make_table(scores[shuffled], names=[names[row] for row in shuffled])
    joined = join({"a": make_table(scores, names=names), "b": moved}).tables
    np.testing.assert_array_equal(joined["a"].scores, joined["b"].scores)


def test_files_tables_and_arrays(make_table: Make, tmp_path: Path) -> None:
    table = make_table(RAMP)
    write_scores(tmp_path / "a.safetensors", table)
    inputs = {"path": tmp_path / "a.safetensors", "text": str(tmp_path / "a.safetensors"),
              "table": table}  # fmt: skip
    for joined in join(inputs).tables.values():
        np.testing.assert_array_equal(joined.scores, table.scores)
    arrays = join({"a": RAMP, "b": 2 * np.asarray(RAMP)}, labels=[0, 1, -1, 1])
    assert arrays.labels.tolist() == [0, 1, -1, 1]
    for wrong in ({"inputs": {"a": table, "b": RAMP}}, {"inputs": {"a": table}, "labels": [0] * 4}):
        with pytest.raises(InputError, match="arrays have no video names"):
            join(**wrong)
    with pytest.raises(InputError, match="a 4 videos, b 3 videos"):
        join({"a": RAMP, "b": np.asarray(RAMP)[:3]})
