from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

from fusion.tables.score_file import read_scores
from twostream.training import loop

from ..conftest import MiniProject

Run = Callable[..., Result]


def test_out_of_memory_names_what_to_change(
    twostream: Run, mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(loop, "train_one_epoch", full)
    options = ["--weights", "none", "--batch-size", "64", "--device", "cpu", "--runs", "runs",
               "--model", "shufflenet_v2_x0_5"]  # fmt: skip
    result = twostream("train", "--stream", "spatial", *mini.arguments, *options, exit_code=1)
    assert "cpu is out of memory with 64 videos of 3 segments at 224 pixels" in result.output
    assert "--accumulate 2 takes half as many at once" in result.output


def test_it_says_what_is_in_no_list_and_what_nothing_is_learnt_of(
    twostream: Run, mini: MiniProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lists = shutil.copytree(mini.root / "annotations", tmp_path / "lists")
    rows = (lists / "trainlist01.txt").read_text().splitlines(keepends=True)
    (lists / "trainlist01.txt").write_text("".join(row for row in rows if row.startswith("Blue")))
    monkeypatch.setattr(loop, "train_one_epoch", lambda *_, **__: 1 / 0)
    options = ["--weights", "none", "--model", "shufflenet_v2_x0_5", "--device", "cpu"]
    options += ["--input-size", "32", "--annotations", str(lists)]
    result = twostream("train", "--stream", "spatial", *mini.arguments, *options, "--runs", "runs",
                       exit_code=1)  # fmt: skip
    assert "6 stored videos are in no list of split 1" in result.stderr
    assert "RedHorizontal/v_RedHorizontal_g03_c01" in result.stderr
    assert "Nothing is learnt of 1 classes that have test videos: RedHorizontal (2)" in (
        result.stderr
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--stream", "spatial", "--model", "tsm-mobilenet_v2", "--clip-length", "4",
         "--segments", "1"],
        ["--stream", "motion", "--model", "tsm-resnet18", "--clip-length", "4",
         "--segments", "1", "--model-option", "place=in-place", "--rand-augment", "9",
         "--mixup", "1"],
        ["--stream", "spatial", "--model", "mask-nonlocal-i3d-resnet18", "--clip-length", "4",
         "--segments", "1", "--resize", "64x80", "--crop", "random"],
        ["--stream", "difference", "--segments", "1", "--cutmix", "1", "--colour-jitter", "0.4"],
    ],
    ids=lambda options: "-".join(o for o in options if not o.startswith("--")),
)  # fmt: skip
def test_networks_of_clips_train_score_and_are_scored_again(
    twostream: Run, mini: MiniProject, options: list[str]
) -> None:
    small = ["--weights", "none", "--input-size", "32", "--batch-size", "4", "--epochs", "1",
             "--val-fraction", "0.3", "--protocol", "segments:1", "--val-protocol", "segments:1",
             "--runs", "runs", "--device", "cpu", "--precision", "fp32"]  # fmt: skip
    twostream("train", *options, *mini.arguments, *small)
    (run,) = Path("runs/ucf101-split1").iterdir()
    first = read_scores(run / "scores" / "test.safetensors")
    assert first.scores.shape == (len(first.names), 1, 1, len(first.class_names))
    assert np.isfinite(first.scores).all()
    twostream("score", str(run), *mini.arguments, "--protocol", "segments:1", "--device", "cpu",
              "--precision", "fp32", "--out", "again.safetensors")  # fmt: skip
    again = read_scores(Path("again.safetensors"))
    assert np.allclose(first.scores, again.scores, atol=1e-4)
    assert first.metadata["protocol_card"] == again.metadata["protocol_card"]


# Small ones of families that no other test trains; `benchmarks/every_model.py` trains all.
SMALL = {
    "mc3_18": "motion",
    "mobilenet_v3_small": "motion",
    "mnasnet0_5": "spatial",
    "efficientnet_b0": "motion",
    "regnet_y_400mf": "spatial",
    "densenet121": "motion",
}


@pytest.mark.parametrize("model", SMALL)
def test_networks_of_each_family_train_and_score(
    twostream: Run, mini: MiniProject, model: str
) -> None:
    # Batch normalisation of few values in untrained networks makes enormous gradients.
    small = ["--weights", "none", "--segments", "1", "--input-size", "64", "--batch-size", "4",
             "--clip-norm", "1", "--epochs", "1", "--val-fraction", "0.3", "--protocol",
             "segments:1", "--val-protocol", "segments:1", "--runs", "runs", "--device",
             "cpu"]  # fmt: skip
    if model == "mc3_18":
        small += ["--clip-length", "2", "--input-size", "32"]
    twostream("train", "--stream", SMALL[model], "--model", model, *mini.arguments, *small)
    (path,) = Path("runs/ucf101-split1").glob("*/scores/test.safetensors")
    twostream("scores", "check", str(path))
    assert np.isfinite(read_scores(path).scores).all()


def test_it_ends_with_the_accuracy_and_the_next_command(twostream: Run, mini: MiniProject) -> None:
    options = ["--weights", "none", "--input-size", "48", "--batch-size", "4", "--epochs", "1",
               "--val-fraction", "0.3", "--protocol", "segments:1", "--val-protocol", "segments:1",
               "--segments", "1", "--model", "shufflenet_v2_x0_5", "--runs", "runs",
               "--device", "cpu"]  # fmt: skip
    first = twostream("train", "--stream", "spatial", *options, *mini.arguments)
    (run,) = Path("runs/ucf101-split1").iterdir()
    for subset in ("val", "test"):
        table = read_scores(run / "scores" / f"{subset}.safetensors")
        correct = int((table.scores[:, 0, 0].argmax(axis=1) == table.labels).sum())
        (line,) = [line for line in first.stdout.splitlines() if line.split()[0] == subset]
        assert f"top-1 {correct}/{len(table.names)} " in line
        assert re.search(
            r"\]  (by \d+ whole groups|of independent videos|as if .*give groups to `init`)", line
        )
    assert first.stderr.splitlines()[-1] == "next: twostream train --stream motion"
    second = twostream("train", "--stream", "motion", *options, *mini.arguments, "--json")
    summary = json.loads(second.stdout)["accuracy"]
    assert summary["test"]["top1"]["of"] == 4
    again = twostream("train", "--stream", "motion", *options, *mini.arguments)
    assert again.stderr.splitlines()[-1] == "next: twostream fuse"
