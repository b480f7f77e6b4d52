from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from twostream.compute.device import autocast
from twostream.sequence.network import (
    STEP_HEADS,
    JointSequenceNetwork,
    SequenceNetwork,
    build_network,
    freeze,
    load_parts,
    named_parts,
    rate_groups,
    read_rates,
)
from twostream.sequence.options import SIMILARITIES
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


@pytest.mark.parametrize("fuse", list(STEP_HEADS))
def test_both_streams(fuse: str) -> None:
    """Padding changes nothing; every weight learns, those of the streams by their own losses."""
    torch.manual_seed(0)
    network = joint_network(fuse=fuse)
    frames, lengths = clips(5)
    other = frames.clone()
    other[1, 8:] = 255
    outputs, steps = network.heads(frames, lengths)
    assert [rows.shape for rows in outputs] == [(2, 3, 5)] * 3
    assert steps.tolist() == [3, 2]
    for rows, padded in zip(outputs, network.heads(other, lengths)[0], strict=True):
        assert torch.equal(rows[1, :2], padded[1, :2])
    assert torch.equal(network.eval()(frames, lengths)[0], network.heads(frames, lengths)[0][0])
    if fuse == "sum":
        _, rgb, flow = network.heads(frames, lengths)[0]
        mean = ((rgb + flow) / 2).log_softmax(2)
        assert torch.allclose(network(frames, lengths)[0], mean, atol=1e-6), "late fusion"
    sum(rows.square().mean() for rows in network.train().heads(frames, lengths)[0]).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def joint_network(keep: str = "all", **options: Any) -> JointSequenceNetwork:
    temporal = [f"dynamic_framing k=3 keep={keep}", "conv widths=8,8,8"]
    network = build_network(
        stream="joint", backbone="plain width=2", temporal=temporal, classes=5, **options
    )
    assert isinstance(network, JointSequenceNetwork)
    return network


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_dynamic_framing_chooses_once_for_both_streams(similarity: str) -> None:
    """The frames of the features that were named."""
    torch.manual_seed(0)
    network = joint_network("sampled", similarity=similarity)
    frames, lengths = clips(5)
    framings = [chain.stages[0] for chain in network.temporal.values()]
    snippets = []
    for framing in framings:
        framing.register_forward_hook(lambda module, inputs, output: snippets.append(inputs[2]))
    torch.manual_seed(1)
    network(frames, lengths)
    torch.manual_seed(1)
    both = network.frame_features(frames, lengths)
    features = {"joined": both, "spatial": both[:, :, :32], "motion": both[:, :, 32:]}[similarity]
    expected = framings[0].select(features, lengths)
    assert len(snippets) == 2
    for chosen in snippets:
        assert all(torch.equal(a, b) for a, b in zip(chosen, expected, strict=True))


def test_unknown_similarity() -> None:
    with pytest.raises(InputError, match="'rgb'.*joined, spatial, motion"):
        joint_network(similarity="rgb")


@pytest.mark.parametrize("stage", ["random_sampling", "dedup k=2", "dynamic_framing keep=sampled"])
def test_frames_that_would_differ_between_the_streams(stage: str) -> None:
    with pytest.raises(InputError, match=f"{stage}.*keep=sampled.* first"):
        build_network(stream="joint", backbone="plain", temporal=["conv", stage], classes=5)


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


def network(*temporal: str, seed: int = 0) -> SequenceNetwork:
    torch.manual_seed(seed)
    return build_network(stream="spatial", backbone="plain width=2", temporal=temporal, classes=4)


CONV, TOP = "conv widths=32,32 kernels=3,3", "conv widths=32, kernels=3, pools=0"
ATTENTION = "local_attention heads=4"


def test_names() -> None:
    names = list(named_parts(network(CONV, TOP)))
    assert names == ["backbone", "temporal", "temporal.0", "temporal.1", "classifier"]
    assert list(named_parts(joint_network())) == [
        "backbone", "backbone.spatial", "backbone.motion", "temporal", "temporal.spatial",
        "temporal.motion", "classifier", "classifier.spatial", "classifier.motion",
    ]  # fmt: skip


def test_parts_are_loaded_where_they_belong(tmp_path: Path) -> None:
    """The notes' v3: attention comes in between, so the second module becomes the third."""
    source, target = network(CONV, TOP, seed=1), network(CONV, ATTENTION, TOP)
    before = target.classifier.weight.clone()
    (tmp_path / "best").mkdir()
    safetensors.torch.save_file(source.state_dict(), tmp_path / "best/weights.safetensors")
    load_parts(target, tmp_path, ["backbone", "temporal.0", "temporal.2=temporal.1"])
    pairs = [
        (target.backbone, source.backbone),
        (target.temporal.stages[0], source.temporal.stages[0]),
        (target.temporal.stages[2], source.temporal.stages[1]),
    ]
    for loaded, original in pairs:
        for name, tensor in original.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name
    assert torch.equal(target.classifier.weight, before)
    joint = joint_network()
    safetensors.torch.save_file(joint.state_dict(), tmp_path / "joint.safetensors")
    again = joint_network()
    load_parts(again, tmp_path / "joint.safetensors", ["temporal.spatial"])
    of_rgb = again.temporal["spatial"].state_dict()
    for name, tensor in joint.temporal["spatial"].state_dict().items():
        assert torch.equal(of_rgb[name], tensor), name
    with pytest.raises(InputError, match="weights.safetensors: .*temporal.1"):
        load_parts(target, tmp_path, ["temporal.1"])
    with pytest.raises(InputError, match="'head'.*backbone, temporal, temporal.0"):
        load_parts(target, tmp_path, ["head"])
    with pytest.raises(InputError, match="nowhere"):
        load_parts(target, tmp_path / "nowhere", ["backbone"])


def test_rates_of_parts() -> None:
    net = network(CONV, TOP)
    groups = rate_groups(net, lr=1e-3, part_lr={"temporal": 1e-4, "temporal.1": 1e-5})
    by_rate = {group["lr"]: {id(p) for p in group["params"]} for group in groups}
    assert by_rate[1e-5] == {id(p) for p in net.temporal.stages[1].parameters()}
    assert by_rate[1e-4] == {id(p) for p in net.temporal.stages[0].parameters()}
    rest = [*net.backbone.parameters(), *net.classifier.parameters()]
    assert by_rate[1e-3] == {id(p) for p in rest}


def test_frozen_parts_do_not_learn() -> None:
    net = network(CONV).train()
    freeze(net, ["backbone"])
    before = {name: t.clone() for name, t in net.backbone.state_dict().items()}
    clips = torch.randint(0, 256, (1, 6, 3, 32, 32), dtype=torch.uint8)
    net(clips, torch.tensor([6]))[0].sum().backward()
    assert all(p.grad is None for p in net.backbone.parameters())
    assert all(torch.equal(t, before[name]) for name, t in net.backbone.state_dict().items())
    groups = rate_groups(net, lr=1.0, part_lr={})
    assert len(groups[0]["params"]) == len([p for p in net.parameters() if p.requires_grad])


def test_read_rates() -> None:
    assert read_rates(["backbone=1e-5", "temporal.0=0.1"]) == {"backbone": 1e-5, "temporal.0": 0.1}
    for text in ("backbone", "backbone=fast", "backbone=0"):
        with pytest.raises(InputError, match=f"'{text}'.*backbone=1e-5"):
            read_rates([text])


def test_parts_of_a_file_that_holds_no_weights(tmp_path: Path) -> None:
    network = build_network(stream="spatial", backbone="plain width=2", temporal=[], classes=4)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match=str(path)):
        load_parts(network, path, ["backbone"])
