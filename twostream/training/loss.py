"""The training loss: cross-entropy or focal loss, with smoothed labels and weights of classes."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream.models.joining import Head
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, reading


@dataclass(frozen=True, slots=True)
class Loss:
    """The sum of the losses of videos, of their logits (N, classes) and their targets.

    Attributes:
        label_smoothing: this much of the target is spread evenly over the classes (Szegedy et al.,
            CVPR 2016, section 7).
        gamma: of the focal loss (Lin et al., ICCV 2017, section 3.2): what is sure and right counts
            less, by (1 - p)^gamma; 0 is cross-entropy.
        class_weights: (classes,) float32 on the CPU: how much each class counts; None: alike.
    """

    label_smoothing: float = 0.0
    gamma: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sum over the videos; `target` are labels (N,), or soft targets (N, classes)."""
        weights = None if self.class_weights is None else self.class_weights.to(logits)
        if self.gamma == 0:
            return F.cross_entropy(
                logits,
                target,
                reduction="sum",
                label_smoothing=self.label_smoothing,
                weight=weights,
            )
        classes = logits.shape[1]
        soft = F.one_hot(target, classes).to(logits) if target.ndim == 1 else target
        soft = (1 - self.label_smoothing) * soft + self.label_smoothing / classes
        log_probs = F.log_softmax(logits, dim=1)
        # Away from 0, where a power below 1 has no gradient.
        unsure = (-torch.expm1(log_probs)).clamp_min(1e-8) ** self.gamma
        losses = -soft * unsure * log_probs
        return (losses if weights is None else losses * weights).sum()

    def total_weight(self, labels: Tensor) -> float:
        """What the sum over videos of these labels (N,), on the CPU, is divided by for its mean."""
        if self.class_weights is None:
            return float(len(labels))
        return float(self.class_weights[labels].sum())

    def of_guessing(self, num_classes: int) -> float:
        """The loss where all classes are equally likely."""
        return math.log(num_classes) * (1 - 1 / num_classes) ** self.gamma


class StreamLosses:
    """The losses of both streams of a joint network by themselves, beside that of what they give.

    Args:
        head: the network's; it must tell what each stream says.
        consensus: segments' logits (N, S, classes) -> (N, classes).
        weight: of these losses.
    """

    def __init__(
        self, head: Head, *, consensus: Callable[[Tensor], Tensor], loss_of: Loss, weight: float
    ) -> None:
        self.head, self.consensus, self.loss_of, self.weight = head, consensus, loss_of, weight
        self._features: Tensor | None = None
        head.register_forward_hook(self._keep)

    def __call__(self, clips: Tensor, target: Tensor) -> Tensor:
        """The sum over the videos of the last forward pass, for their targets."""
        assert self._features is not None
        features, self._features = self._features.float(), None
        losses = [
            self.loss_of(self.consensus(logits), target) for logits in self.head.streams(features)
        ]
        return self.weight * (losses[0] + losses[1])

    def _keep(self, head: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        self._features = inputs[0] if head.training else None


def read_gamma(text: str) -> float:
    """Gamma of `--loss`: `cross-entropy` is 0, `focal` 2 (as in its paper), or `focal:1.5`.

    Raises:
        InputError: something else.
    """
    if text == "cross-entropy":
        return 0.0
    match = re.fullmatch(r"focal(?::(\d+(?:\.\d+)?))?", text)
    gamma = float(match[1] or 2) if match else 0.0
    if gamma <= 0:
        raise InputError(
            f"--loss {text!r}: expected cross-entropy, focal, or focal:GAMMA such as focal:1.5"
        )
    return gamma


def class_weights(text: str, class_names: Sequence[str], labels: Sequence[int]) -> Tensor | None:
    """The weights of `--class-weights`, scaled so that their mean over the videos is 1.

    `balanced` weights each class by the inverse of its number of videos. A file has a line
    `class,weight` for each class, in any order. A class without videos has no influence.

    Args:
        text: `balanced`, a file, or nothing: None comes back.
        labels: of the training videos.

    Raises:
        InputError: no such file, or lines that do not fit the classes.
    """
    if not text:
        return None
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(class_names))
    if text == "balanced":
        weights = 1 / np.maximum(counts, 1)
    else:
        named = _read_weights(Path(text), class_names)
        weights = np.array([named[name] for name in class_names])
    total = float(weights @ counts)
    if total <= 0:
        raise InputError(
            f"--class-weights {text}: the weights of all classes that have training videos are 0"
        )
    return torch.tensor(weights * (counts.sum() / total), dtype=torch.float32)


def _read_weights(path: Path, class_names: Sequence[str]) -> dict[str, float]:
    with reading(path, "CSV"):
        rows = [row for row in csv.reader(read_text(path).splitlines()) if row]
    if rows and rows[0] == ["class", "weight"]:
        del rows[0]
    weights: dict[str, float] = {}
    for row in rows:
        try:
            name, weight = row[0].strip(), float(row[1])
        except (IndexError, ValueError):
            name, weight = "", math.nan
        if len(row) != 2 or not (math.isfinite(weight) and weight >= 0):
            raise InputError(
                f"{path}: {','.join(row)!r} is not `class,weight` with a weight of at least 0"
            )
        if name in weights or name not in class_names:
            what = "stands there twice" if name in weights else "is none of the classes"
            raise InputError(f"{path}: {name!r} {what}; expected each class once")
        weights[name] = weight
    if missing := [name for name in class_names if name not in weights]:
        raise InputError(f"{path}: no weight for {some_of(missing)}; expected each class once")
    return weights
