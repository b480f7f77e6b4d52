from __future__ import annotations

import copy
from dataclasses import make_dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.models import MODELS
from twostream.models.checkpoint import load_weights, save_checkpoint
from twostream.models.i3d import NonLocalBlock
from twostream.models.segment_network import SegmentNetwork, disable_bf16_for_small_conv3d, is_small
from twostream.transforms.presets import modality_of


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "small"),
    [
        ((3, 1, 1), 1, (2, 7, 7), True),
        ((3, 1, 1), 1, (3, 7, 7), True),
        ((3, 1, 1), 1, (4, 1, 1), False),
        ((1, 3, 3), 1, (1, 4, 4), False),
        ((1, 3, 3), 1, (8, 3, 7), True),
        ((1, 1, 1), (1, 2, 2), (8, 7, 2), True),
        ((1, 1, 1), 1, (1, 1, 1), False),
        ((5, 7, 7), (2, 2, 2), (5, 64, 64), True),
        ((5, 7, 7), (2, 2, 2), (6, 64, 64), False),
    ],
)
def test_small_is_no_longer_than_kernel_or_stride(
    kernel: tuple[int, ...], stride: int, size: tuple[int, ...], small: bool
) -> None:
    layer = nn.Conv3d(1, 1, kernel, stride=stride)
    assert is_small(layer, torch.zeros(1, 1, *size)) == small


@pytest.mark.parametrize(
    ("kernel", "size"), [((3, 1, 1), (2, 7, 7)), ((3, 3, 3), (2, 4, 4)), ((5, 1, 1), (3, 7, 7))]
)
def test_gradients_in_bfloat16_are_those_of_float32(
    kernel: tuple[int, ...], size: tuple[int, ...]
) -> None:
    """On CPUs that compute in bfloat16, these were whatever was in memory."""
    torch.manual_seed(0)
    layer = nn.Conv3d(64, 64, kernel, padding=tuple(k // 2 for k in kernel))
    disable_bf16_for_small_conv3d(layer)
    x = torch.randn(4, 64, *size)
    gradients = []
    for half in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            layer(x.to(torch.bfloat16) if half else x).float().square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert (gradients[0] - gradients[1]).abs().max() < 0.02 * gradients[0].abs().max()


def test_large_ones_stay_in_bfloat16_and_a_copy_has_its_own_weights() -> None:
    layer = nn.Conv3d(2, 2, 3)
    disable_bf16_for_small_conv3d(layer)
    x = torch.randn(1, 2, 8, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert layer(x[:, :, :3]).dtype == torch.float32
    other = copy.deepcopy(layer)
    nn.init.zeros_(other.weight)
    assert not torch.equal(layer(x), other(x))


def test_networks_of_clips_do_so() -> None:
    """R(2+1)D has two of 16 frames left in its last block."""
    modality = modality_of("spatial", clip_length=16, frame_interval=1)
    sizes = []
    with torch.device("meta"):
        shapes_alone = MODELS["r2plus1d_18"](modality=modality, num_classes=2)
        shapes_alone.backbone.layer4.register_forward_pre_hook(
            lambda layer, inputs: sizes.append(inputs[0].shape)
        )
        shapes_alone(torch.zeros(1, 1, 16, 3, 32, 32, dtype=torch.uint8))
    assert sizes == [(1, 256, 4, 4, 4)]

    layer4 = MODELS["r2plus1d_18"](modality=modality, num_classes=2).backbone.layer4
    seen = set()
    for layer in layer4[1].modules():
        if isinstance(layer, nn.Conv3d) and layer.kernel_size[0] == 3:
            layer.register_forward_hook(lambda layer, inputs, output: seen.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        layer4(torch.zeros(*sizes[0]))
    assert seen == {torch.float32}


def network_of_clips(*layers: nn.Module) -> SegmentNetwork:
    modality = modality_of("spatial", clip_length=4, frame_interval=1)
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())
    return SegmentNetwork(backbone, nn.Linear(8, 3), modality, is_3d=True)


def convolutions() -> SegmentNetwork:
    torch.manual_seed(0)
    return network_of_clips(
        nn.Conv3d(3, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        nn.MaxPool3d((1, 3, 3), stride=2),
        NonLocalBlock(8),
        nn.Conv3d(8, 8, 3, padding=1, groups=8),
        nn.Softplus(),
    )


@pytest.fixture
def device_on_cpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A GPU's name, to which a network goes without leaving the CPU."""
    monkeypatch.setattr(SegmentNetwork, "to", lambda self, device: self)
    return torch.device("cuda")


def test_on_a_gpu_3d_networks_compute_the_same_with_channels_last(
    device_on_cpu: torch.device,
) -> None:
    """All but grouped convolutions see such clips and hold such weights; back on a CPU none."""
    plain, ordered = convolutions(), convolutions()
    plain.to_device(torch.device("cpu"))
    ordered.to_device(device_on_cpu)
    ordered = copy.deepcopy(ordered)  # as --ema makes one
    clips = torch.randint(0, 256, (2, 2, 4, 3, 12, 10), dtype=torch.uint8)
    orders: list[tuple[bool, bool]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        tensors = (inputs[0], layer.get_parameter("weight"))
        last, first = (
            all(t.is_contiguous(memory_format=order) for t in tensors)
            for order in (torch.channels_last_3d, torch.contiguous_format)
        )
        orders.append((last, first))

    logits = []
    for network in (plain, ordered):
        network.backbone[0].register_forward_pre_hook(note)
        logits.append(network(clips))
        logits[-1].square().sum().backward()
    assert orders == [(False, True), (True, False)]
    assert torch.allclose(*logits, rtol=0, atol=1e-5)
    for (name, weights), others in zip(plain.named_parameters(), ordered.parameters(), strict=True):
        assert torch.allclose(weights.grad, others.grad, rtol=1e-5, atol=1e-5), name
    assert ordered.backbone[4].weight.is_contiguous()
    ordered.to_device(torch.device("cpu"))
    assert all(weights.is_contiguous() for weights in ordered.parameters())


def test_a_network_that_folds_clips_to_pictures_gets_them_as_on_a_cpu(
    device_on_cpu: torch.device,
) -> None:
    seen: list[Tensor] = []
    network = network_of_clips(nn.Identity())
    network.backbone.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    network.classifier = nn.Identity()
    network.to_device(device_on_cpu)
    network(torch.zeros(1, 2, 4, 3, 8, 8, dtype=torch.uint8))
    assert [clips.is_contiguous() for clips in seen] == [True]


@pytest.mark.parametrize("from_gpu", [True, False])
def test_weights_are_written_in_one_order_and_load_into_either(
    from_gpu: bool, device_on_cpu: torch.device, tmp_path: Path
) -> None:
    networks = convolutions(), convolutions()
    networks[from_gpu].to_device(torch.device("cpu"))
    networks[not from_gpu].to_device(device_on_cpu)
    written, reader = networks
    nn.init.zeros_(reader.backbone[0].weight)
    save_checkpoint(tmp_path / "last", written, make_dataclass("Card", [])(), {})
    file = safetensors.torch.load_file(tmp_path / "last" / "weights.safetensors")
    assert torch.equal(file["backbone.0.weight"], convolutions().backbone[0].weight)
    strides = [weights.stride() for weights in reader.parameters()]
    load_weights(tmp_path / "last", reader)
    assert strides == [weights.stride() for weights in reader.parameters()]
    for weights, others in zip(written.parameters(), reader.parameters(), strict=True):
        assert torch.equal(weights, others)
