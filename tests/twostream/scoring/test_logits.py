from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from twostream.compute.device import Runtime
from twostream.scoring.logits import forward_views

from ..training.tiny_network import Brightness, batches

RUNTIME = Runtime(torch.device("cpu"), "fp32", threads=1, views_per_forward=4)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_prediction_does_not_depend_on_how_many_enter_together(at_once: int) -> None:
    network = Brightness()

    def portions() -> Iterator[tuple[Iterator[Tensor], Sequence[int]]]:
        """In memory that is written again once the next portion is asked for."""
        for clips, indices in batches():
            yield reused(clips.flatten(0, 1).split(at_once)), indices

    predicted = list(forward_views(network, portions(), RUNTIME))
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
    (((_, logits)),) = forward_views(
        network, [(clips.flatten(0, 2).split(5), [0, 1])], RUNTIME, crops=3
    )  # fmt: skip
    assert logits.shape == (2, 2, 3, 6)
    for crop in range(3):
        expected = network(clips[:, :, crop]).detach()
        assert np.allclose(logits[:, :, crop], expected)
