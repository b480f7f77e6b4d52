from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from twostream.errors import InputError
from twostream.models import MODELS, build_network
from twostream.models.consensus import mean
from twostream.models.input_channels import adapt_input_channels
from twostream.transforms.presets import MODALITIES
from twostream.vision import torchvision


@pytest.mark.parametrize("stream", MODALITIES)
@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str, stream: str) -> None:
    """Uint8 clips in, one row of logits a segment out; every layer learns; eval is repeatable."""
    modality = MODALITIES[stream]
    torch.manual_seed(0)
    network = MODELS[name](modality=modality, num_classes=7)
    shape = (2, 3, modality.snippet_length, modality.channels, 64, 64)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    logits = network(clips)
    assert logits.shape == (2, 3, 7)
    assert logits.dtype == torch.float32
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(clips), network(clips))
        alone = network(clips[:1, 1:2])
    assert torch.allclose(network(clips)[0, 1], alone[0, 0], atol=1e-4)


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
            "plain_network_of_a_test:plain",
            consensus=mean, modality=MODALITIES["spatial"], num_classes=4,
        )  # fmt: skip
