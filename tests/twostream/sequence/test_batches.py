from __future__ import annotations

import numpy as np
import pytest

from twostream.sequence.batches import derive_seed, load_sequences, pad


def clip(frames: int, value: int) -> np.ndarray:
    return np.full((frames, 1, 2, 2), value, np.uint8)


def test_padding_is_at_the_end() -> None:
    clips, lengths = pad([clip(1, 5), clip(3, 6)])
    assert clips[:, :, 0, 0, 0].tolist() == [[5, 0, 0], [6, 6, 6]]
    assert lengths.tolist() == [1, 3]


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order(threads: int) -> None:
    batches = [[3, 1], [2], [4, 0], [5]]
    loaded = list(load_sequences(lambda i: clip(i + 1, i), batches, threads=threads))
    assert [indices for _, _, indices in loaded] == batches
    for clips, lengths, indices in loaded:
        assert lengths.tolist() == [index + 1 for index in indices]
        assert clips[:, 0, 0, 0, 0].tolist() == indices


def test_seeds_differ() -> None:
    seeds = {derive_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400
    assert derive_seed(1, 2) != derive_seed(2, 1)
