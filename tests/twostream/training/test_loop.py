"""The training loop on a network of one weight a class, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twostream.compute.device import MicroBatches
from twostream.models.consensus import CONSENSUS
from twostream.training.loop import (
    EpochStats,
    NotFiniteError,
    Progress,
    accumulate_gradient,
    evaluate,
    train_one_epoch,
)
from twostream.training.loss import Loss

from .tiny_network import LABELS, Brightness, batches

CPU = torch.device("cpu")
CLIPS, INDICES = next(batches())
TARGET = LABELS[list(INDICES)]


def gradient(network: Brightness, **options: Any) -> tuple[float, Tensor]:
    losses, scores = accumulate_gradient(
        network, CLIPS, TARGET, consensus=CONSENSUS["mean"], device=CPU,
        **{"precision": "fp32", **options},
    )  # fmt: skip
    return losses.sum().item(), scores


def by_hand(**options: float) -> tuple[float, Tensor, Tensor]:
    """Loss sum, logits and gradient of the whole batch at once."""
    network = Brightness()
    logits = network(CLIPS).mean(dim=1)
    loss = F.cross_entropy(logits, TARGET, **options)
    (expected,) = torch.autograd.grad(loss, network.weight)
    return loss.item() * len(TARGET), logits.detach(), expected


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_the_gradient_is_that_of_the_whole_batch(parts: int) -> None:
    network = Brightness()
    network.weight.grad = torch.ones(6)  # of a step before: it must not count
    loss, scores = gradient(network, parts=parts)
    expected_loss, expected_scores, expected = by_hand()
    assert network.weight.grad is not None
    assert torch.allclose(network.weight.grad, expected)
    assert loss == pytest.approx(expected_loss)
    assert torch.allclose(scores, expected_scores)
    assert network.largest_batch == (4 if parts == 1 else 2)


def test_label_smoothing() -> None:
    """0.3 of the target spread over six classes: 0.75 on the right one, 0.05 on each other."""
    loss, scores = gradient(Brightness(), loss_of=Loss(label_smoothing=0.3))
    target = torch.full((2, 6), 0.05)
    target[[0, 1], TARGET] = 0.75
    assert loss == pytest.approx(-(target * scores.log_softmax(dim=1)).sum().item(), rel=1e-5)


def test_bf16_is_close_and_the_weights_stay_float32() -> None:
    network = Brightness()
    gradient(network, precision="bf16")
    assert network.weight.grad is not None
    assert network.weight.grad.dtype == torch.float32
    assert torch.allclose(network.weight.grad, by_hand()[2], atol=0.02)


def test_a_loss_that_is_not_finite_is_returned() -> None:
    network = Brightness()
    network.weight.data[0] = float("nan")
    assert not torch.isfinite(torch.tensor(gradient(network)[0]))


def train(network: Brightness, progress: Progress, **options: Any) -> EpochStats:
    return train_one_epoch(
        labels=LABELS,
        consensus=CONSENSUS["mean"],
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
        precision="fp32",
        micro_batches=MicroBatches(1, auto=False, tell=print),
        progress=progress,
        **{"network": network, "batches": batches(), "device": CPU, **options},
    )


def test_an_epoch_takes_and_counts_a_step_on_every_batch() -> None:
    """Two batches: of videos 2 and 0, and of video 1; counted is what was said before the step."""
    network, expected = Brightness(), Brightness()
    progress, seen = Progress(), []
    stats = train(
        network, progress, after_step=lambda: seen.append((progress.batches, progress.videos))
    )
    assert seen == [(1, 2), (2, 3)]
    loss_sum, top1 = 0.0, 0
    for clips, indices in batches():
        target = LABELS[list(indices)]
        logits = expected(clips).mean(dim=1)
        loss = F.cross_entropy(logits, target)
        (gradient,) = torch.autograd.grad(loss, expected.weight)
        expected.weight.data -= 0.5 * gradient
        loss_sum += len(target) * loss.item()
        top1 += int((logits.argmax(dim=1) == target).sum())
    torch.testing.assert_close(network.weight, expected.weight)
    assert (stats.videos, stats.top1, stats.top5) == (3, top1, progress.top5)
    assert stats.loss == pytest.approx(loss_sum / 3)
    assert stats.batch_time >= stats.data_time >= 0
    assert stats.total_time == pytest.approx(2 * stats.batch_time)


def test_a_gpu_is_asked_for_losses_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen without one. Twelve batches: asked after five, ten, and at the end; counted as ever.

    Data that comes while the GPU works keeps nobody waiting: here it is idle but once.
    """

    class Event:
        recorded = 0

        def query(self) -> bool:
            return self.recorded == 0

        def record(self) -> None:
            self.recorded += 1

    def twelve() -> Iterator[tuple[Tensor, Sequence[int]]]:
        for _ in range(6):
            yield from batches()

    expected, progress = Progress(), Progress()
    train(Brightness(), expected, batches=twelve())
    gpu, move, seen = torch.device("cuda"), Tensor.to, []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Tensor, "to", lambda t, *a, **o: t if a == (gpu,) else move(t, *a, **o))
    train(
        Brightness(), progress, batches=twelve(), device=gpu,
        after_step=lambda: seen.append(progress.batches),
    )  # fmt: skip
    assert seen == [5, 10]
    for count in ("batches", "videos", "top1", "top5", "loss"):
        assert getattr(progress, count) == getattr(expected, count)


def test_the_gradient_is_clipped_to_a_norm() -> None:
    """A step of rate 0.5 on a gradient of norm 1e-3, twice."""
    network = Brightness()
    train(network, Progress(), clip_norm=1e-3)
    assert torch.norm(network.weight - Brightness().weight).item() <= 2 * 0.5 * 1e-3 + 1e-7


@pytest.mark.parametrize("clip_norm", [0.0, 1e-3])
def test_a_scaled_loss_gives_the_same_step(clip_norm: float) -> None:
    """By a power of two, so to the last bit."""
    plain, scaled = Brightness(), Brightness()
    train(plain, Progress(), clip_norm=clip_norm)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    train(scaled, Progress(), clip_norm=clip_norm, scaler=scaler)
    assert torch.equal(plain.weight, scaled.weight)


def test_a_step_that_overflows_is_left_out() -> None:
    """The scale is halved until the gradient fits: two batches, and no step."""
    network, progress = Brightness(), Progress()
    network.weight.register_hook(lambda gradient: 1e3 * gradient)
    scaler = torch.amp.GradScaler("cpu", init_scale=torch.finfo(torch.float32).max)
    train(network, progress, scaler=scaler, clip_norm=1.0)
    assert torch.equal(network.weight, Brightness().weight)
    assert scaler.get_scale() == torch.finfo(torch.float32).max / 4
    assert progress.videos == 3


def test_mixed_clips_are_learnt_from_and_the_labels_counted() -> None:
    """Mixed to targets of nothing but class 5: the weight of class 5 alone rises."""

    def mix(clips: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return clips, F.one_hot(torch.full_like(target, 5), 6).float()

    network = Brightness()
    stats = train(network, Progress(), mix=mix)
    rises = network.weight > Brightness().weight
    assert rises.tolist() == [False] * 5 + [True]
    assert stats.videos == 3


def test_a_loss_that_is_not_finite_names_the_batch_and_leaves_the_weights() -> None:
    network = Brightness()
    network.weight.data[0] = float("nan")
    before = network.weight.detach().clone()
    with pytest.raises(NotFiniteError, match="batch 1: the loss is nan"):
        train(network, Progress())
    assert torch.equal(network.weight.nan_to_num(), before.nan_to_num())


def test_evaluation_takes_the_mean_of_the_segments() -> None:
    logits = np.zeros((2, 2, 3, 6), dtype=np.float32)
    logits[0, 0, :, 3], logits[0, 1, :, 4] = 5, 4
    logits[1, :, :, 0] = 1
    stats = evaluate(logits, np.array([3, 5]), seconds=3.0)
    assert (stats.videos, stats.top1, stats.top5, stats.batch_time) == (2, 1, 1, 1.5)
    assert stats.segments == (1, 0)
    expected = F.cross_entropy(torch.from_numpy(logits.mean(axis=(1, 2))), torch.tensor([3, 5]))
    assert stats.loss == pytest.approx(expected.item())
    with pytest.raises(NotFiniteError, match="the validation loss is nan"):
        evaluate(logits * np.nan, np.array([3, 5]), seconds=1.0)


def test_a_further_loss_is_minimised_and_not_counted() -> None:
    network = Brightness()

    def further(clips: Tensor, target: Tensor) -> Tensor:
        return 7 * network.weight.sum()

    loss, _ = gradient(network, further_loss=further)
    expected_loss, _, expected = by_hand()
    assert loss == pytest.approx(expected_loss)
    assert torch.allclose(network.weight.grad, expected + 7 / len(TARGET))
    loss, _ = gradient(network, further_loss=lambda *_: network.weight.sum() * math.inf)
    assert not math.isfinite(loss)
