from __future__ import annotations

import torch

from twostream.models.temporal.padding import (
    gather_frames,
    mask_to_positions,
    valid_mask,
    zero_padding,
)


def test_true_frames() -> None:
    expected = [[True, True, False], [False, False, False], [True, True, True]]
    assert valid_mask(torch.tensor([2, 0, 3]), 3).tolist() == expected


def test_zero_padding() -> None:
    zeroed = zero_padding(torch.ones(2, 3, 1), torch.tensor([2, 0]))
    assert zeroed[:, :, 0].tolist() == [[1, 1, 0], [0, 0, 0]]


def test_kept_frames() -> None:
    keep = torch.tensor([[True, False, True, True], [False, True, False, False]])
    positions, counts = mask_to_positions(keep)
    assert positions.tolist() == [[0, 2, 3], [1, 0, 0]]
    assert counts.tolist() == [3, 1]
    values = torch.arange(8.0).reshape(2, 4, 1)
    assert gather_frames(values, positions)[:, :, 0].tolist() == [[0, 2, 3], [5, 4, 4]]
