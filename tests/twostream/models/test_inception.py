from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from twostream.models import MODELS
from twostream.models.inception import SamePool, pad_same
from twostream.transforms.presets import MODALITIES, modality_of
from twostream_base.errors import InputError
from twostream_base.vision import torchvision


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(224, 7, 2, 2, 3), (225, 7, 2, 3, 3), (112, 3, 2, 0, 1), (57, 3, 2, 1, 1), (8, 2, 2, 0, 0)]
    + [(7, 2, 2, 0, 1), (16, 3, 1, 1, 1), (5, 1, 2, 0, 0)],
)
def test_padding_of_tensorflow(
    size: int, kernel: int, stride: int, before: int, after: int
) -> None:
    """TensorFlow's guide: max((ceil(n / s) - 1) s + k - n, 0), the odd one at the end."""
    padded = pad_same(torch.ones(1, 1, size), kernel=(kernel,), stride=(stride,))[0, 0]
    assert padded.tolist() == [0.0] * before + [1.0] * size + [0.0] * after
    assert (len(padded) - kernel) // stride + 1 == -(-size // stride)


def test_pools_without_a_common_side() -> None:
    x = torch.rand(1, 2, 5, 6, 7)
    assert SamePool((3, 3, 3), (2, 2, 2))(x).shape == (1, 2, 3, 3, 4)
    assert SamePool((1, 3, 3), (1, 2, 2))(x).shape == (1, 2, 5, 3, 4)


def test_time_of_a_clip_in_i3d() -> None:
    """64 frames become 8 steps, whose inner ones count twice the outer ones (figure 3: 2x7x7)."""
    network = MODELS["inception-i3d"](
        modality=modality_of("spatial", clip_length=64, frame_interval=1), num_classes=2
    ).backbone.eval()
    seen = []
    network.inception5c.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        features = network(torch.rand(1, 3, 64, 32, 32))
    assert seen[0].shape == (1, 1024, 8, 1, 1)
    weights = torch.tensor([0.5, 1, 1, 1, 1, 1, 1, 0.5]) / 7
    torch.testing.assert_close(features, seen[0][..., 0, 0] @ weights, atol=1e-5, rtol=1e-5)


def test_i3d_is_inflated_from_googlenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of ImageNet are those of torchvision's GoogLeNet, which sees (x - 127.5) / 127.5."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    googlenet = torchvision.models.googlenet(weights=None, init_weights=False).state_dict()
    assert any(key.startswith("aux1.") for key in googlenet)
    torch.save(googlenet, cache / "googlenet-1378be20.pth")
    modality = modality_of("spatial", clip_length=8, frame_interval=1)
    network = MODELS["inception-i3d"](modality=modality, num_classes=2, weights="imagenet")
    assert network.mean.unique().tolist() == network.std.unique().tolist() == [127.5]
    for ours, theirs in (
        ("conv1", "conv1"),
        ("inception3b.branch2.1", "inception3a.branch2.1"),
        ("inception4f.branch4.1", "inception4e.branch4.1"),
        ("inception5c.branch3.1", "inception5b.branch3.1"),
    ):
        layer = network.backbone.get_submodule(ours)
        kernel = layer.conv.weight
        torch.testing.assert_close(kernel.sum(dim=2), googlenet[f"{theirs}.conv.weight"])
        assert torch.equal(kernel[:, :, 0], kernel[:, :, -1])
        assert torch.equal(layer.bn.running_var, googlenet[f"{theirs}.bn.running_var"])
    motion = modality_of("motion", clip_length=8, frame_interval=1)
    flow = MODELS["inception-i3d"](modality=motion, num_classes=2, weights="imagenet")
    rgb = network.backbone.conv1.conv.weight
    torch.testing.assert_close(flow.backbone.conv1.conv.weight[:, 1], rgb.mean(dim=1))
    assert flow.mean.unique().tolist() == [128.0]


def test_bn_inception_has_no_weights_of_torchvision() -> None:
    with pytest.raises(
        InputError, match=r"no imagenet weights for bn-inception; .* none, or a FILE"
    ):
        MODELS["bn-inception"](modality=MODALITIES["spatial"], num_classes=2, weights="imagenet")


def test_bn_inception_takes_any_size() -> None:
    """7 x 7 places of res 4 become 4 x 4 in every branch, though Caffe's pooling would give 3."""
    network = MODELS["bn-inception"](modality=MODALITIES["spatial"], num_classes=2).backbone.eval()
    with torch.inference_mode():
        assert nn.Sequential(*network)[:-2](torch.zeros(1, 3, 112, 80)).shape == (1, 1056, 4, 3)


@pytest.mark.parametrize("name", ["bn-inception", "inception-i3d"])
def test_weights_of_a_run(name: str, tmp_path: Path) -> None:
    length = 10 if name == "bn-inception" else 8
    modality = modality_of("motion", clip_length=length, frame_interval=1)
    trained = MODELS[name](modality=modality, num_classes=3)
    nn.init.normal_(trained.backbone.inception5b.branch1.bn.running_mean)
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    again = MODELS[name](modality=modality, num_classes=2, weights=str(tmp_path / "weights.pth"))
    state = again.backbone.state_dict()
    assert all(torch.equal(state[key], w) for key, w in trained.backbone.state_dict().items())
