from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from twostream.models.checkpoint import NetworkSpec, save_checkpoint
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.costs import Cost, cost_of_all, cost_of_run
from twostream.transforms.presets import Modality
from twostream_base.errors import InputError


def small(*, modality: Modality, num_classes: int, weights: str) -> SegmentNetwork:
    channels = modality.channels * modality.snippet_length
    layers = nn.Sequential(nn.Conv2d(channels, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SegmentNetwork(layers, nn.Linear(4, num_classes), modality)


SPEC = NetworkSpec(
    model=f"{__name__}:small", model_options={}, stream="motion", clip_length=10,
    frame_interval=1, resize=(), class_names=("a", "b", "c"), num_segments=3, consensus="mean",
    consensus_options={}, input_size=32, epoch=0, selected_on="val",
    flow={"method": {"name": "farneback", "options": {}}, "bound": 20.0},
    extraction={"short_side": 32},
)  # fmt: skip
CARD = {"side": 16, "snippets": 3, "crops": 2, "snippet_length": 10}


def run(folder: Path, spec: NetworkSpec) -> Path:
    network = small(modality=spec.modality, num_classes=3, weights="none")
    save_checkpoint(folder / "best", network, spec, {})
    return folder


def test_what_a_video_costs(tmp_path: Path) -> None:
    """Six views of 16 x 16 pixels, of which 20 channels become 4, and these 3 classes."""
    settings = {"device": torch.device("cpu"), "precision": "fp32", "trust_plugins": True}
    motion = cost_of_run(run(tmp_path / "motion", SPEC), CARD, **settings)  # type: ignore
    assert motion[:2] == (6 * (16 * 16 * 20 * 4 + 4 * 3), 30)
    assert motion.milliseconds > 0
    spec = replace(SPEC, stream="spatial", clip_length=1, flow={})
    card = CARD | {"snippet_length": 1}
    rgb = cost_of_run(run(tmp_path / "rgb", spec), card, **settings)  # type: ignore
    assert rgb[:2] == (6 * (16 * 16 * 3 * 4 + 4 * 3), 0)
    assert cost_of_all([Cost(1, 2, 3.0), Cost(4, 5, 6.0)]) == Cost(5, 7, 9.0)
    unknown = run(tmp_path / "unknown", replace(SPEC, flow={"bound": 20.0}))
    with pytest.raises(InputError, match=r"unknown.*flow method"):
        cost_of_run(unknown, CARD, **settings)  # type: ignore[arg-type]
