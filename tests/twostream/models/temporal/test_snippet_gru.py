from __future__ import annotations

import torch
from torch import nn

from twostream.models.temporal.snippet_gru import SnippetGru, prefix_tree


def test_against_torchs_gru_snippet_by_snippet() -> None:
    torch.manual_seed(0)
    ours, theirs = SnippetGru(5), nn.GRU(5, 5, batch_first=True)
    theirs.weight_ih_l0.data, theirs.bias_ih_l0.data = ours.project.weight, ours.project.bias
    theirs.weight_hh_l0.data, theirs.bias_hh_l0.data = ours.recur.weight, ours.recur.bias
    features = torch.randn(2, 9, 5)
    positions = torch.randint(0, 9, (2, 4, 3)).sort(dim=2).values
    valid = torch.ones(2, 4, 3, dtype=torch.bool)
    valid[1, 2, :2] = False
    valid[0, 0, :1] = False
    features.requires_grad_()
    encoded = ours(features, positions, valid)
    (gradient,) = torch.autograd.grad(encoded.square().sum(), features)
    total = torch.zeros(())
    for n in range(2):
        for m in range(4):
            snippet = features[n, positions[n, m][valid[n, m]]]
            _, last = theirs(snippet[None])
            assert torch.allclose(encoded[n, m], last[0, 0], atol=1e-6)
            total = total + last.square().sum()
    (expected,) = torch.autograd.grad(total, features)
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_prefix_tree() -> None:
    rows = torch.tensor([[5, 6, 8], [5, 7, 8], [5, 6, 9], [4, 6, 8], [5, 6, 8]])
    levels, leaves = prefix_tree(rows, num_values=10)
    assert [[part.tolist() for part in level] for level in levels] == [
        [[4, 5], [0, 0]],
        [[6, 6, 7], [0, 1, 1]],
        [[8, 8, 9, 8], [0, 1, 1, 2]],
    ]
    assert leaves.tolist() == [1, 3, 2, 0, 1]
