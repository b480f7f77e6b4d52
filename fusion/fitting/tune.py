"""Weights of the streams, and what they are worth on videos that had no say in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion.combining.fuse import fused_table
from fusion.combining.step import Step
from fusion.combining.strategies import weighted
from fusion.combining.video_scores import Votes
from fusion.fitting.weight_search import right_count, search_weights
from fusion.metrics import proportion
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError, some_of


def tune_in_folds(votes: Votes, folds: np.ndarray) -> dict[str, Any]:
    """Weights found on all folds but one, for each fold, and how they do on that one.

    The weights to use are the mean of those of the folds. Results as JSON values: see `tune_on`;
    `folds` holds the weights of each fold and its counts.
    """
    scores, labels, folds = _labelled(votes, folds)
    rows = [_fold(scores, labels, folds == fold) for fold in range(int(folds.max()) + 1)]
    weights = np.mean([row["weights"] for row in rows], axis=0)
    held_out = sum(row["held_out"]["correct"] for row in rows)
    return _result("crossfit", votes, weights, held_out) | {
        "folds": [row | {"weights": _named(votes, row["weights"])} for row in rows],
        "spread": _named(votes, np.ptp([row["weights"] for row in rows], axis=0)),
    }


def tune_on(votes: Votes, others: Votes) -> dict[str, Any]:
    """Weights found on other videos (validation), and how they do on these.

    As JSON values: `weights`, sum 1, of each stream's scores as they are; `held_out`, the count of
    videos that the weights get right and that had no say in them; `equal`, that of equal weights;
    `picked`, the weights that these very videos would choose and their count; and `optimism`, by
    how many percent points that count flatters.

    Raises:
        InputError: other streams, classes or kinds of scores, the same videos, or no labels.
    """
    if list(votes.scores) != list(others.scores) or votes.class_names != others.class_names:
        raise InputError("the validation scores are of other streams or classes")
    if votes.kind != others.kind:
        raise InputError(f"the validation scores are {others.kind}, the others {votes.kind}")
    check_apart(votes, others)
    scores, labels, _ = _labelled(votes)
    val_scores, val_labels, _ = _labelled(others)
    weights, _ = search_weights(val_scores, val_labels)
    return _result("val", votes, weights, right_count(scores, weights, labels))


def tune_on_test(votes: Votes) -> dict[str, Any]:
    """The weights that get the most of these very videos right: no estimate of anything.

    As `tune_on`, with `held_out` and `optimism` None.
    """
    scores, labels, _ = _labelled(votes)
    weights, _ = search_weights(scores, labels)
    return _result("test", votes, weights, None)


def check_apart(votes: Votes, others: Votes) -> None:
    """Refuse to judge videos by what they themselves chose.

    Raises:
        InputError: videos that are in both.
    """
    if both := sorted(set(votes.names) & set(others.names)):
        raise InputError(
            f"{len(both)} videos are among the validation scores and the others: {some_of(both)}"
        )


def fused_by(votes: Votes, result: Mapping[str, Any], folds: np.ndarray | None) -> ScoreTable:
    """The votes fused by the weights that one of the functions above found; folds, if it had any.

    In folds each video has the weights that its fold had no say in. Weights chosen on these very
    videos are marked as such: `selected_on` is their subset.
    """
    rows = [fold["weights"] for fold in result["folds"]] if folds is not None else []
    weights = np.array([list(row.values()) for row in rows or [result["weights"]]])
    of_videos = weights[folds if folds is not None else np.zeros(len(votes.names), dtype=int)]
    stacked = np.stack(list(votes.scores.values()), axis=1)
    options = {"weights": result["weights"], "chosen_on": result["chosen_on"]}
    steps = {"streams": Step("weighted", weighted, options)}
    scores = (stacked * of_videos[:, :, None]).sum(axis=1)
    table = fused_table(votes, scores, votes.kind, steps)
    if result["chosen_on"] == "test":
        table.about["selected_on"] = table.about.get("subset", "test")
    return table


def _result(
    chosen_on: str, votes: Votes, weights: np.ndarray, held_out: int | None
) -> dict[str, Any]:
    scores, labels, _ = _labelled(votes)
    picked, most = search_weights(scores, labels)
    equal = right_count(scores, np.full(len(scores), 1 / len(scores)), labels)
    videos = len(labels)
    return {
        "chosen_on": chosen_on,
        "videos": videos,
        "combine": votes.kind,
        "weights": _named(votes, weights),
        "held_out": None if held_out is None else proportion(held_out, videos),
        "equal": proportion(equal, videos),
        "picked": {"weights": _named(votes, picked), **proportion(most, videos)},
        "optimism": None if held_out is None else round(100 * (most - held_out) / videos, 4),
    }


def _fold(scores: list[np.ndarray], labels: np.ndarray, out: np.ndarray) -> dict[str, Any]:
    rest = [stream[~out] for stream in scores]
    weights, fitted = search_weights(rest, labels[~out])
    right = right_count([stream[out] for stream in scores], weights, labels[out])
    return {
        "weights": weights,
        "fitted": proportion(fitted, int((~out).sum())),
        "held_out": proportion(right, int(out.sum())),
    }


def _labelled(
    votes: Votes, folds: np.ndarray | None = None
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Scores, labels and folds of the videos whose class is known."""
    known = votes.labels >= 0
    if not known.any():
        raise InputError("no video has a label: weights cannot be chosen; give scores with labels")
    scores = [stream[known] for stream in votes.scores.values()]
    of_videos = np.zeros(len(known), dtype=np.int64) if folds is None else folds
    return scores, votes.labels[known], of_videos[known]


def _named(votes: Votes, weights: np.ndarray) -> dict[str, float]:
    return {key: round(float(w), 6) for key, w in zip(votes.scores, weights, strict=True)}
