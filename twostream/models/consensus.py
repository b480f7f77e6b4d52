"""Consensus of segments while a network trains: (N, S, classes) logits -> (N, classes).

Offline, on score files, the same ideas are fusion strategies; see `fusion/strategies.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mean(logits: Tensor) -> Tensor:
    """Average of the segments: TSN's even consensus (Wang et al., ECCV 2016, section 3.1)."""
    return logits.mean(dim=1)


def total(logits: Tensor) -> Tensor:
    """Sum of the segments, as the two-stream code of the field adds up its frames."""
    return logits.sum(dim=1)


def maximum(logits: Tensor) -> Tensor:
    """Largest logit of each class; only the segment that has it learns from the video."""
    return logits.amax(dim=1)


def variance(logits: Tensor) -> Tensor:
    """Average weighted by how spread out each segment's logits are (their variance over classes).

    The weights are normalised over the segments and carry no gradient: a segment cannot gain
    influence by being loud. Segments without any spread count equally.
    """
    spread = logits.detach().var(dim=2, keepdim=True) + 1e-12
    return (logits * (spread / spread.sum(dim=1, keepdim=True))).sum(dim=1)


CONSENSUS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean,
    "sum": total,
    "max": maximum,
    "variance": variance,
}
