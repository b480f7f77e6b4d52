from __future__ import annotations

from decimal import Decimal

from twostream.logs.epoch_rows import Row, named_columns, split_restarts


def rows(*epochs: int | None, **more: int) -> list[Row]:
    return [
        {"epoch": None if epoch is None else Decimal(epoch), "loss": Decimal(1)}
        | {key: Decimal(value) for key, value in more.items()}
        for epoch in epochs
    ]


def test_an_epoch_that_does_not_grow_begins_another_run() -> None:
    runs = split_restarts(rows(0, 0, 0, 1, 2, 1), source="a", line=3)
    assert [run.epochs() for run in runs] == [[0], [0], [0, 1, 2], [1]]
    assert {(run.source, run.line, run.subset) for run in runs} == {("a", 3, "val")}


def test_rows_without_epochs_are_numbered() -> None:
    assert split_restarts(rows(None, None), source="a", line=1)[0].epochs() == [0, 1]


def test_what_knows_a_rate_is_training() -> None:
    (run,) = split_restarts(rows(0, lr=1), source="a", line=1, videos=7)
    assert (run.subset, run.videos) == ("train", 7)


def test_headings() -> None:
    assert named_columns(["Epoch", "Batch Time", " Loss ", "Prec@1"]) == [
        "epoch", "batch_time", "loss", "top1",
    ]  # fmt: skip
    assert named_columns(["model", "Loss", "Prec@1"]) is None
    assert named_columns(["Epoch", "lr"]) is None
