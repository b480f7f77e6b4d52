"""Attention over the segments of a video: a consensus that learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionClassifier(nn.Module):
    """Classifies each segment, and weights the segments by a softmax over a score of each.

    The score is linear in a segment's features: attention weighting of Wang et al., "Temporal
    Segment Networks for Action Recognition in Videos", PAMI 2018, and the soft selection of their
    UntrimmedNets, CVPR 2017. It starts at zero, that is, as the mean.
    """

    def __init__(self, feature_size: int, num_classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(feature_size, num_classes)
        # One number more for all segments changes no softmax, so there is no bias.
        self.score = nn.Linear(feature_size, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def weights(self, features: Tensor) -> Tensor:
        """(N, S, D) -> weights of the segments (N, S, 1), which sum to 1 over S."""
        return torch.softmax(self.score(features).float(), dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, S, D) -> (N, S, classes): logits times S times weight, so that their mean decides."""
        share = features.shape[1] * self.weights(features)
        weighted: Tensor = share * self.classes(features)
        return weighted
