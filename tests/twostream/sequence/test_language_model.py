from __future__ import annotations

from math import log

import numpy as np
import pytest

from twostream.sequence.decoding import LanguageModel

SENTENCES = [[1, 2], [1, 3], [1]]


def test_probabilities_sum_to_one() -> None:
    language = LanguageModel(SENTENCES, labels=4)
    assert np.exp(language.log_probs).sum(axis=1) == pytest.approx(np.ones(5))


def test_values() -> None:
    """Of 8 + 5 unigram counts, 1 has 3 + 1; after 1 came 2, 3 and the end: three types in three."""
    language = LanguageModel(SENTENCES, labels=4)
    probs = np.exp(language.log_probs)
    assert probs[0, 1] == pytest.approx((3 + 1 * 4 / 13) / (3 + 1))
    assert probs[1, 2] == pytest.approx((1 + 3 * 2 / 13) / (3 + 3))
    assert probs[1, 4] == pytest.approx((0 + 3 * 1 / 13) / (3 + 3))
    assert probs[4] == pytest.approx(np.array([4, 4, 2, 2, 1]) / 13)


def test_score() -> None:
    language = LanguageModel(SENTENCES, labels=4)
    probs = np.exp(language.log_probs)
    assert language.score((1, 2), ended=False) == pytest.approx(log(probs[0, 1] * probs[1, 2]))
    assert language.score((1, 2), ended=True) == pytest.approx(
        log(probs[0, 1] * probs[1, 2] * probs[2, 0])
    )
    assert language.score((), ended=True) == pytest.approx(log(probs[0, 0]))
