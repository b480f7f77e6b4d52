"""Calibration: temperature and vector scaling of a stream's logits, so that probabilities hold.

A temperature T (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2)
divides all logits of a stream; vector scaling gives each class a factor and an offset. Calibrated
streams are on one scale, so that their plain mean is a fair fusion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.fuse import VideoScores, add_fitted_on, mean_logits, score_videos
from fusion.combining.inputs import FusionInputs, FusionOptions
from fusion.combining.probabilities import SMALLEST, log_softmax, softmax
from fusion.combining.step import MEAN, Step, StepOptions
from fusion.fitting.hold_out import find_folds, labels_in_folds, read_validation_scores
from fusion.tables.join import JoinedTables
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import ScoreTable, slices
from twostream_base.errors import InputError

_STEPS = 50
CALIBRATED = ", calibrated"  # after the name of a fusion
BINS = 15


class Scaling(NamedTuple):
    """Calibrated logits are `factor * logits + offset`; both (C,), or (1,) for all classes."""

    factor: np.ndarray
    offset: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Calibrate logits (..., C)."""
        return logits * self.factor + self.offset


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 at which softmax(logits / T) of (V, C) logits has the least cross-entropy.

    The loss is convex in 1/T: Newton's method, kept between the bounds found so far. For n videos
    the target of the true class is 1 - 1/(n + 2) instead of 1 (Platt, 1999, section 2.2), so that T
    stays above 0 where all are right. For logits worse than chance, T stops at 1000 times their
    standard deviation.

    Raises:
        InputError: no videos.
    """
    if not len(labels):
        raise InputError("no labelled videos to calibrate on")
    spread = float(logits.std()) or 1.0
    scaled = logits / spread
    doubt = 1 / (len(labels) + 2)
    true = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    true = (1 - doubt) * true + doubt * scaled.mean(axis=1)
    expected, squares = np.empty((2, len(labels)))
    low, high, inverse = 1e-3, 1e3, 1.0
    for _ in range(_STEPS):
        # First and second derivative of the mean cross-entropy by 1/T.
        for part in slices(scaled):
            probs = softmax(inverse * scaled[part])
            expected[part] = (probs * scaled[part]).sum(axis=1)
            squares[part] = (probs * scaled[part] ** 2).sum(axis=1)
        slope = float((expected - true).mean())
        curvature = float((squares - expected**2).mean())
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else 0.0
        proposed = step if low < step < high else np.sqrt(low * high)
        if abs(proposed - inverse) <= 1e-9 * inverse:
            break
        inverse = float(proposed)
    return spread / inverse


def temperature(logits: np.ndarray, labels: np.ndarray) -> Scaling:
    """One temperature for all classes: see `fit_temperature`."""
    return Scaling(np.array([1 / fit_temperature(logits, labels)]), np.zeros(1))


def vector(logits: np.ndarray, labels: np.ndarray, *, strength: float = 100.0) -> Scaling:
    """A factor and an offset for each class, of least cross-entropy on (V, C) logits.

    A penalty of `strength` times the squared change draws them towards the temperature.

    Raises:
        InputError: no videos.
    """
    from scipy.optimize import minimize

    start = temperature(logits, labels).factor[0]
    scaled, classes = logits * start, logits.shape[1]
    true = np.eye(classes)[labels]

    def loss(change: np.ndarray) -> tuple[float, np.ndarray]:
        factor, offset = change.reshape(2, classes)
        log_probs = log_softmax(scaled * (1 + factor) + offset)
        error = np.exp(log_probs) - true
        slope = np.concatenate([(error * scaled).sum(axis=0), error.sum(axis=0)])
        return strength * change @ change - (log_probs * true).sum(), slope + 2 * strength * change

    change = minimize(loss, np.zeros(2 * classes), jac=True, method="L-BFGS-B").x
    factor, offset = change.reshape(2, classes)
    return Scaling(start * (1 + factor), offset)


Fit = Callable[[np.ndarray, np.ndarray], Scaling]

CALIBRATIONS: dict[str, Fit] = {"temperature": temperature, "vector": vector}


def cross_fit(
    logits: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    fit: Fit = temperature,
    progress: Progress = no_progress,
) -> list[Scaling]:
    """The scaling for the videos of each fold, fitted on the labelled videos of all others."""
    scalings, count = [], int(folds.max()) + 1
    for fold in range(count):
        progress("calibration", fold / count)
        others = (folds != fold) & (labels >= 0)
        scalings.append(fit(logits[others], labels[others]))
    return scalings


@dataclass(frozen=True, eq=False)
class CalibratedTables:
    """Joined tables whose logits are calibrated where they are used.

    Attributes:
        joined: the tables as they were.
        scalings: for each stream the scaling of each fold; only one when fitted on other videos.
        folds: int64 (V,), the fold of each video.
        fitted_on: on which labels of these videos, in words; None when fitted on other videos.
        before: for each stream the `reliability` of its mean scores before calibration.
        after: the same of its calibrated scores, none of which was fitted on its own label.
    """

    joined: JoinedTables
    scalings: dict[str, list[Scaling]]
    folds: np.ndarray
    fitted_on: str | None
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]

    def facts(self, key: str) -> dict[str, Any]:
        """Method and temperatures of a stream, for headers and results."""
        scalings = self.scalings[key]
        return {
            "method": "temperature" if len(scalings[0].factor) == 1 else "vector",
            # of each fold; of vector scaling that of the mean factor
            "temperatures": [float(f"{1 / s.factor.mean():.6g}") for s in scalings],
        }

    def score_videos(
        self, *, crops: Step = MEAN, segments: Step = MEAN, combine: str | None = None
    ) -> VideoScores:
        """As `fusion.score_videos`, with calibrated logits; the metadata tell it."""

        def of_stream(key: str) -> Callable[[np.ndarray, slice], np.ndarray]:
            factors = np.stack([scaling.factor for scaling in self.scalings[key]])
            offsets = np.stack([scaling.offset for scaling in self.scalings[key]])

            def calibrate(logits: np.ndarray, rows: slice) -> np.ndarray:
                folds = self.folds[rows]
                return logits * factors[folds][:, None, None] + offsets[folds][:, None, None]

            return calibrate

        streams = score_videos(
            self.joined,
            crops=crops,
            segments=segments,
            combine=combine,
            calibrations={key: of_stream(key) for key in self.joined.tables},
        )
        metadata = {
            key: add_fitted_on(facts | {"calibration": self.facts(key)}, self.fitted_on)
            for key, facts in streams.metadata.items()
        }
        return replace(streams, metadata=metadata)


def calibrate_in_folds(
    joined: JoinedTables,
    folds: np.ndarray,
    *,
    fit: Fit = temperature,
    progress: Progress = no_progress,
) -> CalibratedTables:
    """Calibrate each video by what was fitted on the other folds (V,); see `grouped_folds`."""
    means, scalings = {}, {}
    for number, (key, table) in enumerate(joined.tables.items()):
        begin, end = (at / len(joined.tables) for at in (number, number + 1))
        means[key] = mean_logits(table)
        scalings[key] = cross_fit(
            means[key], joined.labels, folds, fit=fit, progress=part_of(progress, begin, end)
        )
    first = next(iter(joined.tables.values()))
    fitted_on = labels_in_folds(first.metadata.get("subset"), joined.groups)
    return _calibrated(joined, means, scalings, folds, fitted_on)


def calibrate_on(
    joined: JoinedTables, others: Mapping[str, ScoreTable], *, fit: Fit = temperature
) -> CalibratedTables:
    """Calibrate all videos by what was fitted on `others`: validation videos of each stream.

    Raises:
        InputError: a stream is missing in `others`, has other classes, the same videos, or no
            labels.
    """
    means = {key: mean_logits(table) for key, table in joined.tables.items()}
    scalings = {
        key: [fit(*logits_to_fit(key, table, others))] for key, table in joined.tables.items()
    }
    folds = np.zeros(len(joined.names), dtype=np.int64)
    return _calibrated(joined, means, scalings, folds, None)


def calibrate_inputs(
    inputs: FusionInputs, options: FusionOptions, *, progress: Progress = no_progress
) -> CalibratedTables:
    """Calibrate the streams on validation scores or in folds, as --calibrate says."""
    fit = CALIBRATIONS[options.calibration]
    if options.calibrate == "val":
        return calibrate_on(inputs.joined, read_validation_scores(inputs, options), fit=fit)
    folds = find_folds(inputs.joined, count=options.folds)
    return calibrate_in_folds(inputs.joined, folds, fit=fit, progress=progress)


def video_scores(
    inputs: FusionInputs, options: StepOptions, calibrated: CalibratedTables | None = None
) -> VideoScores:
    """The scores of each stream for each video; with calibrated logits where there are any."""
    score = partial(score_videos, inputs.joined) if calibrated is None else calibrated.score_videos
    return score(crops=inputs.steps.crops, segments=inputs.steps.segments, combine=options.combine)


def logits_to_fit(
    key: str, table: ScoreTable, others: Mapping[str, ScoreTable]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean logits (V, C) and labels of the labelled videos of `others[key]`, classes as in `table`.

    Raises:
        InputError: no such other table, other classes, or videos that are in both.
    """
    if key not in others:
        raise InputError(f"no validation scores of {key} to learn from")
    other = others[key]
    if set(other.names) & set(table.names):
        raise InputError(f"{key}: the videos to learn from are among those that are fused")
    if set(other.class_names) != set(table.class_names):
        raise InputError(f"{key}: the validation scores have other classes")
    column = {name: index for index, name in enumerate(table.class_names)}
    order = np.array([column[name] for name in other.class_names])
    known = other.labels >= 0
    logits = np.empty((int(known.sum()), len(order)))
    logits[:, order] = mean_logits(other)[known]
    return logits, order[other.labels[known]]


def _calibrated(
    joined: JoinedTables,
    means: Mapping[str, np.ndarray],
    scalings: dict[str, list[Scaling]],
    folds: np.ndarray,
    fitted_on: str | None,
) -> CalibratedTables:
    before, after = {}, {}
    for key, table in joined.tables.items():
        before[key] = reliability(softmax(means[key]), table.labels)
        calibrated = np.empty_like(means[key])
        for fold, scaling in enumerate(scalings[key]):
            calibrated[folds == fold] = softmax(scaling(means[key][folds == fold]))
        after[key] = reliability(calibrated, table.labels)
    return CalibratedTables(joined, scalings, folds, fitted_on, before, after)


def reliability(probs: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> dict[str, Any]:
    """Compare the confidence of (V, C) probabilities in their first class with its accuracy.

    `ece` is the expected calibration error (Guo et al., ICML 2017, section 2): the mean, over
    videos, of |accuracy - confidence| of their bin, in 0..1; `nll` the mean cross-entropy. `bins`
    are of equal width over 0..1, each closed above; an empty one has None. Videos without a label
    (-1) are left out; without any label, `ece` and `nll` are None.
    """
    known = labels >= 0
    probs, labels = probs[known], labels[known]
    if not len(labels):
        return {"videos": 0, "ece": None, "nll": None, "confidence": None, "bins": []}
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows: list[dict[str, Any]] = []
    for number in range(bins):
        inside = place == number
        rows.append(
            {
                "from": number / bins,
                "to": (number + 1) / bins,
                "videos": int(inside.sum()),
                "confidence": float(confidence[inside].mean()) if inside.any() else None,
                "accuracy": float(right[inside].mean()) if inside.any() else None,
            }
        )
    filled = [row for row in rows if row["videos"]]
    gaps = [row["videos"] * abs(row["accuracy"] - row["confidence"]) for row in filled]
    true = np.take_along_axis(probs, labels[:, None], axis=1)
    return {
        "videos": len(labels),
        "ece": float(sum(gaps) / len(labels)),
        "nll": float(-np.log(np.maximum(true, SMALLEST)).mean()),
        "confidence": float(confidence.mean()),
        "bins": rows,
    }
