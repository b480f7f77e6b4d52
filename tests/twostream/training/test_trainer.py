"""Whole runs of a tiny network: every option at once, and what happens when a run is disturbed."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from torch import nn

from fusion.tables.score_file import read_scores
from twostream.data.stored import Joined
from twostream.models.checkpoint import NetworkSpec, save_checkpoint
from twostream.training import loop, run
from twostream.training.data import RunData
from twostream.training.trainer import check_same_input
from twostream_base.errors import InputError
from twostream_base.files import sha256_file

from ..conftest import MiniProject

Run = Callable[..., Result]

NETWORK = """
import torch
from torch import nn
from twostream.models.segment_network import SegmentNetwork


def tiny(*, modality, num_classes, weights):
    channels = modality.channels * modality.snippet_length
    layers = [
        nn.Conv2d(channels, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ]
    return SegmentNetwork(nn.Sequential(*layers), nn.Linear(8, num_classes), modality)


def plain(*, modality, num_classes, weights):
    # Without batch statistics: a rate of nothing then changes nothing.
    channels = modality.channels * modality.snippet_length
    layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return SegmentNetwork(nn.Sequential(*layers), nn.Linear(channels, num_classes), modality)


class OnePixel(nn.Sequential):
    # Batch normalisation of a single pixel, and no way with exactly four videos.
    def forward(self, frames):
        if self.training and len(frames) == 4:
            raise RuntimeError("four is too many\\nand a line more")
        return super().forward(frames)


class Unordered(nn.Sequential):
    # As torch does it for gradients on a GPU whose threads add in any order.
    def forward(self, frames):
        if self.training and torch.is_grad_enabled():
            assert torch.are_deterministic_algorithms_enabled()
            raise RuntimeError("max_pool3d_backward does not have a deterministic implementation, "
                               "but you set 'torch.use_deterministic_algorithms(True)'.")
        return super().forward(frames)


def unordered(*, modality, num_classes, weights):
    channels = modality.channels * modality.snippet_length
    layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return SegmentNetwork(Unordered(*layers), nn.Linear(channels, num_classes), modality)


def one_pixel(*, modality, num_classes, weights):
    channels = modality.channels * modality.snippet_length
    layers = [nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(channels), nn.Flatten()]
    return SegmentNetwork(OnePixel(*layers), nn.Linear(channels, num_classes), modality)
"""
QUICK = ["--model", "network_of_trainer_tests:tiny", "--weights", "none", "--input-size", "32",
         "--batch-size", "3", "--val-fraction", "0.3", "--protocol", "segments3", "--epochs", "2",
         "--lr", "0.01", "--device", "cpu", "--precision", "fp32"]  # fmt: skip
EVERYTHING = [
    "--schedule", "cosine", "--warmup", "1", "--nesterov", "--weight-decay", "5e-4",
    "--clip-norm", "1", "--label-smoothing", "0.1", "--dropout", "0.5", "--partial-bn",
    "--mixup", "1", "--cutmix", "1", "--rand-augment", "9",
    "--ema", "0.9", "--accumulate", "auto", "--colour-jitter", "0.4",
]  # fmt: skip
CHOICES = {
    "plain": ["--stream", "motion"],
    "everything": ["--stream", "spatial", *EVERYTHING],
    "adamw": ["--stream", "motion", "--optimizer", "adamw", "--schedule", "steps",
              "--milestones", "1", "--accumulate", "2", "--val-loss", "sum",
              "--precision", "fp16", "--deterministic"],
    "rare": ["--stream", "motion", "--jitter", "32,64", "--freeze-bn", "--class-weights",
             "balanced", "--loss", "focal:1.5", "--train-segment", "2"],
}  # fmt: skip


@pytest.fixture
def train(twostream: Run, mini: MiniProject, tmp_path: Path) -> Run:
    """Run `twostream train` with the tiny network."""
    (tmp_path / "network_of_trainer_tests.py").write_text(NETWORK)

    def run(*options: str, runs: str = "runs", **keywords: bool | int) -> Result:
        return twostream("train", *mini.arguments, *QUICK, "--runs", runs, *options, **keywords)

    return run


def folder_of(runs: str, stream: str) -> Path:
    return Path(runs) / "ucf101-split1" / f"{stream}-network_of_trainer_tests.tiny"


def weights_and_scores(run: Path) -> dict[str, str]:
    files = sorted(run.rglob("*.safetensors"))
    return {path.relative_to(run).as_posix(): sha256_file(path) for path in files}


def rows_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "log.csv").read_text().splitlines()))


def log_of(run: Path) -> list[dict[str, str]]:
    """Rows without times and without what tells of restarts."""
    own = ("run_id", "restarts")
    return [
        {k: v for k, v in row.items() if not k.endswith("_time") and k not in own}
        for row in rows_of(run)
    ]


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


@pytest.mark.parametrize("name", CHOICES)
def test_stopped_after_every_step_it_ends_like_an_undisturbed_run(
    train: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Two epochs of three batches, stopped after each of the six, in one run."""
    options = CHOICES[name]
    train(*options, runs="undisturbed")
    save = run.Run.save_within_epoch

    def save_and_die(self: run.Run, progress: dict[str, Any], *, every: float) -> None:
        save(self, progress, every=every)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "save_within_epoch", save_and_die)
        for _ in range(6):
            with pytest.raises(Killed):
                train(*options, "--save-every", "0", "--threads", "1", runs="stopped", catch=False)
    train(*options, runs="stopped")
    undisturbed, stopped = (folder_of(runs, options[1]) for runs in ("undisturbed", "stopped"))
    assert weights_and_scores(stopped) == weights_and_scores(undisturbed)
    assert log_of(stopped) == log_of(undisturbed)
    marks = [(row["run_id"], row["restarts"]) for row in rows_of(stopped)]
    assert [restarts for _, restarts in marks] == ["3", "3", "6", "6"]
    assert len({run_id for run_id, _ in marks}) == 1
    assert marks[0][0] != rows_of(undisturbed)[0]["run_id"]


STILL = ["--stream", "motion", "--model", "network_of_trainer_tests:plain", "--lr", "1e-12"]


def test_a_schedule_that_cannot_act_ends_the_run(train: Run) -> None:
    """The rate is below its floor from the start: two epochs without a better loss are enough."""
    first = train(*STILL, "--epochs", "9")
    reason = "stopped after 3 of 9 epochs: the validation loss has not fallen for two epochs"
    assert reason in first.output
    run = Path("runs/ucf101-split1/motion-network_of_trainer_tests.plain")
    notes = [(row["epoch"], row["subset"]) for row in rows_of(run) if reason in row["note"]]
    assert notes == [("2", "val")]
    assert "nothing to do" in train(*STILL, "--epochs", "9").output
    assert len(rows_of(run)) == 6


def test_a_run_that_learns_nothing_says_so(train: Run) -> None:
    result = train(*STILL, "--schedule", "cosine", "--epochs", "6", "--val-every", "4")
    assert "not learning: after 5 epochs the training loss" in result.output
    run = Path("runs/ucf101-split1/motion-network_of_trainer_tests.plain")
    rows = rows_of(run)
    assert [row["epoch"] for row in rows if row["note"].startswith("not learning")] == ["4", "5"]
    assert [row["epoch"] for row in rows if row["subset"] == "val"] == ["3", "5"]


def test_validation_on_some_of_the_videos_and_all_in_the_end(train: Run) -> None:
    result = train("--stream", "motion", "--val-videos", "2", "--epochs", "1")
    assert "% of the epoch's time" in result.output
    run = folder_of("runs", "motion")
    assert [row["videos"] for row in rows_of(run) if row["subset"] == "val"] == ["2"]
    assert len(read_scores(run / "scores" / "val.safetensors").names) == 4


def test_other_epochs_end_another_cosine(train: Run) -> None:
    train("--stream", "motion", "--schedule", "cosine", "--epochs", "1")
    again = train("--stream", "motion", "--schedule", "cosine", "--epochs", "2", exit_code=2)
    assert "holds a run with other options (epochs was 1, now 2)" in again.output


def test_a_run_of_another_version_is_told(train: Run) -> None:
    """An option that came later, and one that is gone; `--threads`, which is free, is no matter."""
    train("--stream", "motion", "--epochs", "1")
    config = folder_of("runs", "motion") / "config.toml"
    text = config.read_text()
    config.write_text(re.sub(r"threads = \d+\n", "", text))
    train("--stream", "motion", "--epochs", "1")
    config.write_text(text.replace("sync-bn", "together"))
    again = train("--stream", "motion", "--epochs", "1", exit_code=2)
    assert "a run of another version of twostream, whose options differ in" in again.output
    assert "differ in sync-bn, together;" in again.output


def test_options_that_contradict_each_other(train: Run) -> None:
    mistakes = {
        ("--schedule", "steps"): "--schedule steps needs --milestones",
        ("--milestones", "1"): "--milestones need --schedule steps",
        ("--train-segment", "4"): "--train-segment 4: there are --segments 3",
        ("--warmup", "2"): "--warmup 2 must be less than --epochs 2",
        ("--nesterov", "--optimizer", "adamw"): "--nesterov needs --optimizer sgd",
        ("--sync-bn",): "--sync-bn needs GPUs, but --device is cpu",
        ("--colour-jitter", "0.4"): "--colour-jitter is for --stream spatial",
        ("--freeze-backbone", "--model", "resnet18"): "--freeze-backbone needs --weights",
    }
    for options, message in mistakes.items():
        assert message in train("--stream", "motion", *options, exit_code=2).output


def test_a_frozen_backbone_stays_what_it_was(train: Run) -> None:
    weights = {}
    for epochs in ("1", "2"):
        train("--stream", "motion", "--freeze-backbone", "--epochs", epochs)
        weights[epochs] = load_file(folder_of("runs", "motion") / "last" / "weights.safetensors")
    changed = {key for key, value in weights["1"].items() if not value.equal(weights["2"][key])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_batch_that_is_too_large_is_cut_in_parts(
    train: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for one video at once: batches of three go in 1, 2, then 3 parts, for good."""
    gradient, tried = loop.accumulate_gradient, []

    def narrow(network: Any, clips: Any, target: Any, parts: int, **options: Any) -> Any:
        tried.append(parts)
        if len(clips) > parts:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient(network, clips, target, parts, **options)

    monkeypatch.setattr(loop, "accumulate_gradient", narrow)
    result = train("--stream", "motion", "--accumulate", "auto", "--save-every", "0")
    assert "a batch now goes through the network in 3 parts" in result.output
    assert tried == [1, 2, 3, 3, 3, 3, 3, 3]
    assert {row["parts"] for row in rows_of(folder_of("runs", "motion"))} == {"3"}
    config = tomllib.loads((folder_of("runs", "motion") / "config.toml").read_text())
    assert (config["batch-size"], config["accumulate"]) == (3, "auto")
    train("--stream", "motion", "--accumulate", "3", "--precision", "fp32", runs="from the start")
    assert weights_and_scores(folder_of("runs", "motion")) == weights_and_scores(
        folder_of("from the start", "motion")
    )


EXTRACTION = {
    "method": {"name": "dis", "options": {}}, "quantiser": {"bound": 20.0}, "short_side": None,
    "codec": "jpeg", "quality": 95,
}  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "changes", "told"),
    [
        ({"bound": 20.0}, {"quantiser": {"bound": 7.0}}, "quantiser was {'bound': 20.0}, now"),
        ({"bound": 20.0}, {"short_side": 64}, "short_side was None, now 64"),
        ({}, {"short_side": 64}, "short_side was None, now 64"),
        ({}, {"drop_repeated": True}, "drop_repeated was False, now True"),
        ({}, {"quantiser": {"bound": 7.0}, "method": None}, ""),  # a network of frames alone
        ({"bound": 20.0}, {"codec": "lz4", "quality": None, "recoded_from": "jpeg"}, ""),
    ],
)
def test_a_store_that_was_made_anew_between_two_sessions(
    tmp_path: Path, flow: dict[str, Any], changes: dict[str, Any], told: str
) -> None:
    spec = NetworkSpec(
        model="tiny", model_options={}, stream="motion", clip_length=10, frame_interval=1,
        resize=(), class_names=("a", "b"), num_segments=3, consensus="mean",
        consensus_options={}, input_size=32, epoch=0, selected_on="val", flow=flow,
        extraction=EXTRACTION,
    )  # fmt: skip
    save_checkpoint(tmp_path / "last", nn.Linear(1, 1), spec, {})
    joined = Joined([], {}, EXTRACTION | changes)
    data = RunData(("a", "b"), joined, joined, joined)
    if told:
        with pytest.raises(InputError, match=re.escape(told) + ".*--restart"):
            check_same_input(tmp_path, data)
    else:
        check_same_input(tmp_path, data)
    with pytest.raises(InputError, match="trained on 2 classes, the lists have 3; .* in c"):
        check_same_input(tmp_path, replace(data, class_names=("a", "b", "c")))


ONE_PIXEL = ["--stream", "spatial", "--model", "network_of_trainer_tests:one_pixel", "--segments",
             "1", "--epochs", "1"]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["--batch-size", "1"], ["--batch-size 1 ", "more than 1 value per channel"]),
        (["--batch-size", "3", "--accumulate", "3"], ["--batch-size 3 in 3 parts", "--partial-bn"]),
        (["--batch-size", "3", "--accumulate", "2"], ["--batch-size 3 in 2 parts"]),
        (["--batch-size", "4"], ["4 videos at a time", "(four is too many)"]),
        (["--batch-size", "8", "--accumulate", "2"], ["4 videos at a time"]),
    ],
)
def test_a_network_that_cannot_take_the_batches_is_refused_at_the_start(
    train: Run, options: list[str], facts: list[str]
) -> None:
    output = train(*ONE_PIXEL, *options, exit_code=2).output
    assert output.count("\n") == 1
    assert all(fact in output for fact in facts), output
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--batch-size", "6", "--accumulate", "3"], "3"),  # the last two videos go in one part
        (["--batch-size", "1", "--segments", "3"], "1"),
        (["--batch-size", "1", "--freeze-bn"], "1"),
    ],
)
def test_batches_of_few_videos_that_can_be_computed_are(
    train: Run, options: list[str], parts: str
) -> None:
    train(*ONE_PIXEL, *options)
    (run_folder,) = Path("runs/ucf101-split1").iterdir()
    assert {row["parts"] for row in rows_of(run_folder)} == {parts}
    refused = train(*ONE_PIXEL, "--batch-size", "1", "--restart", exit_code=2).output
    assert "--restart removes" not in refused
    assert len(rows_of(run_folder)) == 2, "what cannot begin removes nothing"


def test_parts_never_get_smaller_than_the_network_can_take(
    train: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for two videos at once; batches of five and three go in parts of two and three."""
    gradient, cut = loop.accumulate_gradient, []

    def narrow(network: Any, clips: Any, target: Any, parts: int, **options: Any) -> Any:
        cut.append([len(part) for part in clips.chunk(parts)])
        if max(cut[-1]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient(network, clips, target, parts, **options)

    monkeypatch.setattr(loop, "accumulate_gradient", narrow)
    train(*ONE_PIXEL, "--batch-size", "5", "--accumulate", "auto")
    assert cut == [[5], [3, 2], [3]]


RECIPES = {
    ("lab-notes-spatial", "spatial"): {
        "consensus": "sum", "crop": "random", "select": "test", "val-loss": "sum", "lr": 0.0005,
    },
    ("lab-notes-motion", "motion"): {
        "num-segments": 1, "crop": "whole", "flip": False, "val-protocol": "clips19", "lr": 0.01,
    },
    ("strong", "spatial"): {"dropout": 0.8, "colour-jitter": 0.4, "ema": 0.999, "partial-bn": True},
    ("strong", "motion"): {"dropout": 0.7, "colour-jitter": 0.0, "clip-norm": 20.0, "lr": 0.01},
}  # fmt: skip


@pytest.mark.parametrize(("recipe", "stream"), RECIPES)
def test_each_recipe_trains(twostream: Run, train: Run, mini: MiniProject, recipe: str,
                            stream: str) -> None:  # fmt: skip
    """Two steps; what is given on the command line wins."""
    given = [*QUICK[:6], "--batch-size", "6", "--epochs", "1", "--warmup", "0", "--device", "cpu"]
    twostream(
        "train", "--recipe", recipe, "--stream", stream, *mini.arguments, "--runs", "runs", *given
    )
    run = folder_of("runs", stream)
    config = tomllib.loads((run / "config.toml").read_text())
    assert config.items() >= {**RECIPES[recipe, stream], "epochs": 1, "batch-size": 6}.items()
    assert (run / "scores" / "test.safetensors").is_file()


def test_a_layer_without_a_deterministic_gradient_is_named(train: Run) -> None:
    options = ("--stream", "motion", "--model", "network_of_trainer_tests:unordered")
    result = train(*options, "--deterministic", exit_code=2)
    for fact in ("--deterministic", "network_of_trainer_tests:unordered", "max_pool3d_backward",
                 "--device cpu"):  # fmt: skip
        assert fact in result.stderr
    train("--stream", "motion", "--epochs", "1")
    assert not torch.are_deterministic_algorithms_enabled()  # nor is it left on for the next run


def test_a_compiled_network_has_the_weights_that_are_trained(
    train: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that leaves all as it is: the same weights, log and scores."""
    calls = []

    def pass_through(function: Callable[..., Any]) -> Callable[..., Any]:
        calls.append(function)
        return function

    train("--stream", "motion", "--ema", "0.9", runs="plain")
    monkeypatch.setattr(torch, "compile", pass_through)
    result = train("--stream", "motion", "--ema", "0.9", "--compile", runs="compiled")
    assert "in fp32, compiled" in result.output
    assert len(calls) == 2  # the network, and its moving average
    plain, compiled = (folder_of(runs, "motion") for runs in ("plain", "compiled"))
    assert weights_and_scores(compiled) == weights_and_scores(plain)
    assert log_of(compiled) == log_of(plain)
