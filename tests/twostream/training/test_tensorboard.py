from __future__ import annotations

import sys
from pathlib import Path

import pytest

from twostream.errors import InputError
from twostream.training.tensorboard import curves, open_tensorboard

TRAIN = {
    "epoch": 3, "subset": "train", "loss": 0.5, "top1": 3, "top5": 4, "videos": 4, "lr": 0.01,
    "batch_time": 2.0, "data_time": 0.5, "total_time": 10.0,
}  # fmt: skip
VAL = {**TRAIN, "subset": "val", "top1": 1, "data_time": 0.0}


def test_curves() -> None:
    assert curves(TRAIN) == {
        "loss/train": 0.5, "top1 percent/train": 75.0, "top5 percent/train": 100.0,
        "seconds/train": 10.0, "lr": 0.01, "waiting for data": 0.25,
    }  # fmt: skip
    assert curves(VAL) == {
        "loss/val": 0.5, "top1 percent/val": 25.0, "top5 percent/val": 100.0, "seconds/val": 10.0,
    }  # fmt: skip


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="--tensorboard .* pip install tensorboard"):
        open_tensorboard(tmp_path)


@pytest.mark.filterwarnings("ignore")  # of the package itself
def test_a_run_taken_up_again_has_each_row_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for rows in ([TRAIN], [TRAIN, VAL]):
        open_tensorboard(tmp_path / "curves")(rows)
    events = EventAccumulator(str(tmp_path / "curves"))
    events.Reload()
    (point,) = events.Scalars("loss/train")
    assert (point.step, point.value) == (3, 0.5)
    (point,) = events.Scalars("top1 percent/val")
    assert (point.step, point.value) == (3, 25.0)
