"""Fusion that is learnt from labels: class weights, and stacking by logistic regression.

Both start from the sum of the streams' calibrated logits and are regularised towards it, so that
few videos change little. A learner is `(logits, labels, *, progress) -> predict`, with calibrated
logits (V, streams, C); `predict` turns such logits into fused ones, (V, C). At the end are
estimators in the manner of scikit-learn, for arrays.
"""

# ruff: noqa: N803 - scikit-learn calls the inputs X

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.fuse import Fusion, add_fitted_on, fused_table, mean_logits, score_videos
from fusion.combining.probabilities import log_softmax, softmax
from fusion.combining.step import MEAN, Step
from fusion.combining.strategies import mean
from fusion.evaluation.metrics import accuracy_summary
from fusion.fitting.calibration import CALIBRATIONS, Scaling, logits_to_fit, temperature
from fusion.fitting.hold_out import grouped_folds, labels_in_folds
from fusion.tables.join import JoinedTables, join
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import ScoreTable, table_of_array
from twostream_base.errors import InputError

Predict = Callable[[np.ndarray], np.ndarray]
Learner = Callable[..., Predict]
_ITERATIONS = 100


def class_shares(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    strength: float = 30.0,
    progress: Progress = no_progress,
) -> np.ndarray:
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

    logs = _minimise(loss, streams * classes, progress).reshape(streams, classes)
    return softmax(logs.T).T


def class_weights(
    logits: np.ndarray, labels: np.ndarray, *, progress: Progress = no_progress
) -> Predict:
    """Weight the streams class by class: see `class_shares`."""
    shares = class_shares(logits, labels, progress=progress)
    return lambda new: new.shape[1] * (shares * new).sum(axis=1)


def stacking(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    strength: float = 30.0,
    progress: Progress = no_progress,
) -> Predict:
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

    added = _minimise(loss, features.shape[1] * classes, progress).reshape(-1, classes)
    return lambda new: new.sum(axis=1) + _features(new) @ added


LEARNERS: dict[str, Learner] = {"class-weights": class_weights, "stacking": stacking}


def learn(
    logits: np.ndarray, labels: np.ndarray, learner: Learner, *, progress: Progress = no_progress
) -> Predict:
    """Fit the temperature of each stream of raw logits (V, streams, C), then the learner.

    The result takes raw logits. All videos must have a label.
    """
    scalings = [temperature(logits[:, s], labels) for s in range(logits.shape[1])]

    def calibrate(raw: np.ndarray) -> np.ndarray:
        return np.stack([scale(raw[:, s]) for s, scale in enumerate(scalings)], axis=1)

    predict = learner(calibrate(logits), labels, progress=progress)
    return lambda new: predict(calibrate(new))


def fuse_in_folds(
    logits: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    learn: Learner,
    *,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Fused logits (V, C): each video's by what was learnt from the labels of other folds (V,)."""
    fused, count = np.empty((len(labels), logits.shape[2])), int(folds.max()) + 1
    for fold in range(count):
        rest, held_out = (folds != fold) & (labels >= 0), folds == fold
        of_fold = part_of(progress, fold / count, (fold + 1) / count)
        predict = learn(logits[rest], labels[rest], progress=of_fold)
        fused[held_out] = predict(logits[held_out])
    return fused


def fuse_by_learning(
    joined: JoinedTables,
    learner: Learner,
    *,
    name: str,
    folds: np.ndarray | None = None,
    others: Mapping[str, ScoreTable] | None = None,
    progress: Progress = no_progress,
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
        learn_it = partial(learn, learner=learner)
        fused = fuse_in_folds(logits, streams.labels, folds, learn_it, progress=progress)
        learned_on = "crossfit"
    else:
        validation = others or {}
        joined_others = join(
            {key: validation[key] for key in joined.tables if key in validation}
        ).tables
        pairs = [logits_to_fit(key, table, joined_others) for key, table in joined.tables.items()]
        other_logits = np.stack([logits for logits, _ in pairs], axis=1)
        predict = learn(other_logits, pairs[0][1], learner, progress=progress)
        fused, learned_on = predict(logits), "val"
    # The header names a strategy that nobody can apply without the labels.
    streams_step = Step(name, mean, {"learned_on": learned_on})
    steps = {"crops": MEAN, "segments": MEAN, "streams": streams_step}
    table = fused_table(streams, softmax(fused), "probs", steps)
    if folds is not None:
        mark = labels_in_folds(table.metadata.get("subset"), streams.groups)
        table = replace(table, metadata=add_fitted_on(table.metadata, mark))
    return Fusion(table, streams, list(streams.warnings))


def _features(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of all streams and a constant, (V, streams · C + 1); at least ln 1e-4."""
    logs = np.maximum(log_softmax(logits), np.log(1e-4)).reshape(len(logits), -1)
    return np.hstack([logs, np.ones((len(logits), 1))])


def _minimise(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int, progress: Progress
) -> np.ndarray:
    from scipy.optimize import minimize

    calls = 0

    def tracked(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        progress("learning the fusion", min(1.0, calls / _ITERATIONS))
        calls += 1
        return loss(flat)

    options = {"maxiter": _ITERATIONS}
    result = minimize(tracked, np.zeros(size), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(result.x)


Streams = Mapping[str, ArrayLike] | ArrayLike


class _Estimator:
    """What both estimators share: inputs, folds and predictions.

    Attributes:
        streams_: names of the streams that `fit` saw, in order.
        classes_: int64 (C,), the labels 0..C-1.
        held_out_: with groups, `evaluate` of predictions for each video by what was fitted on the
            other grouped folds; else None.
    """

    folds: int

    def fit(self, X: Streams, y: ArrayLike, groups: Sequence[str] | None = None) -> Self:
        """Fit on labelled videos.

        Args:
            X: for each stream scores (V, C), (V, S, C) or (V, S, R, C), logits or probabilities; or
                one array (V, streams, C). The mean over segments S and crops R is used.
            y: labels (V,) from 0; videos with -1 are left out.
            groups: the scene or source of each video (V,): also estimate the accuracy on unseen
                groups, see `held_out_`.

        Raises:
            InputError: other shapes, no labels, or fewer groups than folds.
        """
        logits, self.streams_ = _as_logits(X)
        labels = np.asarray(y)
        if labels.shape != (len(logits),) or labels.dtype.kind not in "iu":
            raise InputError(
                f"labels are {labels.dtype} {labels.shape}; expected whole numbers ({len(logits)},)"
            )
        known = labels >= 0
        if not known.any() or labels.max() >= logits.shape[2]:
            raise InputError(
                f"labels must be in 0..{logits.shape[2] - 1}, and at least one must be known"
            )
        self.classes_ = np.arange(logits.shape[2])
        self.held_out_: dict[str, Any] | None = None
        if groups is not None:
            folds = grouped_folds(list(groups), labels, count=self.folds)
            self.held_out_ = accuracy_summary(
                fuse_in_folds(logits, labels, folds, self._fit), labels, list(groups)
            )
        self._predict = self._fit(logits[known], labels[known])
        return self

    def predict_proba(self, X: Streams) -> np.ndarray:
        """Fused probabilities, float64 (V, C).

        Raises:
            InputError: before `fit`, or scores of other streams or classes.
        """
        if not hasattr(self, "_predict"):
            raise InputError("call fit before predict")
        logits, streams = _as_logits(X)
        if streams != self.streams_ or logits.shape[2] != len(self.classes_):
            raise InputError(
                f"scores of {', '.join(streams)} in {logits.shape[2]} classes; fitted on "
                f"{', '.join(self.streams_)} in {len(self.classes_)} classes"
            )
        return softmax(self._predict(logits))

    def predict(self, X: Streams) -> np.ndarray:
        """The most probable class of each video, int64 (V,)."""
        return self.predict_proba(X).argmax(axis=1)

    def score(self, X: Streams, y: ArrayLike) -> float:
        """Top-1 accuracy on labelled videos, in 0..1."""
        labels = np.asarray(y)
        return float((self.predict(X) == labels)[labels >= 0].mean())

    def _fit(
        self, logits: np.ndarray, labels: np.ndarray, *, progress: Progress = no_progress
    ) -> Predict:
        raise NotImplementedError


class LearnedFusion(_Estimator):
    """Fusion learnt from labels: `fuse --learn`, for arrays.

        model = LearnedFusion("stacking").fit({"spatial": a, "motion": b}, y, groups=scenes)
        model.held_out_["top1"]    # correct, of, percent, interval on scenes that were left out
        model.predict_proba({"spatial": c, "motion": d})

    Args:
        method: a name of `LEARNERS`: `class-weights` or `stacking`.
        folds: how many grouped folds estimate the accuracy.
    """

    def __init__(self, method: str = "class-weights", *, folds: int = 5) -> None:
        if method not in LEARNERS:
            raise InputError(f"method {method!r}; allowed: {', '.join(LEARNERS)}")
        self.method, self.folds = method, folds

    def _fit(
        self, logits: np.ndarray, labels: np.ndarray, *, progress: Progress = no_progress
    ) -> Predict:
        if logits.shape[1] < 2:
            raise InputError("learning a fusion needs two streams")
        return learn(logits, labels, LEARNERS[self.method], progress=progress)


class CalibratedFusion(_Estimator):
    """The mean of calibrated logits: `fuse --calibrate`, for arrays.

    Args:
        method: a name of `CALIBRATIONS`: `temperature` or `vector`.
        folds: how many grouped folds estimate the accuracy.

    Attributes:
        scalings_: the fitted scaling of each stream, in order.
    """

    def __init__(self, method: str = "temperature", *, folds: int = 5) -> None:
        if method not in CALIBRATIONS:
            raise InputError(f"method {method!r}; allowed: {', '.join(CALIBRATIONS)}")
        self.method, self.folds = method, folds

    def _fit(
        self, logits: np.ndarray, labels: np.ndarray, *, progress: Progress = no_progress
    ) -> Predict:
        fit = CALIBRATIONS[self.method]
        scalings = [fit(logits[:, stream], labels) for stream in range(logits.shape[1])]
        self.scalings_: list[Scaling] = scalings

        def predict(new: np.ndarray) -> np.ndarray:
            return np.mean([scale(new[:, s]) for s, scale in enumerate(scalings)], axis=0)

        return predict


def _as_logits(X: Streams) -> tuple[np.ndarray, list[str]]:
    """Mean logits float64 (V, streams, C), and the names of the streams."""
    if isinstance(X, Mapping):
        arrays = {str(key): np.asarray(value) for key, value in X.items()}
    else:
        array = np.asarray(X)
        if array.ndim != 3:
            raise InputError(f"scores of shape {array.shape}; expected (videos, streams, classes)")
        arrays = {str(stream): array[:, stream] for stream in range(array.shape[1])}
    if not arrays:
        raise InputError("no streams")
    logits = {key: mean_logits(table_of_array(value)) for key, value in arrays.items()}
    shapes = {key: value.shape for key, value in logits.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise InputError(f"the streams differ in videos or classes: {listed}")
    return np.stack(list(logits.values()), axis=1), list(logits)
