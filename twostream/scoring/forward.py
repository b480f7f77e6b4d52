"""The forward pass without gradients: logits of clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twostream.compute.precision import autocast
from twostream.models.segment_network import SegmentNetwork


def predict(
    network: SegmentNetwork,
    batches: Iterable[tuple[Iterable[Tensor], Sequence[int]]],
    *,
    crops: int = 1,
    device: torch.device,
    precision: str,
) -> Iterator[tuple[Sequence[int], NDArray[np.float32]]]:
    """Yield video indices and logits (N, S, R, classes) of each batch.

    A learned consensus sees the segments of a video together, each crop by itself; it may give
    another number of segments S.

    Args:
        batches: video indices, and the N*S*R snippets of these videos, the crops of a segment in
            succession: uint8 (n, T, C, H, W), in the portions that enter the network together. A
            portion is done with before the next is asked for.
        crops: R.
    """
    network.eval()
    for portions, indices in batches:
        with torch.inference_mode(), autocast(device, precision):
            features = torch.cat(
                [network.features(portion[:, None].to(device)) for portion in portions]
            )
            views = features.reshape(len(indices), -1, crops, features.shape[-1])
            segments = views.transpose(1, 2).flatten(0, 1)  # (N*R, S, D)
            logits = network.classifier(segments).unflatten(0, (-1, crops)).transpose(1, 2)
        yield indices, logits.float().cpu().numpy()
