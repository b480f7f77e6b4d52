from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from fusion.tables.score_file import read_scores
from twostream.models.checkpoint import read_spec
from twostream.models.temporal.classifier import TemporalClassifier
from twostream_base.errors import InputError

from ...conftest import MiniProject


def test_segments_are_seen_in_order() -> None:
    torch.manual_seed(0)
    module = TemporalClassifier("dynamic_framing", feature_size=8, num_classes=3, k=3)
    features = torch.randn(2, 5, 8)
    logits = module(features)
    assert logits.shape == (2, 5, 3)
    assert not torch.allclose(logits.mean(1), module(features.flip(1)).mean(1))


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="local_attention.*{'k': 2}"):
        TemporalClassifier("local_attention", feature_size=8, num_classes=3, k=2)
    with pytest.raises(InputError, match="3 heads.*8 features"):
        TemporalClassifier("local_attention", feature_size=8, num_classes=3, heads=3)


def test_trains_scores_and_fuses(twostream: Callable[..., Result], mini: MiniProject) -> None:
    twostream(
        "train", *mini.arguments, "--runs", "runs", "--stream", "motion", "--weights", "none",
        "--consensus", "dynamic_framing", "--consensus-option", "k=3", "--input-size", "32",
        "--batch-size", "4", "--val-fraction", "0.3", "--protocol", "segments3", "--epochs", "1",
        "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    run = Path("runs/ucf101-split1/motion-resnet18")
    spec = read_spec(run / "best")
    assert (spec.consensus, spec.consensus_options) == ("dynamic_framing", {"k": 3})
    twostream("fuse", str(run / "scores/test.safetensors"), "--out", "fused")
    table = read_scores(run / "scores/test.safetensors")
    assert table.scores.shape == (4, 3, 1, 2)
    fused = read_scores(Path("fused")).scores[:, 0, 0]
    assert np.allclose(fused, table.scores.mean(axis=(1, 2)), atol=1e-5)
