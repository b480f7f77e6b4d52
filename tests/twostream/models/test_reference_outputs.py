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
                values = normal * (2 / tensor[0].numel()) ** 0.5
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


# Network, stream, shape, options; eight features of the reference, 0, 100, ... 700; the largest
# feature; and the largest difference from ours of any feature when they were recorded.
REFERENCES: list[tuple[Any, ...]] = [
    # piergiaj/pytorch-i3d
    (
        "inception-i3d",
        "spatial",
        (1, 3, 16, 96, 96),
        {},
        [0.04302, 0.07502, 0.54758, 0.00218, 1.70539, 1.21557, 0.02873, 0.66223],
        13.27245,
        1.9e-06,
    ),
    (
        "inception-i3d",
        "motion",
        (1, 2, 10, 112, 112),
        {},
        [0.0591, 0.01584, 0.34308, 0.0, 1.25391, 1.30239, 0.06285, 0.56915],
        10.48158,
        1.9e-06,
    ),
    # yjxiong/tensorflow-model-zoo.torch, as tsn-pytorch uses it
    (
        "bn-inception",
        "spatial",
        (1, 3, 96, 96),
        {},
        [0.0, 0.0, 0.0, 1.24024, 0.0937, 1.3645, 0.0, 0.62533],
        5.01945,
        4.8e-07,
    ),
    (
        "bn-inception",
        "motion",
        (1, 20, 128, 128),
        {},
        [0.0, 0.01856, 0.01674, 1.39265, 0.13714, 1.4808, 0.0, 0.72815],
        5.49187,
        4.8e-07,
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
    sample = result[: 100 * len(expected) : 100]
    np.testing.assert_allclose(sample.numpy(), expected, rtol=0, atol=1e-4 * largest)
