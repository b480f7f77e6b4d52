from __future__ import annotations

import pytest
import torch

from twostream.compute.precision import autocast
from twostream.sequence.network import build_network
from twostream_base.errors import InputError

CONV = "conv widths=8,8,8"


def clips(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 13, channels, 32, 32), generator=generator)
    return frames.to(torch.uint8), torch.tensor([13, 8])


@pytest.mark.parametrize(
    ("stream", "backbone"), [("spatial", "plain width=2"), ("motion", "resnet18")]
)
def test_contract(stream: str, backbone: str) -> None:
    torch.manual_seed(0)
    network = build_network(stream=stream, backbone=backbone, temporal=[CONV], classes=5)
    frames, lengths = clips(3 if stream == "spatial" else 2)
    log_probs, steps = network(frames, lengths)
    assert log_probs.shape == (2, 3, 5)
    assert steps.tolist() == [3, 2]
    assert torch.allclose(log_probs.exp().sum(2), torch.ones(2, 3))
    log_probs.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_padding_changes_nothing() -> None:
    """In training too: padding never enters the batch statistics of the backbone."""
    torch.manual_seed(0)
    network = build_network(stream="spatial", backbone="plain width=2", temporal=[CONV], classes=5)
    frames, lengths = clips()
    other = frames.clone()
    other[1, 8:] = 255
    assert torch.equal(network(frames, lengths)[0][1, :2], network(other, lengths)[0][1, :2])
    network.eval()
    alone, _ = network(frames[1:, :8], lengths[1:])
    assert torch.allclose(network(frames, lengths)[0][1, :2], alone[0], atol=1e-5)


@pytest.mark.parametrize(
    "temporal", [CONV, "dynamic_framing k=4", "local_attention heads=4", "tcn width=8", "dedup"]
)
def test_bfloat16(temporal: str) -> None:
    torch.manual_seed(0)
    network = build_network(
        stream="spatial", backbone="plain width=2", temporal=[temporal], classes=5
    )
    with autocast(torch.device("cpu"), "bf16"):
        log_probs, _ = network(*clips())
    assert log_probs.dtype == torch.float32
    assert torch.isfinite(log_probs).all()
    log_probs.sum().backward()


def test_wrong_backbone() -> None:
    with pytest.raises(InputError, match="'vgg'.*plain, resnet18"):
        build_network(stream="spatial", backbone="vgg", temporal=[CONV], classes=5)


def test_plain_cnn_is_the_notes() -> None:
    """3 -> 32, then blocks of two convolutions to 64, 128, 256, 512; each halves the picture."""
    network = build_network(stream="spatial", backbone="plain", temporal=["conv"], classes=5)
    convolutions = [m for m in network.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (3, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512),
        (512, 512),
    ]  # fmt: skip
    assert network.temporal.out_features == 1024
