from __future__ import annotations

from math import sqrt

import pytest
import torch

from twostream.models.temporal.local_attention import LocalAttention


def slow(module: LocalAttention, x: torch.Tensor) -> torch.Tensor:
    """One sequence (T, D), frame by frame and head by head."""
    size = x.shape[1] // module.heads
    rows = []
    for t in range(len(x)):
        heads = []
        for head in range(module.heads):
            part = slice(head * size, (head + 1) * size)
            scores = {}
            for s in range(len(x)):
                if abs(s - t) < module.window / 2:
                    query, key = module.query(x[t])[part], module.key(x[s])[part]
                    scores[s] = query @ key / sqrt(size)
            kept = sorted(scores, key=lambda s: -scores[s].item())[: module.top or None]
            total = sum(scores[s].exp() for s in kept)
            heads.append(sum(scores[s].exp() / total * module.value(x[s])[part] for s in kept))
        rows.append(module.norm(x[t] + module.out(torch.cat(heads))))
    return torch.stack(rows)


@pytest.mark.parametrize(("window", "top"), [(8, 0), (16, 0), (7, 0), (8, 3), (16, 20)])
def test_against_a_loop(window: int, top: int) -> None:
    torch.manual_seed(0)
    module = LocalAttention(16, heads=4, window=window, top=top).eval()
    features = torch.randn(2, 13, 16)
    features[1, 6:] = 0
    ours, lengths = module(features, torch.tensor([13, 6]))
    assert torch.allclose(ours[0], slow(module, features[0]), atol=1e-5)
    assert torch.allclose(ours[1, :6], slow(module, features[1, :6]), atol=1e-5)
    assert lengths.tolist() == [13, 6]
