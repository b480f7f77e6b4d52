"""The bidirectional LSTM."""

from __future__ import annotations

import pytest
import torch

from twostream.models.temporal.recurrent import BiLstm
from twostream_base.errors import InputError


def test_padding_has_no_influence() -> None:
    """Each video of a batch gets what it gets alone, whatever stands behind it."""
    torch.manual_seed(0)
    module = BiLstm(5, width=8).eval()
    features = torch.randn(3, 7, 5)
    lengths = torch.tensor([7, 3, 0])
    states, new_lengths = module(features, lengths)
    assert states.shape == (3, 7, 8)
    assert new_lengths.tolist() == [7, 3, 0]
    alone, _ = module.lstm(features[1:2, :3])
    assert torch.allclose(states[1, :3], alone[0], atol=1e-6)
    assert not states[1, 3:].any()
    assert not states[2].any()


def test_halves_are_the_directions() -> None:
    torch.manual_seed(0)
    module = BiLstm(5, width=8, layers=1).eval()
    features = torch.randn(1, 6, 5)
    changed = features.clone()
    changed[0, 3] += 1
    before, after = (module(f, torch.tensor([6]))[0][0] for f in (features, changed))
    forwards, backwards = slice(0, 4), slice(4, 8)
    assert torch.equal(before[:3, forwards], after[:3, forwards])
    assert torch.equal(before[4:, backwards], after[4:, backwards])
    assert not torch.allclose(before[:3, backwards], after[:3, backwards])


def test_an_odd_width() -> None:
    with pytest.raises(InputError, match="width=7; it must be even"):
        BiLstm(5, width=7)
