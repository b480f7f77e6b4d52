from __future__ import annotations

from collections import defaultdict
from itertools import groupby, product
from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from twostream.sequence.decoding import LanguageModel, beam_search, greedy, log_probability


def random_log_probs(steps: int, classes: int, *, seed: int, sharp: float = 2.0) -> np.ndarray:
    logits = sharp * np.random.default_rng(seed).normal(size=(steps, classes))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def merge(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in groupby(path) if label != 0)


def exhaustive(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """Probability of every label sequence: the sum over all paths."""
    probabilities: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        probabilities[merge(path)] += exp(sum(log_probs[step, c] for step, c in enumerate(path)))
    return probabilities


CASES = {"steps": st.integers(1, 5), "classes": st.integers(2, 4), "seed": st.integers(0, 10**6)}


@settings(max_examples=40)
@given(**CASES)
def test_beam_search_is_exhaustive_search(steps: int, classes: int, seed: int) -> None:
    log_probs = random_log_probs(steps, classes, seed=seed)
    hypotheses = beam_search(log_probs, beam=10_000)
    expected = exhaustive(log_probs)
    assert {hypothesis.labels for hypothesis in hypotheses} == set(expected)
    for hypothesis in hypotheses:
        assert hypothesis.score == pytest.approx(log(expected[hypothesis.labels]), abs=1e-9)
    scores = [hypothesis.score for hypothesis in hypotheses]
    assert scores == sorted(scores, reverse=True)


@settings(max_examples=20)
@given(**CASES)
def test_with_a_language_model(steps: int, classes: int, seed: int) -> None:
    log_probs = random_log_probs(steps, classes, seed=seed)
    rng = np.random.default_rng(seed)
    sentences = [rng.integers(1, classes, size=rng.integers(0, 5)).tolist() for _ in range(4)]
    language = LanguageModel(sentences, labels=classes - 1)
    best = beam_search(log_probs, beam=10_000, language=language, weight=0.7, bonus=0.3)[0]
    expected = {
        labels: log(p) + 0.7 * language.score(labels, ended=True) + 0.3 * len(labels)
        for labels, p in exhaustive(log_probs).items()
    }
    assert best.score == pytest.approx(max(expected.values()), abs=1e-9)
    assert best.score == pytest.approx(expected[best.labels], abs=1e-9)


@settings(max_examples=40)
@given(beam=st.integers(1, 3), sharp=st.floats(0.1, 5), seed=st.integers(0, 10**6))
def test_never_worse_than_greedy(beam: int, sharp: float, seed: int) -> None:
    log_probs = random_log_probs(12, 5, seed=seed, sharp=sharp)
    best = beam_search(log_probs, beam=beam, classes=2)[0]
    assert best.score >= log_probability(log_probs, greedy(log_probs))
    assert best.score == log_probability(log_probs, best.labels)


def test_greedy() -> None:
    path = [0, 1, 1, 0, 1, 2, 2, 0, 0, 3]
    assert greedy(np.log(np.eye(4)[path] + 0.01)) == (1, 1, 2, 3)
    assert greedy(np.log(np.eye(4)[[0, 0]] + 0.01)) == ()


def test_best_path_is_not_the_best_labelling() -> None:
    """Graves' example: two steps, blank 0.6, label 0.4; the label has 0.64 over its three paths."""
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy(log_probs) == ()
    best, second = beam_search(log_probs)
    assert (best.labels, second.labels) == ((1,), ())
    assert (best.score, second.score) == pytest.approx((log(0.64), log(0.36)))


def test_log_probability_is_torchs_ctc_loss() -> None:
    log_probs = random_log_probs(20, 6, seed=3)
    for labels in [(1,), (2, 2, 5), (1, 2, 3, 4, 5), (3, 3, 3, 3)]:
        loss = F.ctc_loss(
            torch.from_numpy(log_probs)[:, None], torch.tensor([labels]), [20], [len(labels)],
            reduction="sum",
        )  # fmt: skip
        assert log_probability(log_probs, labels) == pytest.approx(-loss.item())
    assert log_probability(log_probs, ()) == pytest.approx(log_probs[:, 0].sum())
    assert log_probability(log_probs[:3], (1, 1, 2)) == -np.inf


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
