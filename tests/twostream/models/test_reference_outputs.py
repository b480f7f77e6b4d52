"""Networks beside the code that they follow, with the same weights and inputs.

The outputs below were computed by that code, in float32 on a CPU; only the numbers are kept.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twostream.models import MODELS
from twostream.transforms.presets import modality_of


def fill(network: nn.Module) -> nn.Module:
    """Give each tensor of a network values that depend on its name and shape alone.

    Convolutions and matrices keep the variance of what they see; normalisations are near 1 and 0.
    """
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tensor.shape)
            if name.endswith("running_var"):
                values = 1 + 0.1 * np.abs(normal)
            elif tensor.dim() == 1:
                values = float(name.endswith("weight")) + 0.1 * normal
            else:
                values = normal * tensor[0].numel() ** -0.5
            tensor.copy_(torch.from_numpy(np.asarray(values)))
    return network.eval()


def snippet(*shape: int) -> Tensor:
    """Normal values of that shape."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape)).float()


def features(name: str, stream: str, shape: tuple[int, ...], options: dict[str, Any]) -> Tensor:
    """What a backbone gives for a normalised snippet, (1, C, T, H, W) or (1, C, H, W)."""
    length = shape[2] if len(shape) == 5 else shape[1] // (3 if stream == "spatial" else 2)
    modality = modality_of(stream, clip_length=length, frame_interval=1)
    network = MODELS[name](modality=modality, num_classes=2, **options)
    with torch.inference_mode():
        result: Tensor = fill(network.backbone)(snippet(*shape))
    return result


# Network, stream, shape, options; eight features of the reference, evenly spread; the largest
# feature; and the largest difference from ours of any feature when they were recorded.
REFERENCES: list[tuple[Any, ...]] = [
    # piergiaj/pytorch-i3d
    (
        "inception-i3d",
        "spatial",
        (1, 3, 16, 96, 96),
        {},
        [0.16839, 0.09789, 0.0, 0.0, 0.03304, 0.00322, 0.24331, 0.01302],
        0.59438,
        6.0e-08,
    ),
    (
        "inception-i3d",
        "motion",
        (1, 2, 10, 112, 112),
        {},
        [0.17577, 0.09294, 0.0, 0.0, 0.03061, 0.00341, 0.25474, 0.00911],
        0.58127,
        6.0e-08,
    ),
    # yjxiong/tensorflow-model-zoo.torch, as tsn-pytorch uses it
    (
        "bn-inception",
        "spatial",
        (1, 3, 96, 96),
        {},
        [0.0, 0.0, 0.22786, 0.003, 0.162, 0.0, 0.05763, 0.0],
        0.72060,
        6.0e-08,
    ),
    (
        "bn-inception",
        "motion",
        (1, 20, 128, 128),
        {},
        [0.0, 0.0, 0.22496, 0.0019, 0.14871, 0.0, 0.06306, 0.0],
        0.72511,
        1.2e-07,
    ),
    # open-mmlab/mmaction2; the last one is also that of its published non-local networks
    (
        "i3d-resnet50",
        "spatial",
        (1, 3, 16, 64, 64),
        {"stem_stride": 1},
        [0.82383, 0.7257, 0.75922, 0.73586, 1.11442, 0.35969, 0.74268, 1.9265],
        4.86213,
        0.0e00,
    ),
    (
        "i3d-resnet18",
        "spatial",
        (1, 3, 8, 64, 64),
        {"inflate_both": True},
        [0.09455, 0.40529, 0.84247, 0.19203, 1.63287, 0.04429, 0.03938, 0.11022],
        3.03586,
        0.0e00,
    ),
    (
        "nonlocal-i3d-resnet50",
        "spatial",
        (1, 3, 16, 64, 64),
        {"pool_first": False, "use_scale": False},
        [0.59701, 4.95712, 0.75377, 1.46785, 2.44407, 0.64741, 5.43496, 4.48149],
        23.90817,
        1.4e-05,
    ),
]


@pytest.mark.parametrize(
    ("name", "stream", "shape", "options", "expected", "largest", "difference"),
    REFERENCES,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_as_the_reference_code(
    name: str,
    stream: str,
    shape: tuple[int, ...],
    options: dict[str, Any],
    expected: list[float],
    largest: float,
    difference: float,
) -> None:
    result = features(name, stream, shape, options)[0]
    assert difference <= 1e-4 * largest
    assert result.abs().max() == pytest.approx(largest, rel=1e-4)
    sample = result[:: len(result) // len(expected)]
    np.testing.assert_allclose(sample.numpy(), expected, rtol=0, atol=1e-4 * largest)
