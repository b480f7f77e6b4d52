from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twostream.models import (
    IMAGE_FAMILIES,
    MODELS,
    VIDEO_FAMILIES,
    build_network,
    create_model,
    default_clip,
    default_input_size,
    list_models,
)
from twostream.models.backbones import adapt_input_channels, first_convolution
from twostream.models.consensus import mean
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import MODALITIES, Modality, modality_of
from twostream_base.errors import InputError
from twostream_base.plugins import TrustedName
from twostream_base.vision import torchvision

# One of each kind is computed; of the others shapes and gradients are followed without numbers.
COMPUTED = (
    *("resnet18", "mobilenet_v2", "tsm-resnet18", "tsm-mobilenet_v2", "i3d-resnet18"),
    *("mask-nonlocal-i3d-resnet18", "mc3_18", "bn-inception", "inception-i3d"),
)
FAMILIES_OF_ONE_SIZE = ("vit", "swin", "mvit", "alexnet", "vgg", "s3d")


def modality_for(name: str, stream: str, *, longest: int = 16) -> Modality:
    clip = default_clip(name, stream)
    return modality_of(stream, **{**clip, "clip_length": min(clip["clip_length"], longest)})


@contextmanager
def without_values() -> Iterator[None]:
    """No first weights are drawn, nothing is normalised or bent: on the meta device, where nothing
    has a value, that is only slow."""

    def batch_norm(x: Tensor, mean: Any, var: Any, weight: Tensor, bias: Tensor, *_: Any) -> Tensor:
        shape = (-1, *(1,) * (x.dim() - 2))
        return x * weight.view(shape) + bias.view(shape)

    def layer_norm(x: Tensor, shape: Any, weight: Tensor, bias: Tensor, *_: Any) -> Tensor:
        assert tuple(shape) == tuple(x.shape[-len(shape) :]) == tuple(weight.shape)
        return x * weight + bias

    with pytest.MonkeyPatch.context() as patch:
        for name in vars(nn.init):
            if name.endswith("_") and not name.startswith("_"):
                patch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        for function in (batch_norm, layer_norm):
            patch.setattr(nn.functional, function.__name__, function)
        for name in ("relu", "gelu", "silu", "hardswish", "relu6"):
            patch.setattr(nn.functional, name, lambda x, *_, **__: x)
        yield


# What a stream changes is its first layer: of pictures, of frames that shift, and of clips.
@pytest.mark.parametrize(
    ("name", "stream"),
    [(name, "motion") for name in COMPUTED]
    + [(name, stream) for name in ("resnet18", "tsm-mobilenet_v2", "inception-i3d")
       for stream in ("spatial", "difference")],
)  # fmt: skip
def test_contract(name: str, stream: str) -> None:
    """Uint8 clips in, one row of logits a segment out; every layer learns; eval is repeatable."""
    modality = modality_for(name, stream, longest=8)
    torch.manual_seed(0)
    network = MODELS[name](modality=modality, num_classes=7)
    shape = (1, 2, modality.snippet_length, modality.channels, 32, 32)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    logits = network(clips)
    assert logits.shape == (1, 2, 7)
    assert logits.dtype == torch.float32
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with without_values():
        again = MODELS[name](modality=modality, num_classes=7).eval()
    again.load_state_dict(dict(network.state_dict()))  # bare tensors: what our files hold
    with torch.inference_mode():
        expected = network(clips)
        assert torch.equal(network(clips), expected)
        assert torch.equal(again(clips), expected)
        alone = network(clips[:, 1:])
    assert torch.allclose(expected[0, 1], alone[0, 0], atol=1e-4)


# The smallest of each kind that is not computed above. (RegNets cannot be built without numbers.)
FOLLOWED = (
    *("resnet50", "resnext50_32x4d", "wide_resnet50_2", "alexnet", "vgg11_bn", "densenet121"),
    *("mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0"),
    *("efficientnet_v2_s", "convnext_tiny", "vit_b_32", "maxvit_t", "swin_t", "swin_v2_t"),
    *("tsm-resnet50", "i3d-resnet50", "nonlocal-i3d-resnet50", "mask-nonlocal-i3d-resnet50"),
    *("r3d_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t"),
)


@pytest.mark.parametrize("name", FOLLOWED)
def test_shapes_and_gradients(name: str) -> None:
    """Without numbers, on torch's meta device."""
    modality = modality_for(name, "motion")
    side = 224 if any(family in name for family in FAMILIES_OF_ONE_SIZE) else 64
    shape = (2, 1, modality.snippet_length, modality.channels, side, side)
    with without_values():
        with torch.device("meta"):
            network = MODELS[name](modality=modality, num_classes=7)
        network.load_state_dict(dict(network.state_dict()))
        logits = network(torch.zeros(shape, dtype=torch.uint8, device="meta"))
        logits.sum().backward()
    assert logits.shape == (2, 1, 7)
    assert first_convolution(network)[1].weight.grad is not None


def test_all_others_can_be_built() -> None:
    done = {*COMPUTED, *FOLLOWED, "vit_h_14"}  # the last is very large
    for name in [name for name in MODELS if name not in done and "regnet" not in name]:
        modality = modality_for(name, "motion")
        with without_values(), torch.device("meta"):
            network = MODELS[name](modality=modality, num_classes=7)
        assert network.classifier.in_features == network.feature_size
        steps = 1 if MODELS[name].clip else modality.network_length
        assert first_convolution(network)[1].in_channels == modality.channels * steps


def test_all_of_torchvision_is_there() -> None:
    pictures = set(torchvision.models.list_models(module=torchvision.models))
    excluded = {"googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1"}
    listed = [name for names in IMAGE_FAMILIES.values() for name in names]
    assert sorted(listed) == sorted(pictures - excluded)
    videos = torchvision.models.list_models(module=torchvision.models.video)
    assert sorted(name for _, _, names in VIDEO_FAMILIES.values() for name in names) == sorted(
        videos
    )


def test_lists_by_patterns() -> None:
    assert list_models() == list(MODELS)
    assert list_models("tsm-resnet1*") == ["tsm-resnet18", "tsm-resnet101", "tsm-resnet152"]
    assert list_models("s3d", "r3d*") == ["r3d_18", "s3d"]  # a part of a name, and a pattern
    with pytest.raises(InputError, match=r"'resnet51'.*`twostream models`"):
        list_models("s3d", "resnet51")


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet50", 24.3),  # mmaction2, model zoo of TSN
        ("tsm-resnet50", 24.3),  # mmaction2, model zoo of TSM: 23.87 with another classifier
        ("tsm-mobilenet_v2", 2.7),  # mmaction2, model zoo of TSM: 2.736
        ("i3d-resnet50", 28.0),  # mmaction2, model zoo of I3D: 28.043
        ("nonlocal-i3d-resnet50", 35.4),  # mmaction2, model zoo of I3D: 35.397
        ("inception-i3d", 12.7),  # 12.3 without its classifier; Carreira and Zisserman: 12
        ("r2plus1d_18", 31.5),  # torchvision, R2Plus1D_18_Weights.KINETICS400_V1
        ("r3d_18", 33.4),  # torchvision, R3D_18_Weights.KINETICS400_V1
        ("s3d", 8.3),  # torchvision, S3D_Weights.KINETICS400_V1
        ("mvit_v2_s", 34.5),  # torchvision, MViT_V2_S_Weights.KINETICS400_V1
        ("swin3d_t", 28.2),  # torchvision, Swin3D_T_Weights.KINETICS400_V1
    ],
)
def test_parameters_as_published(name: str, millions: float) -> None:
    with without_values(), torch.device("meta"):
        network = MODELS[name](modality=modality_for(name, "spatial"), num_classes=400)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "clip", "side"),
    [
        ("resnet18", (1, 1), 224),
        ("tsm-resnet50", (8, 0), 224),
        ("inception-i3d", (64, 1), 224),
        ("r3d_18", (16, 2), 112),
        ("mc3_18", (16, 2), 112),
        ("r2plus1d_18", (16, 2), 112),
        ("mvit_v1_b", (16, 4), 224),
        ("mvit_v2_s", (16, 4), 224),
        ("own:network", (1, 1), 224),
    ],
)
def test_clip_and_size_as_published(name: str, clip: tuple[int, int], side: int) -> None:
    assert tuple(default_clip(name, "spatial").values()) == clip
    assert default_input_size(name) == side


def test_differences_of_neighbouring_frames() -> None:
    """A probe in place of the backbone sees (next frame - frame) / std, and no frame itself."""
    modality = MODALITIES["difference"]
    network = MODELS["resnet18"](modality=modality, num_classes=2)
    assert network.backbone.conv1.in_channels == 15
    seen = []

    class Probe(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.new_zeros(len(x), network.feature_size)

    network.backbone = Probe()
    clips = torch.randint(0, 256, (1, 2, 6, 3, 4, 4), dtype=torch.uint8)
    network(clips)
    std = torch.tensor(modality.std)[:, None, None]
    expected = (clips[:, :, 1:].float() - clips[:, :, :-1].float()) / std
    torch.testing.assert_close(seen[0].reshape(1, 2, 5, 3, 4, 4), expected)


def test_an_unknown_option_of_a_network_is_named() -> None:
    with pytest.raises(InputError, match=r"i3d-resnet18 has no option 'stride'; allowed: last"):
        build_network(
            "i3d-resnet18", consensus=mean, modality=modality_for("i3d-resnet18", "motion"),
            num_classes=4, options={"stride": 1},
        )  # fmt: skip


def test_the_interval_of_a_joint_network_counts_where_it_has_several_time_steps() -> None:
    """One of pictures sees neighbouring flow pairs alone: another interval is refused."""
    network = create_model(
        "tsm-resnet18", num_classes=2, stream="joint", clip_length=4, frame_interval=2
    )
    assert [part.interval for part in network.modality.parts] == [2, 2]
    for name in ("resnet18", "vgg11"):
        with pytest.raises(InputError, match=r"interval of 2: 10 neighbouring .* interval of 1"):
            create_model(name, num_classes=2, stream="joint", frame_interval=2)


def test_flow_in_stacks_at_each_time_step() -> None:
    network = create_model("tsm-resnet18", num_classes=2, stream="motion", stack=5)
    assert network.modality.sampling == {"snippet_length": 40, "interval": 0, "stack": 5}
    assert network.backbone.network.conv1.in_channels == 10
    with pytest.raises(InputError, match="clip length of 8: .* stacks of 5"):
        create_model("tsm-resnet18", num_classes=2, stream="motion", stack=5, clip_length=8)


def test_flow_channels_are_stacked_pair_by_pair() -> None:
    """The first layer must see u1 v1 u2 v2 ...: a probe in place of the backbone looks at it."""
    network = MODELS["resnet18"](modality=MODALITIES["motion"], num_classes=2)
    seen = []

    class Probe(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.new_zeros(len(x), network.feature_size)

    network.backbone = Probe()
    clips = torch.full((1, 1, 10, 2, 8, 8), 128, dtype=torch.uint8)
    clips[0, 0, 3, 1] = 255  # v of the fourth pair
    network(clips)
    channels = seen[0][0, :, 0, 0]
    assert channels.nonzero().flatten().tolist() == [7]


def test_cross_modality_initialisation() -> None:
    conv = torchvision.models.resnet18(weights=None).conv1
    adapted = adapt_input_channels(conv, 20)
    assert adapted.weight.shape == (64, 20, 7, 7)
    for channel in range(20):
        assert torch.equal(adapted.weight[:, channel], conv.weight.mean(dim=1))
    assert (adapted.stride, adapted.padding, adapted.bias) == ((2, 2), (3, 3), None)


def test_the_classifier_sees_the_features() -> None:
    network = MODELS["resnet18"](modality=MODALITIES["spatial"], num_classes=4).eval()
    clips = torch.randint(0, 256, (2, 3, 1, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        features = network.features(clips)
        assert features.shape == (2, 3, network.feature_size) == (2, 3, 512)
        assert torch.equal(network(clips), network.classifier(features))


def test_a_network_without_features_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(**_: object) -> torch.nn.Module:
        return torch.nn.Flatten()

    monkeypatch.setitem(sys.modules, "plain_network_of_a_test", SimpleNamespace(plain=plain))
    with pytest.raises(InputError, match="plain has no `features`: it must give"):
        build_network(
            TrustedName("plain_network_of_a_test:plain"),
            consensus=mean, modality=MODALITIES["spatial"], num_classes=4,
        )  # fmt: skip


@pytest.mark.parametrize("stream", ["spatial", "motion"])
def test_the_backbone_sees_normalised_values_in_the_precision_at_hand(stream: str) -> None:
    """Channels last; in bfloat16 rounded once, from the value that float32 has."""
    modality = MODALITIES[stream]
    seen: list[torch.Tensor] = []

    class Backbone(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            seen.append(values)
            return values.float().mean(dim=(2, 3))

    channels = modality.snippet_length * modality.channels
    network = SegmentNetwork(Backbone(), torch.nn.Linear(channels, 2), modality)
    shape = (1, 1, modality.snippet_length, modality.channels, 16, 16)
    clips = torch.arange(256, dtype=torch.uint8).reshape(16, 16).expand(shape)
    network.features(clips)
    with torch.autocast("cpu", torch.bfloat16):
        network.features(clips)
    exact, rough = seen
    mean, std = (np.array(values)[:, None, None] for values in (modality.mean, modality.std))
    expected = (np.arange(256.0).reshape(16, 16) - mean) / std
    repeated = np.tile(expected, (modality.snippet_length, 1, 1))
    assert np.allclose(exact[0].numpy(), repeated, atol=1e-5)
    assert rough.dtype == torch.bfloat16
    assert np.allclose(rough[0].float().numpy(), repeated, atol=0.02)
    assert all(values.is_contiguous(memory_format=torch.channels_last) for values in seen)
