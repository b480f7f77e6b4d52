"""CTC training of a sequence network, epoch by epoch, and its validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from twostream.compute.device import Runtime, autocast, gradient_scaler, seed_torch
from twostream.sequence.batches import Batch
from twostream.sequence.checkpoint import load_streams
from twostream.sequence.decoding import BLANK, decode, log_probability
from twostream.sequence.lists import (
    SequenceRecord,
    glosses_to_labels,
    labels_to_glosses,
    min_time_steps,
)
from twostream.sequence.network import (
    SequenceNetwork,
    build_network,
    freeze,
    load_parts,
    rate_groups,
    read_rates,
    without_weights,
)
from twostream.sequence.options import SequenceOptions
from twostream.sequence.transcripts import Normaliser, unchanged
from twostream.sequence.word_error_rate import align, corpus_rate, count_errors, sum_errors
from twostream.training.base_learner import BaseLearner
from twostream.training.loop import NotFiniteError


@dataclass(slots=True)
class EpochTotals:
    """Sums over the training videos of an epoch.

    Attributes:
        sequences: number of videos trained on. loss: sum of their CTC losses, natural logarithm.
        too_short: indices of the skipped videos, with fewer time steps than their glosses need.
    """

    sequences: int = 0
    loss: float = 0.0
    too_short: list[int] = field(default_factory=list)


class SequenceLearner(BaseLearner):
    """A sequence network on its device, with its optimiser and moving average.

    Args:
        classes: of the output, the blank included.
        fresh: load the weights of `--load`; False where a checkpoint is loaded next.
    """

    network: SequenceNetwork

    def __init__(self, options: SequenceOptions, *, classes: int, fresh: bool) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.device = torch.device(options.device)
        self.network = build_network(
            stream=options.stream,
            backbone=options.backbone if fresh else without_weights(options.backbone),
            temporal=options.temporal,
            classes=classes,
            fuse=options.fuse,
            similarity=options.similarity,
        ).to(self.device)
        if fresh and options.start_from:
            load_streams(self.network, options.start_from, temporal=options.temporal)
        if fresh and options.load:
            load_parts(self.network, Path(options.load), options.load_stages)
        freeze(self.network, options.freeze)
        rates = read_rates(options.stage_lr)
        groups = rate_groups(self.network, lr=options.lr, part_lr=rates)
        self.optimizer = Adam(groups, weight_decay=options.weight_decay)
        self.scaler = gradient_scaler(self.device, options.precision)
        self.initial_rates = [group["lr"] for group in groups]
        self.keep_average(options.ema)

    def train_epoch(
        self, batches: Iterable[Batch], *, epoch: int, targets: Sequence[Sequence[int]]
    ) -> EpochTotals:
        """Train on `batches`, whose indices look up `targets`.

        Learning rates are halved at each epoch of `--halve-at`. Dropout and sampled frames follow
        torch's generator, seeded by seed and epoch.

        Raises:
            NotFiniteError: the loss of a batch is not finite; the weights are those before it.
        """
        options, network, optimizer = self.options, self.network, self.optimizer
        seed_torch(options.seed, epoch)
        factor = 0.5 ** sum(epoch >= milestone for milestone in options.halve_at)
        for group, rate in zip(optimizer.param_groups, self.initial_rates, strict=True):
            group["lr"] = rate * factor
        network.train()
        freeze(network, options.freeze)
        totals = EpochTotals()
        for clips, lengths, indices in batches:
            optimizer.zero_grad(set_to_none=True)
            with autocast(self.device, options.precision):
                inputs = clips.to(self.device), lengths.to(self.device)
                if options.auxiliary_loss:
                    outputs, steps = network.heads(*inputs)  # type: ignore[operator]
                else:
                    output, steps = network(*inputs)
                    outputs = [output]
            labels = [targets[index] for index in indices]
            losses, too_short = ctc_losses(outputs[0], steps, labels)
            total = losses.mean()
            for output in outputs[1:]:
                total = total + options.auxiliary_loss * ctc_losses(output, steps, labels)[0].mean()
            if len(losses) and not torch.isfinite(total):
                raise NotFiniteError(
                    f"a loss of {total.item()}, that of the videos {losses.tolist()}"
                )
            totals.too_short += [indices[row] for row in too_short]
            if len(losses):
                self.scaler.scale(total).backward()
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
                self.scaler.step(optimizer)
                self.scaler.update()
                totals.sequences += len(losses)
                totals.loss += float(losses.detach().sum())
        return totals


def ctc_losses(
    log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]
) -> tuple[Tensor, list[int]]:
    """CTC loss: the negative log-probability of the labels of each sequence (natural logarithm).

    Args:
        log_probs: (N, T, classes), class 0 the blank. lengths: (N,), time steps without padding.
        targets: labels from 1.

    Returns:
        Losses (M,) of the sequences that are long enough for their labels, and the rows of the
        others, whose loss would be infinite.
    """
    required = torch.tensor([min_time_steps(labels) for labels in targets], device=lengths.device)
    long_enough = (lengths >= required) & (lengths > 0)
    rows = long_enough.nonzero()[:, 0]
    too_short = (~long_enough).nonzero()[:, 0].tolist()
    if not len(rows):
        return log_probs.new_zeros(0), too_short
    sequences = [targets[row] for row in rows.tolist()]
    labels = [label for sequence in sequences for label in sequence]
    losses = F.ctc_loss(
        log_probs[rows].transpose(0, 1),
        torch.tensor(labels, dtype=torch.int64, device=log_probs.device),
        lengths[rows].cpu(),
        torch.tensor([len(sequence) for sequence in sequences]),
        blank=BLANK,
        reduction="none",
    )
    return losses, too_short


def predict(
    network: nn.Module, batches: Iterable[Batch], runtime: Runtime
) -> dict[int, np.ndarray]:
    """Log-probabilities of every video: index -> float32 (T', classes), without padding."""
    network.eval()
    predictions: dict[int, np.ndarray] = {}
    for clips, lengths, indices in batches:
        with torch.inference_mode(), runtime.autocast():
            log_probs, steps = network(clips.to(runtime.device), lengths.to(runtime.device))
        for index, rows, count in zip(
            indices, log_probs.cpu().numpy(), steps.tolist(), strict=True
        ):
            predictions[index] = rows[:count]
    return predictions


def validation_row(
    log_probs: Mapping[int, np.ndarray],
    records: Sequence[SequenceRecord],
    vocabulary: Sequence[str],
    *,
    beam: int = 0,
    normalise: Normaliser = unchanged,
) -> dict[str, Any]:
    """Word error rate, S, D, I, and the mean CTC loss, as a row of the log.

    Videos with too few time steps for their glosses have an infinite loss; the mean is over the
    others.

    Args:
        beam: width of the beam search; 0 decodes greedily.
        normalise: clean-up of the glosses, on both sides.
    """
    sentences, losses = [], []
    for index, record in enumerate(records):
        rows = log_probs[index]
        labels = decode(rows, beam=beam)
        glosses = normalise(labels_to_glosses(labels, vocabulary))
        sentences.append(count_errors(align(normalise(record.glosses), glosses)))
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
