"""Fusion strategies: the scores of many voters (segments of a video, or streams) become one.

A strategy is `(scores, **options) -> fused`: float64 (..., voters, classes) to (..., classes). One
function serves epochs, crops, segments and streams. One with an option `kind` is told what the
scores are, `logits` or `probs`. The command line reads the names below for its help, so this module
does not import numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion.combining.confidence import entropy, margin, variance
from twostream_base.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Strategy = Callable[..., "np.ndarray"]


def mean(scores: np.ndarray) -> np.ndarray:
    """Average the voters."""
    return scores.mean(axis=-2)


def maximum(scores: np.ndarray) -> np.ndarray:
    """Take, class by class, the highest score: the louder of two unlike streams decides alone."""
    return scores.max(axis=-2)


def median(scores: np.ndarray) -> np.ndarray:
    """Take, class by class, the middle score, or the mean of the two in the middle."""
    import numpy as np

    return np.median(scores, axis=-2)


def topk(scores: np.ndarray, *, k: int | None = None) -> np.ndarray:
    """Average, class by class, the k highest scores; by default of half the voters, rounded up.

    Between `max` (k = 1) and `mean` (k = all): only some segments need to show the action.

    Raises:
        InputError: k is not a whole number between 1 and the number of voters.
    """
    import numpy as np

    voters = scores.shape[-2]
    k = (voters + 1) // 2 if k is None else k
    if not isinstance(k, int) or not 1 <= k <= voters:
        raise InputError(f"topk of {k!r} among {voters} voters; k must lie in 1..{voters}")
    return np.sort(scores, axis=-2)[..., -k:, :].mean(axis=-2)


def weighted(
    scores: np.ndarray, *, weights: Sequence[float] | Sequence[Sequence[float]]
) -> np.ndarray:
    """Average the voters with fixed weights; only their ratios matter.

    `weights` has one number a voter, or (voters, classes): one for each voter and class, so that a
    class is averaged in its own proportion.

    Raises:
        InputError: another shape, or weights that are negative, not finite or all 0 (of a class).
    """
    import numpy as np

    given = np.asarray(weights, dtype=np.float64)
    voters, classes = scores.shape[-2:]
    if given.shape not in ((voters,), (voters, classes)):
        raise InputError(
            f"{len(given)} weights for {voters} voters (segments or streams); give one for each, "
            f"or for each of the {classes} classes"
        )
    total = given.sum(axis=0)
    if not (given >= 0).all() or not np.all((total > 0) & np.isfinite(total)):
        raise InputError(f"weights {list(weights)}: they must be 0 or more, finite, and not all 0")
    if given.ndim == 1:
        return scores.swapaxes(-1, -2) @ (given / total)
    return (scores * (given / total)).sum(axis=-2)


def geometric(scores: np.ndarray, *, kind: str = "logits") -> np.ndarray:
    """Multiply the voters' probabilities and take the root: a class that one voter rules out falls.

    The mean of log-probabilities, made to sum to 1 again. Of logits it ranks as `mean` does.
    """
    from fusion.combining.probabilities import as_log_probs, softmax

    return softmax(as_log_probs(scores, kind).mean(axis=-2))


def rank(scores: np.ndarray) -> np.ndarray:
    """Borda count: a class earns a point for each one it beats (half for a tie), by each voter.

    Points are divided by their sum. Only the order counts, so that no voter can be louder; but a
    sure voter weighs no more than one that guesses.
    """
    import numpy as np

    classes = scores.shape[-1]
    # Ties stand once in the order of their index and once in the opposite one: the mean is fair.
    forward = scores.argsort(axis=-1, kind="stable").argsort(axis=-1)
    backward = scores[..., ::-1].argsort(axis=-1, kind="stable").argsort(axis=-1)[..., ::-1]
    points = (forward + backward).mean(axis=-2) / 2
    return points / (classes * (classes - 1) / 2) if classes > 1 else np.ones_like(points)


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
_RETURN_PROBS = (geometric, rank, variance, entropy, margin)


def returned_kind(strategy: Strategy, options: Mapping[str, Any], *, kind: str) -> str:
    """What a strategy returns for scores of `kind`: `logits` or `probs`."""
    makes_probs = strategy in _RETURN_PROBS and options.get("combine") != "scores"
    return "probs" if makes_probs else kind
