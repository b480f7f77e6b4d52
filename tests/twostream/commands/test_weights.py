"""`twostream weights`, and --weights of the other commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from fusion.tables.score_file import read_scores

from ..conftest import CLASSES, MiniProject
from ..models.test_reference_layouts import LAYOUTS, fill

Run = Callable[..., Result]
SMALL = ["--device", "cpu", "--precision", "fp32"]


def write_checkpoint(layout: str, file: str, *, classes: int) -> None:
    """A checkpoint of another tool, in its names, for that number of classes."""
    named = [
        (name, [classes, *shape[1:]] if "cls_head." in name or ".new_fc." in name else shape)
        for name, shape in LAYOUTS[layout]["names"]
    ]
    torch.save({"meta": {}, "state_dict": fill(named)}, file)


def test_lists_and_details(twostream: Run) -> None:
    lines = twostream("weights", "flow").stdout.splitlines()
    assert "8 checkpoints, 8 of optical flow" in lines[-1]
    details = twostream("weights", "tsm-r50-1x1x8-k400").stdout
    for fact in ("tsm-resnet50", "73.18 %", "Apache-2.0", "-64d69186.pth", "sha256:64d69186"):
        assert fact in details
    result = json.loads(twostream("weights", "ucf101", "--json").stdout)
    assert all("ucf101" in row["name"] for row in result["weights"])
    assert "no published checkpoint" in twostream("weights", "x3d", exit_code=2).output


@pytest.mark.parametrize(("classes", "fate"), [(2, "is kept"), (7, "is replaced")])
def test_training_takes_network_and_clip_of_a_checkpoint(
    twostream: Run, mini: MiniProject, classes: int, fate: str
) -> None:
    file = "tsm_mobilenetv2_dense_1x1x8.pth"
    write_checkpoint("mmaction2 TSM MobileNetV2", file, classes=classes)
    options = ["--weights", file, "--segments", "1", "--runs", "runs", "--dry-run", *SMALL]
    result = twostream("train", "--stream", "spatial", *mini.arguments, *options)
    assert f"its classifier of {classes} classes {fate}" in result.stderr
    for fact in ("tsm-mobilenet_v2", "8 frames"):
        assert fact in result.output
    options.remove("--dry-run")
    wrong = [*mini.arguments, *options, "--model", "resnet18"]
    result = twostream("train", "--stream", "spatial", *wrong, exit_code=2)
    assert "give --model tsm-mobilenet_v2" in result.output


def test_a_run_goes_on_without_the_file_that_it_began_with(
    twostream: Run, mini: MiniProject
) -> None:
    """A TSM of flow, whose stacks of five come with it."""
    file = Path("TSM_kinetics_Flow_resnet18_shift8_blockres_avg_segment8_e50.pth")
    write_checkpoint("TSM flow", str(file), classes=2)
    options = ["--weights", str(file), "--runs", "runs", "--input-size", "32", "--batch-size", "4",
               "--protocol", "segments:1", "--val-fraction", "0.3", *SMALL]  # fmt: skip
    train = ["train", "--stream", "motion", "--segments", "1", *mini.arguments, *options]
    for wrong, cure in (
        (["--flow-stack", "4"], "sees 5 flow pairs at each time step, not 4; give --flow-stack 5"),
        (["--clip-length", "8"], "8: flow pairs come in stacks of 5"),
        (["--model", "resnet18", "--flow-stack", "5"], "--flow-stack 5 is for --stream motion and"),
    ):
        assert cure in twostream(*train, *wrong, exit_code=2).output
    plan = twostream(*train, "--dry-run").stdout
    for fact in ("40 flow pairs, in stacks of 5, spread over the video", "4 x 1 x 40 x 2 x 32 x"):
        assert fact in plan
    twostream(*train, "--epochs", "1")
    file.unlink()
    assert "resumed after 1 of 2 epochs" in twostream(*train, "--epochs", "2").stdout
    assert "nothing to do" in twostream(*train, "--epochs", "2").stdout
    assert "no such file" in twostream(*train, "--name", "other", exit_code=2).output
    assert "no such file" in twostream(*train, "--restart", exit_code=2).output


def test_a_checkpoint_scores_and_predicts(twostream: Run, mini: MiniProject) -> None:
    file = "tsn_r18_1x1x3.pth"
    write_checkpoint("mmaction2 TSN", file, classes=2)
    options = ["--weights", file, "--protocol", "segments:3", *SMALL]
    missing = twostream("score", *mini.arguments, *options, exit_code=2)
    assert "give the file by --out" in missing.output
    twostream("score", *mini.arguments, *options, "--out", "s.safetensors")
    table = read_scores(Path("s.safetensors"))
    assert table.class_names == CLASSES
    assert (table.scores.shape[:2], table.metadata["model"]) == ((4, 3), "resnet18")

    video = next((mini.root / "videos").rglob("*.avi"))
    predicted = twostream("predict", str(video), *options, "--json")
    (row,) = json.loads(predicted.stdout)["videos"]
    assert {best["class"] for best in row["top"]} == {"0", "1"}
    Path("names.txt").write_text("1 left\n2 right\n")
    hint = "2 classes, numbered (--classes FILE names them)"
    assert hint in twostream("predict", str(video), *options).stderr
    quick = ["--weights", file, *SMALL]  # by the network's own efficient protocol
    named = twostream("predict", str(video), *quick, "--classes", "names.txt")
    assert "left" in named.stdout
    assert "--classes" not in named.stderr
    assert "segments3" in named.stdout
    twice = twostream("predict", str(video), *options, "--weights", file, exit_code=2)
    assert "two networks of the spatial stream" in twice.output
    both = twostream("score", str(mini.root), *mini.arguments, *options, exit_code=2)
    assert "not both" in both.output
