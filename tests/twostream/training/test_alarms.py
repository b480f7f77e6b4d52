"""Sentences about real runs, from their logged losses."""

from __future__ import annotations

import pytest

from twostream.training.run_log import exhausted, not_learning


@pytest.mark.parametrize(
    ("loss", "classes", "epochs", "alarmed"),
    [
        (3.76496, 51, 60, True),  # HMDB51, mean of three segments: nothing learnt in 60 epochs
        (3.75472, 51, 6, True),  # max of three segments: 4.5 % below guessing
        (3.67652, 51, 7, False),  # the same run an epoch later: 6.5 % below, it has begun to learn
        (4.04733, 51, 1, False),  # the first epoch of a run that learnt well
        (2.5373, 101, 5, False),
        (4.7, 101, 9, True),  # worse than guessing
    ],
)
def test_not_learning(loss: float, classes: int, epochs: int, alarmed: bool) -> None:
    sentence = not_learning(loss, num_classes=classes, epochs=epochs)
    assert (sentence is not None) == alarmed


def test_the_sentences_name_the_figures() -> None:
    sentence = not_learning(3.76496, num_classes=51, epochs=60)
    assert sentence is not None
    assert sentence.startswith(
        "not learning: after 60 epochs the training loss, 3.765, is within 5 % of guessing "
        "(ln 51 = 3.932); try another --lr"
    )
    assert exhausted(1e-8, epochs=25, planned=500).startswith("stopped after 25 of 500 epochs")
