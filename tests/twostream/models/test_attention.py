from __future__ import annotations

import math

import torch

from twostream.models.attention import AttentionClassifier


def test_it_equals_the_formula_written_out() -> None:
    torch.manual_seed(1)
    head = AttentionClassifier(5, 4)
    torch.nn.init.normal_(head.score.weight)
    features = torch.randn(2, 3, 5)
    head.requires_grad_(False)
    predictions = head(features).mean(dim=1)
    for video in range(2):
        scores = [float(head.score.weight[0] @ features[video, s]) for s in range(3)]
        total = sum(map(math.exp, scores))
        expected = sum(
            math.exp(scores[s]) / total * head.classes(features[video, s]) for s in range(3)
        )
        assert torch.allclose(predictions[video], expected, atol=1e-6)
    assert torch.allclose(head.weights(features).sum(dim=1), torch.ones(2, 1))


def test_it_starts_as_the_mean_and_learns_from_there() -> None:
    torch.manual_seed(1)
    head = AttentionClassifier(5, 4)
    features = torch.randn(2, 3, 5)
    logits = head(features)
    assert torch.allclose(logits, head.classes(features))
    torch.nn.functional.cross_entropy(logits.mean(dim=1), torch.tensor([0, 2])).backward()
    assert (head.score.weight.grad != 0).all()
