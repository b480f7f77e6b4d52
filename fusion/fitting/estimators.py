"""Calibrated and learned fusion of arrays, as estimators in the manner of scikit-learn."""

# ruff: noqa: N803 - scikit-learn calls the inputs X

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.probabilities import mean_logits, softmax
from fusion.evaluation.metrics import accuracy_summary
from fusion.fitting.fitted_fusion import (
    CALIBRATIONS,
    LEARNERS,
    Predict,
    Scaling,
    fuse_in_folds,
    learn,
)
from fusion.tables.groups import grouped_folds
from fusion.tables.progress import Progress, no_progress
from fusion.tables.score_file import table_of_array
from twostream_base.errors import InputError

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
