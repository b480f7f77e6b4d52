"""Consensus: how the segments of a video become one prediction while a network trains.

Most are functions of the segments' logits, (N, S, classes) -> (N, classes); one that learns is a
`Learned`. Offline, on score files, the same ideas are the strategies of `fusion`. The command line
reads the names below for its help, so this module does not import torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twostream_base import plugins
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Learned:
    """A consensus with weights of its own: it takes the place of the network's classifier.

    Attributes:
        build: `(*, feature_size, num_classes, **options)` -> module from the features of all
            segments (N, S, feature_size) to logits (N, S', classes), whose plain mean over S' is
            the prediction of the video. They are what score files hold, so that offline fusion by
            the mean of the segments gives the network's own prediction.
    """

    build: Callable[..., nn.Module]


Consensus = Learned | Callable[..., "Tensor"]


def mean(logits: Tensor) -> Tensor:
    """Average of the segments: TSN's even consensus (Wang et al., ECCV 2016, section 3.1)."""
    return logits.mean(dim=1)


def total(logits: Tensor) -> Tensor:
    """Sum of the segments, as the two-stream code of the field adds up its frames."""
    return logits.sum(dim=1)


def maximum(logits: Tensor) -> Tensor:
    """Largest logit of each class; only the segment that has it learns from the video."""
    return logits.amax(dim=1)


def top_k(logits: Tensor, *, k: int = 2) -> Tensor:
    """Mean of the k largest logits of each class: between `max` (k = 1) and `mean` (k = S).

    Top-K pooling of Wang et al., "Temporal Segment Networks for Action Recognition in Videos",
    PAMI 2018. Where there are fewer segments than k, all count.

    Raises:
        InputError: k is less than 1.
    """
    if k < 1:
        raise InputError(f"consensus topk: k is {k}; it counts segments, so give 1 or more")
    return logits.topk(min(k, logits.shape[1]), dim=1).values.mean(dim=1)


def variance(logits: Tensor) -> Tensor:
    """Average weighted by how spread out each segment's logits are (their variance over classes).

    The weights are normalised over the segments and carry no gradient: a segment cannot gain
    influence by being loud. Segments without any spread count equally.
    """
    spread = logits.detach().var(dim=2, keepdim=True) + 1e-12
    return (logits * (spread / spread.sum(dim=1, keepdim=True))).sum(dim=1)


def variance_legacy(logits: Tensor) -> Tensor:
    """Sum of variance times logits, with gradient through the (unbiased) variance, not divided.

    It grows with the cube of the logits: near-flat outputs at the start give almost no gradient,
    and a loud segment drowns the others. Kept to repeat published runs; `variance` is tamer.
    """
    return (logits.var(dim=2, keepdim=True) * logits).sum(dim=1)


def _attention(*, feature_size: int, num_classes: int) -> nn.Module:
    from twostream.models.learned_consensus import AttentionClassifier

    return AttentionClassifier(feature_size, num_classes)


def _temporal(name: str, **defaults: Any) -> Callable[..., nn.Module]:
    def build(*, feature_size: int, num_classes: int, **options: Any) -> nn.Module:
        from twostream.models.learned_consensus import TemporalClassifier

        return TemporalClassifier(
            name, feature_size=feature_size, num_classes=num_classes, **{**defaults, **options}
        )

    return build


CONSENSUS: dict[str, Consensus] = {
    "mean": mean,
    "sum": total,
    "max": maximum,
    "topk": top_k,
    "variance": variance,
    "variance-legacy": variance_legacy,
    "attention": Learned(_attention),
    "dynamic_framing": Learned(_temporal("dynamic_framing", k=2)),
    "local_attention": Learned(_temporal("local_attention")),
}


def load_consensus(name: str, options: Mapping[str, Any]) -> Consensus:
    """The consensus `name` (or `module:function`) with its options set.

    Raises:
        InputError: there is none of that name, or it does not take these options.
    """
    entry = plugins.load(name, CONSENSUS)
    what = f"consensus {name}"
    try:
        if isinstance(entry, Learned):
            filled = {"feature_size": 1, "num_classes": 1}
            plugins.check_options(entry.build, options, what=what, reserved=filled)
            inspect.signature(entry.build).bind(**filled, **options)
            return Learned(partial(entry.build, **options))
        plugins.check_options(entry, options, what=what, positional=1)
        inspect.signature(entry).bind(None, **options)
    except TypeError as error:
        raise InputError(f"{what} cannot take {dict(options)}: {error}") from None
    return partial(entry, **options)


def reduction(consensus: Consensus) -> Callable[[Tensor], Tensor]:
    """What makes one prediction of what the network gives: (N, S, classes) -> (N, classes)."""
    return mean if isinstance(consensus, Learned) else consensus
