from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from twostream.sequence.network import (
    SequenceNetwork,
    build_network,
    freeze,
    load_parts,
    named_parts,
    parameter_groups,
    read_rates,
)
from twostream_base.errors import InputError


def network(*temporal: str, seed: int = 0) -> SequenceNetwork:
    torch.manual_seed(seed)
    return build_network(stream="spatial", backbone="plain width=2", temporal=temporal, classes=4)


CONV, TOP = "conv widths=32,32 kernels=3,3", "conv widths=32, kernels=3, pools=0"
ATTENTION = "local_attention heads=4"


def test_names() -> None:
    names = list(named_parts(network(CONV, TOP)))
    assert names == ["backbone", "temporal", "temporal.0", "temporal.1", "classifier"]


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
    with pytest.raises(InputError, match="weights.safetensors: .*temporal.1"):
        load_parts(target, tmp_path, ["temporal.1"])
    with pytest.raises(InputError, match="'head'.*backbone, temporal, temporal.0"):
        load_parts(target, tmp_path, ["head"])
    with pytest.raises(InputError, match="nowhere"):
        load_parts(target, tmp_path / "nowhere", ["backbone"])


def test_rates_of_parts() -> None:
    net = network(CONV, TOP)
    groups = parameter_groups(net, lr=1e-3, part_lr={"temporal": 1e-4, "temporal.1": 1e-5})
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
    groups = parameter_groups(net, lr=1.0, part_lr={})
    assert len(groups[0]["params"]) == len([p for p in net.parameters() if p.requires_grad])


def test_read_rates() -> None:
    assert read_rates(["backbone=1e-5", "temporal.0=0.1"]) == {"backbone": 1e-5, "temporal.0": 0.1}
    for text in ("backbone", "backbone=fast", "backbone=0"):
        with pytest.raises(InputError, match=f"'{text}'.*backbone=1e-5"):
            read_rates([text])
