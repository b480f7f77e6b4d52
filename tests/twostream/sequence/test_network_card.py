from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from twostream.models.checkpoint import save_checkpoint
from twostream.sequence.network import build_network
from twostream.sequence.network_card import (
    SequenceNetworkSpec,
    best_checkpoint,
    load_sequence_network,
    score_metadata,
)
from twostream_base.errors import InputError

SPEC = SequenceNetworkSpec(
    stream="motion", backbone="plain width=2 weights=imagenet", temporal=("conv widths=8,8,8",),
    vocabulary=("A", "B"), frame_size=36, input_size=32, epoch=3, averaged=(2, 3),
)  # fmt: skip


def test_the_average_is_scored_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        best_checkpoint(tmp_path)
    for name in ("best", "average"):
        save_checkpoint(tmp_path / name, torch.nn.Linear(1, 1), SPEC, {})
        assert best_checkpoint(tmp_path) == tmp_path / name


def test_a_network_is_built_again_from_its_checkpoint(tmp_path: Path) -> None:
    """Without its initial weights, which may not be at hand."""
    network = build_network(
        stream="motion", backbone="plain width=2", temporal=SPEC.temporal, classes=3
    )
    save_checkpoint(tmp_path / "best", network, SPEC, {})
    spec, rebuilt = load_sequence_network(tmp_path / "best")
    assert spec == SPEC
    for name, tensor in network.state_dict().items():
        assert rebuilt.state_dict()[name].equal(tensor), name
    metadata = score_metadata(spec, checkpoint=tmp_path / "best", subset="new")
    assert (metadata["subset"], metadata["epoch"], "vocabulary" in metadata) == ("new", 3, False)
