from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from twostream.errors import InputError
from twostream.models import MODELS
from twostream.models.backbones import read_weights
from twostream.models.consensus import CONSENSUS
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
            return x.mean(dim=(2, 3))

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


@pytest.fixture
def resnet18_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(torchvision.models.resnet18(weights=None).state_dict())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(
    tmp_path: Path, resnet18_state: dict[str, torch.Tensor], suffix: str
) -> None:
    """Everything but the classifier is taken; a file from before batch counters is good too."""
    path = tmp_path / f"resnet18{suffix}"
    old = {k: v for k, v in resnet18_state.items() if not k.endswith("num_batches_tracked")}
    if suffix == ".pth":
        torch.save(old, path)
    else:
        safetensors.torch.save_file(old, path)
    network = MODELS["resnet18"](
        modality=MODALITIES["motion"], num_classes=5, weights=str(path)
    ).backbone
    assert torch.equal(network.layer4[1].conv2.weight, old["layer4.1.conv2.weight"])
    assert torch.equal(network.conv1.weight[:, 11], old["conv1.weight"].mean(dim=1))
    assert network.fc.weight.shape == (5, 512)


def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, resnet18_state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "weights.pth"
    resnet18_state["conv1.weight"] = torch.zeros(64, 20, 7, 7)
    del resnet18_state["bn1.bias"]
    resnet18_state["head.weight"] = torch.zeros(1)
    torch.save(resnet18_state, path)
    with pytest.raises(InputError) as caught:
        MODELS["resnet18"](modality=MODALITIES["motion"], num_classes=5, weights=str(path))
    for part in ("bn1.bias is absent", "head.weight is not part", "(64, 20, 7, 7) instead of"):
        assert part in str(caught.value)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('executed', 'w').close()",))


def test_weights_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Hostile()}, "hostile.pth")
    with pytest.raises(InputError, match="hostile.pth: not a file of weights"):
        read_weights(Path("hostile.pth"))
    assert not Path("executed").exists()


@pytest.mark.filterwarnings("ignore")  # torch warns of the old format that the noise may be
@pytest.mark.parametrize("content", [b"", b"some text", b"\x80\x02}q\x00."])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    network = MODELS["resnet18"]
    with pytest.raises(InputError, match="weights.pth"):
        network(modality=MODALITIES["spatial"], num_classes=2, weights=str(path))


def test_missing_weights_file() -> None:
    with pytest.raises(InputError, match="no such file; --weights takes imagenet, none"):
        read_weights(Path("nowhere.pth"))


LOGITS = torch.tensor([[[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0],
                        [0.1, 0.1, -0.4, 0.9]]])  # fmt: skip


def test_consensus_values() -> None:
    weights = np.array([1.2838, 0.7917, 0.2892])
    expected = {
        "mean": [-0.2354, 0.4227, 0.3480, 0.3667],
        "sum": [-0.7062, 1.2681, 1.0440, 1.1001],
        "max": [0.5, 1.4182, 1.75, 0.9],
        "variance": (weights @ LOGITS[0].numpy() / weights.sum()).tolist(),
    }
    assert set(expected) == set(CONSENSUS)
    for name, values in expected.items():
        assert CONSENSUS[name](LOGITS)[0].tolist() == pytest.approx(values, abs=2e-4)


@pytest.mark.parametrize("name", CONSENSUS)
def test_consensus_contract(name: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    fused = CONSENSUS[name](logits)
    assert fused.shape == (1, 4)
    fused[0, 1].backward()
    assert torch.isfinite(logits.grad).all()
    same = CONSENSUS[name](torch.ones(2, 3, 4))
    assert torch.allclose(same, torch.full((2, 4), 3.0 if name == "sum" else 1.0))
    assert torch.allclose(CONSENSUS[name](LOGITS[:, [2, 0, 1]]), CONSENSUS[name](LOGITS))


def test_variance_consensus_gives_its_weights_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    CONSENSUS["variance"](logits)[0, 1].backward()
    assert (logits.grad[0, :, [0, 2, 3]] == 0).all()
