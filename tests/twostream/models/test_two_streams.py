"""Every way of joining two streams, at every point: shapes, gradients, and how they begin."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.models import build_network, create_model, resolved_options
from twostream.models.activation_checkpointing import checkpoint_activations
from twostream.models.consensus import load_consensus, mean
from twostream.models.joining import HEADS, JOINS, CompactBilinear, Head
from twostream.models.segment_network import SegmentNetwork
from twostream.models.two_streams import FUSION_POINTS
from twostream.transforms.presets import MODALITIES, Modality, modality_of
from twostream_base.errors import InputError
from twostream_base.plugins import TrustedName

from .test_models import without_values

JOINT = MODALITIES["joint"]
FORMS = [(point, how) for point, forms in FUSION_POINTS.items() for how in forms]


class Block(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=2, padding=1)
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv1(x) + self.downsample(x))


class Stages(nn.Module):
    """Four stages of one small residual block each, with the names of a ResNet's."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 3, 1)
        self.layer1, self.layer2 = nn.Sequential(Block(3, 3)), nn.Sequential(Block(3, 4))
        self.layer3, self.layer4 = nn.Sequential(Block(4, 4)), nn.Sequential(Block(4, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.conv1(x)))
        return self.layer4(self.layer3(x)).mean(dim=(2, 3))


def stages(*, modality: Modality, num_classes: int, weights: str, width: int = 5) -> SegmentNetwork:
    channels = modality.channels * modality.network_length
    network = SegmentNetwork(Stages(channels, width), nn.Linear(width, num_classes), modality)
    if weights != "none":
        tensors = safetensors.torch.load_file(weights)
        layers = {k.removeprefix("backbone."): v for k, v in tensors.items() if "backbone." in k}
        network.backbone.load_state_dict(layers)
        network.take_normalisation(tensors)
    return network


STAGES = TrustedName(f"{__name__}:stages")


def noise(modality: Modality, *, videos: int = 2, segments: int = 2, side: int = 32) -> Tensor:
    shape = (videos, segments, modality.snippet_length, modality.channels, side, side)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def joined(model: str = STAGES, modality: Modality = JOINT, **options: Any) -> SegmentNetwork:
    weights = options.pop("weights", "none")
    return build_network(
        model, consensus=mean, modality=modality, num_classes=5, weights=weights, options=options
    )


def shake(network: nn.Module) -> None:
    """Away from the start, where some weights are 0 and their gradients too."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


@pytest.mark.parametrize("keep_both", [False, True])
@pytest.mark.parametrize(("point", "how"), FORMS)
def test_each_form_at_each_point(point: str, how: str, keep_both: bool) -> None:
    """All weights learn, by the gradient that finite differences give; a copy computes the same."""
    torch.manual_seed(0)
    network = joined(fuse_at=point, fuse=how, keep_both=keep_both).double()
    shake(network)
    clips, weight = noise(JOINT), torch.randn(5, dtype=torch.float64)

    def value() -> Tensor:
        return (network(clips).mean(dim=1) * weight).sum()

    value().backward()
    parameters = list(network.parameters())
    lacking = [name for name, p in network.named_parameters() if p.grad is None]
    assert not lacking
    step = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum((p.grad * s).sum() for p, s in zip(parameters, step, strict=True))
    values = []
    with torch.no_grad():
        for sign in (1, -2):  # forward, then as far back
            for parameter, direction in zip(parameters, step, strict=True):
                parameter += sign * 1e-6 * direction
            values.append(value())
    assert float(slope) == pytest.approx(float(values[0] - values[1]) / 2e-6, rel=1e-5)
    copy = deepcopy(network)
    shake(network)  # what the copy joins is its own
    with torch.no_grad():
        assert float((copy(clips).mean(dim=1) * weight).sum()) == float(values[1])
    assert network(clips).shape == (2, 2, 5)
    beside = (point == "features" or keep_both) + ((point, how) == ("layer4", "concat"))
    assert network.feature_size == network.classifier.in_features == 5 + 5 * beside


@pytest.mark.parametrize(
    ("name", "length"), [("resnet18", 10), ("tsm-resnet18", 4), ("i3d-resnet18", 4), ("r3d_18", 4)]
)
def test_networks_of_pictures_and_clips(name: str, length: int) -> None:
    """Without numbers, on torch's meta device."""
    stack = 10 if name == "resnet18" else 1
    modality = modality_of("joint", clip_length=length, frame_interval=1, stack=stack)
    with without_values(), torch.device("meta"):
        for point, how in (("layer2", "concat"), ("layer4", "conv")):
            network = joined(name, modality, fuse_at=point, fuse=how)
            logits = network(noise(modality).to("meta"))
            logits.sum().backward()
            assert logits.shape == (2, 2, 5)
            assert all(parameter.grad is not None for parameter in network.parameters())


def run_of(path: Path, stream: str, modality: Modality, **options: Any) -> tuple[str, Any]:
    """The weights of a run on disk, and its network."""
    torch.manual_seed(len(stream))
    network = stages(modality=modality, num_classes=5, weights="none", **options)
    network.mean += 7  # not those of the modality: each stream keeps its own
    shake(network)
    file = path / f"{stream}.safetensors"
    header = {"twostream": json.dumps({"stream": stream})}
    safetensors.torch.save_file(network.state_dict(), file, metadata=header)
    return str(file), network.eval()


def late_mean(networks: list[SegmentNetwork], clips: Tensor) -> Tensor:
    """The mean of what both networks say of their own parts of a clip (N, S, 1, 23, H, W)."""
    rgb, flow = clips[:, :, :, :3], clips[:, :, 0, 3:].unflatten(2, (10, 2))
    return (networks[0](rgb) + networks[1](flow)) / 2


@pytest.mark.parametrize(
    ("point", "how", "options"),
    [
        *[("features", how, {}) for how in HEADS if how != "max"],
        ("layer4", "concat", {}),
        ("features", "conv", {"motion.width": 7}),
    ],
)
def test_trained_runs_begin_as_their_late_mean(
    tmp_path: Path, point: str, how: str, options: dict[str, Any]
) -> None:
    parts = zip(("spatial", "motion"), JOINT.parts, strict=True)
    runs = [
        run_of(tmp_path, stream, part, width=options.get(f"{stream}.width", 5))
        for stream, part in parts
    ]
    files = [file for file, _ in runs]
    network = joined(fuse_at=point, fuse=how, weights=files, **options).eval()
    clips = noise(JOINT)
    expected = late_mean([trained for _, trained in runs], clips)
    # The mean of the segments: attention spreads it over them.
    assert torch.allclose(network(clips).mean(dim=1), expected.mean(dim=1), atol=1e-5)


@pytest.mark.parametrize(("how", "expected"), [("sum", "sum"), ("conv", "sum"), ("gated", "sum"),
                                               ("bilinear", "sum"), ("max", "max")])  # fmt: skip
@pytest.mark.parametrize("dims", [2, 3])
def test_maps_begin_as_their_sum(how: str, expected: str, dims: int) -> None:
    torch.manual_seed(0)
    rgb, flow = torch.rand(2, 1, 4, *[5] * dims)  # not negative, as behind a stage
    join = JOINS[how]((4, 4), dims)
    right = rgb + flow if expected == "sum" else torch.maximum(rgb, flow)
    assert torch.allclose(join(rgb, flow), right, atol=1e-6)


def test_compact_products_are_those_of_all_pairs() -> None:
    """On average over hashes, a product of sketches is the product of the outer products."""
    torch.manual_seed(0)
    a, b, c, d = torch.randn(4, 6, dtype=torch.float64)
    exact = float((a @ c) * (b @ d))
    estimates = []
    for _ in range(200):
        sketch = CompactBilinear((6, 6))
        one, other = (
            torch.fft.irfft(sketch._sketch(x, "first") * sketch._sketch(y, "second"), n=1024)
            for x, y in ((a, b), (c, d))
        )
        estimates.append(float(one @ other))
    assert sum(estimates) / 200 == pytest.approx(exact, abs=0.5)
    assert CompactBilinear((6, 6))(a, b).norm() == pytest.approx(1, abs=1e-6)


def test_both_streams_can_be_asked_alone(tmp_path: Path) -> None:
    (rgb_file, rgb), (flow_file, flow) = (
        run_of(tmp_path, stream, part)
        for stream, part in zip(("spatial", "motion"), JOINT.parts, strict=True)
    )
    network = joined(weights=[rgb_file, flow_file]).eval()
    assert isinstance(network.classifier, Head)
    clips = noise(JOINT)
    alone = network.classifier.streams(network.features(clips))
    assert torch.allclose(alone[0], rgb(clips[:, :, :, :3]), atol=1e-5)
    assert torch.allclose(alone[1], flow(clips[:, :, 0, 3:].unflatten(2, (10, 2))), atol=1e-5)


def test_recomputed_activations_give_the_same_gradient() -> None:
    torch.manual_seed(0)
    network = joined("resnet18", fuse_at="layer3", fuse="conv")
    clips, gradients = noise(JOINT, videos=1), []
    for _ in range(2):
        network.zero_grad()
        torch.manual_seed(1)
        network(clips).sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
        checkpoint_activations(network.backbone)
    assert all(map(torch.equal, *gradients))


def test_a_consensus_that_learns_sees_the_features_of_both() -> None:
    attention = load_consensus("attention", {})
    parts: dict[str, Any] = {"consensus": attention, "modality": JOINT, "num_classes": 5}
    network = build_network(STAGES, **parts, options={"fuse": "concat"})
    assert network.feature_size == 10
    assert network(noise(JOINT)).shape == (2, 2, 5)
    with pytest.raises(InputError, match="--fuse concat"):
        build_network(STAGES, **parts, options={"fuse": "gated"})


def test_the_options_of_both_networks_are_kept() -> None:
    options = {"fuse_at": "features", "fuse": "max", "motion.last_stride": 1, "keep_both": False}
    resolved = resolved_options("i3d-resnet18", options)
    assert {key: resolved[key] for key in options} == options
    assert resolved["spatial.last_stride"] == 2
    modality = modality_of("joint", clip_length=4, frame_interval=1)
    with without_values(), torch.device("meta"):
        network = joined("i3d-resnet18", modality, **resolved)
    strides = [
        tower.get_submodule("layer4.0.conv1").stride[1]
        for tower in (network.backbone.spatial, network.backbone.motion)
    ]
    assert strides == [2, 1]


@pytest.mark.parametrize(
    ("model", "options", "facts"),
    [
        ("resnet18", {"fuse_at": "layer5"}, ["'layer5'", "layer1", "features"]),
        ("resnet18", {"fuse": "mean"}, ["'mean'", "attention"]),
        ("resnet18", {"fuse_at": "layer4", "fuse": "attention"}, ["'attention'", "gated"]),
        ("alexnet", {"fuse_at": "layer4"}, ["layer4", "alexnet", "features"]),
        ("resnet18", {"motion_model": "r3d_18"}, ["resnet18", "r3d_18", "clips"]),
        ("resnet18", {"motion_model": "resnet50", "fuse_at": "layer4"}, ["sum", "512", "2048"]),
        ("resnet18", {"fuse": "own:join"}, ["own:join", "--trust-plugins"]),
        ("resnet18", {"motion.depth": 3}, ["depth"]),
    ],
)
def test_what_cannot_be_joined_is_named(
    model: str, options: dict[str, Any], facts: list[str]
) -> None:
    with without_values(), torch.device("meta"), pytest.raises(InputError) as error:
        joined(model, **options)
    assert all(fact in str(error.value) for fact in facts)


def plain_head(spatial: nn.Linear, motion: nn.Linear) -> nn.Module:
    """A user's head that does not say what it reads."""
    return nn.Sequential(nn.Linear(spatial.in_features + motion.in_features, 5))


def clips_of(*, modality: Modality, num_classes: int, weights: str) -> SegmentNetwork:
    backbone = nn.Sequential(
        nn.Conv3d(modality.channels, 4, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    )
    return SegmentNetwork(backbone, nn.Linear(4, num_classes), modality, is_3d=True)


def test_a_head_of_the_user() -> None:
    names = {"fuse": f"{__name__}:plain_head", "motion_model": str(STAGES)}
    network = create_model(STAGES, num_classes=5, stream="joint", trust_plugins=True, **names)
    assert network.feature_size == network.classifier.in_features == 10
    assert network(noise(JOINT)).shape == (2, 2, 5)
    with pytest.raises(InputError, match="trust_plugins=True"):
        create_model(STAGES, num_classes=5, stream="joint", **names)


def test_a_plug_in_of_clips_is_beside_listed_ones_alone() -> None:
    name = TrustedName(f"{__name__}:clips_of")
    with pytest.raises(InputError, match=f"{name} .*clips.*plug-in"):
        joined(name)
    modality = modality_of("joint", clip_length=4, frame_interval=1)
    with without_values(), torch.device("meta"):
        network = joined("tsm-resnet18", modality, motion_model=name)
        assert network(noise(modality).to("meta")).shape == (2, 2, 5)


def test_create_model_joins_two_networks() -> None:
    with without_values(), torch.device("meta"):
        pictures = create_model("resnet18", num_classes=5, stream="joint", fuse_at="layer4")
        clips = create_model("tsm-resnet18", num_classes=5, stream="joint")
    assert (pictures.modality.snippet_length, pictures.modality.channels) == (1, 23)
    assert (clips.modality.snippet_length, clips.modality.channels) == (8, 5)
