"""Fusion strategies: the scores of several members (segments, crops or streams) become one.

A strategy is `(scores, **options) -> fused`: float64 (..., members, classes) to (..., classes). One
function serves epochs, crops, segments and streams. A strategy with an option `score_type` is told
what the scores are, `logits` or `probs`. The command line lists the names below in its help, so
this module does not import numpy at its top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twostream_base.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Strategy = Callable[..., "np.ndarray"]


def mean(scores: np.ndarray) -> np.ndarray:
    """Average the members."""
    return scores.mean(axis=-2)


def maximum(scores: np.ndarray) -> np.ndarray:
    """Take the highest score of each class: of two streams, the one with larger scores decides."""
    return scores.max(axis=-2)


def median(scores: np.ndarray) -> np.ndarray:
    """Take the middle score of each class, or the mean of the two in the middle."""
    import numpy as np

    return np.median(scores, axis=-2)


def topk(scores: np.ndarray, *, k: int | None = None) -> np.ndarray:
    """Average the k highest scores of each class; by default of half the members, rounded up.

    Between `max` (k = 1) and `mean` (k = all): only some segments need to show the action.

    Raises:
        InputError: k is not a whole number between 1 and the number of members.
    """
    import numpy as np

    members = scores.shape[-2]
    k = (members + 1) // 2 if k is None else k
    if not isinstance(k, int) or not 1 <= k <= members:
        raise InputError(f"topk with k={k!r} of {members} members; allowed: 1..{members}")
    return np.sort(scores, axis=-2)[..., -k:, :].mean(axis=-2)


def weighted(
    scores: np.ndarray, *, weights: Sequence[float] | Sequence[Sequence[float]]
) -> np.ndarray:
    """Average the members with fixed weights; only the ratios of the weights matter.

    `weights` has one number for each member, or is (members, classes): one for each member and
    class, so that every class has its own ratios.

    Raises:
        InputError: another shape, or weights that are negative, not finite or all 0 (of a class).
    """
    import numpy as np

    values = np.asarray(weights, dtype=np.float64)
    members, classes = scores.shape[-2:]
    if values.shape not in ((members,), (members, classes)):
        raise InputError(
            f"{len(values)} weights for {members} members (segments or streams); give one for "
            f"each, or one for each of the {classes} classes"
        )
    total = values.sum(axis=0)
    if not (values >= 0).all() or not np.all((total > 0) & np.isfinite(total)):
        raise InputError(f"weights {list(weights)}: they must be 0 or more, finite, and not all 0")
    shares = values / total
    # Not by `@`: its last bits depend on how many videos there are.
    return (scores * (shares[:, None] if shares.ndim == 1 else shares)).sum(axis=-2)


def geometric(scores: np.ndarray, *, score_type: str = "logits") -> np.ndarray:
    """Geometric mean of the members' probabilities: one member can rule out a class.

    The mean of log-probabilities, normalised to sum 1. Of logits it ranks as `mean` does.
    """
    from fusion.combining.probabilities import as_log_probs, softmax

    return softmax(as_log_probs(scores, score_type).mean(axis=-2))


def rank(scores: np.ndarray) -> np.ndarray:
    """Borda count: a class gets a point for each class it beats (half for a tie), by each member.

    Points are divided by their sum. Only the order counts, so no member can be louder than another;
    but a confident member weighs no more than one that guesses.
    """
    import numpy as np

    classes = scores.shape[-1]
    # Ties are ranked once in the order of their index and once in reverse: the mean is fair.
    forward = scores.argsort(axis=-1, kind="stable").argsort(axis=-1)
    backward = scores[..., ::-1].argsort(axis=-1, kind="stable").argsort(axis=-1)[..., ::-1]
    points = (forward + backward).mean(axis=-2) / 2
    return points / (classes * (classes - 1) / 2) if classes > 1 else np.ones_like(points)


VARIANCE_FORMS: dict[str, dict[str, Any]] = {
    "normalised": {"on": "probs", "top": None, "normalise": "sum", "combine": "probs"},
    "legacy": {"on": "scores", "top": None, "normalise": "none", "combine": "scores"},
}
_SWITCHES = {
    "on": ("scores", "probs"),
    "normalise": ("none", "sum", "softmax"),
    "combine": ("scores", "probs"),
}


def variance(
    scores: np.ndarray,
    *,
    score_type: str = "logits",
    on: str = "probs",
    top: int | None = None,
    normalise: str = "sum",
    combine: str = "probs",
) -> np.ndarray:
    """Weight each member by the unbiased variance of its scores over the classes: how peaked it is.

    `VARIANCE_FORMS` names two settings of these options; `legacy` grows with the cube of the scale
    of the logits.

    Args:
        score_type: what the scores are, `logits` or `probs`.
        on: take the variance of the `scores` as they are, or of their `probs`.
        top: only of the k largest scores of each member.
        normalise: weights are the variances (`none`), divided by their sum over the members (`sum`;
            members that are all flat count the same), or their `softmax`.
        combine: what the weights multiply, `scores` or `probs`.

    Raises:
        InputError: an unknown value, `top` not in 2..C, or fewer than two classes.
    """
    import numpy as np

    from fusion.combining.probabilities import as_probs, normalise_weights, softmax, spread

    classes = _count_classes(scores)
    for name, value in (("on", on), ("normalise", normalise), ("combine", combine)):
        if value not in _SWITCHES[name]:
            raise InputError(f"variance {name}={value!r}; allowed: {', '.join(_SWITCHES[name])}")
    if top is not None and (not isinstance(top, int) or not 2 <= top <= classes):
        raise InputError(f"variance top={top!r}; allowed: whole numbers in 2..{classes}")
    probs = as_probs(scores, score_type) if "probs" in (on, combine) else scores
    peaks = probs if on == "probs" else scores
    variances = spread(peaks if top is None else np.sort(peaks, axis=-1)[..., -top:])
    normalised = {"none": lambda v: v, "sum": normalise_weights, "softmax": softmax}[normalise]
    weights = normalised(variances)
    combined = probs if combine == "probs" else scores
    fused: np.ndarray = (weights[..., None] * combined).sum(axis=-2)
    return normalise_weights(fused) if combine == "probs" else fused


def entropy(scores: np.ndarray, *, score_type: str = "logits") -> np.ndarray:
    """Average the probabilities, each member weighted by 1 - H/ln C, with H its entropy.

    Members that are all flat count the same.
    """
    from fusion.combining.probabilities import as_probs, certainty, normalise_weights

    _count_classes(scores)
    probs = as_probs(scores, score_type)
    return (normalise_weights(certainty(probs))[..., None] * probs).sum(axis=-2)


def margin(scores: np.ndarray, *, score_type: str = "logits") -> np.ndarray:
    """Average the probabilities, each member weighted by the margin of its first class.

    The margin is the highest probability minus the second highest. Members that all have two first
    classes count the same.
    """
    from fusion.combining.probabilities import as_probs, normalise_weights, top_margin

    _count_classes(scores)
    probs = as_probs(scores, score_type)
    return (normalise_weights(top_margin(probs))[..., None] * probs).sum(axis=-2)


def _count_classes(scores: np.ndarray) -> int:
    if scores.shape[-1] < 2:
        raise InputError("weighting by confidence needs at least 2 classes")
    return scores.shape[-1]


STRATEGIES: dict[str, Strategy] = {
    "mean": mean,
    "max": maximum,
    "median": median,
    "topk": topk,
    "weighted": weighted,
    "geometric": geometric,
    "rank": rank,
    "variance": variance,
    "entropy": entropy,
    "margin": margin,
}
BY_CONFIDENCE = (variance, entropy, margin)
# The usual ones, which `compare` and `report` show side by side.
COMPARED = ("mean", "max", "geometric", "rank", "variance")
