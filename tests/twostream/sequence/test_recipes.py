"""Each recipe builds the network of its row in the notes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from twostream.sequence.network import SequenceNetwork, build_network, load_parts
from twostream.sequence.options import RECIPES

FRAMES = 24
EXPECTED = {
    "full_conv": (["Conv", "Conv"], FRAMES // 4),
    "full_conv_v3": (["Conv", "LocalAttention", "Conv"], FRAMES // 4),
    "full_model_v5": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_model_v5_load_backbone": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_model_v5_no_residual": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_conv_v6": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_conv_v6_residual": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_conv_v7": (["DynamicFraming", "Tcn", "Tcn"], FRAMES // 4),
    "full_conv_v8": (["DynamicFraming", "Tcn", "Tcn"], None),
    "toy": (["Conv"], FRAMES // 4),
}


def read(name: str) -> dict[str, Any]:
    return tomllib.loads(RECIPES[name].read_text())


def build(name: str) -> SequenceNetwork:
    recipe = read(name)
    return build_network(
        stream="spatial", backbone=recipe["backbone"], temporal=recipe["temporal"], classes=9
    )


def test_all_are_tested() -> None:
    assert set(EXPECTED) == set(RECIPES)


@pytest.mark.parametrize("name", EXPECTED)
def test_network(name: str) -> None:
    network = build(name)
    modules, steps = EXPECTED[name]
    assert [type(stage).__name__ for stage in network.temporal.stages] == modules
    if name != "toy":
        assert network.temporal.out_features == 1024
        assert read(name)["lr"] == 1e-4
        assert read(name)["halve-at"] == [40, 60]
        assert read(name)["seed"] == 8
    features = torch.randn(1, FRAMES, network.backbone.out_features)
    out, lengths = network.temporal.eval()(features, torch.tensor([FRAMES]))
    assert out.shape[1] == lengths.item()
    assert steps in (None, lengths.item())


def test_framings() -> None:
    framing = {name: build(name).temporal.stages[0] for name in EXPECTED if "_v" in name}
    settings = {
        name: (stage.k, stage.residual, stage.keep)
        for name, stage in framing.items()
        if hasattr(stage, "keep")
    }
    assert settings == {
        "full_model_v5": (12, True, "all"),
        "full_model_v5_load_backbone": (12, True, "all"),
        "full_model_v5_no_residual": (12, False, "all"),
        "full_conv_v6": (12, False, "sampled"),
        "full_conv_v6_residual": (12, True, "sampled"),
        "full_conv_v7": (12, False, "sampled"),
        "full_conv_v8": (8, False, "distinct"),
    }
    assert read("full_model_v5_load_backbone")["freeze"] == ["backbone"]
    assert "backbone=1e-5" in read("full_conv_v3")["stage-lr"]


def test_v3_loads_the_baseline(tmp_path: Path) -> None:
    """Its list of parts fits the weights of a full_conv run."""
    baseline, v3 = build("full_conv"), build("full_conv_v3")
    safetensors.torch.save_file(baseline.state_dict(), tmp_path / "weights.safetensors")
    load_parts(v3, tmp_path, read("full_conv_v3")["load-stages"])
    loaded, original = v3.temporal.stages[2].convs[0], baseline.temporal.stages[1].convs[0]
    assert torch.equal(loaded.weight, original.weight)
