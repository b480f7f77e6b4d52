"""Sizes against published ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import nn

from twostream.models import MODELS
from twostream.models.probe import check_input_sizes, network_size
from twostream.models.segment_network import SegmentNetwork
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError
from twostream_base.vision import torchvision

from ..conftest import MiniProject


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
    name: str, side: int, published: float, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = MODELS[name]
    if "non_local" in network.options:  # mmaction2's pool behind phi and g, which costs more
        mmaction2 = {**network.options, "pool_first": False}
        monkeypatch.setitem(MODELS, name, replace(network, options=mmaction2))
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


CPU = torch.device("cpu")


def look(
    network: SegmentNetwork, *, input_size: int, protocols: tuple[str, ...] = ("clips19",)
) -> None:
    spec = SimpleNamespace(model="a", modality=MODALITIES["spatial"], input_size=input_size)
    check_input_sizes(network, spec, protocols=protocols, device=CPU)


def only_of(side: int, error: type[Exception] = RuntimeError) -> SegmentNetwork:
    """A network that takes pictures of that side alone."""

    class Backbone(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] != side:
                raise error(f"Wrong side! Expected {side} but got {x.shape[-1]}\nand more")
            return x.mean(dim=(2, 3))

    return SegmentNetwork(Backbone(), nn.Linear(3, 2), MODALITIES["spatial"])


@pytest.mark.parametrize("error", [RuntimeError, AssertionError])
def test_what_it_cannot_take_is_named_with_its_cause(error: type[Exception]) -> None:
    network = only_of(224, error)
    look(network, input_size=224, protocols=("clips19", "tsn25x10"))
    with pytest.raises(
        InputError,
        match=r"a cannot take 64 x 64 pixels of 1 frames or pairs, as --input-size 64 gives them "
        r"\(Wrong side! Expected 224 but got 64\)\.",
    ):
        look(network, input_size=64)
    with pytest.raises(
        InputError, match="256 x 256 .*, as protocol segments:25x3 of --input-size 224 gives"
    ):
        look(network, input_size=224, protocols=("clips19", "segments:25x3"))


def test_short_memory_is_not_taken_for_it() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        look(only_of(32, torch.OutOfMemoryError), input_size=64)


def test_the_network_and_the_random_numbers_stay() -> None:
    network = MODELS["resnet18"](modality=MODALITIES["spatial"], num_classes=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    look(network, input_size=32, protocols=("segments:25x3",))
    assert network.training
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_train_refuses_it_before_the_first_step(
    twostream: Callable[..., Result], mini: MiniProject
) -> None:
    options = ["--weights", "none", "--device", "cpu", "--runs", "runs", "--input-size", "64"]
    result = twostream(
        "train", "--stream", "spatial", "--model", "maxvit_t", *mini.arguments, *options,
        exit_code=2,
    )  # fmt: skip
    assert "maxvit_t cannot take 64 x 64 pixels" in result.output
