"""The result of `twostream tune` for people, and the exact curve as a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion.result import accuracy_text, columns
from fusion.tune_cascade import cascade_lines
from fusion.votes import Votes
from fusion.weight_search import weight_curve
from twostream.errors import InputError
from twostream.files import write_text

_CHOSEN = {
    "val": "chosen on the validation scores",
    "crossfit": "chosen in grouped folds, each judged by the weights of the others",
    "test": "CHOSEN ON THESE VERY VIDEOS: not an estimate of anything",
}


def tune_lines(result: Mapping[str, Any]) -> list[str]:
    """The weights, what they are worth, and how much a choice on test would flatter."""
    rows = [("", "top-1", "weights")]
    if result["held_out"]:
        rows.append(
            ("held out", accuracy_text(result["held_out"]), weights_text(result["weights"]))
        )
    rows.append(("equal weights", accuracy_text(result["equal"]), "1 each"))
    picked = result["picked"]
    rows.append(("picked on these videos", accuracy_text(picked), weights_text(picked["weights"])))
    lines = [f"{result['videos']} videos, {_CHOSEN[result['chosen_on']]}", "", *columns(rows), ""]
    for number, fold in enumerate(result.get("folds", []), start=1):
        of_fold = fold["held_out"]
        lines.append(
            f"without fold {number}: {weights_text(fold['weights'])}, "
            f"there {of_fold['correct']}/{of_fold['of']} right"
        )
    if "spread" in result:
        lines.append(f"spread over the folds: {weights_text(result['spread'])}")
    if result["optimism"] is not None:
        lines.append(f"a choice on these videos would flatter by {result['optimism']:.2f} points")
    lines.append(f"use: --strategy weighted --weights {weights_text(result['weights'])}")
    return lines + (cascade_lines(result["cascade"]) if "cascade" in result else [])


def weights_text(weights: Mapping[str, float]) -> str:
    """As `--weights` takes them."""
    return ",".join(f"{key}={weight:.4g}" for key, weight in weights.items())


def write_curve(path: Path, votes: Votes) -> None:
    """Write the exact curve of two streams: a row for each weight at which the count changes.

    Raises:
        InputError: not two streams.
    """
    if len(votes.scores) != 2:
        raise InputError(f"--curve is for two streams; these are {len(votes.scores)}")
    known = votes.labels >= 0
    first, second = (stream[known] for stream in votes.scores.values())
    weights, counts = weight_curve(first, second, votes.labels[known]).steps()
    name = next(iter(votes.scores))
    rows = [f"{weight!r},{count}" for weight, count in zip(weights.tolist(), counts, strict=True)]
    write_text(path, "\n".join([f"weight of {name} from,correct", *rows]) + "\n")
