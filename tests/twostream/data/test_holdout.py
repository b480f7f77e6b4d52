from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostream.data.holdout import hold_out, stratified_sample
from twostream.data.splits import VideoRecord
from twostream_base.errors import InputError


def records_of(groups: list[tuple[int, str]]) -> list[VideoRecord]:
    return [VideoRecord(f"v{i}", label, group) for i, (label, group) in enumerate(groups)]


def test_whole_groups_of_each_class() -> None:
    records = records_of([(c, f"{c}-{g}") for c in range(3) for g in range(5) for _ in range(4)])
    kept, held = hold_out(records, fraction=0.2, rng=np.random.default_rng(0))
    assert [sum(r.label == c for r in held) for c in range(3)] == [4, 4, 4]
    assert not {r.group for r in kept} & {r.group for r in held}
    assert sorted(r.name for r in kept + held) == sorted(r.name for r in records)


def test_a_class_with_one_group_stays() -> None:
    records = records_of([(0, "a"), (0, "a"), (1, "b"), (1, "c")])
    kept, held = hold_out(records, fraction=0.5, rng=np.random.default_rng(0))
    assert {r.label for r in held} == {1}
    assert {r.label for r in kept} == {0, 1}


def test_no_group_can_go() -> None:
    with pytest.raises(InputError, match="no hold-out is possible.*--select test"):
        hold_out(records_of([(0, "a"), (1, "b")]), fraction=0.5, rng=np.random.default_rng(0))


@given(
    groups=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcdefgh")), min_size=1),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 9),
)
def test_rules_hold_for_any_groups(
    groups: list[tuple[int, str]], fraction: float, seed: int
) -> None:
    """Groups may run over classes, as the sources of surveillance clips do."""
    records = records_of(groups)
    try:
        kept, held = hold_out(records, fraction=fraction, rng=np.random.default_rng(seed))
    except InputError:
        return
    assert held
    assert not {r.group for r in kept} & {r.group for r in held}
    assert {r.label for r in kept} == {r.label for r in records}
    assert sorted(r.name for r in kept + held) == sorted(r.name for r in records)


@given(st.lists(st.integers(0, 5), min_size=1), st.integers(1, 60), st.integers(0, 9))
def test_classes_take_turns(labels: list[int], count: int, seed: int) -> None:
    drawn = stratified_sample(labels, count, rng=np.random.default_rng(seed))
    assert drawn == stratified_sample(labels, count, rng=np.random.default_rng(seed))
    assert drawn == sorted(set(drawn))
    assert len(drawn) == min(count, len(labels))
    taken, there = Counter(labels[index] for index in drawn), Counter(labels)
    most = max(taken.values())
    for label, number in there.items():
        assert taken[label] >= min(number, most - 1)


def test_it_depends_on_the_seed() -> None:
    draws = {
        tuple(stratified_sample([0, 1] * 50, 10, rng=np.random.default_rng(s))) for s in range(5)
    }
    assert len(draws) == 5
