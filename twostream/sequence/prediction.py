"""Inference: log-probabilities of a list of videos."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from twostream.sequence.batches import Batch
from twostream.training.precision import autocast


def predict(
    network: nn.Module, batches: Iterable[Batch], *, device: torch.device, precision: str
) -> dict[int, np.ndarray]:
    """Log-probabilities of every video: index -> float32 (T', classes), without padding."""
    network.eval()
    predictions: dict[int, np.ndarray] = {}
    for clips, lengths, indices in batches:
        with torch.inference_mode(), autocast(device, precision):
            log_probs, steps = network(clips.to(device), lengths.to(device))
        for index, rows, count in zip(
            indices, log_probs.cpu().numpy(), steps.tolist(), strict=True
        ):
            predictions[index] = rows[:count]
    return predictions
