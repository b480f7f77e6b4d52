from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from twostream.models import MODELS
from twostream.models.segment_network import disable_bf16_for_small_conv3d, is_small
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
