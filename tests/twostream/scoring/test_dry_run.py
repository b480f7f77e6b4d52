from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from click.testing import Result
from torch import nn

from twostream.models import MODELS
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.dry_run import check_input_sizes
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError

from ..conftest import MiniProject

CPU = torch.device("cpu")


def look(
    network: SegmentNetwork, *, input_size: int, protocols: tuple[str, ...] = ("clips19",)
) -> None:
    modality = MODALITIES["spatial"]
    check_input_sizes(
        network,
        model="a",
        modality=modality,
        input_size=input_size,
        protocols=protocols,
        device=CPU,
    )


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
        InputError, match="256 x 256 .*, as protocol accurate of --input-size 224 gives"
    ):
        look(network, input_size=224, protocols=("clips19", "accurate"))


def test_short_memory_is_not_taken_for_it() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        look(only_of(32, torch.OutOfMemoryError), input_size=64)


def test_the_network_and_the_random_numbers_stay() -> None:
    network = MODELS["resnet18"](modality=MODALITIES["spatial"], num_classes=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    look(network, input_size=32, protocols=("accurate",))
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
