"""The examples of docs/python.md run, one after the other, and give what their comments say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fusion

from ..wheel_job import write_inputs
from .conftest import MiniProject

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_examples_are_short() -> None:
    lengths = [len([line for line in code.splitlines() if line.strip()]) for code in EXAMPLES]
    assert len(lengths) == 11
    assert max(lengths) <= 6


def test_examples_run(
    twostream: Callable[..., Any],
    mini: MiniProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(mini.root / "videos/RedHorizontal/v_RedHorizontal_g01_c01.avi", "clip.avi")
    for folder in ("videos", "annotations"):
        Path(folder).symlink_to(mini.root / folder)
    shutil.copytree(mini.root / "store", "store")
    options = ["--runs", "runs", "--epochs", "1", "--weights", "none", "--input-size", "32",
               "--val-fraction", "0.3", "--val-protocol", "segments:1", "--protocol", "segments:1",
               "--device", "cpu", "--threads", "2"]  # fmt: skip
    twostream("train", "--stream", "motion", *mini.arguments, *options)
    write_inputs()
    scope: dict[str, Any] = {}
    for code in EXAMPLES:
        exec(code, scope)
    assert scope["frames"].shape == (24, 96, 96, 3)
    assert scope["picture"].shape == (96, 96, 3)
    assert (scope["rgb"].shape, scope["stored"].shape) == ((3, 96, 96, 3), (10, 96, 96, 2))
    assert scope["clips"].shape == (4, 3, 10, 2, 64, 64)
    assert sum(scope["network"].predict("clip.avi").values()) == pytest.approx(1)
    assert scope["features"].shape == (3, 512)
    assert scope["logits"].shape == (1, 3, 2)
    assert scope["probabilities"].shape == (60, 3)
    assert scope["model"].held_out_["top1"]["of"] == 60
    assert 0 <= scope["result"]["pairs"][0]["p"] <= 1
    (event,) = scope["events"]
    assert (event[:3], round(event.score, 3)) == ((1.5, 3.5, "jump"), 0.756)
    frame_accuracy = fusion.event_metrics(scope["judged"])["frame accuracy"]
    assert frame_accuracy == {"percent": 80.0, "interval": None}
    assert [row["label"] for row in scope["table"]["rows"]] == [
        "spatial", "motion", "spatial + motion, mean", "spatial + motion, variance"
    ]  # fmt: skip
