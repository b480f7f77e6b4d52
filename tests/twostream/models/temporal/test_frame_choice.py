from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostream.models.temporal.fewer_frames import (
    first_of_equal_sets,
    select_similar_frames,
)


def slow_choice(x: torch.Tensor, k: int) -> list[list[int]]:
    """The notes' choice for one sequence (T, D), written out; ties go to the earlier frame."""
    rows = []
    for t in range(len(x)):
        window = [s for s in range(len(x)) if abs(s - t) < k]
        by_score = sorted(window, key=lambda s: (-(x[t] @ x[s]).item(), s))
        rows.append(sorted(by_score[:k]))
    return rows


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    k=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_against_a_loop(lengths: list[int], k: int, seed: int) -> None:
    """Whole numbers as features: scores are exact, and ties are many."""
    frames = max(lengths)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (len(lengths), frames, 2), generator=generator).float()
    positions, valid = select_similar_frames(x, torch.tensor(lengths), k=k)
    assert positions.shape == valid.shape == (len(lengths), frames, min(k, 2 * k - 1))
    first = first_of_equal_sets(positions, valid, torch.tensor(lengths))
    for n, length in enumerate(lengths):
        expected = slow_choice(x[n, :length], k)
        chosen = [positions[n, t][valid[n, t]].tolist() for t in range(length)]
        assert chosen == expected
        seen = [expected[t] not in expected[:t] for t in range(length)]
        assert first[n].tolist() == seen + [False] * (frames - length)
        assert not valid[n, length:].any()


def test_what_is_not_real_comes_first() -> None:
    positions, valid = select_similar_frames(torch.ones(1, 2, 3), torch.tensor([2]), k=4)
    assert valid[0].tolist() == [[False, False, True, True]] * 2
    assert positions[0].tolist() == [[0, 0, 0, 1]] * 2


def test_no_gradient_through_the_choice() -> None:
    features = torch.randn(1, 5, 3, requires_grad=True)
    positions, _ = select_similar_frames(features, torch.tensor([5]), k=3)
    assert not positions.requires_grad


@pytest.mark.parametrize("k", [1, 12])
def test_a_still_video_is_one_choice_a_place(k: int) -> None:
    """All frames alike: frames whose windows begin together choose the same."""
    lengths = torch.tensor([20])
    positions, valid = select_similar_frames(torch.ones(1, 20, 2), lengths, k=k)
    kept = first_of_equal_sets(positions, valid, lengths)[0].nonzero()[:, 0].tolist()
    assert kept == (list(range(20)) if k == 1 else [0, *range(12, 20)])
