from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twostream.data.holdout import stratified


@given(st.lists(st.integers(0, 5), min_size=1), st.integers(1, 60), st.integers(0, 9))
def test_classes_take_turns(labels: list[int], count: int, seed: int) -> None:
    drawn = stratified(labels, count, rng=np.random.default_rng(seed))
    assert drawn == stratified(labels, count, rng=np.random.default_rng(seed))
    assert drawn == sorted(set(drawn))
    assert len(drawn) == min(count, len(labels))
    taken, there = Counter(labels[index] for index in drawn), Counter(labels)
    most = max(taken.values())
    for label, number in there.items():
        assert taken[label] >= min(number, most - 1)


def test_it_depends_on_the_seed() -> None:
    draws = {tuple(stratified([0, 1] * 50, 10, rng=np.random.default_rng(s))) for s in range(5)}
    assert len(draws) == 5
