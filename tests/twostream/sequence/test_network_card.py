from __future__ import annotations

from pathlib import Path

import pytest
import torch

from twostream.errors import InputError
from twostream.sequence.network import build_network
from twostream.sequence.network_card import (
    SequenceCard,
    about_scores,
    best_checkpoint,
    load_sequence_network,
)
from twostream.training.checkpoint import save_checkpoint

CARD = SequenceCard(
    stream="motion", backbone="plain width=2 weights=imagenet", temporal=("conv widths=8,8,8",),
    vocabulary=("A", "B"), frame_size=36, input_size=32, epoch=3, averaged=(2, 3),
)  # fmt: skip


def test_the_average_is_scored_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained network in it"):
        best_checkpoint(tmp_path)
    for name in ("best", "average"):
        save_checkpoint(tmp_path / name, torch.nn.Linear(1, 1), CARD, {})
        assert best_checkpoint(tmp_path) == tmp_path / name


def test_a_network_is_built_again_from_its_checkpoint(tmp_path: Path) -> None:
    """Without the weights that it had started from, which may be far away."""
    network = build_network(
        stream="motion", backbone="plain width=2", temporal=CARD.temporal, classes=3
    )
    save_checkpoint(tmp_path / "best", network, CARD, {})
    card, again = load_sequence_network(tmp_path / "best")
    assert card == CARD
    for name, tensor in network.state_dict().items():
        assert again.state_dict()[name].equal(tensor), name
    about = about_scores(card, checkpoint=tmp_path / "best", subset="new")
    assert (about["subset"], about["epoch"], "vocabulary" in about) == ("new", 3, False)
