"""A consensus that learns, through the real commands: trained, resumed, scored, fused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from fusion.tables.score_file import read_scores
from twostream.data.dataset import ViewWriter, views_shape
from twostream.data.protocols import PROTOCOLS
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo, join_store
from twostream.models.checkpoint import load_weights, network_from_spec, read_spec
from twostream.models.learned_consensus import TemporalClassifier
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError

from ..conftest import MiniProject

QUICK = ["--stream", "motion", "--model", "shufflenet_v2_x0_5", "--weights", "none",
         "--input-size", "32", "--batch-size", "4", "--val-fraction", "0.3", "--protocol",
         "dense10x3", "--device", "cpu", "--precision", "fp32", "--epochs", "1"]  # fmt: skip
RUN = Path("runs/ucf101-split1/motion-shufflenet_v2_x0_5")


def trained_network(run: Path) -> SegmentNetwork:
    network = network_from_spec(read_spec(run / "best"))
    load_weights(run / "best", network)
    return network.eval()


def own_prediction(network: SegmentNetwork, video: StoredVideo) -> np.ndarray:
    """Mean over the crops of what the network says of all segments of a crop together."""
    modality, protocol = MODALITIES["motion"], PROTOCOLS["dense10x3"]
    write = ViewWriter([video], modality, protocol).write
    clips = np.empty((10, *views_shape(modality, protocol, size=32)), dtype=np.uint8)
    for number, snippet in enumerate(clips):
        write((0, number), snippet)
    crops = torch.from_numpy(clips).transpose(0, 1)
    with torch.inference_mode():
        return network(crops).mean(dim=(0, 1)).numpy()


def test_mean_fusion_of_the_score_file_is_the_networks_own_prediction(
    twostream: Callable[..., Result], mini: MiniProject
) -> None:
    options = [*mini.arguments, "--runs", "runs", "--consensus", "attention", *QUICK]
    twostream("train", *options, "--lr", "0.01")
    assert "nothing to do" in twostream("train", *options, "--lr", "0.01").output
    network = trained_network(RUN)
    assert (network.classifier.score.weight != 0).any()

    twostream("fuse", str(RUN / "scores" / "test.safetensors"), "--out", "fused", "--json")
    fused, table = read_scores(Path("fused")), read_scores(RUN / "scores" / "test.safetensors")
    assert table.metadata["consensus"] == {"name": "attention", "options": {}}
    records = [VideoRecord(name, 0, group=name) for name in table.names]
    joined = join_store(records, mini.root / "store", modality=MODALITIES["motion"])
    for video, scores in zip(joined.videos, fused.scores[:, 0, 0], strict=True):
        assert scores == pytest.approx(own_prediction(network, video), rel=1e-4, abs=1e-4)


def test_options_and_each_segments_own_accuracy(
    twostream: Callable[..., Result], mini: MiniProject
) -> None:
    options = [*mini.arguments, "--runs", "runs", "--consensus", "topk", *QUICK]
    done = twostream("train", *options, "--consensus-option", "k=1", "--json")
    row = json.loads(done.stdout)["epochs"][1]
    assert (row["subset"], len(row["segments"])) == ("val", 3)
    assert all(0 <= count <= row["videos"] for count in row["segments"])
    assert read_spec(RUN / "best").consensus_options == {"k": 1}
    other = twostream("train", *options, "--consensus-option", "k=2", exit_code=2)
    assert "consensus-option was ['k=1'], now ['k=2']" in other.output
    wrong = twostream("train", *options, "--consensus-option", "n=2", "--name", "n", exit_code=2)
    assert "consensus topk has no option 'n'; allowed: k" in wrong.output
    repeated = ["--config", str(RUN / "config.toml"), "--runs", "again"]
    assert "Segments alone: " in twostream("train", *repeated).output


def test_segments_are_seen_in_order() -> None:
    torch.manual_seed(0)
    module = TemporalClassifier("dynamic_framing", feature_size=8, num_classes=3, k=3)
    features = torch.randn(2, 5, 8)
    logits = module(features)
    assert logits.shape == (2, 5, 3)
    assert not torch.allclose(logits.mean(1), module(features.flip(1)).mean(1))


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="local_attention has no option 'k'; allowed: heads"):
        TemporalClassifier("local_attention", feature_size=8, num_classes=3, k=2)
    with pytest.raises(InputError, match="3 heads.*8 features"):
        TemporalClassifier("local_attention", feature_size=8, num_classes=3, heads=3)


def test_trains_scores_and_fuses(twostream: Callable[..., Result], mini: MiniProject) -> None:
    twostream(
        "train", *mini.arguments, "--runs", "runs", "--stream", "motion", "--weights", "none",
        "--model", "shufflenet_v2_x0_5",
        "--consensus", "dynamic_framing", "--consensus-option", "k=3", "--input-size", "32",
        "--batch-size", "4", "--val-fraction", "0.3", "--protocol", "segments3", "--epochs", "1",
        "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    run = Path("runs/ucf101-split1/motion-shufflenet_v2_x0_5")
    spec = read_spec(run / "best")
    assert (spec.consensus, spec.consensus_options) == ("dynamic_framing", {"k": 3})
    twostream("fuse", str(run / "scores/test.safetensors"), "--out", "fused")
    table = read_scores(run / "scores/test.safetensors")
    assert table.scores.shape == (4, 3, 1, 2)
    fused = read_scores(Path("fused")).scores[:, 0, 0]
    assert np.allclose(fused, table.scores.mean(axis=(1, 2)), atol=1e-5)
