from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from twostream.models.temporal.dynamic_framing import DynamicFraming, SnippetGru, prefix_tree


def slow(module: DynamicFraming, x: torch.Tensor, frames: range | list[int]) -> torch.Tensor:
    """One sequence (T, D), a frame at a time, with torch's GRU: the notes' module as a loop."""
    gru = nn.GRU(x.shape[1], x.shape[1], batch_first=True)
    recur, project = module.encoder.recur, module.encoder.project
    gru.weight_ih_l0.data, gru.bias_ih_l0.data = project.weight, project.bias
    gru.weight_hh_l0.data, gru.bias_hh_l0.data = recur.weight, recur.bias
    rows = []
    for t in frames:
        scores = {s: (x[t] @ x[s]).item() / sqrt(x.shape[1])
                  for s in range(len(x)) if abs(s - t) < module.k}  # fmt: skip
        chosen = sorted(sorted(scores, key=lambda s: -scores[s])[: module.k])
        _, last = gru(x[chosen][None])
        rows.append(last[0, 0] + (x[t] if module.residual else 0))
    return torch.stack(rows)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("k", [1, 5, 12])
def test_gru_against_a_loop(k: int, residual: bool) -> None:
    torch.manual_seed(0)
    module = DynamicFraming(8, k=k, residual=residual)
    features = torch.randn(2, 30, 8)
    features[1, 7:] = 0
    ours, lengths = module(features, torch.tensor([30, 7]))
    assert torch.allclose(ours[0], slow(module, features[0], range(30)), atol=1e-5)
    assert torch.allclose(ours[1, :7], slow(module, features[1, :7], range(7)), atol=1e-5)
    assert lengths.tolist() == [30, 7]


def test_tcn_says_what_it_says_at_the_snippets_end() -> None:
    torch.manual_seed(0)
    module = DynamicFraming(8, k=3, encoder="tcn", residual=False).eval()
    features = torch.randn(1, 2, 8)
    ours, _ = module(features, torch.tensor([2]))  # both frames choose both: a snippet of two
    expected, _ = module.encoder.tcn(features, torch.tensor([2]))
    assert torch.allclose(ours[0], expected[0, 1].expand(2, -1), atol=1e-6)


def test_sampled_frames_are_those_of_all() -> None:
    torch.manual_seed(0)
    module = DynamicFraming(8, k=5, keep="sampled").eval()
    features = torch.randn(1, 16, 8)
    ours, lengths = module(features, torch.tensor([16]))
    assert lengths.tolist() == [4]
    assert torch.allclose(ours[0], slow(module, features[0], [0, 5, 10, 15]), atol=1e-5)


def test_gradient_flows_through_the_snippet() -> None:
    module = DynamicFraming(4, k=2, residual=False)
    features = torch.randn(1, 6, 4, requires_grad=True)
    module(features, torch.tensor([6]))[0][0, 0].sum().backward()
    assert (features.grad[0, :2] != 0).all()
    assert (features.grad[0, 2:] == 0).all()


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
