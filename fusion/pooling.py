"""The segments of each video pooled into one, straight from the disk at the speed of reading.

The weighted sum of means is the mean of the weighted sum: pool once, and every fusion of the pooled
files takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fusion.mapped_scores import MappedScores
from fusion.score_file import ScoreTable
from fusion.score_stream import write_scores_in_parts
from twostream.errors import InputError

# A part of this size stays in the processor's cache while it is worked on.
PART_BYTES = 2 * 2**20
_FAR = 100.0

Pool = Callable[[np.ndarray], np.ndarray]


def pool_mean(scores: np.ndarray) -> np.ndarray:
    """Mean over segments, (n, S, C) -> (n, C); a matrix product, which reads memory once."""
    segments = scores.shape[1]
    return np.matmul(np.full((1, segments), 1 / segments, scores.dtype), scores)[:, 0]


def pool_max(scores: np.ndarray) -> np.ndarray:
    """Highest score over segments of each class, (n, S, C) -> (n, C)."""
    return scores.max(axis=1)


def pool_variance(scores: np.ndarray) -> np.ndarray:
    """Sum over segments of variance over classes times scores, (n, S, C) -> (n, C).

    The `legacy` variance of the strategies; unbiased, not divided by the sum of variances.
    """
    classes = scores.shape[-1]
    means = scores @ np.full(classes, 1 / classes, scores.dtype)
    variances = _sums_of_squares(scores) / (classes - 1) - means**2 * (classes / (classes - 1))
    if not (means**2 < _FAR * variances).all():  # far from 0 the difference has lost its digits
        variances = _sums_of_squares(scores - means[..., None]) / (classes - 1)
    return np.matmul(variances[:, None, :], scores)[:, 0]


def _sums_of_squares(scores: np.ndarray) -> np.ndarray:
    return np.einsum("vsc,vsc->vs", scores, scores)


POOLS: dict[str, Pool] = {"mean": pool_mean, "max": pool_max, "variance": pool_variance}


def pool_parts(mapped: MappedScores, pool: Pool) -> Iterator[np.ndarray]:
    """Pooled scores float32 (n, C) of some videos after the other; crops are averaged first."""
    _, _, crops, classes = mapped.block.shape
    videos = max(1, PART_BYTES // (mapped.block.shape[1] * crops * classes * 4))
    for part in mapped.block.parts(videos):
        scores = part.astype(np.float32, copy=False)
        yield pool(scores[:, :, 0] if crops == 1 else scores.mean(axis=2))


def pool_file(out: Path, mapped: MappedScores, how: str) -> ScoreTable:
    """Write a score file with one segment a video; return what it says of itself.

    Raises:
        InputError: probabilities pooled by anything but their mean, or scores that are not finite.
    """
    if mapped.head.kind == "probs" and how != "mean":
        raise InputError(
            f"{mapped.block.path}: probabilities pooled by {how} do not sum to 1; pool them by mean"
        )
    shape = (mapped.block.shape[0], 1, 1, mapped.block.shape[3])
    about = mapped.head.about | {"segments": {"strategy": how}}
    whole = replace(mapped.head, scores=np.broadcast_to(np.float32(0), shape), about=about)
    write_scores_in_parts(out, _tables(whole, pool_parts(mapped, POOLS[how])), whole=whole)
    return whole


def _tables(whole: ScoreTable, parts: Iterator[np.ndarray]) -> Iterator[ScoreTable]:
    begin = 0
    for part in parts:
        end = begin + len(part)
        yield replace(
            whole,
            names=whole.names[begin:end],
            labels=whole.labels[begin:end],
            scores=part[:, None, None],
        )
        begin = end
