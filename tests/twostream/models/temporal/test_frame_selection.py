from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostream.models.temporal.frame_selection import (
    Dedup,
    RandomSampling,
    first_of_equal_sets,
    gather_frames,
    mask_to_positions,
    sample_frames,
    select_similar_frames,
    valid_mask,
    zero_padding,
)


def test_even_positions() -> None:
    """Those that the notes' np.linspace(0, T - 1, T // 4) gives, of each sequence's own length."""
    lengths = torch.tensor([23, 8, 3, 300])
    keep = sample_frames(lengths, 300, part=4, at_random=False)
    positions = [row.nonzero()[:, 0].tolist() for row in keep]
    assert positions[:3] == [[0, 5, 11, 16, 22], [0, 7], [0]]
    assert positions[3][:4] == [0, 4, 8, 12]
    assert positions[3][-1] == 299
    assert len(positions[3]) == 75


def test_random_positions() -> None:
    """A quarter of each sequence, its own frames alone, every frame in its turn."""
    lengths = torch.tensor([23, 8, 3])
    seen = torch.zeros(3, 30)
    for seed in range(200):
        torch.manual_seed(seed)
        keep = sample_frames(lengths, 30, part=4, at_random=True)
        assert keep.sum(1).tolist() == [5, 2, 1]
        seen += keep
    for n, length in enumerate(lengths.tolist()):
        assert (seen[n, :length] > 0).all()
        assert (seen[n, length:] == 0).all()
    assert 15 < seen[0, :23].min() < seen[0, :23].max() < 80  # 200 * 5 / 23 = 43 on average


def test_sampled_frames_stay_in_order() -> None:
    features = torch.arange(1.0, 17).reshape(1, 16, 1)
    module = RandomSampling(1)
    torch.manual_seed(0)
    kept, lengths = module(features, torch.tensor([16]))
    assert lengths.tolist() == [4]
    assert kept[0, :, 0].tolist() == sorted(kept[0, :, 0].tolist())
    assert module.eval()(features, torch.tensor([16]))[0][0, :, 0].tolist() == [1, 6, 11, 16]


def test_dedup_keeps_what_a_hash_map_keeps() -> None:
    torch.manual_seed(0)
    scene = torch.randn(4, 6) * 3
    features = scene[torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3])][None]
    kept, lengths = Dedup(6, k=3)(features, torch.tensor([12]))
    seen: dict[tuple[int, ...], int] = {}
    for t in range(12):
        window = [s for s in range(12) if abs(s - t) < 3]
        by_score = sorted(
            window, key=lambda s: (-round((features[0, t] @ features[0, s]).item(), 4), s)
        )
        seen.setdefault(tuple(sorted(by_score[:3])), t)
    assert lengths.tolist() == [len(seen)]
    assert len(seen) < 12
    assert torch.equal(kept[0], features[0, list(seen.values())])


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
