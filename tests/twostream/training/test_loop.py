from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from twostream.models.consensus import CONSENSUS
from twostream.training.loop import (
    EpochStats,
    NotFiniteError,
    Progress,
    evaluate,
    predict,
    train_one_epoch,
)

CPU = torch.device("cpu")


class Linear(nn.Module):
    """One weight a class on the mean of a snippet: small enough to do by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -0.25, 0.0, 0.1, 0.2, -0.3]))
        self.largest_batch = 0

    def forward(self, clips: Tensor) -> Tensor:
        self.largest_batch = max(self.largest_batch, clips.shape[0] * clips.shape[1])
        return clips.float().mean(dim=(2, 3, 4, 5))[..., None] / 100 * self.weight


LABELS = torch.tensor([2, 0, 1])


def batches() -> Iterator[tuple[Tensor, Sequence[int]]]:
    clips = torch.arange(3 * 2, dtype=torch.uint8).reshape(3, 2, 1, 1, 1, 1) * 20
    yield clips[[2, 0]], [2, 0]
    yield clips[[1]], [1]


def run_epoch(network: nn.Module, **options: Any) -> EpochStats:
    return train_one_epoch(
        network,
        batches(),
        labels=LABELS,
        consensus=CONSENSUS["mean"],
        optimizer=SGD(network.parameters(), lr=0.1),
        device=CPU,
        **{"precision": "fp32", "progress": Progress(), **options},
    )


def test_an_epoch_equals_the_same_steps_by_hand() -> None:
    network, reference = Linear(), Linear()
    stats = run_epoch(network)
    losses, hits = [], 0
    for clips, indices in batches():
        logits = reference(clips).mean(dim=1)
        target = LABELS[list(indices)]
        loss = F.cross_entropy(logits, target)
        (gradient,) = torch.autograd.grad(loss, reference.weight)
        reference.weight.data -= 0.1 * gradient
        losses += [loss.item()] * len(indices)
        hits += int((logits.argmax(dim=1) == target).sum())
    assert torch.allclose(network.weight, reference.weight)
    assert stats.loss == pytest.approx(np.mean(losses))
    assert (stats.videos, stats.top1) == (3, hits)
    assert stats.batch_time >= stats.data_time >= 0


def test_accumulation_takes_the_step_of_the_whole_batch() -> None:
    whole, parts = Linear(), Linear()
    expected, stats = run_epoch(whole), run_epoch(parts, accumulate=2)
    assert torch.allclose(whole.weight, parts.weight)
    assert (stats.loss, stats.top1) == (pytest.approx(expected.loss), expected.top1)
    assert (whole.largest_batch, parts.largest_batch) == (4, 2)


def test_progress_is_told_after_each_step_and_carried_on() -> None:
    whole, halves = Linear(), Linear()
    expected = run_epoch(whole)
    seen = []
    progress = Progress()
    optimizer = SGD(halves.parameters(), lr=0.1)
    for batch in batches():
        stats = train_one_epoch(
            halves, [batch], labels=LABELS, consensus=CONSENSUS["mean"], optimizer=optimizer,
            device=CPU, precision="fp32", progress=progress,
            after_step=lambda: seen.append(progress.videos),
        )  # fmt: skip
    assert seen == [2, 3]
    assert torch.equal(whole.weight, halves.weight)
    assert (stats.loss, stats.top1, stats.videos) == (expected.loss, expected.top1, 3)


def test_bf16_is_close_and_the_weights_stay_float32() -> None:
    exact, rough = Linear(), Linear()
    run_epoch(exact)
    run_epoch(rough, precision="bf16")
    assert rough.weight.dtype == torch.float32
    assert torch.allclose(exact.weight, rough.weight, atol=0.02)


def test_a_loss_that_is_not_finite_leaves_the_weights() -> None:
    network = Linear()
    network.weight.data[0] = float("nan")
    before = network.weight.detach().clone()
    with pytest.raises(NotFiniteError, match="the loss of batch 1 is nan"):
        run_epoch(network)
    assert torch.equal(network.weight.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_prediction_does_not_depend_on_how_many_enter_together(at_once: int) -> None:
    network = Linear()
    predicted = list(
        predict(network, batches(), device=CPU, precision="fp32", snippets_at_once=at_once)
    )
    assert [list(indices) for indices, _ in predicted] == [[2, 0], [1]]
    for (clips, _), (_, logits) in zip(batches(), predicted, strict=True):
        assert np.allclose(logits, network(clips).detach().numpy())
    network.largest_batch = 0
    list(predict(network, batches(), device=CPU, precision="fp32", snippets_at_once=at_once))
    assert network.largest_batch == min(at_once, 4)


def test_evaluation_takes_the_mean_of_the_segments() -> None:
    logits = np.zeros((2, 2, 6), dtype=np.float32)
    logits[0, 0, 3], logits[0, 1, 4] = 5, 4
    logits[1, :, 0] = 1
    stats = evaluate(logits, np.array([3, 5]), seconds=3.0)
    assert (stats.videos, stats.top1, stats.top5, stats.batch_time) == (2, 1, 1, 1.5)
    expected = F.cross_entropy(torch.from_numpy(logits.mean(axis=1)), torch.tensor([3, 5]))
    assert stats.loss == pytest.approx(expected.item())
    with pytest.raises(NotFiniteError, match="the validation loss is nan"):
        evaluate(logits * np.nan, np.array([3, 5]), seconds=1.0)
