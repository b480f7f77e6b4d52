"""Networks as files: what each family computes there, what is refused, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from twostream.errors import InputError
from twostream.export import onnx_file, torch_file
from twostream.export.export_run import UnequalError, check_suffix, export_run
from twostream.files import sha256_file
from twostream.models import build_network
from twostream.models.consensus import load_consensus
from twostream.models.i3d import inflate_conv
from twostream.models.non_local import NonLocalBlock
from twostream.models.segment_network import SegmentNetwork
from twostream.models.temporal_shift import FrameAverage, TemporalShift
from twostream.training.checkpoint import NetworkCard, load_network, save_checkpoint
from twostream.transforms.presets import Modality

OWN = "networks_of_this_test"


class Averages(nn.Module):
    """(N, C, H, W) -> features (N, 8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = nn.Linear(channels, 8)

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.features(pictures.mean(dim=(2, 3)))
        return features


class Choosy(Averages):
    """One that Python, not the program, decides about."""

    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(-pictures if pictures.sum() < 0 else pictures)


class OverTime(nn.Module):
    """(N, C, T, H, W) -> features (N, 8), by a layer of each network of clips."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        shifted = TemporalShift(nn.Conv2d(channels, 8, 3, stride=2), frames)
        self.shifted = FrameAverage(nn.Sequential(shifted, nn.AdaptiveAvgPool2d(1)))
        self.inflated = inflate_conv(nn.Conv2d(channels, 8, 3, stride=2), depth=3, stride=1)
        self.non_local = NonLocalBlock(8, window=0.3)
        nn.init.ones_(self.non_local.norm.weight)

    def forward(self, clips: Tensor) -> Tensor:
        features: Tensor = self.non_local(self.inflated(clips)).mean(dim=(2, 3, 4))
        return features + self.shifted(clips).flatten(1)


def averages(*, modality: Modality, num_classes: int, weights: str) -> SegmentNetwork:
    backbone = Averages(modality.channels * modality.network_length)
    return SegmentNetwork(backbone, nn.Linear(8, num_classes), modality)


def choosy(*, modality: Modality, num_classes: int, weights: str) -> SegmentNetwork:
    backbone = Choosy(modality.channels * modality.network_length)
    return SegmentNetwork(backbone, nn.Linear(8, num_classes), modality)


def over_time(*, modality: Modality, num_classes: int, weights: str) -> SegmentNetwork:
    backbone = OverTime(modality.channels, modality.network_length)
    return SegmentNetwork(backbone, nn.Linear(8, num_classes), modality, is_3d=True)


@pytest.fixture(autouse=True)
def _own_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(averages=averages, choosy=choosy, over_time=over_time)
    monkeypatch.setitem(sys.modules, OWN, own)


def make_run(folder: Path, model: str = f"{OWN}:averages", **changes: Any) -> Path:
    """A run folder with a network that was never trained."""
    values: dict[str, Any] = {
        "model": model, "model_options": {}, "stream": "spatial", "clip_length": 1,
        "frame_interval": 1, "resize": (), "class_names": ("a", "b", "c"), "num_segments": 3,
        "consensus": "mean", "consensus_options": {}, "input_size": 16, "epoch": 4,
        "selected_on": "val", "flow": {},
    }  # fmt: skip
    card = NetworkCard(**{**values, **changes})
    torch.manual_seed(0)
    network = build_network(
        card.model,
        consensus=load_consensus(card.consensus, card.consensus_options),
        modality=card.modality,
        num_classes=3,
    )
    save_checkpoint(folder / "best", network, card, {})
    return folder


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"stream": "motion", "clip_length": 10, "flow": {"method": "dis", "bound": 15.0}},
        {"stream": "difference", "clip_length": 6, "consensus": "attention"},
        {"model": f"{OWN}:over_time", "clip_length": 5},
    ],
    ids=["motion", "difference", "over time"],
)
def test_it_computes_what_the_network_does(
    tmp_path: Path, changes: dict[str, Any], suffix: str
) -> None:
    """Also for numbers of videos and segments that the command has not tried."""
    run, file = make_run(tmp_path / "run", **changes), tmp_path / f"network{suffix}"
    result = export_run(run, file, checkpoint="best")
    assert result["largest_difference"] <= 1e-4
    card, network = load_network(run / "best")
    shape = (4, 5, card.clip_length, card.modality.channels, card.input_size, card.input_size)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    with torch.inference_mode():
        expected = network.eval()(clips)
    loaded = (onnx_file if suffix == ".onnx" else torch_file).load(file)
    assert torch.allclose(loaded(clips), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("consensus", "options", "suffix"),
    [
        ("variance", {}, ".pt2"),
        ("local_attention", {"heads": 2}, ".pt2"),
        ("dynamic_framing", {"k": 2}, ".onnx"),
        ("dynamic_framing", {"k": 2, "encoder": "tcn"}, ".pt2"),
    ],
)
def test_a_consensus_that_learns_is_part_of_it(
    tmp_path: Path, consensus: str, options: dict[str, Any], suffix: str
) -> None:
    run = make_run(tmp_path / "run", consensus=consensus, consensus_options=options)
    result = export_run(run, tmp_path / f"network{suffix}", checkpoint="best")
    assert result["largest_difference"] <= 1e-4


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    flow = {"method": {"name": "dis", "options": {}}, "bound": 15.0}
    run = make_run(tmp_path / "run", stream="motion", clip_length=10, flow=flow)
    result = export_run(run, tmp_path / "network.pt2", checkpoint="best")
    assert result["file"] == str(tmp_path / "network.pt2")
    assert result["bytes"] == (tmp_path / "network.pt2").stat().st_size
    assert result["checked"] == [[1, 2, 10, 2, 16, 16], [3, 1, 10, 2, 16, 16]]
    said = json.loads(json.dumps(result["metadata"]))
    assert said["input"]["shape"] == ["videos", "segments", 10, 2, 16, 16]
    assert said["input"]["channels"] == ["u", "v"]
    assert said["class_names"] == ["a", "b", "c"]
    assert (said["stream"], said["flow"], said["frame_interval"]) == ("motion", flow, 1)
    assert said["checkpoint"] == sha256_file(run / "best" / "weights.safetensors")


def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", f"{OWN}:choosy")
    for suffix in (".onnx", ".pt2"):
        with pytest.raises(
            InputError, match=rf"choosy .* cannot be exported to {suffix}: Could not guard on data"
        ):
            export_run(run, tmp_path / f"network{suffix}", checkpoint="best")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_a_file_that_differs_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    run, file = make_run(tmp_path / "run"), tmp_path / "network.pt2"
    export_run(run, file, checkpoint="best")
    before, load = file.read_bytes(), torch_file.load
    monkeypatch.setattr(torch_file, "load", lambda path: lambda clips: load(path)(clips) * wrong)
    with pytest.raises(UnequalError, match="gives other logits than the network"):
        export_run(run, file, checkpoint="best")
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.pt2", "run"]


def test_nan_in_the_second_comparison_is_seen_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, load, factors = make_run(tmp_path / "run"), torch_file.load, iter([1.0, float("nan")])
    monkeypatch.setattr(
        torch_file, "load", lambda path: lambda clips: load(path)(clips) * next(factors)
    )
    with pytest.raises(UnequalError, match="by up to nan"):
        export_run(run, tmp_path / "network.pt2", checkpoint="best")


def test_other_suffixes(tmp_path: Path) -> None:
    check_suffix(Path("a.b/NETWORK.ONNX"))
    with pytest.raises(InputError, match=r"x.onnx.gz: networks are exported to .onnx or .pt2"):
        check_suffix(Path("x.onnx.gz"))
