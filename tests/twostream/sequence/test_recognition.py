from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion.step import Step
from fusion.strategies import STRATEGIES
from twostream.errors import InputError
from twostream.sequence.recognition import (
    decode_all,
    decode_greedily,
    fuse_steps,
    written_csv,
    written_ctm,
)
from twostream.sequence.score_file import SequenceScores


def scores(seed: int, lengths: tuple[int, ...] = (4, 2)) -> SequenceScores:
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=(n, 3)) for n in lengths]
    rows = [one - np.log(np.exp(one).sum(1, keepdims=True)) for one in logits]
    return SequenceScores(("a", "b"), ("A", "B"), rows, [["A"], ["B"]], {})


@pytest.mark.parametrize("combine", ["logits", "probs"])
def test_mean_of_each_time_step(combine: str) -> None:
    one, two = scores(1), scores(2)
    fused = fuse_steps({"s": one, "m": two}, Step("mean", STRATEGIES["mean"]), combine=combine)
    for name, first, second in zip("ab", one.log_probs, two.log_probs, strict=True):
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
    one = scores(1)
    turned = replace(one, names=one.names[::-1], log_probs=one.log_probs[::-1])
    fused = fuse_steps({"s": one, "m": turned}, Step("mean", STRATEGIES["mean"]), combine="logits")
    assert fused["a"] == pytest.approx(one.log_probs[0])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(scores(2), names=("a", "c")), "s and m score different videos: b, c"),
        (replace(scores(2), vocabulary=("A", "C")), "different vocabularies"),
        (scores(2, (4, 3)), r"different time steps: b \(2 and 3\)"),
    ],
)
def test_streams_that_do_not_fit(other: SequenceScores, message: str) -> None:
    step = Step("mean", STRATEGIES["mean"])
    with pytest.raises(InputError, match=message):
        fuse_steps({"s": scores(1), "m": other}, step, combine="logits")


def test_no_time_step_is_no_gloss() -> None:
    found = decode_all({"a": np.zeros((0, 3)), "b": np.log([[0.2, 0.8]])}, decode_greedily)
    assert [hypotheses[0].labels for hypotheses in found.values()] == [(), (1,)]


def test_written() -> None:
    sentences = {"a": ["A", "B"], "b": []}
    assert written_csv(sentences) == "name|glosses\na|A B\nb|\n"
    assert written_ctm(sentences).splitlines() == [
        "a 1 0.00 1.00 A", "a 1 1.00 1.00 B", "b 1 0.00 1.00 [EMPTY]",
    ]  # fmt: skip
