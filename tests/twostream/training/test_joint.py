"""A joint network from two trained runs: trained, stopped, resumed, scored, asked about a video."""

from __future__ import annotations

import csv
import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import nn

from fusion.tables.score_file import read_head, read_scores
from twostream.data.training_videos import read_videos
from twostream.models.checkpoint import NetworkSpec, load_network, read_spec, save_checkpoint
from twostream.prediction.trained_network import load
from twostream.training.trainer import compare_classes
from twostream.training.two_runs import find_starts
from twostream_base.errors import InputError
from twostream_base.files import sha256_file, write_toml

from ..conftest import MiniProject

Run = Callable[..., Result]

NETWORK = """
import torch
from torch import nn
from twostream.models.segment_network import SegmentNetwork


class Block(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(out)
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 3, stride=2, padding=1))

    def forward(self, x):
        return torch.relu(self.bn1(self.conv1(x)) + self.downsample(x))


class Stages(nn.Module):
    def __init__(self, channels):
        super().__init__()
        widths = [channels, 8, 8, 8, 8]
        for stage in range(4):
            self.add_module(f"layer{stage + 1}", nn.Sequential(Block(*widths[stage:stage + 2])))

    def forward(self, x):
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean(dim=(2, 3))


def stages(*, modality, num_classes, weights):
    network = SegmentNetwork(
        Stages(modality.channels * modality.network_length), nn.Linear(8, num_classes), modality
    )
    if weights != "none":
        from safetensors.torch import load_file

        tensors = load_file(weights)
        layers = {k.removeprefix("backbone."): v for k, v in tensors.items() if "backbone." in k}
        network.backbone.load_state_dict(layers)
    return network


others = stages
"""
QUICK = [
    "--model", "joint_network:stages", "--segments", "1", "--input-size", "32", "--batch-size",
    "4", "--val-fraction", "0.3", "--protocol", "segments:1", "--val-protocol", "segments:1",
    "--device", "cpu", "--precision", "fp32",
]  # fmt: skip


@pytest.fixture
def train(twostream: Run, mini: MiniProject, tmp_path: Path) -> Run:
    """Run `twostream train` with small networks; both streams are trained already."""
    (tmp_path / "joint_network.py").write_text(NETWORK)

    def run(*options: str, runs: str = "runs", exit_code: int = 0) -> Result:
        arguments = [*mini.arguments, *QUICK, "--runs", runs, *options]
        return twostream("train", *arguments, exit_code=exit_code)

    for stream in ("spatial", "motion"):
        run("--stream", stream, "--weights", "none", "--epochs", "1")
    return run


FOLDER = Path("ucf101-split1")
FROM = [str("runs" / FOLDER / f"{stream}-joint_network.stages") for stream in ("spatial", "motion")]
JOINT = ["--stream", "joint", "--from", *FROM, "--fuse-at", "layer3", "--fuse", "conv"]


def test_a_joint_run(train: Run, twostream: Run, mini: MiniProject, tmp_path: Path) -> None:
    train(*JOINT, "--epochs", "2", runs="undisturbed")
    train(*JOINT, "--epochs", "1")
    for path in FROM:  # its own checkpoint is all that it needs now
        Path(path).rename(f"{path}-elsewhere")
    gone = train(*JOINT, "--epochs", "1", "--name", "new", exit_code=2).output
    assert f"--from {FROM[0]}" in gone
    train(*JOINT, "--epochs", "2")
    for path in FROM:
        Path(f"{path}-elsewhere").rename(path)
    run = "runs" / FOLDER / "joint-joint_network.stages-layer3-conv"
    again = "undisturbed" / FOLDER / run.name
    for file in ("last/weights.safetensors", "scores/test.safetensors", "videos.csv.gz"):
        assert sha256_file(run / file) == sha256_file(again / file)

    spec = read_spec(run / "best")
    assert (spec.stream, spec.clip_length, spec.stack) == ("joint", 10, 10)
    assert spec.model_options == {"fuse_at": "layer3", "fuse": "conv", "keep_both": False}
    assert spec.flow["method"]["name"] == "dis"
    learnt = [video.name for video in read_videos(run / "videos.csv.gz") if video.part == "initial"]
    of_spatial = read_videos(Path(FROM[0]) / "videos.csv.gz")
    assert learnt == [video.name for video in of_spatial if video.part == "train"]
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["start-from"] == [f"../{Path(path).name}" for path in FROM]

    table = read_scores(run / "scores" / "test.safetensors")
    assert table.metadata["stream"] == "joint"
    assert table.scores.shape == (4, 1, 1, 2)
    scored = twostream("score", str(run), *mini.arguments, "--protocol", "segments:2", "--device",
                       "cpu", "--trust-plugins")  # fmt: skip
    assert "top-1" in scored.output
    about = read_head(run / "scores" / "test-segments2.safetensors")["about"]
    assert about["protocol_card"]["snippet_length"] == about["protocol_card"]["stack"] == 10
    assert "joint" in twostream("fuse", *FROM, str(run)).stdout  # one more voter

    name = table.names[0]
    video = str(mini.root / "videos" / f"{name}.avi")
    asked = ["--joint", str(run), "--protocol", "segments:1", "--precision", "fp32", "--json"]
    predicted = twostream("predict", video, *asked, "--device", "cpu", "--trust-plugins")
    (row,) = json.loads(predicted.stdout)["videos"]
    top = {of["class"]: of["probability"] for of in row["top"]}
    expected = torch.softmax(torch.from_numpy(table.scores[0, 0, 0]).double(), dim=0).tolist()
    assert [top[of] for of in table.class_names] == pytest.approx(expected, abs=1e-5)
    loaded = load(run, protocol="segments:1", device="cpu", trust_plugins=True)
    with pytest.raises(InputError, match="frames and flow of the same moments"):
        loaded.transform(np.zeros((4, 64, 64, 3), np.uint8))

    train_list = ["--subset", "train", "--device", "cpu", "--trust-plugins"]
    refused = twostream("score", str(run), *mini.arguments, *train_list, exit_code=2)
    assert "--on-training-videos" in refused.output
    untrusted = twostream("score", str(run), *mini.arguments, "--device", "cpu", exit_code=2)
    assert "joint_network:stages" in untrusted.output


def test_a_head_on_frozen_streams_with_their_own_losses(train: Run) -> None:
    """What is frozen stays; the late mean of both, that it begins with, is told by the log."""
    options = ["--stream", "joint", "--from", *FROM, "--fuse", "gated", "--freeze-backbone",
               "--auxiliary-loss", "0.5", "--epochs", "1"]  # fmt: skip
    train(*options)
    run = "runs" / FOLDER / "joint-joint_network.stages-features-gated"
    _, network = load_network(run / "best", trust_plugins=True)
    for stream, path in zip(("spatial", "motion"), FROM, strict=True):
        _, alone = load_network(Path(path) / "best", trust_plugins=True)
        tower = getattr(network.backbone, stream).state_dict()
        assert all(torch.equal(tower[k], v) for k, v in alone.backbone.state_dict().items())
    assert network.classifier.gate.weight.any()
    rows = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
    assert [row["subset"] for row in rows] == ["train", "val"]

    cached = [*options[:-1], "2", "--cache-features", "1"]
    train(*cached, "--name", "cached")
    train(*cached[:-3], "1", *cached[-2:], "--name", "stopped")
    first, second = (run.with_name(f"{run.name}-{name}") for name in ("cached", "stopped"))
    _, once = load_network(second / "last", trust_plugins=True)
    for name, weight in network.state_dict().items():  # of the same samples in the first epoch
        assert torch.allclose(once.state_dict()[name], weight, atol=1e-6), name
    train(*cached, "--name", "stopped")
    weights = [sha256_file(folder / "last" / "weights.safetensors") for folder in (first, second)]
    assert weights[0] == weights[1]


TAUGHT = ["--stream", "spatial", "--weights", "none", "--teacher", FROM[1]]


def test_a_run_with_a_teacher(train: Run, twostream: Run, mini: MiniProject) -> None:
    """It resumes to the same bits, is scored without flow, and knows who taught it."""
    train(*TAUGHT, "--epochs", "2", runs="undisturbed")
    train(*TAUGHT, "--epochs", "1")
    train(*TAUGHT, "--epochs", "2")
    run = "runs" / FOLDER / "distilled-joint_network.stages-mars"
    for file in ("last/weights.safetensors", "scores/test.safetensors", "videos.csv.gz"):
        assert sha256_file(run / file) == sha256_file("undisturbed" / FOLDER / run.name / file)
    weights = Path(FROM[1]) / "best" / "weights.safetensors"
    spec = read_spec(run / "best")
    facts = {"run": Path(FROM[1]).name, "weights": sha256_file(weights), "distill": "mars"}
    assert (spec.stream, spec.clip_length, spec.flow) == ("spatial", 1, {})
    assert facts.items() <= spec.teacher.items()
    about = read_head(run / "scores" / "test.safetensors")["about"]
    assert (about["stream"], about["teacher"]) == ("distilled", spec.teacher)
    learnt = [video for video in read_videos(run / "videos.csv.gz") if video.part == "initial"]
    assert learnt  # what the teacher has seen counts
    alone = sha256_file(Path(FROM[0]) / "last" / "weights.safetensors")
    assert sha256_file(run / "last" / "weights.safetensors") != alone
    assert "distilled" in twostream("fuse", *FROM, str(run)).stdout

    train("--stream", "motion", "--weights", "none", "--epochs", "2")  # it goes on learning
    changed = train(*TAUGHT, "--epochs", "3", exit_code=2).output
    assert all(fact in changed for fact in (FROM[1], facts["weights"][:12], "--restart")), changed


SPEC = NetworkSpec(
    model="i3d-resnet18", model_options={"last_stride": 2}, stream="spatial", clip_length=8,
    frame_interval=2, resize=(), class_names=("a", "b"), num_segments=3, consensus="mean",
    consensus_options={}, input_size=32, epoch=0, selected_on="val", flow={},
)  # fmt: skip


def start(folder: Path, **values: Any) -> str:
    """A run folder that says these things of its network; no weights to speak of."""
    save_checkpoint(folder / "best", nn.Linear(1, 1), replace(SPEC, **values), {})
    return str(folder)


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        ([], ["spatial.last_stride=2", "motion.last_stride=2"]),
        (["last_stride=1"], []),
        (["motion.last_stride=1"], ["spatial.last_stride=2"]),
        (["spatial.last_stride=2", "motion.last_stride=2"], []),  # its own config.toml
    ],
)
def test_typed_options_override_those_of_the_runs(
    tmp_path: Path, typed: list[str], options: list[str]
) -> None:
    paths = [start(tmp_path / stream, stream=stream) for stream in ("spatial", "motion")]
    assert find_starts(paths, model_option=typed)["model_option"] == tuple(options)


@pytest.mark.parametrize(
    ("names", "consensus", "facts"),
    [
        ("ab", "mean", []),
        ("abc", "mean", ["not kept", "3 classes", "2"]),
        ("ac", "mean", ["other classes: c"]),
        ("ba", "attention", ["not kept", "--consensus attention"]),
    ],
)
def test_the_classes_of_the_runs_are_compared_with_the_lists(
    tmp_path: Path, names: str, consensus: str, facts: list[str]
) -> None:
    file = Path(start(tmp_path / "run", class_names=tuple(names))) / "best" / "weights.safetensors"
    told: list[str] = []
    options: Any = SimpleNamespace(initial=(file,), consensus=consensus)
    data: Any = SimpleNamespace(class_names=("a", "b"))
    compare_classes(options, data, tell=told.append)
    assert len(told) == bool(facts)
    assert all(fact in told[0] for fact in facts)
    data.class_names = tuple(reversed(names))
    if consensus == "mean":
        with pytest.raises(InputError, match=f"{file} .* number 1 was a, .* {names[-1]}"):
            compare_classes(options, data, tell=told.append)


def test_flow_pairs_beside_a_picture_are_neighbours(tmp_path: Path) -> None:
    of_pictures = {"model": "resnet18", "model_options": {}}
    paths = [
        start(tmp_path / "rgb", **of_pictures, clip_length=1),
        start(tmp_path / "flow", **of_pictures, stream="motion", clip_length=10),
    ]
    with pytest.raises(InputError, match=rf"{paths[1]} .* 2 apart.*--frame-interval 1"):
        find_starts(paths)


def test_a_new_joint_run_takes_nothing_from_runs_of_other_networks(
    twostream: Run, mini: MiniProject
) -> None:
    of_pictures = {"model": "resnet18", "model_options": {}}
    paths = [
        start(Path("rgb"), **of_pictures, clip_length=1, frame_interval=1),
        start(Path("flow"), **of_pictures, stream="motion", clip_length=10, frame_interval=1),
    ]
    data = [*mini.arguments, "--runs", "runs", "--stream", "joint", "--from", *paths]

    def resolved(*words: str) -> list[Any]:
        output = twostream("train", *data, *words, "--dry-run", "--json").stdout
        options = json.loads(output)["options"]
        return [options[key] for key in ("model", "clip_length", "input_size", "resize")]

    def begun(model: str, *, clip_length: int) -> None:
        """As if a run of this network had been trained, of other clips than those of `paths`."""
        run = Path("runs", FOLDER, f"joint-{model}-features-sum")
        (run / "last").mkdir(parents=True)
        (run / "last" / "weights.safetensors").touch()
        config = {
            "start-from": [os.path.relpath(path, run) for path in paths], "stream": "joint",
            "name": "", "weights": "none", "fuse-at": "features", "fuse": "sum",
            "keep-both": False, "model": model, "model-option": [], "flow-stack": 1,
            "clip-length": clip_length, "frame-interval": 1, "input-size": 112, "resize": [90, 120],
        }  # fmt: skip
        write_toml(run / "config.toml", config, title="A run.")

    of_starts = ["resnet18", 10, 32, []]
    assert resolved() == of_starts
    begun("resnet18", clip_length=5)
    assert resolved() == ["resnet18", 5, 112, [90, 120]]
    assert resolved("--model", "resnet18") == ["resnet18", 5, 112, [90, 120]]
    assert resolved("--model", "resnet34") == ["resnet34", *of_starts[1:]]
    begun("resnet34", clip_length=7)
    assert resolved("--model", "resnet34") == ["resnet34", 7, 112, [90, 120]]
    assert resolved("--model", "resnet18") == ["resnet18", 5, 112, [90, 120]]
    assert resolved() == of_starts  # two could be meant: their start decides


def test_another_plug_in_for_the_motion_stream(train: Run) -> None:
    motion = ["--stream", "motion", "--weights", "none", "--model", "joint_network:others"]
    train(*motion, "--epochs", "1")
    runs = [FROM[0], FROM[1].replace("stages", "others")]
    joint = ["--stream", "joint", "--from", *runs, "--epochs", "1"]
    assert "--trust-plugins" in train(*joint, exit_code=2).output
    train(*joint, "--trust-plugins")
    spec = read_spec("runs" / FOLDER / "joint-joint_network.stages-features-sum" / "best")
    assert spec.model_options["motion_model"] == "joint_network:others"


def test_options_of_the_project_for_other_runs(twostream: Run, mini: MiniProject) -> None:
    options = '[train]\nfuse = "conv"\ntemperature = 4.0\ndistill = "logits"\n'
    Path("twostream.toml").write_text(options)
    spatial = ["--stream", "spatial", "--model", "resnet18", "--runs", "runs", "--dry-run"]
    output = twostream("train", *mini.arguments, *QUICK, *spatial).output
    assert "twostream.toml: fuse has no effect without --stream joint\n" in output
    assert "twostream.toml: distill, temperature have no effect without --teacher\n" in output


def test_what_does_not_go_together(train: Run, tmp_path: Path) -> None:
    joint = ["--stream", "joint", "--from"]
    file = tmp_path / "by-hand.toml"
    file.write_text("temperature = 4.0\n")
    for options, facts in (
        ([*joint, *FROM[::-1]], ["motion network", "spatial stream"]),
        (["--stream", "spatial", "--fuse", "conv"], ["--fuse", "--stream joint"]),
        ([*JOINT, "--weights", "none"], ["--from", "--weights"]),
        ([*JOINT, "--freeze-backbone"], ["--freeze-backbone", "layer3", "features"]),
        ([*JOINT, "--auxiliary-loss", "1"], ["--auxiliary-loss", "--keep-both"]),
        ([*joint, *FROM, "--keep-both"], ["--keep-both", "layer4"]),
        ([*joint, *FROM, "--frame-interval", "2"], ["frame interval of 2", "clips"]),
        ([*joint, *FROM, "--cache-features", "1"], ["--cache-features", "--freeze-backbone"]),
        (["--stream", "motion", *TAUGHT[2:]], ["--teacher", "--stream spatial"]),
        (["--stream", "spatial", "--distill", "mers"], ["--distill", "--teacher"]),
        (["--stream", "spatial", "--config", str(file)], [file.name, "--temperature", "--teacher"]),
        ([*TAUGHT, "--distill-weight", "0"], ["--distill-weight 0", "--teacher"]),
        ([*TAUGHT, "--temperature", "4"], ["--temperature", "--distill logits", "mars"]),
        ([*TAUGHT, "--compile"], ["--teacher", "--compile"]),
    ):
        output = train(*options, exit_code=2).output
        assert all(fact in output for fact in facts), output
