from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from twostream.compute.device import Runtime
from twostream.data.protocols import PROTOCOLS, find_protocol
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo
from twostream.scoring.logits import find_cuts, forward_views
from twostream.transforms.presets import MODALITIES

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


def stored(size: tuple[int, int] | None) -> StoredVideo:
    return StoredVideo(VideoRecord("v", 0, "g"), Path("v"), 9, size)


@pytest.mark.parametrize(
    ("protocol", "sizes", "size", "is_cut"),
    [
        ("tsn25x10", [(256, 340), (256, 340)], 224, True),
        ("tsn25x10", [(256, 340)], 112, False),  # 224 would have to be scaled
        ("tsn25x10", [(240, 320)], 224, False),  # so would 210
        ("tsn25x10", [(256, 340), (256, 320)], 224, False),
        ("tsn25x10", [None], 224, False),
        ("segments25", [(256, 340)], 224, False),  # one crop is less than the frame
        ("segments:25x3", [(256, 340)], 224, True),  # three of 256
    ],
)
def test_what_a_gpu_cuts_itself(
    protocol: str, sizes: list[tuple[int, int] | None], size: int, is_cut: bool
) -> None:
    videos = [stored(frame) for frame in sizes]
    cuts = find_cuts(videos, MODALITIES["motion"], find_protocol(protocol), size=size)
    assert cuts == (((256, 340), find_protocol(protocol).views(256, 340)) if is_cut else None)
    small = replace(MODALITIES["motion"], frame_size=(256, 256))
    assert bool(find_cuts(videos, small, PROTOCOLS["tsn25x10"], size=224))


def test_a_gpu_computes_the_next_batch_before_it_is_asked_for_this_one() -> None:
    """Seen without one: a device that only says that it is a GPU."""
    begun: list[int] = []

    def noted() -> Iterator[tuple[list[Tensor], Sequence[int]]]:
        for number in range(3):
            begun.append(number)
            yield [torch.full((2, 1, 1, 1, 1), 30 * number + 30, dtype=torch.uint8)], [number]

    class OnGpu(Runtime):
        device = SimpleNamespace(type="cuda")  # type: ignore[assignment]

        def __init__(self) -> None:
            pass

        def autocast(self) -> Any:
            return nullcontext()

    clips = torch.Tensor.to
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "to", lambda t, *a: t if a == (OnGpu.device,) else clips(t, *a))
        seen = [(list(i), list(begun)) for i, _ in forward_views(Brightness(), noted(), OnGpu())]
    assert seen == [([0], [0, 1]), ([1], [0, 1, 2]), ([2], [0, 1, 2])]
