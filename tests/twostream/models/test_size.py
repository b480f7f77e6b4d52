"""Sizes against published ones."""

from __future__ import annotations

import pytest

from twostream.models.size import network_size
from twostream_base.vision import torchvision


@pytest.mark.parametrize(
    ("name", "side", "frames"),
    [
        ("resnet18", 224, 1),
        ("resnet50", 224, 1),
        ("mobilenet_v2", 224, 1),
        ("regnet_y_400mf", 224, 1),  # cannot be built on the meta device
        ("vit_b_16", 224, 1),
        ("s3d", 224, 16),
        ("r2plus1d_18", 112, 16),
        ("mvit_v2_s", 224, 16),
    ],
)
def test_pictures_and_clips_as_torchvision_publishes_them(
    name: str, side: int, frames: int
) -> None:
    """Its table of weights says parameters and, as GFLOPS, thousand millions of multiply-adds."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    classes = len(published["categories"])
    size = network_size(name, stream="spatial", num_classes=classes, side=side)
    assert (size.frames, size.parameters) == (frames, published["num_params"])
    assert size.multiply_adds / 1e9 == pytest.approx(published["_ops"], abs=0.001)


@pytest.mark.parametrize(
    ("name", "side", "published", "tolerance"),
    [
        # mmaction2's model zoos. They count norms and activations too, a half to one percent, of
        # MobileNet's thin layers more; those of I3D hold for a side of 256.
        ("tsm-resnet50", 224, 32.88, 0.01),
        ("tsm-mobilenet_v2", 256, 3.269, 0.05),
        ("i3d-resnet50", 256, 43.5, 0.01),
        ("nonlocal-i3d-resnet50", 256, 59.3, 0.01),
    ],
)
def test_converted_networks_as_published(
    name: str, side: int, published: float, tolerance: float
) -> None:
    size = network_size(name, stream="spatial", num_classes=400, side=side)
    assert size.multiply_adds / 1e9 == pytest.approx(published, rel=tolerance)
    assert size.multiply_adds / 1e9 <= published


def test_flow_changes_the_first_layer_alone() -> None:
    """Of ResNet18: 64 filters of 7 x 7, 20 channels instead of 3, at 112 x 112 places."""
    spatial, motion = (
        network_size("resnet18", stream=stream, num_classes=10, side=224)
        for stream in ("spatial", "motion")
    )
    assert (motion.frames, motion.step) == (10, 1)
    assert motion.parameters - spatial.parameters == 64 * 49 * 17
    assert motion.multiply_adds - spatial.multiply_adds == 64 * 49 * 17 * 112**2
