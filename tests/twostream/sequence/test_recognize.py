from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion.combining.step import Step
from fusion.combining.strategies import STRATEGIES
from twostream.sequence.recognize import decode_all, fuse_steps, greedy_decoder, vote_on_sentences
from twostream.sequence.score_file import SequenceScores
from twostream_base.errors import InputError


def scores(seed: int, lengths: tuple[int, ...] = (4, 2)) -> SequenceScores:
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=(n, 3)) for n in lengths]
    rows = [x - np.log(np.exp(x).sum(1, keepdims=True)) for x in logits]
    return SequenceScores(("a", "b"), ("A", "B"), rows, [["A"], ["B"]], {})


@pytest.mark.parametrize("combine", ["logits", "probs"])
def test_mean_of_each_time_step(combine: str) -> None:
    spatial, motion = scores(1), scores(2)
    fused = fuse_steps(
        {"s": spatial, "m": motion}, Step("mean", STRATEGIES["mean"]), combine=combine
    )
    for name, first, second in zip("ab", spatial.log_probs, motion.log_probs, strict=True):
        if combine == "probs":
            expected = np.log((np.exp(first) + np.exp(second)) / 2)
        else:
            product = np.exp((first + second) / 2)
            expected = np.log(product / product.sum(1, keepdims=True))
        assert fused[name] == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "weighted"])
def test_every_strategy_gives_log_probabilities(name: str) -> None:
    fused = fuse_steps(
        {"s": scores(1), "m": scores(2)}, Step(name, STRATEGIES[name]), combine="logits"
    )
    for rows in fused.values():
        assert np.exp(rows).sum(axis=1) == pytest.approx(np.ones(len(rows)))


def test_videos_are_joined_by_name() -> None:
    table = scores(1)
    reversed_ = replace(table, names=table.names[::-1], log_probs=table.log_probs[::-1])
    fused = fuse_steps(
        {"s": table, "m": reversed_}, Step("mean", STRATEGIES["mean"]), combine="logits"
    )
    assert fused["a"] == pytest.approx(table.log_probs[0])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(scores(2), names=("a", "c")), "s and m .*: b, c"),
        (replace(scores(2), vocabulary=("A", "C")), "s and m .*vocabular"),
        (scores(2, (4, 3)), r"s and m .*: b \(2 and 3\)"),
    ],
)
def test_streams_that_do_not_match(other: SequenceScores, message: str) -> None:
    step = Step("mean", STRATEGIES["mean"])
    with pytest.raises(InputError, match=message):
        fuse_steps({"s": scores(1), "m": other}, step, combine="logits")


def test_votes_of_streams_with_different_time_steps() -> None:
    """Each stream is sure of its sentence; the one of weight 3 wins where they differ."""

    def sure(*classes: int) -> SequenceScores:
        rows = np.log(np.full((len(classes), 3), 0.05) + 0.85 * np.eye(3)[list(classes)])
        return SequenceScores(("a",), ("A", "B"), [rows.astype(np.float32)], [["A"]], {})

    streams = {"spatial": sure(1, 0, 2), "motion": sure(1, 1, 0, 1, 0)}
    expected = [([3.0, 1.0], (1, 2)), ([1.0, 3.0], (1, 1)), ([0.0, 1.0], (1, 1))]
    for weights, labels in expected:
        step = Step("weighted", STRATEGIES["weighted"], {"weights": weights})
        assert vote_on_sentences(streams, step, greedy_decoder)["a"][0].labels == labels
    for wrong in ([-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0]):
        step = Step("weighted", STRATEGIES["weighted"], {"weights": wrong})
        with pytest.raises(InputError, match="0 or more, finite, and not all 0"):
            vote_on_sentences(streams, step, greedy_decoder)
    with pytest.raises(InputError, match="--strategy max has no part in it: mean and weighted"):
        vote_on_sentences(streams, Step("max", STRATEGIES["max"]), greedy_decoder)
    with pytest.raises(InputError, match="3 and 5.*--combine rover"):
        fuse_steps(streams, Step("mean", STRATEGIES["mean"]), combine="logits")


def test_a_video_without_time_steps_has_no_gloss() -> None:
    decoded = decode_all({"a": np.zeros((0, 3)), "b": np.log([[0.2, 0.8]])}, greedy_decoder)
    assert [hypotheses[0].labels for hypotheses in decoded.values()] == [(), (1,)]
