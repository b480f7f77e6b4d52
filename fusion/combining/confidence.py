"""Strategies that weigh each voter by how sure it is of this one video.

Like `fusion.combining.strategies`, this module does not import numpy before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twostream_base.errors import InputError

if TYPE_CHECKING:
    import numpy as np

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
    kind: str = "logits",
    on: str = "probs",
    top: int | None = None,
    normalise: str = "sum",
    combine: str = "probs",
) -> np.ndarray:
    """Weight each voter by the unbiased variance of its scores over the classes: how peaked it is.

    `kind` says what the scores are, `logits` or `probs`. `on`: the variance of the `scores` as they
    are, or of their `probs`; `top`: only of the k largest of each voter. `normalise`: weights are
    the variances (`none`), divided by their sum over the voters (`sum`; voters that are all flat
    count the same), or their `softmax`. `combine`: what the weights multiply. `VARIANCE_FORMS`
    names two points of this family; `legacy` grows with the cube of the logits' scale.

    Raises:
        InputError: a switch that is not known, `top` not in 2..C, or fewer than two classes.
    """
    from fusion.combining.probabilities import as_probs, shares, spread

    _check_classes(scores)
    _check_switches(scores.shape[-1], top, on=on, normalise=normalise, combine=combine)
    probs = as_probs(scores, kind) if "probs" in (on, combine) else scores
    weights = _weights(spread(_largest(probs if on == "probs" else scores, top)), normalise)
    combined = probs if combine == "probs" else scores
    fused = (weights[..., None] * combined).sum(axis=-2)
    return shares(fused) if combine == "probs" else fused  # sum 1 also when not normalised


def entropy(scores: np.ndarray, *, kind: str = "logits") -> np.ndarray:
    """Average the probabilities, each voter weighted by 1 - H/ln C, with H the entropy of its own.

    Voters that are all flat count the same.
    """
    from fusion.combining.probabilities import as_probs, certainty, shares

    _check_classes(scores)
    probs = as_probs(scores, kind)
    return (shares(certainty(probs))[..., None] * probs).sum(axis=-2)


def margin(scores: np.ndarray, *, kind: str = "logits") -> np.ndarray:
    """Average the probabilities, each voter weighted by the lead of its first class on the second.

    Voters that all have two first classes count the same.
    """
    from fusion.combining.probabilities import as_probs, lead, shares

    _check_classes(scores)
    probs = as_probs(scores, kind)
    return (shares(lead(probs))[..., None] * probs).sum(axis=-2)


def count_fallbacks(scores: np.ndarray, *, kind: str) -> int:
    """How often these strategies meet only flat voters in scores (..., voters, classes)."""
    from fusion.combining.probabilities import as_probs, spread

    return int((~spread(as_probs(scores, kind)).any(axis=-1)).sum())


def _weights(variances: np.ndarray, normalise: str) -> np.ndarray:
    from fusion.combining.probabilities import shares, softmax

    if normalise == "none":
        return variances
    return shares(variances) if normalise == "sum" else softmax(variances)


def _largest(scores: np.ndarray, top: int | None) -> np.ndarray:
    import numpy as np

    return scores if top is None else np.sort(scores, axis=-1)[..., -top:]


def _check_classes(scores: np.ndarray) -> None:
    if scores.shape[-1] < 2:
        raise InputError("how sure a voter is can only be told among at least 2 classes")


def _check_switches(classes: int, top: int | None, **switches: str) -> None:
    for name, value in switches.items():
        if value not in _SWITCHES[name]:
            raise InputError(f"variance {name}={value!r}; allowed: {', '.join(_SWITCHES[name])}")
    if top is not None and (not isinstance(top, int) or not 2 <= top <= classes):
        raise InputError(f"variance top={top!r}; it must be a whole number in 2..{classes}")
