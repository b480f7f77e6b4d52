"""Inference and validation of a sequence network: log-probabilities, word error rate, loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from twostream.compute.precision import autocast
from twostream.sequence.batches import Batch
from twostream.sequence.decoding import greedy, log_probability
from twostream.sequence.lists import SequenceRecord, glosses_to_labels, labels_to_glosses
from twostream.sequence.word_error_rate import align, corpus_rate, count_errors, sum_errors


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


def validation_row(
    log_probs: Mapping[int, np.ndarray],
    records: Sequence[SequenceRecord],
    vocabulary: Sequence[str],
) -> dict[str, Any]:
    """Word error rate of greedy decoding, S, D, I, and the mean CTC loss, as a row of the log.

    Videos with too few time steps for their glosses have an infinite loss; the mean is over the
    others.
    """
    sentences, losses = [], []
    for index, record in enumerate(records):
        rows = log_probs[index]
        glosses = labels_to_glosses(greedy(rows), vocabulary) if len(rows) else []
        sentences.append(count_errors(align(record.glosses, glosses)))
        if len(rows):
            losses.append(-log_probability(rows, glosses_to_labels(record.glosses, vocabulary)))
    errors = sum_errors(sentences)
    finite = [loss for loss in losses if np.isfinite(loss)]
    return {
        "val_loss": float(np.mean(finite)) if finite else 0.0,
        "substitutions": errors.substitutions,
        "deletions": errors.deletions,
        "insertions": errors.insertions,
        "errors": errors.total,
        "words": errors.words,
        "wer": corpus_rate(sentences),
    }


def best_epochs(rows: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """The `count` epochs with the fewest errors; ties go to the lower loss."""
    ranked = sorted(rows, key=lambda row: (row["errors"], row["val_loss"], row["epoch"]))
    return [int(row["epoch"]) for row in ranked[:count]]
