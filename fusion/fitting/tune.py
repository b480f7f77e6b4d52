"""Weights of the streams, and cascades, evaluated on videos that were not used to choose them.

In a cascade, flow, the costly part, is computed only for videos of which RGB is not confident. The
first stream decides a video alone where the margin of its first class over the second, as
probabilities, is at least a threshold; else both streams are fused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.fuse import VideoScores, fused_table
from fusion.combining.probabilities import as_probs, top_margin
from fusion.combining.step import Step
from fusion.combining.strategies import weighted
from fusion.evaluation.metrics import count_groups, known_groups, share
from fusion.fitting.fitted_fusion import labels_in_folds
from fusion.fitting.weight_search import WeightCurve, right_answers, search_weights, weight_curve
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError, some_of

_CURVE_POINTS = 21
# (V,): the margin of the first stream, whether it is right, and whether both fused are.
Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


def tune_in_folds(
    streams: VideoScores, folds: np.ndarray, *, progress: Progress = no_progress
) -> dict[str, Any]:
    """Find weights on all folds (V,) but one, for each fold, and evaluate them on that one.

    The weights to use are the mean of those of the folds. Results as JSON values: see `tune_on`;
    `folds` has the weights of each fold and its counts.
    """
    searches = int(folds.max()) + 2  # in all folds, also without labels, and once on all videos
    scores, labels, folds = _labelled(streams, folds)
    groups = known_groups(streams.groups, streams.labels >= 0)
    right = np.zeros(len(labels), dtype=bool)
    rows: list[dict[str, Any]] = []
    for fold in range(searches - 1):
        progress("weights", fold / searches)
        out, of_fold = folds == fold, part_of(progress, fold / searches, (fold + 1) / searches)
        if out.all():
            raise InputError(
                f"all labelled videos are in fold {fold + 1}: there are no others to choose "
                "weights on; give labels of more groups, or --choose val"
            )
        fitted = [stream[~out] for stream in scores]
        fold_weights, _ = search_weights(fitted, labels[~out], progress=of_fold)
        right[out] = right_answers([stream[out] for stream in scores], fold_weights, labels[out])
        rows.append(
            {
                "weights": fold_weights,
                "fitted": share(
                    right_answers(fitted, fold_weights, labels[~out]), known_groups(groups, ~out)
                ),
                "held_out": share(right[out], known_groups(groups, out)),
            }
        )
    weights = np.mean([row["weights"] for row in rows], axis=0)
    of_all = part_of(progress, 1 - 1 / searches, 1)
    return _result("crossfit", streams, weights, right, of_all) | {
        "folds": [row | {"weights": _named(streams, row["weights"])} for row in rows],
        "spread": _named(streams, np.ptp([row["weights"] for row in rows], axis=0)),
    }


def tune_on(
    streams: VideoScores, others: VideoScores, *, progress: Progress = no_progress
) -> dict[str, Any]:
    """Find weights on other videos (validation), and evaluate them on these.

    As JSON values: `weights`, sum 1, of each stream's scores; `held_out`, the count of videos that
    these weights get right, none of which was used to find them; `equal`, that of equal weights;
    `picked`, the weights that are best on these very videos, and their count; and `optimism`, by
    how many percent points that count is too high.

    Raises:
        InputError: other streams, classes or types of scores, the same videos, or no labels.
    """
    if streams.score_type != others.score_type:
        raise InputError(
            f"the validation scores are {others.score_type}, the others {streams.score_type}"
        )
    check_apart(streams, others)
    scores, labels, _ = _labelled(streams)
    val_scores, val_labels, _ = _labelled(others)
    weights, _ = search_weights(val_scores, val_labels, progress=part_of(progress, 0, 0.5))
    right = right_answers(scores, weights, labels)
    return _result("val", streams, weights, right, part_of(progress, 0.5, 1))


def tune_on_test(streams: VideoScores, *, progress: Progress = no_progress) -> dict[str, Any]:
    """The weights that get most of these very videos right: no estimate of accuracy.

    As `tune_on`, with `held_out` and `optimism` None.
    """
    scores, labels, _ = _labelled(streams)
    weights, _ = search_weights(scores, labels, progress=part_of(progress, 0, 0.5))
    return _result("test", streams, weights, None, part_of(progress, 0.5, 1))


def curve_of_streams(streams: VideoScores) -> WeightCurve:
    """How many labelled videos are right at every weight of the first of two streams."""
    (first, second), labels, _ = _labelled(streams)
    return weight_curve(first, second, labels)


def check_apart(streams: VideoScores, others: VideoScores) -> None:
    """Refuse to evaluate on videos that chose weights, or what is of other streams.

    Raises:
        InputError: videos that are in both, or other streams.
    """
    if list(streams.scores) != list(others.scores) or streams.class_names != others.class_names:
        raise InputError("the validation scores are of other streams or classes")
    if both := sorted(set(streams.names) & set(others.names)):
        raise InputError(
            f"{len(both)} videos are among the validation scores and the others: {some_of(both)}"
        )


def fuse_by_tuned_weights(
    streams: VideoScores, result: Mapping[str, Any], folds: np.ndarray | None
) -> ScoreTable:
    """Fuse the streams by the weights of a result of the functions above; `folds`, if it had any.

    In folds each video has the weights that were found without its fold. What has seen labels of
    these very videos is marked `fitted_on`; if they chose their own weights, `selected_on` is
    their subset too.
    """
    rows = [fold["weights"] for fold in result["folds"]] if folds is not None else []
    weights = np.array([list(row.values()) for row in rows or [result["weights"]]])
    of_videos = weights[folds if folds is not None else np.zeros(len(streams.names), dtype=int)]
    stacked = np.stack(list(streams.scores.values()), axis=1)
    options = {"weights": result["weights"], "chosen_on": result["chosen_on"]}
    steps = {"streams": Step("weighted", weighted, options)}
    scores = (stacked * of_videos[:, :, None]).sum(axis=1)
    table = fused_table(streams, scores, streams.score_type, steps, fitted_on=result["fitted_on"])
    if result["chosen_on"] == "test":
        table.metadata["selected_on"] = table.metadata.get("subset", "test")
    return table


def _result(
    chosen_on: str,
    streams: VideoScores,
    weights: np.ndarray,
    right: np.ndarray | None,
    progress: Progress,
) -> dict[str, Any]:
    """The result of any of them; `right`: the videos that the weights get right, held out."""
    scores, labels, _ = _labelled(streams)
    groups = known_groups(streams.groups, streams.labels >= 0)
    picked, most = search_weights(scores, labels, progress=progress)
    equal = right_answers(scores, np.full(len(scores), 1 / len(scores)), labels)
    in_folds = labels_in_folds(next(iter(streams.metadata.values())), streams.groups)
    fitted_on = {"val": None, "crossfit": in_folds, "test": in_folds.partition(",")[0]}
    return {
        "chosen_on": chosen_on,
        "fitted_on": fitted_on[chosen_on],
        "videos": len(labels),
        "groups": count_groups(groups),
        "combine": streams.score_type,
        "weights": _named(streams, weights),
        "held_out": None if right is None else share(right, groups),
        "equal": share(equal, groups),
        "picked": {
            "weights": _named(streams, picked),
            **share(right_answers(scores, picked, labels), groups),
        },
        "optimism": None
        if right is None
        else round(100 * (most - int(right.sum())) / len(labels), 4),
    }


def _labelled(
    streams: VideoScores, folds: np.ndarray | None = None
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Scores, labels and folds of the videos whose class is known."""
    known = streams.labels >= 0
    if not known.any():
        raise InputError("no video has a label: weights cannot be chosen; give scores with labels")
    scores = list(streams.scores.values())
    if not known.all():  # no copy of all where all are known
        scores = [stream[known] for stream in scores]
    of_videos = np.zeros(len(known), dtype=np.int64) if folds is None else folds
    return scores, streams.labels[known], of_videos[known]


def _named(streams: VideoScores, weights: np.ndarray) -> dict[str, float]:
    return {key: round(float(w), 6) for key, w in zip(streams.scores, weights, strict=True)}


class CascadeCurve(NamedTuple):
    """Accuracy against cost, from no video fused to all of them.

    Attributes:
        thresholds: rising (K,): videos whose margin is below it are fused.
        fused: videos that are fused at each threshold.
        correct: videos that are right at each threshold.
    """

    thresholds: np.ndarray
    fused: np.ndarray
    correct: np.ndarray


def confidence_margin(scores: np.ndarray, score_type: str) -> np.ndarray:
    """The margin of the first class over the second, as probabilities: (V,) in 0..1."""
    return top_margin(as_probs(scores, score_type))


def cascade_curve(
    margins: np.ndarray, first_right: np.ndarray, fused_right: np.ndarray
) -> CascadeCurve:
    """The exact curve over all thresholds, from what is known of each video: three (V,) arrays."""
    order = np.argsort(margins, kind="stable")
    sorted_margins = margins[order]
    gain = np.cumsum(fused_right[order].astype(np.int64) - first_right[order])
    correct = int(first_right.sum()) + np.concatenate([[0], gain])
    # A threshold cannot separate equal margins: there is a point only where the margin changes.
    last = np.flatnonzero(np.append(sorted_margins[1:] != sorted_margins[:-1], True))
    thresholds = np.concatenate([[0.0], np.nextafter(sorted_margins[last], 2)])
    fused = np.concatenate([[0], last + 1])
    return CascadeCurve(thresholds, fused, correct[fused])


def choose_threshold(curve: CascadeCurve, *, tolerance: float = 0.0) -> float:
    """The lowest threshold that costs at most `tolerance` (0..1) of the videos against fusing all.

    Choose it on validation videos: on the test videos themselves it is optimistic.
    """
    allowed = curve.correct[-1] - tolerance * curve.fused[-1]
    return float(curve.thresholds[np.flatnonzero(curve.correct >= allowed)[0]])


def at_threshold(
    thresholds: float | np.ndarray,
    margins: np.ndarray,
    first_right: np.ndarray,
    fused_right: np.ndarray,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Evaluate thresholds on videos that were not used to choose them, as JSON values.

    One for all videos, or one for each (V,). `flow` counts the videos that need flow, `top1` those
    that are right; `always` and `never` those right when all or none are fused.
    """
    if not len(margins):
        raise InputError("no labelled videos for a cascade")
    needs = margins < thresholds
    return {
        "flow": share(needs, groups),
        "top1": share(np.where(needs, fused_right, first_right), groups),
        "always": share(fused_right, groups),
        "never": share(first_right, groups),
    }


def cascade_on(streams: VideoScores, others: VideoScores, *, tolerance: float) -> dict[str, Any]:
    """Evaluate a cascade whose weights and threshold come from other videos.

    Args:
        tolerance: in 0..1: the share of the other videos that the cascade may lose against fusing
            all of them.

    Returns:
        See `at_threshold`; `curve` holds pairs of flow and correct counts on `streams`.

    Raises:
        InputError: not two streams, the same videos, or no labels.
    """
    check_apart(streams, others)
    weights, threshold = _fit(others, others.labels >= 0, tolerance)
    known = streams.labels >= 0
    answers = _answers(streams, known, weights)
    return _summary([(threshold, answers)], known_groups(streams.groups, known))


def cascade_in_folds(
    streams: VideoScores, folds: np.ndarray, *, tolerance: float
) -> dict[str, Any]:
    """The same in folds (V,): each is evaluated with the weights and threshold of the others."""
    known = streams.labels >= 0
    by_fold = []
    for fold in range(int(folds.max()) + 1):
        weights, threshold = _fit(streams, known & (folds != fold), tolerance)
        by_fold.append((threshold, _answers(streams, known & (folds == fold), weights)))
    of_folds = np.argsort(folds[known], kind="stable")
    groups = known_groups(streams.groups, known)
    return _summary(by_fold, None if groups is None else [groups[row] for row in of_folds])


def _fit(streams: VideoScores, rows: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    if len(streams.scores) != 2:
        raise InputError("a cascade needs two streams: one that is cheap, then both")
    scores = [stream[rows] for stream in streams.scores.values()]
    if not len(scores[0]):
        raise InputError("no labelled videos to choose a threshold on")
    weights, _ = search_weights(scores, streams.labels[rows])
    curve = cascade_curve(*_answers(streams, rows, weights))
    return weights, choose_threshold(curve, tolerance=tolerance)


def _answers(streams: VideoScores, rows: np.ndarray, weights: np.ndarray) -> Answers:
    """What is known of each labelled video."""
    first, second = (stream[rows] for stream in streams.scores.values())
    labels, fused = streams.labels[rows], weights[0] * first + weights[1] * second
    margins = confidence_margin(first, streams.score_type)
    return margins, first.argmax(axis=1) == labels, fused.argmax(axis=1) == labels


def _summary(
    by_fold: Sequence[tuple[float, Answers]], groups: Sequence[str] | None
) -> dict[str, Any]:
    """`at_threshold` of the videos of all folds, one fold after the other; `groups`: of these."""
    of_all_folds = zip(*(answers for _, answers in by_fold), strict=True)
    margins, first_right, fused_right = map(np.concatenate, of_all_folds)
    thresholds = np.repeat([t for t, _ in by_fold], [len(answers[0]) for _, answers in by_fold])
    counts = at_threshold(thresholds, margins, first_right, fused_right, groups)
    curve = cascade_curve(margins, first_right, fused_right)
    points = np.unique(np.linspace(0, len(curve.fused) - 1, _CURVE_POINTS).astype(int))
    return counts | {
        "thresholds": [threshold for threshold, answers in by_fold if len(answers[0])],
        "curve": [[int(curve.fused[at]), int(curve.correct[at])] for at in points],
    }
