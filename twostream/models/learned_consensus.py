"""Learned consensus: attention, or a temporal module, over the segments of a video."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twostream.models.temporal.stages import TEMPORAL
from twostream_base.plugins import check_options


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


class TemporalClassifier(nn.Module):
    """A temporal module, then a linear classifier of each of its output frames.

    Args:
        name: of TEMPORAL; a module that keeps all segments.
        options: of that module.

    Raises:
        InputError: the module does not take such options.
    """

    def __init__(self, name: str, *, feature_size: int, num_classes: int, **options: Any) -> None:
        super().__init__()
        check_options(TEMPORAL[name], options, what=f"consensus {name}", positional=1)
        self.temporal = TEMPORAL[name](feature_size, **options)
        features: int = self.temporal.out_features  # type: ignore[assignment]
        self.classes = nn.Linear(features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """(N, S, D) -> logits (N, S, classes), whose mean over S is the prediction."""
        n, segments, _ = features.shape
        # With its type: torch 2.10 exports what is left open as float.
        lengths = torch.full((n,), segments, dtype=torch.int64, device=features.device)
        logits: Tensor = self.classes(self.temporal(features, lengths)[0])
        return logits
