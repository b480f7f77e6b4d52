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
    "full_model_v5_video_len": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_model_v5_load_backbone": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_model_v5_no_residual": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_conv_v6": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_conv_v6_residual": (["DynamicFraming", "Conv"], FRAMES // 4),
    "full_conv_v7": (["DynamicFraming", "Tcn", "Conv"], FRAMES // 4),
    "full_conv_v8": (["DynamicFraming", "Tcn", "Conv"], None),
    "full_conv_v9": (["DynamicFraming", "Conv", "DynamicFraming", "Conv"], FRAMES // 4),
    "toy": (["Conv"], FRAMES // 4),
}
# What the logs of the notes' runs say of all of them: `Namespace(...)` at their beginning.
AS_LOGGED = {"lr": 1e-4, "weight-decay": 1e-4, "clip-norm": 5.0, "batch-size": 2, "seed": 8,
             "epochs": 100, "beam": 5}  # fmt: skip
# The other runs stayed at 1e-4; that of v9 went down at every epoch from the 41st on.
HALVED = {"full_conv": [40, 60], "full_conv_v9": list(range(40, 56))}
# "num. module params" of the logs, of 1,237 classes where we have 1,232: the glosses and a blank.
PARAMETERS = {
    "full_conv_v6": 10_436_981,
    "full_conv_v7": 10_700_661,
    "full_conv_v8": 10_700_661,
    "full_conv_v9": 13_325_173,
    "full_conv_v3": 11_224_949,
    "full_model_v5": 11_749_237,
    "full_model_v5_video_len": 11_749_237,
}


def read(name: str) -> dict[str, Any]:
    return tomllib.loads(RECIPES[name].read_text())


def build(name: str, *, classes: int = 9) -> SequenceNetwork:
    recipe = read(name)
    return build_network(
        stream="spatial", backbone=recipe["backbone"], temporal=recipe["temporal"], classes=classes
    )


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_logs(name: str) -> None:
    with torch.device("meta"):
        network = build(name, classes=1_237)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_all_are_tested() -> None:
    assert set(EXPECTED) == set(RECIPES)


@pytest.mark.parametrize("name", EXPECTED)
def test_network(name: str) -> None:
    network = build(name)
    modules, steps = EXPECTED[name]
    assert [type(stage).__name__ for stage in network.temporal.stages] == modules
    if name != "toy":
        assert network.temporal.out_features == 1024
        assert {key: read(name)[key] for key in AS_LOGGED} == AS_LOGGED
        assert read(name)["halve-at"] == HALVED.get(name, [])
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
        "full_model_v5_video_len": (16, True, "all"),
        "full_model_v5_load_backbone": (12, True, "all"),
        "full_model_v5_no_residual": (12, False, "all"),
        "full_conv_v6": (12, False, "sampled"),
        "full_conv_v6_residual": (12, True, "sampled"),
        "full_conv_v7": (12, False, "sampled"),
        "full_conv_v8": (8, False, "distinct"),
        "full_conv_v9": (16, True, "all"),
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
