"""Fusion that is learnt from labels: class weights, and stacking by logistic regression.

Both start from the sum of the streams' calibrated logits and are drawn to it, so that few videos
change little. A learner is `(logits, labels) -> predict`, with calibrated logits (V, streams, C);
`predict` turns such logits into fused ones, (V, C)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fusion.combining.fuse import Fusion, fused_table
from fusion.combining.probabilities import log_softmax, softmax
from fusion.combining.step import MEAN, Step
from fusion.combining.strategies import mean
from fusion.combining.video_scores import cast_votes
from fusion.fitting.calibrate_tables import mean_logits, other_logits
from fusion.fitting.calibration import Scaling, temperature
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Predict = Callable[[np.ndarray], np.ndarray]
Learner = Callable[[np.ndarray, np.ndarray], Predict]
_ITERATIONS = 100


def class_shares(logits: np.ndarray, labels: np.ndarray, *, strength: float = 30.0) -> np.ndarray:
    """How much each stream should count for each class: (streams, C), sum 1 over the streams.

    Least cross-entropy of the weighted sums plus `strength` times the squared log-weights, which
    draws all shares to equal ones.
    """
    streams, classes = logits.shape[1:]
    true = np.eye(classes)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logs = flat.reshape(streams, classes)
        shares = softmax(logs.T).T
        log_probs = log_softmax(streams * (shares * logits).sum(axis=1))
        error = streams * (np.exp(log_probs) - true)
        slope = np.einsum("vc,vsc->sc", error, logits)
        through = shares * (slope - (shares * slope).sum(axis=0))
        value = strength * flat @ flat - (log_probs * true).sum()
        return value, through.ravel() + 2 * strength * flat

    logs = _minimum(loss, streams * classes).reshape(streams, classes)
    return softmax(logs.T).T


def class_weights(logits: np.ndarray, labels: np.ndarray) -> Predict:
    """Weigh the streams class by class: see `class_shares`."""
    shares = class_shares(logits, labels)
    return lambda given: given.shape[1] * (shares * given).sum(axis=1)


def stacking(logits: np.ndarray, labels: np.ndarray, *, strength: float = 30.0) -> Predict:
    """Multinomial logistic regression on the log-probabilities of all streams and classes.

    What it adds to the streams' plain sum is penalised by `strength` times its square (Wolpert,
    Stacked Generalization, Neural Networks 1992; Ting and Witten, JAIR 1999, for its inputs).
    """
    features = _features(logits)
    plain, classes = logits.sum(axis=1), logits.shape[2]
    true = np.eye(classes)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        log_probs = log_softmax(plain + features @ flat.reshape(-1, classes))
        slope = features.T @ (np.exp(log_probs) - true)
        value = strength * flat @ flat - (log_probs * true).sum()
        return value, slope.ravel() + 2 * strength * flat

    added = _minimum(loss, features.shape[1] * classes).reshape(-1, classes)
    return lambda given: given.sum(axis=1) + _features(given) @ added


LEARNERS: dict[str, Learner] = {"class-weights": class_weights, "stacking": stacking}


def learn(logits: np.ndarray, labels: np.ndarray, learner: Learner) -> Predict:
    """Fit the temperature of each stream of raw logits (V, streams, C), then the learner.

    The result takes raw logits. All videos must have a label.
    """
    scalings = [temperature(logits[:, s], labels) for s in range(logits.shape[1])]
    predict = learner(_calibrated(logits, scalings), labels)
    return lambda given: predict(_calibrated(given, scalings))


def learned_in_folds(
    logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, learner: Learner
) -> np.ndarray:
    """Fused logits (V, C), each video's by what was learnt from labelled ones of other folds."""
    fused = np.empty((len(labels), logits.shape[2]))
    for fold in range(int(folds.max()) + 1):
        rest, held_out = (folds != fold) & (labels >= 0), folds == fold
        fused[held_out] = learn(logits[rest], labels[rest], learner)(logits[held_out])
    return fused


def _calibrated(logits: np.ndarray, scalings: list[Scaling]) -> np.ndarray:
    return np.stack([scale(logits[:, s]) for s, scale in enumerate(scalings)], axis=1)


def _features(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of all streams and a constant, (V, streams · C + 1); at least ln 1e-4."""
    logs = np.maximum(log_softmax(logits), np.log(1e-4)).reshape(len(logits), -1)
    return np.hstack([logs, np.ones((len(logits), 1))])


def _minimum(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> np.ndarray:
    from scipy.optimize import minimize

    options = {"maxiter": _ITERATIONS}
    found: np.ndarray = minimize(
        loss, np.zeros(size), jac=True, method="L-BFGS-B", options=options
    ).x
    return found


# Score tables fused by what is learnt from labels, cross-fitted or on validation scores.
def learned_fusion(
    tables: Mapping[str, ScoreTable],
    learner: Learner,
    *,
    name: str,
    folds: np.ndarray | None = None,
    others: Mapping[str, ScoreTable] | None = None,
) -> Fusion:
    """Fuse the mean logits of each video's views by `learner`, to probabilities.

    It learns from the labelled videos of all `folds` (V,) but a video's own, or from `others`:
    validation scores of the same streams. `name` stands in the header.

    Raises:
        InputError: one input alone, or others that lack a stream, share videos or have no labels.
    """
    votes = cast_votes(tables)
    if len(votes.scores) < 2:
        raise InputError("learning a fusion needs two inputs")
    joined, _ = join(tables)
    logits = _stacked(joined)
    if folds is not None:
        fused, where = learned_in_folds(logits, votes.labels, folds, learner), "crossfit"
    else:
        fused, where = _learned_elsewhere(joined, others or {}, learner)(logits), "val"
    # The header's strategy of the streams: nothing that could be applied without the labels.
    streams = Step(name, mean, {"learned_on": where})
    steps = {"crops": MEAN, "segments": MEAN, "streams": streams}
    table = fused_table(votes, softmax(fused), "probs", steps)
    return Fusion(table, votes, list(votes.warnings))


def _stacked(joined: Mapping[str, ScoreTable]) -> np.ndarray:
    return np.stack([mean_logits(table) for table in joined.values()], axis=1)


def _learned_elsewhere(
    joined: Mapping[str, ScoreTable], others: Mapping[str, ScoreTable], learner: Learner
) -> Predict:
    joined_others, _ = join({key: others[key] for key in joined if key in others})
    pairs = [other_logits(key, table, joined_others) for key, table in joined.items()]
    return learn(np.stack([logits for logits, _ in pairs], axis=1), pairs[0][1], learner)
