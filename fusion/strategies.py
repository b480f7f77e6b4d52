"""Fusion strategies: the scores of many voters (segments of a video, or streams) become one.

A strategy is `(scores, **options) -> fused`: float64 (..., voters, classes) to (..., classes).
One function serves segments and streams. The command line reads the names below for its help, so
this module does not import numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

from twostream.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Strategy = Callable[..., "np.ndarray"]
VARIANCE_FORMS = ("normalised", "legacy")


def mean(scores: np.ndarray) -> np.ndarray:
    """Average the voters."""
    return scores.mean(axis=-2)


def maximum(scores: np.ndarray) -> np.ndarray:
    """Take, class by class, the highest score: the louder of two unlike streams decides alone."""
    return scores.max(axis=-2)


def weighted(scores: np.ndarray, *, weights: Sequence[float]) -> np.ndarray:
    """Average the voters with fixed weights, one a voter; only their ratios matter.

    Raises:
        InputError: another count than voters, or weights that are negative, not finite or all 0.
    """
    voters, total = scores.shape[-2], sum(weights)
    if len(weights) != voters:
        raise InputError(
            f"{len(weights)} weights for {voters} voters (segments or streams); give one for each"
        )
    if min(weights) < 0 or not 0 < total < inf:
        raise InputError(f"weights {list(weights)}: they must be 0 or more, finite, and not all 0")
    return scores.swapaxes(-1, -2) @ [weight / total for weight in weights]


def variance(scores: np.ndarray, *, kind: str = "logits", form: str = "normalised") -> np.ndarray:
    """Weight each voter by the variance of its scores over the classes: how peaked it is.

    `normalised`: of logits (`kind`) the softmax is taken first; weights are the variances divided
    by their sum over the voters, and probabilities are combined. Voters that are all flat count
    the same. `legacy`: sum over voters of variance times scores, on what is given and not divided,
    so that it grows with the cube of the scale. Variances are unbiased.

    Raises:
        InputError: an unknown form, or fewer than two classes.
    """
    if form not in VARIANCE_FORMS:
        raise InputError(f"variance form {form!r}; allowed: {', '.join(VARIANCE_FORMS)}")
    if scores.shape[-1] < 2:
        raise InputError("variance weighting needs at least 2 classes")
    if form == "legacy":
        return (scores.var(axis=-1, ddof=1, keepdims=True) * scores).sum(axis=-2)
    from fusion.probabilities import softmax, variance_shares

    probs = softmax(scores) if kind == "logits" else scores
    return (variance_shares(probs)[..., None] * probs).sum(axis=-2)


STRATEGIES: dict[str, Strategy] = {
    "mean": mean,
    "max": maximum,
    "weighted": weighted,
    "variance": variance,
}
