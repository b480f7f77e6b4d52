"""The log of a real run, written down again: epoch 0 of the UCF101 motion ResNet18 of the field."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from twostream.training.loop import EpochStats
from twostream.training.run_log import (
    CURVE_ROWS,
    best_epoch,
    bottleneck,
    console_line,
    curves,
    exhausted,
    log_row,
    not_learning,
    plot_curves,
    segments_line,
    validation_advice,
    validation_share,
)

TRAINED = EpochStats(
    videos=9537,
    top1=1426,
    top5=3484,
    loss=3.71979,
    batch_time=11.55,
    data_time=10.92,
    total_time=3453.0,
)
TESTED = EpochStats(
    videos=3783,
    top1=389,
    top5=1286,
    loss=45.74055,
    batch_time=8.648,
    data_time=0.0,
    total_time=19432.0,
    segments=(389, 350, 301),
)
FACTS = {"lr": 0.01, "parts": 1}
ROWS = [
    log_row(epoch=0, subset="train", stats=TRAINED, **FACTS),
    log_row(epoch=0, subset="test", stats=TESTED, **FACTS),
]


def test_console_lines_are_the_fields_own() -> None:
    assert [console_line(row, classes=101) for row in ROWS] == [
        "Time [11.550 s per batch] Data [10.920 s per batch] Loss [3.71979] Prec@1 [14.952 %] "
        "Prec@5 [36.531 %] LR 0.01, 2.8 videos/s",
        "Time [8.648 s per video] Loss [45.74055] Prec@1 [10.283 %] Prec@5 [33.994 %], "
        "0.2 videos/s",
    ]


@pytest.mark.parametrize(("classes", "shown"), [(5, False), (6, True)])
def test_the_best_of_five_only_where_there_are_more_classes(classes: int, shown: bool) -> None:
    assert [("Prec@5" in console_line(row, classes=classes)) for row in ROWS] == [shown, shown]


def log_rows(*epochs: tuple[float, int, float | None, int | None]) -> list[dict[str, Any]]:
    """Rows of a run of 10 training and 10 validation videos: losses and right answers of both."""
    rows = []
    for epoch, (loss, top1, val_loss, val_top1) in enumerate(epochs):
        rows.append({"epoch": epoch, "subset": "train", "loss": loss, "top1": top1, "videos": 10})
        if val_loss is not None:
            rows.append(
                {"epoch": epoch, "subset": "val", "loss": val_loss, "top1": val_top1, "videos": 10}
            )
    return rows


def test_curves_in_plain_characters() -> None:
    rows = log_rows((2.0, 1, 2.0, 0), (1.0, 5, None, None), (0.2, 10, 1.1, 6))
    assert plot_curves(rows, select="val", width=80) == [
        "",
        "loss by epoch: t training, v val",
        "  2 |x",
        "    |",
        "    |",
        "    |",
        "    |        v",
        "    |    t",
        "    |",
        "    |",
        "    |",
        "0.2 |        t",
        "    +---------",
        "     0       2",
        "",
        "top-1 by epoch: t training, v val",
        "100 % |        t",
        "      |",
        "      |",
        "      |",
        "      |    t   v",
        "      |",
        "      |",
        "      |",
        "      |t",
        "  0 % |v",
        "      +---------",
        "       0       2",
    ]


@pytest.mark.parametrize(("epochs", "width"), [(1, 80), (3, 12), (500, 80), (40, 200)])
def test_curves_are_as_wide_as_the_terminal_at_most(epochs: int, width: int) -> None:
    rows = log_rows(*((1 / (1 + epoch), epoch % 10, 0.5, 5) for epoch in range(epochs)))
    lines = plot_curves(rows, select="val", width=width)
    pictures = [line for line in lines if line and "by epoch" not in line]
    assert max(map(len, pictures)) <= width
    assert all(line.isascii() for line in lines)
    if epochs == 500:  # epochs that share a column are averaged: no gap is left
        axis = pictures[CURVE_ROWS]
        assert len(axis) == width
        first = axis.index("+") + 1
        for picture in (pictures[:CURVE_ROWS], pictures[CURVE_ROWS + 2 : -2]):
            marks = "".join(line[first:] for line in picture)
            assert marks.count("v") + marks.count("x") == width - first


def test_the_columns_of_the_log() -> None:
    assert " ".join(ROWS[0]) == (
        "epoch subset batch_time data_time total_time loss top1 top5 videos segments lr parts note"
    )
    assert (ROWS[0]["top1"], ROWS[1]["segments"]) == (1426, [389, 350, 301])


def test_curves() -> None:
    assert curves(ROWS[0]) == pytest.approx(
        {
            "loss/train": 3.71979,
            "top1 percent/train": 14.952,
            "top5 percent/train": 36.531,
            "seconds/train": 3453.0,
            "lr": 0.01,
            "waiting for data": 0.9455,
        },
        rel=1e-4,
    )
    assert sorted(curves(ROWS[1])) == [
        "loss/test", "seconds/test", "top1 percent/test", "top5 percent/test",
    ]  # fmt: skip


def test_segments_alone() -> None:
    assert segments_line(ROWS[0]) is None
    assert segments_line(ROWS[1]) == "Segments alone: 389, 350, 301 of 3783 [10.3 9.3 8.0 %]"


def test_the_share_of_validation() -> None:
    """57:33 of training, 5:23:52 of validation: the field's own run spent 85 % on the latter."""
    share = validation_share(ROWS, 0)
    assert share == pytest.approx(0.849, abs=5e-4)
    advice = validation_advice(share)
    assert advice is not None
    assert advice.startswith("validation is 84.9 % of the epoch: try --val-every 2")
    assert validation_advice(0.49) is None
    assert validation_share(ROWS[:1], 0) == 0.0


@pytest.mark.parametrize(
    ("codec", "workers", "computing", "advice"),
    [
        ("jpeg", 4, 0.9, "4 of 16 cores load; give --threads 16"),
        ("jpeg", 16, 0.9, "decoding jpeg on 16 cores bounds it; extract-flow --codec lz4"),
        ("lz4", 16, 0.9, "decoding lz4 on 16 cores bounds it; extract-flow --codec raw"),
        ("raw", 16, 0.9, "decoding raw on 16 cores bounds it; extract-flow with a smaller --short"),
        ("raw", 4, 0.2, "4 workers wait for 80 % of their time, so the disk bounds it"),
        ("lz4", 32, 0.2, "decoding lz4 on 16 cores"),  # they wait for each other
    ],
)
def test_what_bounds_loading(codec: str, workers: int, computing: float, advice: str) -> None:
    facts: Any = {"codec": codec, "workers": workers, "computing": computing, "cores": 16}
    found = bottleneck({"batch_time": 11.55, "data_time": 10.92}, **facts)
    assert found is not None
    assert found.startswith(f"loading is 94.5 % of the step: {advice}")
    for data_time in (1.0, 0.0):
        assert bottleneck({"batch_time": 11.55, "data_time": data_time}, **facts) is None


def test_the_best_epoch() -> None:
    """Most correct videos, the lower loss among equals; or the lowest loss of all."""
    counts, losses = [3, 7, 7, 7], [0.5, 2.0, 1.0, 1.5]
    rows = [
        {"epoch": epoch, "subset": subset, "top1": top1, "loss": loss}
        for epoch, (top1, loss) in enumerate(zip(counts, losses, strict=True))
        for subset in ("train", "val")
    ]
    assert best_epoch(rows, "val", by="top1") == 2
    assert best_epoch(rows, "val", by="loss") == 0


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
    sentence = not_learning(loss, guessing=log(classes), epochs=epochs)
    assert (sentence is not None) == alarmed


def test_the_sentences_name_the_figures() -> None:
    sentence = not_learning(3.76496, guessing=log(51), epochs=60)
    assert sentence is not None
    assert sentence.startswith(
        "not learning: after 60 epochs the training loss, 3.765, is within 5 % of guessing "
        "(3.932); try another --lr"
    )
    above = not_learning(0.979, guessing=log(2), epochs=12)
    assert above is not None
    assert "0.979, is 41 % above that of guessing (0.693)" in above
    assert "within" not in above
    assert exhausted(1e-8, epochs=25, planned=500).startswith("stopped after 25 of 500 epochs")
