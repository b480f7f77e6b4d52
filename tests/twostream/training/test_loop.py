from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twostream.compute.numbers import NotFiniteError
from twostream.scoring.forward import predict
from twostream.training.loop import Progress, evaluate, train_one_epoch

from .tiny_network import LABELS, Brightness, batches

CPU = torch.device("cpu")


def test_an_epoch_counts_every_batch_and_tells_after_each() -> None:
    """Losses 2 and 4 of three videos; the network is right about the first and the last."""
    answers = iter([(2.0, [[9, 0, 0], [0, 9, 0]]), (4.0, [[0, 9, 0]])])

    def step(clips: Tensor, target: Tensor) -> tuple[float, Tensor]:
        loss, scores = next(answers)
        assert target.tolist() == LABELS[[2, 0] if len(target) == 2 else [1]].tolist()
        return loss, torch.tensor(scores, dtype=torch.float32)

    progress, seen = Progress(), []
    stats = train_one_epoch(
        step, batches(), labels=LABELS, progress=progress,
        after_step=lambda: seen.append((progress.batches, progress.videos, progress.top1)),
    )  # fmt: skip
    assert seen == [(1, 2, 0), (2, 3, 0)]
    assert (stats.videos, stats.top1, stats.top5, stats.loss) == (3, 0, 3, 2.0)
    assert stats.batch_time >= stats.data_time >= 0
    assert stats.total_time == pytest.approx(2 * stats.batch_time)


def test_a_loss_that_is_not_finite_names_the_batch() -> None:
    def step(clips: Tensor, target: Tensor) -> tuple[float, Tensor]:
        raise NotFiniteError("the loss is nan")

    with pytest.raises(NotFiniteError, match="batch 1: the loss is nan"):
        train_one_epoch(step, batches(), labels=LABELS, progress=Progress())


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_prediction_does_not_depend_on_how_many_enter_together(at_once: int) -> None:
    network = Brightness()

    def portions() -> Iterator[tuple[Iterator[Tensor], Sequence[int]]]:
        """In memory that is written again once the next portion is asked for."""
        for clips, indices in batches():
            yield reused(clips.flatten(0, 1).split(at_once)), indices

    predicted = list(predict(network, portions(), device=CPU, precision="fp32"))
    assert [list(indices) for indices, _ in predicted] == [[2, 0], [1]]
    assert network.largest_batch == min(at_once, 4)
    for (clips, _), (_, logits) in zip(batches(), predicted, strict=True):
        assert np.allclose(logits[:, :, 0], network(clips).detach().numpy())


def reused(clips: Sequence[Tensor]) -> Iterator[Tensor]:
    for clip in clips:
        buffer = clip.clone()
        yield buffer
        buffer.zero_()


def test_a_learned_consensus_sees_the_segments_of_each_crop_together() -> None:
    """Two segments of three crops; the head weights a segment by its share of the features."""

    class Share(Brightness):
        def classifier(self, features: Tensor) -> Tensor:
            return features * features / features.sum(dim=1, keepdim=True) * self.weight

    clips = torch.arange(1, 13, dtype=torch.uint8).reshape(2, 2, 3, 1, 1, 1, 1) * 20
    network = Share()
    (((_, logits)),) = predict(
        network, [(clips.flatten(0, 2).split(5), [0, 1])], crops=3, device=CPU, precision="fp32"
    )  # fmt: skip
    assert logits.shape == (2, 2, 3, 6)
    for crop in range(3):
        expected = network(clips[:, :, crop]).detach()
        assert np.allclose(logits[:, :, crop], expected)


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
