"""Networks as files: what each family computes there, what is refused, and why."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from twostream.export import export_run as module
from twostream.export.export_run import (
    FORMATS,
    UnequalError,
    check_suffix,
    export_run,
    load_onnx,
    load_program,
    write_onnx,
    write_program,
)
from twostream.models import build_network
from twostream.models.checkpoint import NetworkSpec, load_network, save_checkpoint
from twostream.models.consensus import load_consensus
from twostream.models.i3d import NonLocalBlock, inflate_conv
from twostream.models.inception import HalvingPool, SamePool, Unit
from twostream.models.segment_network import SegmentNetwork
from twostream.models.temporal_shift import FrameAverage, TemporalShift
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError
from twostream_base.files import sha256_file
from twostream_base.plugins import TrustedName

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
        pools = HalvingPool(), nn.AdaptiveAvgPool2d(1)
        self.shifted = FrameAverage(nn.Sequential(shifted, *pools))
        self.inflated = inflate_conv(nn.Conv2d(channels, 8, 3, stride=2), depth=3, stride=1)
        self.non_local = NonLocalBlock(8, window=0.3)
        nn.init.ones_(self.non_local.norm.weight)
        unit = Unit(channels, 8, (3, 3, 3), stride=2, same=True, bias=False, eps=1e-3)
        self.padded = nn.Sequential(unit, SamePool((2, 3, 3), (2, 2, 2)))

    def forward(self, clips: Tensor) -> Tensor:
        features: Tensor = self.non_local(self.inflated(clips)).mean(dim=(2, 3, 4))
        features += self.padded(clips).mean(dim=(2, 3, 4))
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


AVERAGES = TrustedName(f"{OWN}:averages")


def make_run(folder: Path, model: str = AVERAGES, **changes: Any) -> Path:
    """A run folder with a network that was never trained."""
    values: dict[str, Any] = {
        "model": model, "model_options": {}, "stream": "spatial", "clip_length": 1,
        "frame_interval": 1, "resize": (), "class_names": ("a", "b", "c"), "num_segments": 3,
        "consensus": "mean", "consensus_options": {}, "input_size": 16, "epoch": 4,
        "selected_on": "val", "flow": {},
    }  # fmt: skip
    spec = NetworkSpec(**{**values, **changes})
    torch.manual_seed(0)
    network = build_network(
        spec.model,
        consensus=load_consensus(spec.consensus, spec.consensus_options),
        modality=spec.modality,
        num_classes=3,
    )
    save_checkpoint(folder / "best", network, spec, {})
    return folder


OVER_TIME = {"model": TrustedName(f"{OWN}:over_time"), "clip_length": 5}


@pytest.mark.parametrize(
    ("changes", "suffix"),
    [
        (
            {"stream": "motion", "clip_length": 10, "flow": {"method": "dis", "bound": 15.0}},
            ".onnx",
        ),
        ({"stream": "difference", "clip_length": 6, "consensus": "attention"}, ".pt2"),
        (OVER_TIME, ".pt2"),
        (OVER_TIME, ".onnx"),
    ],
    ids=["motion", "difference", "over time", "over time in ONNX"],
)
def test_it_computes_what_the_network_does(
    tmp_path: Path, changes: dict[str, Any], suffix: str
) -> None:
    """Also for numbers of videos and segments that the command has not tried."""
    run, file = make_run(tmp_path / "run", **changes), tmp_path / f"network{suffix}"
    result = export_run(run, file, trust_plugins=True)
    assert result["largest_difference"] <= 1e-4
    spec, network = load_network(run / "best", trust_plugins=True)
    shape = (4, 5, spec.clip_length, spec.modality.channels, spec.input_size, spec.input_size)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    with torch.inference_mode():
        expected = network.eval()(clips)
    loaded = FORMATS[suffix].load(file)
    assert torch.allclose(loaded(clips), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("consensus", "options", "suffix"),
    [
        ("local_attention", {"heads": 2}, ".pt2"),
        ("dynamic_framing", {"k": 2}, ".onnx"),
        ("dynamic_framing", {"k": 2, "encoder": "tcn"}, ".pt2"),
    ],
)
def test_a_consensus_that_learns_is_part_of_it(
    tmp_path: Path, consensus: str, options: dict[str, Any], suffix: str
) -> None:
    run = make_run(tmp_path / "run", consensus=consensus, consensus_options=options)
    result = export_run(run, tmp_path / f"network{suffix}", trust_plugins=True)
    assert result["largest_difference"] <= 1e-4


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    flow = {"method": {"name": "dis", "options": {}}, "bound": 15.0}
    run = make_run(tmp_path / "run", stream="motion", clip_length=10, flow=flow)
    result = export_run(run, tmp_path / "network.pt2", trust_plugins=True)
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
    run = make_run(tmp_path / "run", TrustedName(f"{OWN}:choosy"))
    for suffix in (".onnx", ".pt2"):
        with pytest.raises(
            InputError, match=rf"choosy .* cannot be exported to {suffix}: Could not guard on data"
        ):
            export_run(run, tmp_path / f"network{suffix}", trust_plugins=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_a_file_that_differs_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    run, file = make_run(tmp_path / "run"), tmp_path / "network.pt2"
    export_run(run, file, trust_plugins=True)
    before, load = file.read_bytes(), FORMATS[".pt2"].load
    differing = FORMATS[".pt2"]._replace(load=lambda path: lambda clips: load(path)(clips) * wrong)
    monkeypatch.setitem(FORMATS, ".pt2", differing)
    with pytest.raises(UnequalError, match="gives other logits than the network"):
        export_run(run, file, trust_plugins=True)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.pt2", "run"]


def test_nan_in_the_second_comparison_is_seen_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, load = make_run(tmp_path / "run"), FORMATS[".pt2"].load
    factors = iter([1.0, float("nan")])
    differing = FORMATS[".pt2"]._replace(
        load=lambda path: lambda clips: load(path)(clips) * next(factors)
    )
    monkeypatch.setitem(FORMATS, ".pt2", differing)
    with pytest.raises(UnequalError, match="by up to nan"):
        export_run(run, tmp_path / "network.pt2", trust_plugins=True)


def test_other_suffixes(tmp_path: Path) -> None:
    check_suffix(Path("a.b/NETWORK.ONNX"))
    with pytest.raises(InputError, match=r"x.onnx.gz: networks are exported to .onnx or .pt2"):
        check_suffix(Path("x.onnx.gz"))


class Order(nn.Module):
    """Where each value comes in a stable sorting, upwards and downwards."""

    def forward(self, clips: Tensor) -> Tensor:
        up, down = (
            clips.float().sort(dim=2, descending=descending, stable=True).indices.float()
            for descending in (False, True)
        )
        return torch.cat([up, down], dim=2)


class Ones(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.float() + self.weight.sum()


def traced(network: nn.Module, clips: Tensor) -> ExportedProgram:
    sizes = {0: Dim("videos"), 1: Dim("segments")}
    return torch.export.export(network, (clips,), dynamic_shapes=(sizes,))


def test_sorting_is_stable(tmp_path: Path) -> None:
    clips = torch.tensor([[[1, 0, 1, 2, 0, 2, 1, 1]], [[3, 3, 3, 3, 3, 3, 3, 0]]]).byte()
    program = traced(Order(), clips.repeat(1, 3, 1))
    write_onnx(program, tmp_path / "x.onnx", "")
    up, down = load_onnx(tmp_path / "x.onnx")(clips).split(8, dim=2)
    assert up.tolist() == [[[1, 4, 0, 2, 6, 7, 3, 5]], [[7, 0, 1, 2, 3, 4, 5, 6]]]
    assert down.tolist() == [[[3, 5, 0, 2, 6, 7, 1, 4]], [[0, 1, 2, 3, 4, 5, 6, 7]]]


def test_names_axes_and_metadata(tmp_path: Path) -> None:
    clips = torch.zeros(2, 3, 1000, dtype=torch.uint8)
    write_onnx(traced(Ones(), clips), tmp_path / "x", '{"a": "ä"}')
    onnx.checker.check_model(str(tmp_path / "x"))
    session = onnxruntime.InferenceSession(str(tmp_path / "x"))
    assert session.get_modelmeta().custom_metadata_map["twostream"] == '{"a": "ä"}'
    (clips_input,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (clips_input.name, clips_input.type) == ("clips", "tensor(uint8)")
    assert (logits.name, logits.type) == ("logits", "tensor(float)")
    assert clips_input.shape == logits.shape == ["videos", "segments", 1000]


def test_weights_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ONNX_LIMIT", 4000)
    program = traced(Ones(), torch.zeros(2, 3, 1000, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"an ONNX file holds 2.1; write a .pt2 file"):
        write_onnx(program, tmp_path / "x.onnx", "")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_suffix(Path("x.onnx"))
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name)
    )
    with pytest.raises(InputError, match=r"\(onnxscript\): pip install onnx .* extra `onnx`"):
        check_suffix(Path("x.onnx"))


class Double(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips * 2.0


def test_the_metadata_is_found_where_torch_keeps_it(tmp_path: Path) -> None:
    program = torch.export.export(Double(), (torch.ones(2, 3),))
    write_program(program, tmp_path / "x.pt2", '{"a": "ä"}')
    extra = {"twostream": ""}
    network = torch.export.load(str(tmp_path / "x.pt2"), extra_files=extra).module()
    assert extra["twostream"] == '{"a": "ä"}'
    clips = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(network(clips), clips * 2)
    assert torch.equal(load_program(tmp_path / "x.pt2")(clips), clips * 2)


def test_the_example_is_left_out(tmp_path: Path) -> None:
    """It is as large as a batch of clips."""
    program = torch.export.export(Double(), (torch.ones(1000, 1000),))
    write_program(program, tmp_path / "x.pt2", "")
    assert (tmp_path / "x.pt2").stat().st_size < 100_000
