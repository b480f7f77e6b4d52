from __future__ import annotations

from twostream.logs.console_text import read_console

TEXT = """==> (Training video, Validation video):( 9537 3783 )
==> Epoch:[0/500][training stage]
100%|####| 299/299 [57:33<00:00, 11.55s/it]
Time [11.55] Data [10.92]
Loss [3.71979] Prec@1 [14.9523] Prec@5 [36.5314]
LR 0.01

==> Epoch:[0/500][validation stage]
Time [8.648]
Loss [45.74055] Prec@1 [10.283] Prec@5 [33.994]
==> Epoch:[1/500][training stage]
| 0 | LR 5 |
and later ```Loss [1.0] Prec@1 [99.0]``` is quoted
Loss [2.0] Prec@1 [50.0]
==> Epoch:[2/500][training stage]
killed
==> (Training video, Validation video):( 70 30 )
==> Epoch:[0/500][training stage]
Loss [1.5] Prec@1 [10.0] Prec@5 [20.0]
LR 5e-09
"""


def test_epochs_of_both_subsets() -> None:
    runs = read_console(TEXT, source="log.txt")
    assert [(run.line, run.subset, run.epochs(), run.videos) for run in runs] == [
        (2, "train", [0, 1], 9537), (2, "val", [0], 3783), (18, "train", [0], 70),
    ]  # fmt: skip
    assert {key: float(value or 0) for key, value in runs[0].rows[0].items()} == {
        "epoch": 0, "batch_time": 11.55, "data_time": 10.92, "loss": 3.71979, "top1": 14.9523,
        "top5": 36.5314, "lr": 0.01,
    }  # fmt: skip
    assert runs[0].rows[1]["top1"] == 99  # the first that is said counts
    assert float(runs[2].rows[0]["lr"] or 0) == 5e-9


def test_other_text() -> None:
    assert read_console("nothing\nLoss [1] here", source="a") == []
