"""Learned consensus: a temporal module over the segments of a video, then a classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twostream.models.temporal import TEMPORAL
from twostream_base.errors import InputError


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
        try:
            self.temporal = TEMPORAL[name](feature_size, **options)
        except TypeError as error:
            raise InputError(f"consensus {name} cannot take {options}: {error}") from error
        features: int = self.temporal.out_features  # type: ignore[assignment]
        self.classes = nn.Linear(features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """(N, S, D) -> logits (N, S, classes), whose mean over S is the prediction."""
        n, segments, _ = features.shape
        lengths = torch.full((n,), segments, device=features.device)
        logits: Tensor = self.classes(self.temporal(features, lengths)[0])
        return logits
