"""Whole runs of a tiny network: every option at once, and what happens when a run is disturbed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from twostream.files import sha256_file
from twostream.training import trainer

from ..conftest import MiniProject

Run = Callable[..., Result]

NETWORK = """
from torch import nn
from twostream.models.segment_network import SegmentNetwork


def tiny(*, modality, num_classes, weights):
    channels = modality.channels * modality.snippet_length
    layers = [
        nn.Conv2d(channels, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    ]
    return SegmentNetwork(nn.Sequential(*layers), modality)
"""
QUICK = ["--model", "network_of_trainer_tests:tiny", "--weights", "none", "--input-size", "32",
         "--batch-size", "3", "--val-fraction", "0.3", "--protocol", "segments3", "--epochs", "2",
         "--lr", "0.01", "--device", "cpu", "--precision", "fp32"]  # fmt: skip
EVERYTHING = [
    "--schedule", "cosine", "--warmup", "1", "--nesterov", "--weight-decay", "5e-4",
    "--clip-norm", "1", "--label-smoothing", "0.1", "--dropout", "0.5", "--partial-bn",
    "--ema", "0.9", "--accumulate", "auto",
]  # fmt: skip
CHOICES = {
    "plain": ["--stream", "motion"],
    "everything": ["--stream", "spatial", *EVERYTHING],
    "adamw": ["--stream", "motion", "--optimizer", "adamw", "--schedule", "steps",
              "--milestones", "1", "--accumulate", "2", "--val-loss", "sum"],
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


def log_of(run: Path) -> list[dict[str, str]]:
    """Rows without times and without what tells of restarts."""
    rows = csv.DictReader((run / "log.csv").read_text().splitlines())
    own = ("run_id", "restarts")
    return [
        {k: v for k, v in row.items() if not k.endswith("_time") and k not in own} for row in rows
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
    save = trainer.Trainer._save_now_and_then

    def save_and_die(self: trainer.Trainer, epoch: int) -> None:
        save(self, epoch)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save_now_and_then", save_and_die)
        for _ in range(6):
            with pytest.raises(Killed):
                train(*options, "--save-every", "0", "--threads", "1", runs="stopped", catch=False)
    train(*options, runs="stopped")
    undisturbed, stopped = (folder_of(runs, options[1]) for runs in ("undisturbed", "stopped"))
    assert weights_and_scores(stopped) == weights_and_scores(undisturbed)
    assert log_of(stopped) == log_of(undisturbed)
