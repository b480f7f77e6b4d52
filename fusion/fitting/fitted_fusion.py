"""What is fitted on labels, and judged on others: calibration, and fusion that is learnt.

A temperature T (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2)
divides all logits of a stream; vector scaling gives each class a factor and an offset. Calibrated
streams are on one scale, so that their plain mean is a fair fusion.

Fusion is learnt as class weights, or by stacking with logistic regression. Both start from the sum
of the streams' calibrated logits and are regularised towards it, so that few videos change little.
A learner is `(logits, labels, *, progress) -> predict`, with calibrated logits (V, streams, C);
`predict` turns such logits into fused ones, (V, C).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.fuse import DEFAULT_STEPS, Fusion, VideoScores, fused_table, score_videos
from fusion.combining.inputs import FusionInputs, HeldOut, read_held_out
from fusion.combining.probabilities import SMALLEST, log_softmax, mean_logits, softmax
from fusion.combining.step import MEAN, Step, Steps
from fusion.combining.strategies import mean
from fusion.tables.join import JoinedTables, join
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import ScoreTable, add_fitted_on, slices
from twostream_base.errors import InputError

_STEPS = 50
CALIBRATED = ", calibrated"  # after the name of a fusion
BINS = 15
Predict = Callable[[np.ndarray], np.ndarray]
Learner = Callable[..., Predict]
_ITERATIONS = 100


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


def labels_in_folds(metadata: Mapping[str, Any], groups: Sequence[str] | None) -> str:
    """What was fitted in folds of these videos saw: as files and results say it.

    Args:
        metadata: of a stream of theirs.
        groups: of the folds, where they are known.
    """
    subset = metadata.get("subset")
    labels = f"{subset} labels" if subset else "labels of these videos"
    alone = groups is not None and len(set(groups)) == len(groups)
    return f"{labels}, in {'folds of single videos' if alone else 'group folds'}"


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

    def summary(self, key: str) -> dict[str, Any]:
        """`facts` of a stream with its `before` and `after`, as JSON values."""
        return self.facts(key) | {"before": self.before[key], "after": self.after[key]}

    def facts(self, key: str) -> dict[str, Any]:
        """Method and temperatures of a stream, for headers and results."""
        scalings = self.scalings[key]
        return {
            "method": "temperature" if len(scalings[0].factor) == 1 else "vector",
            # of each fold; of vector scaling that of the mean factor
            "temperatures": [float(f"{1 / s.factor.mean():.6g}") for s in scalings],
        }

    def score_videos(self, steps: Steps = DEFAULT_STEPS) -> VideoScores:
        """As `fusion.score_videos`, with calibrated logits; the metadata tell it."""

        def of_stream(key: str) -> Callable[[np.ndarray, slice], np.ndarray]:
            factors = np.stack([scaling.factor for scaling in self.scalings[key]])
            offsets = np.stack([scaling.offset for scaling in self.scalings[key]])

            def calibrate(logits: np.ndarray, rows: slice) -> np.ndarray:
                folds = self.folds[rows]
                return logits * factors[folds][:, None, None] + offsets[folds][:, None, None]

            return calibrate

        calibrations = {key: of_stream(key) for key in self.joined.tables}
        streams = score_videos(self.joined, steps, calibrations=calibrations)
        metadata = {
            key: add_fitted_on(facts | {"calibration": self.facts(key)}, self.fitted_on)
            for key, facts in streams.metadata.items()
        }
        return replace(streams, metadata=metadata)


def calibrate(
    joined: JoinedTables,
    held_out: HeldOut,
    *,
    fit: Fit = temperature,
    progress: Progress = no_progress,
) -> CalibratedTables:
    """Calibrate the logits of each stream by what was fitted on `held_out`.

    Raises:
        InputError: a stream is missing in the other scores, has other classes, the same videos, or
            no labels.
    """
    means = {key: mean_logits(table) for key, table in joined.tables.items()}
    scalings: dict[str, list[Scaling]] = {}
    if isinstance(held_out, np.ndarray):
        folds = held_out
        for number, (key, logits) in enumerate(means.items()):
            begin, end = (at / len(means) for at in (number, number + 1))
            scalings[key] = cross_fit(
                logits, joined.labels, folds, fit=fit, progress=part_of(progress, begin, end)
            )
        fitted_on = labels_in_folds(next(iter(joined.tables.values())).metadata, joined.groups)
    else:
        folds, fitted_on = np.zeros(len(joined.names), dtype=np.int64), None
        for key, table in joined.tables.items():
            scalings[key] = [fit(*logits_to_fit(key, table, held_out))]
    before, after = {}, {}
    for key, table in joined.tables.items():
        before[key] = reliability(softmax(means[key]), table.labels)
        calibrated = np.empty_like(means[key])
        for fold, scaling in enumerate(scalings[key]):
            calibrated[folds == fold] = softmax(scaling(means[key][folds == fold]))
        after[key] = reliability(calibrated, table.labels)
    return CalibratedTables(joined, scalings, folds, fitted_on, before, after)


def calibrate_inputs(inputs: FusionInputs, *, progress: Progress = no_progress) -> CalibratedTables:
    """Calibrate the streams as --calibrate and --calibration say."""
    held_out = read_held_out(inputs, inputs.options.calibrate)
    fit = CALIBRATIONS[inputs.options.calibration]
    return calibrate(inputs.joined, held_out, fit=fit, progress=progress)


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


def fuse_by_learning(
    streams: VideoScores,
    joined: JoinedTables,
    learner: Learner,
    held_out: HeldOut,
    *,
    name: str,
    progress: Progress = no_progress,
) -> Fusion:
    """Fuse the mean logits of each video's views by `learner`, to probabilities.

    It learns from the labelled videos of `held_out`.

    Args:
        streams: the plain mean scores of `joined`, by which the header tells the inputs.
        name: of the learner, for the header.

    Raises:
        InputError: one input alone, or others that lack a stream, share videos or have no labels.
    """
    if len(streams.scores) < 2:
        raise InputError("learning a fusion needs two inputs")
    logits = np.stack([mean_logits(table) for table in joined.tables.values()], axis=1)
    if isinstance(held_out, np.ndarray):
        learn_it = partial(learn, learner=learner)
        fused = fuse_in_folds(logits, streams.labels, held_out, learn_it, progress=progress)
        learned_on = "crossfit"
        mark = labels_in_folds(next(iter(streams.metadata.values())), streams.groups)
    else:
        others = join({key: held_out[key] for key in joined.tables if key in held_out}).tables
        pairs = [logits_to_fit(key, table, others) for key, table in joined.tables.items()]
        other_logits = np.stack([logits for logits, _ in pairs], axis=1)
        predict = learn(other_logits, pairs[0][1], learner, progress=progress)
        fused, learned_on, mark = predict(logits), "val", None
    # The header names a strategy that nobody can apply without the labels.
    streams_step = Step(name, mean, {"learned_on": learned_on})
    steps = {"crops": MEAN, "segments": MEAN, "streams": streams_step}
    table = fused_table(streams, softmax(fused), "probs", steps, fitted_on=mark)
    return Fusion(table, streams, list(streams.warnings))
