"""Fusion that is learnt from labels: class weights, and stacking by logistic regression.

Both start from the sum of the streams' calibrated logits and are regularised towards it, so that
few videos change little. A learner is `(logits, labels) -> predict`, with calibrated logits (V,
streams, C); `predict` turns such logits into fused ones, (V, C).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fusion.combining.fuse import Fusion, fused_table, mean_logits, score_videos
from fusion.combining.probabilities import log_softmax, softmax
from fusion.combining.step import MEAN, Step
from fusion.combining.strategies import mean
from fusion.fitting.calibration import logits_to_fit, temperature
from fusion.tables.join import JoinedTables, join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Predict = Callable[[np.ndarray], np.ndarray]
Learner = Callable[[np.ndarray, np.ndarray], Predict]
_ITERATIONS = 100


def class_shares(logits: np.ndarray, labels: np.ndarray, *, strength: float = 30.0) -> np.ndarray:
    """The weight of each stream for each class: (streams, C), sum 1 over the streams.

    Least cross-entropy of the weighted sums, with a penalty of `strength` times the squared
    log-weights, which draws the weights towards equal ones.
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

    logs = _minimise(loss, streams * classes).reshape(streams, classes)
    return softmax(logs.T).T


def class_weights(logits: np.ndarray, labels: np.ndarray) -> Predict:
    """Weight the streams class by class: see `class_shares`."""
    shares = class_shares(logits, labels)
    return lambda new: new.shape[1] * (shares * new).sum(axis=1)


def stacking(logits: np.ndarray, labels: np.ndarray, *, strength: float = 30.0) -> Predict:
    """Multinomial logistic regression on the log-probabilities of all streams and classes.

    It is added to the plain sum of the streams, with a penalty of `strength` times the squared
    coefficients (Wolpert, Stacked Generalization, Neural Networks 1992; inputs as in Ting and
    Witten, JAIR 1999).
    """
    features = _features(logits)
    plain, classes = logits.sum(axis=1), logits.shape[2]
    true = np.eye(classes)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        log_probs = log_softmax(plain + features @ flat.reshape(-1, classes))
        slope = features.T @ (np.exp(log_probs) - true)
        value = strength * flat @ flat - (log_probs * true).sum()
        return value, slope.ravel() + 2 * strength * flat

    added = _minimise(loss, features.shape[1] * classes).reshape(-1, classes)
    return lambda new: new.sum(axis=1) + _features(new) @ added


LEARNERS: dict[str, Learner] = {"class-weights": class_weights, "stacking": stacking}


def learn(logits: np.ndarray, labels: np.ndarray, learner: Learner) -> Predict:
    """Fit the temperature of each stream of raw logits (V, streams, C), then the learner.

    The result takes raw logits. All videos must have a label.
    """
    scalings = [temperature(logits[:, s], labels) for s in range(logits.shape[1])]

    def calibrate(raw: np.ndarray) -> np.ndarray:
        return np.stack([scale(raw[:, s]) for s, scale in enumerate(scalings)], axis=1)

    predict = learner(calibrate(logits), labels)
    return lambda new: predict(calibrate(new))


def learn_in_folds(
    logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, learner: Learner
) -> np.ndarray:
    """Fused logits (V, C): each video's by what was learnt from the labels of other folds."""
    fused = np.empty((len(labels), logits.shape[2]))
    for fold in range(int(folds.max()) + 1):
        rest, held_out = (folds != fold) & (labels >= 0), folds == fold
        fused[held_out] = learn(logits[rest], labels[rest], learner)(logits[held_out])
    return fused


def fuse_by_learning(
    joined: JoinedTables,
    learner: Learner,
    *,
    name: str,
    folds: np.ndarray | None = None,
    others: Mapping[str, ScoreTable] | None = None,
) -> Fusion:
    """Fuse the mean logits of each video's views by `learner`, to probabilities.

    It learns from the labelled videos of all `folds` (V,) but the video's own, or from `others`:
    validation scores of the same streams. `name` is that of the learner, for the header.

    Raises:
        InputError: one input alone, or others that lack a stream, share videos or have no labels.
    """
    streams = score_videos(joined)
    if len(streams.scores) < 2:
        raise InputError("learning a fusion needs two inputs")
    logits = np.stack([mean_logits(table) for table in joined.tables.values()], axis=1)
    if folds is not None:
        fused, learned_on = learn_in_folds(logits, streams.labels, folds, learner), "crossfit"
    else:
        validation = others or {}
        joined_others = join(
            {key: validation[key] for key in joined.tables if key in validation}
        ).tables
        pairs = [logits_to_fit(key, table, joined_others) for key, table in joined.tables.items()]
        other_logits = np.stack([logits for logits, _ in pairs], axis=1)
        fused, learned_on = learn(other_logits, pairs[0][1], learner)(logits), "val"
    # The header names a strategy that nobody can apply without the labels.
    streams_step = Step(name, mean, {"learned_on": learned_on})
    steps = {"crops": MEAN, "segments": MEAN, "streams": streams_step}
    table = fused_table(streams, softmax(fused), "probs", steps)
    return Fusion(table, streams, list(streams.warnings))


def _features(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of all streams and a constant, (V, streams · C + 1); at least ln 1e-4."""
    logs = np.maximum(log_softmax(logits), np.log(1e-4)).reshape(len(logits), -1)
    return np.hstack([logs, np.ones((len(logits), 1))])


def _minimise(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> np.ndarray:
    from scipy.optimize import minimize

    options = {"maxiter": _ITERATIONS}
    result = minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(result.x)
