import copy

import pytest
import torch
from torch import nn

from twostream.models import MODELS
from twostream.models.activation_checkpointing import checkpoint_activations
from twostream.transforms.presets import modality_of
from twostream_base.errors import InputError


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    modality = modality_of("spatial", clip_length=4 if MODELS[name].clip else 1, frame_interval=1)
    return MODELS[name](modality=modality, num_classes=3)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet18", 8), ("i3d-resnet18", 8), ("r3d_18", 8), ("bn-inception", 10),
     ("inception-i3d", 9)],
)  # fmt: skip
def test_gradients_and_statistics_are_the_same(name: str, blocks: int) -> None:
    plain = build(name)
    saving = copy.deepcopy(plain)
    assert checkpoint_activations(saving) == blocks
    length = plain.mean.shape[0] // 3
    clips = torch.randint(0, 256, (2, 1, length, 3, 32, 32), dtype=torch.uint8)
    for network in (plain, saving):
        torch.manual_seed(1)
        network(clips).square().sum().backward()
    for (key, one), (_, other) in zip(
        plain.named_parameters(), saving.named_parameters(), strict=True
    ):
        assert torch.equal(one.grad, other.grad), key
    for (key, one), (_, other) in zip(
        plain.state_dict().items(), saving.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), key
    with torch.inference_mode():
        assert torch.equal(plain.eval()(clips), saving.eval()(clips))


def test_activations_are_not_kept() -> None:
    """Elements saved for the gradient: those inside the blocks are no longer among them."""
    kept = {}
    for saves in (False, True):
        network = build("resnet18")
        if saves:
            checkpoint_activations(network)
        count = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        clips = torch.zeros(2, 1, 1, 3, 64, 64, dtype=torch.uint8)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(clips)
        kept[saves] = count
    assert kept[True] < 0.6 * kept[False]


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="--recompute needs a network made of blocks"):
        checkpoint_activations(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)))


def test_a_copy_computes_with_its_own_blocks() -> None:
    """The running average of the weights is a copy of the network."""
    network = build("resnet18").eval()
    checkpoint_activations(network)
    clips = torch.randint(0, 256, (1, 1, 1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        before = network.features(clips)
        average = copy.deepcopy(network)
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(average.features(clips), before)
