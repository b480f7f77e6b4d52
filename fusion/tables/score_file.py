"""Score files: a stream's scores for every video, with all that one must know to use them.

On disk: safetensors with the tensors `scores` and `labels`, and one JSON text in the header.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twostream_base.errors import InputError, some_of
from twostream_base.tensor_file import FileType, TensorFile, write_tensor_file

KINDS = ("logits", "logit_sum", "probs")
UNKNOWN = -1
SCORE_FILE = FileType(
    "score file",
    key="twostream",
    format=1,
    required={"names": list, "class_names": list, "kind": str, "about": dict, "sha256": dict},
    cure="copy it again or score again; files of other tools come in by `twostream scores import`",
)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The scores that one stream, or a fusion of streams, gave to videos.

    Attributes:
        names: V video names, each once.
        class_names: C class names, each once; the position is the label.
        scores: float32 or float16 (V segments R crops C as `(V, S, R, C)`), all finite.
        labels: int64 (V,), the true class, or -1 where it is not known.
        kind: `logits`, `probs`, or `logit_sum`: each value is a sum over `about["summed_over"]`
            logits.
        about: what else is known, as JSON values: stream, dataset, split, subset, protocol, model,
            checkpoint, epoch, selected_on, flow, versions, listed, missing, ...
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    kind: str
    about: dict[str, Any]


def write_scores(path: Path, table: ScoreTable) -> None:
    """Write a score file; the same table gives the same bytes.

    Raises:
        InputError: the table is not sound (see `check_table`).
    """
    check_table(table, where=str(path))
    tensors = {"scores": table.scores, "labels": table.labels}
    write_tensor_file(path, SCORE_FILE, score_header(table), tensors)


def score_header(table: ScoreTable) -> dict[str, Any]:
    """All of `table` but its arrays, as the header of its file."""
    return {
        "names": table.names,
        "class_names": table.class_names,
        "kind": table.kind,
        "about": table.about,
    }


def read_scores(path: Path) -> ScoreTable:
    """Read a score file and verify all of it.

    Raises:
        InputError: not a score file, damaged, or its content is not sound; the file is named.
    """
    with TensorFile(path, SCORE_FILE) as file:
        if sorted(file.tensors) != ["labels", "scores"]:
            held = ", ".join(sorted(file.tensors)) or "nothing"
            raise file.error(f"it holds {held}, not labels and scores alone")
        table = ScoreTable(
            names=tuple(file.header["names"]),
            class_names=tuple(file.header["class_names"]),
            scores=file.read("scores"),
            labels=file.read("labels"),
            kind=file.header["kind"],
            about=file.header["about"],
        )
    check_table(table, where=str(path))
    return table


def read_head(path: Path) -> dict[str, Any]:
    """What a score file says of itself: `names`, `class_names`, `kind`, `about` and `shape`.

    The scores are not read: that is quick, and finds no damage in them.

    Raises:
        InputError: not such a file, or truncated.
    """
    with TensorFile(path, SCORE_FILE) as file:
        if "scores" not in file.tensors:
            raise file.error("it holds no `scores`")
        return {**file.header, "shape": file.tensors["scores"].shape}


def check_table(table: ScoreTable, *, where: str) -> None:
    """Hold a table against the rules that `ScoreTable` states; `where` starts the message.

    Raises:
        InputError: the first rule that is broken, and by what.
    """
    _check_shapes(table, where)
    for items, what in ((table.names, "video names"), (table.class_names, "class names")):
        if not all(isinstance(item, str) and item for item in items):
            raise InputError(f"{where}: {what} must be texts that are not empty")
        if doubled := [item for item, count in Counter(items).items() if count > 1]:
            raise InputError(f"{where}: {what} must differ; more than once: {some_of(doubled)}")
    _check_kind(table, where)
    last = len(table.class_names) - 1
    if outside := _videos(table, (table.labels < UNKNOWN) | (table.labels > last)):
        raise InputError(f"{where}: labels must lie in -1..{last}; not so for {outside}")
    if broken := _videos(table, ~np.isfinite(table.scores).all(axis=(1, 2, 3))):
        raise InputError(
            f"{where}: scores that are NaN or infinite, for {broken}; look for the "
            "cause in training, then score again"
        )


def _check_shapes(table: ScoreTable, where: str) -> None:
    shape, dtype = table.scores.shape, table.scores.dtype
    if dtype not in (np.float32, np.float16) or len(shape) != 4 or 0 in shape:
        raise InputError(
            f"{where}: scores are {dtype} {shape}; they must be float32 or float16 "
            "(videos, segments, crops, classes), none of them 0"
        )
    if (len(table.names), len(table.class_names)) != (shape[0], shape[3]):
        raise InputError(
            f"{where}: {len(table.names)} names and {len(table.class_names)} classes "
            f"for scores of shape {shape}"
        )
    if table.labels.dtype != np.int64 or table.labels.shape != shape[:1]:
        raise InputError(
            f"{where}: labels are {table.labels.dtype} {table.labels.shape}; they "
            f"must be int64 ({shape[0]},)"
        )


def _check_kind(table: ScoreTable, where: str) -> None:
    if table.kind not in KINDS:
        raise InputError(f"{where}: kind {table.kind!r}; allowed: {', '.join(KINDS)}")
    count = table.about.get("summed_over")
    if table.kind == "logit_sum" and not (isinstance(count, int) and count > 0):
        raise InputError(
            f"{where}: `summed_over` is {count!r}; it must count the logits of each sum"
        )


def _videos(table: ScoreTable, chosen: np.ndarray) -> str:
    return some_of([table.names[video] for video in np.flatnonzero(chosen)])
