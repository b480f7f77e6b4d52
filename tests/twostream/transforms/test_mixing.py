import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostream.transforms.clips import Box
from twostream.transforms.mixing import cutmix, draw_cut, draw_share, mix_batch, mixup

ORDER = torch.tensor([2, 0, 1])


def batch():
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (3, 2, 1, 3, 4, 6), dtype=torch.uint8, generator=generator)
    return clips, torch.eye(3)


def test_mixup_value_by_value():
    clips, targets = batch()
    mixed, soft = mixup(clips, targets, order=ORDER, share=0.75)
    for i, other in enumerate([2, 0, 1]):
        for place in np.ndindex(*clips.shape[1:]):
            expected = round(0.75 * clips[i][place].item() + 0.25 * clips[other][place].item())
            assert mixed[i][place] == expected
    assert soft.tolist() == [[0.75, 0, 0.25], [0.25, 0.75, 0], [0, 0.25, 0.75]]


def test_cutmix_value_by_value():
    clips, targets = batch()
    mixed, soft = cutmix(clips, targets, order=ORDER, box=Box(1, 2, 2, 3))
    for i, other in enumerate([2, 0, 1]):
        for place in np.ndindex(*clips.shape[1:]):
            inside = 1 <= place[-2] < 3 and 2 <= place[-1] < 5
            assert mixed[i][place] == clips[other if inside else i][place]
    torch.testing.assert_close(soft, torch.eye(3) * 0.75 + torch.eye(3)[ORDER] * 0.25)


def test_the_batch_itself_is_left_as_it_was():
    clips, targets = batch()
    mixup(clips, targets, order=ORDER, share=0.5)
    cutmix(clips, targets, order=ORDER, box=Box(0, 0, 4, 6))
    assert torch.equal(clips, batch()[0])
    assert torch.equal(targets, batch()[1])


def test_zero_motion_stays_zero():
    clips = torch.full((2, 1, 10, 2, 4, 4), 128, dtype=torch.uint8)
    mixed, _ = mixup(clips, torch.eye(2), order=torch.tensor([1, 0]), share=0.3)
    assert (mixed == 128).all()


@given(share=st.floats(0, 1), seed=st.integers(0, 2**32), alpha=st.sampled_from([0.2, 1.0]))
def test_target_rows_sum_to_one(share, seed, alpha):
    rng = np.random.default_rng(seed)
    clips, targets = batch()
    assert 0 <= draw_share(alpha=alpha, rng=rng) <= 1
    box = draw_cut(4, 6, share=share, rng=rng)
    for _, soft in (
        mixup(clips, targets, order=ORDER, share=share),
        cutmix(clips, targets, order=ORDER, box=box),
    ):
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(3))
        assert (soft >= 0).all()


@pytest.mark.parametrize(("alphas", "kinds"), [((1, 0), {"mixup"}), ((0, 1), {"cutmix"}),
                                               ((1, 1), {"mixup", "cutmix"})])  # fmt: skip
def test_one_way_of_mixing_for_a_batch(alphas: tuple[float, float], kinds: set[str]):
    """Of black, grey and white videos, a mixture of values is mixup, one of places is cutmix."""
    clips = torch.tensor([0, 100, 200], dtype=torch.uint8).reshape(3, 1, 1, 1, 1, 1)
    clips = clips.expand(3, 1, 1, 3, 8, 8)
    seen = set()
    for seed in range(20):
        mixed, soft = mix_batch(
            clips, torch.eye(3), mixup_alpha=alphas[0], cutmix_alpha=alphas[1],
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(3))
        if not torch.equal(mixed, clips):
            seen.add("cutmix" if set(mixed.unique().tolist()) <= {0, 100, 200} else "mixup")
    assert seen == kinds


@given(share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_cut_lies_inside_the_frame(share, seed):
    top, left, height, width = draw_cut(7, 9, share=share, rng=np.random.default_rng(seed))
    assert 0 <= top <= top + height <= 7
    assert 0 <= left <= left + width <= 9
    assert height <= round(7 * (1 - share) ** 0.5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_have_the_mean_of_their_distribution(alpha):
    rng = np.random.default_rng(0)
    shares = [draw_share(alpha=alpha, rng=rng) for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(0.25 / (2 * alpha + 1), rel=0.1)
