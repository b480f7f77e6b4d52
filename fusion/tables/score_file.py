"""Score files: the scores that a stream gave to every video, and what is known about them.

On disk: safetensors with the tensors `scores` and `labels`, of windows of long videos also `times`,
and a JSON header. Files larger than memory are written in parts; the scores of large files are read
a few videos at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from twostream_base import tensor_file
from twostream_base.errors import InputError, some_of

SCORE_TYPES = ("logits", "logit_sum", "probs")
UNKNOWN = -1
LARGE_BYTES = 2**29  # the scores of larger files stay on disk, see `read_scores`
SLICE_BYTES = 2 * 2**20  # of what is computed at a time; a few such arrays in float64 exist then
SCORE_FILE = tensor_file.FileType(
    "score file",
    key="twostream",
    format=1,
    required={"names": list, "class_names": list, "kind": str, "about": dict, "sha256": dict},
    cure="copy it again or score again; files of other tools come in by `twostream scores import`",
)
# What a fused score file takes over from its inputs, where they agree.
_PASSED_ON = (
    "dataset", "split", "subset", "protocol", "selected_on", "listed", "missing", "windows",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The scores that one stream, or a fusion of streams, gave to videos.

    Attributes:
        names: V video names, each once.
        class_names: C class names, each once; the position is the label.
        scores: float16, float32 or float64 (V, S segments, R crops, C), all finite; of a large file
            `StoredScores` where it was read so (`in_memory`).
        labels: int64 (V,), the true class, or -1 where it is not known.
        score_type: `logits`, `probs`, or `logit_sum`: each value is a sum over
            `metadata["summed_over"]` logits.
        metadata: what else is known, as JSON values: stream, dataset, split, subset, protocol,
            model, checkpoint, epoch, selected_on, flow, versions, listed, missing, ... Where the
            network had seen videos in training, `seen_in_training`: see `seen_text`.
        groups: the scene, film or source of each video (V,), or None where it is not known. Videos
            of one group are not independent of each other.
        times: of a dense score file, whose rows are windows of long videos: where each begins and
            ends, float64 (V, 2) in seconds; its video is in `groups`. None for whole videos.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    score_type: str
    metadata: dict[str, Any]
    groups: tuple[str, ...] | None = None
    times: np.ndarray | None = None


class StoredScores:
    """The scores (V, S, R, C) of a large file, which stay there.

    It stands in for an array where slices of its videos are read, one after the other (see
    `slices`); `np.asarray` reads all of it.

    Args:
        rows, columns: which videos and classes of the file these are, in order.
    """

    def __init__(self, file: tensor_file.TensorFile, rows: np.ndarray, columns: np.ndarray) -> None:
        self.file, self.rows, self.columns = file, rows, columns
        self.shape = (len(rows), *file.tensors["scores"].shape[1:-1], len(columns))
        self.dtype = np.dtype(file.numpy_type("scores"))

    def __getitem__(self, videos: slice) -> np.ndarray:
        rows = self.rows[videos]
        in_order = (np.diff(rows) == 1).all()
        part = slice(rows[0], rows[-1] + 1) if len(rows) and in_order else rows
        return self.file.read_rows("scores", part)[..., self.columns]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def slices(scores: np.ndarray) -> Iterator[slice]:
    """Slices of a few videos each, which together are all scores (V, ..., C)."""
    count = max(1, SLICE_BYTES // (math.prod(scores.shape[1:]) * scores.dtype.itemsize))
    for begin in range(0, scores.shape[0], count):
        yield slice(begin, begin + count)


def select(scores: np.ndarray, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    """Some videos and classes of all scores (V, S, R, C), in their order; no copy of all as is."""
    if isinstance(scores, StoredScores):
        return cast(
            np.ndarray, StoredScores(scores.file, scores.rows[rows], scores.columns[columns])
        )
    if list(rows) != list(range(len(scores))):
        scores = scores[rows]
    return scores if list(columns) == list(range(scores.shape[-1])) else scores[..., columns]


def read_scores(path: str | PathLike[str], *, in_memory: bool = True) -> ScoreTable:
    """Read a score file and verify all of it.

    Args:
        in_memory: else the scores of a large file stay there: they are then `StoredScores`.

    Raises:
        InputError: not a score file, damaged, or a table that breaks a rule; the file is named.
    """
    path = Path(path)
    if in_memory or not path.is_file() or path.stat().st_size <= LARGE_BYTES:
        header, tensors = tensor_file.read_tensor_file(
            path, SCORE_FILE, ("labels", "scores"), optional=("times",)
        )
    else:
        file = tensor_file.TensorFile(path, SCORE_FILE)
        file.verify("scores")
        header = file.header
        keys = ("labels", "times") if "times" in file.tensors else ("labels",)
        tensors = {key: file.read(key) for key in keys}
        shape = file.tensors["scores"].shape
        if len(shape) != 4:
            raise file.error(f"its scores are {shape}, not videos, segments, crops and classes")
        videos, *_, classes = shape
        stored = StoredScores(file, np.arange(videos), np.arange(classes))
        tensors["scores"] = cast(np.ndarray, stored)
    groups = header.get("groups")  # absent in files of earlier versions
    table = ScoreTable(
        names=tuple(header["names"]),
        class_names=tuple(header["class_names"]),
        scores=tensors["scores"],
        labels=tensors["labels"],
        score_type=header["kind"],
        metadata=header["about"],
        groups=tuple(groups) if isinstance(groups, list) else groups,
        times=tensors.get("times"),
    )
    check_table(table, where=str(path))
    return table


def read_head(path: str | PathLike[str]) -> dict[str, Any]:
    """The header of a score file: `names`, `class_names`, `kind`, `about`; and the `shape`.

    The scores are not read: this is quick, and does not find damage in them.

    Raises:
        InputError: not a score file, or truncated.
    """
    with tensor_file.TensorFile(path, SCORE_FILE) as file:
        if "scores" not in file.tensors:
            raise file.error("it holds no `scores`")
        return {**file.header, "shape": file.tensors["scores"].shape}


def write_scores(path: str | PathLike[str], table: ScoreTable) -> None:
    """Write a score file; the same table gives the same bytes.

    Raises:
        InputError: the table breaks a rule (see `check_table`).
    """
    check_table(table, where=str(path))
    _write(path, table, table.scores)


def write_scores_in_parts(
    path: str | PathLike[str], parts: Iterable[ScoreTable], *, whole: ScoreTable
) -> None:
    """Write the videos of `parts`, one part after the other, as one score file.

    One part is in memory at a time. The bytes are those that `write_scores` writes of all at once.

    Args:
        whole: the file's table; only the shape and type of its `scores` count, so
            `np.broadcast_to(np.float32(0), shape)` will do. The parts need no groups and times.

    Raises:
        InputError: a part breaks a rule, or the parts are not the videos of `whole` in order.
    """

    def checked_scores() -> Iterator[np.ndarray]:
        begin = 0
        for part in parts:
            check_table(part, where=str(path))
            end = begin + len(part.names)
            names, labels = whole.names[begin:end], whole.labels[begin:end]
            if not (
                (part.names, part.class_names) == (names, whole.class_names)
                and part.score_type == whole.score_type
                and np.array_equal(part.labels, labels)
                and part.scores.dtype == whole.scores.dtype
                and part.scores.shape[1:] == whole.scores.shape[1:]
            ):
                raise InputError(
                    f"{path}: the part with videos {begin} to {end} does not belong to this file"
                )
            yield part.scores
            begin = end
        if begin != len(whole.names):
            raise InputError(f"{path}: the parts hold {begin} of {len(whole.names)} videos")

    check_table(whole, where=str(path))
    shape, dtype = whole.scores.shape, whole.scores.dtype.name
    _write(path, whole, tensor_file.Streamed(dtype, shape, checked_scores()))


def _write(
    path: str | PathLike[str], table: ScoreTable, scores: np.ndarray | tensor_file.Streamed
) -> None:
    header = {
        "names": table.names,
        "class_names": table.class_names,
        "kind": table.score_type,
        "about": table.metadata,
        **({} if table.groups is None else {"groups": table.groups}),
    }
    tensors = {"scores": scores, "labels": table.labels}
    if table.times is not None:
        tensors["times"] = table.times
    tensor_file.write_tensor_file(Path(path), SCORE_FILE, header, tensors)


def table_of_array(
    scores: ArrayLike, *, labels: ArrayLike | None = None, score_type: str | None = None
) -> ScoreTable:
    """A table of an array (V, C), (V, S, C) or (V, S, R, C); names and classes are "0", "1", ...

    Args:
        labels: (V,) from 0, -1 where not known; by default none is known.
        score_type: `logits` or `probs`; by default as `guess_score_type` finds.

    Raises:
        InputError: not numbers of such a shape, or a table that breaks a rule.
    """
    array = np.asarray(scores)
    check_numbers(array, where="the array of scores")
    views = smallest_float(four_axes(array))
    known = np.full(len(array), UNKNOWN) if labels is None else np.asarray(labels)
    if known.dtype.kind not in "iu":
        raise InputError(f"labels are {known.dtype}; they must be whole numbers, -1 for unknown")
    table = ScoreTable(
        names=tuple(map(str, range(len(array)))),
        class_names=tuple(map(str, range(array.shape[-1]))),
        scores=views,
        labels=known.astype(np.int64),
        score_type=score_type or guess_score_type(views),
        metadata={},
    )
    check_table(table, where="scores")
    return table


def seen_text(metadata: Mapping[str, Any]) -> str | None:
    """`12 of 34 videos were trained on, 2 of 34 chose the epoch`; None where the header says none.

    Args:
        metadata: whose `seen_in_training` counts the videos that were `trained` on, those that were
            `selecting` the epoch, and all `of` the file.
    """
    seen = metadata.get("seen_in_training")
    if not isinstance(seen, Mapping):
        return None
    verbs = {"trained": "videos were trained on", "selecting": "chose the epoch"}
    parts = [
        f"{seen[key]} of {seen.get('of', '?')} {verb}"
        for key, verb in verbs.items()
        if isinstance(seen.get(key), int) and seen[key]
    ]
    return ", ".join(parts) or None


def shared_metadata(streams: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata that all streams have alike: data set, split, subset, protocol, ..."""
    facts: dict[str, Any] = {}
    for fact in _PASSED_ON:
        values = [metadata[fact] for metadata in streams.values() if fact in metadata]
        if len(values) == len(streams) and all(value == values[0] for value in values):
            facts[fact] = values[0]
    # One stream that has seen the test list is enough to make the fused result optimistic.
    if "test" in [metadata.get("selected_on") for metadata in streams.values()]:
        facts["selected_on"] = "test"
    # So is one that was trained on them. Of different videos, this is the least number of them.
    seen = [metadata["seen_in_training"] for metadata in streams.values() if seen_text(metadata)]
    if seen:
        facts["seen_in_training"] = max(seen, key=lambda counts: int(counts.get("trained") or 0))
    # And one that was fitted on labels of these videos, however often it has been fused since.
    return add_fitted_on(facts, *(metadata.get("fitted_on") for metadata in streams.values()))


def add_fitted_on(metadata: Mapping[str, Any], *marks: str | None) -> dict[str, Any]:
    """Metadata that also say, under `fitted_on`, on labels of which videos something was fitted."""
    known = [metadata.get("fitted_on"), *marks]
    texts = dict.fromkeys(text for mark in known if mark for text in str(mark).split("; "))
    return dict(metadata) | ({"fitted_on": "; ".join(texts)} if texts else {})


def check_numbers(scores: np.ndarray, *, where: str) -> None:
    """Refuse what is not an array of numbers (V, C), (V, S, C) or (V, S, R, C).

    Raises:
        InputError: with `where` at its start.
    """
    if scores.dtype.kind not in "fiu" or not 2 <= scores.ndim <= 4 or scores.size == 0:
        raise InputError(
            f"{where} is {scores.dtype} {scores.shape}; expected numbers "
            "(videos, [segments, [crops,]] classes)"
        )


def smallest_float(scores: np.ndarray) -> np.ndarray:
    """Numbers as float32 where this changes none of them, else as float64; float16 as it is.

    A float64 that is rounded can tie with another class, and so change the answer.
    """
    if scores.dtype in (np.float16, np.float32):
        return scores
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    return narrow if np.array_equal(narrow, scores, equal_nan=True) else scores.astype(np.float64)


def four_axes(scores: np.ndarray) -> np.ndarray:
    """Bring (V, C), (V, S, C) or (V, S, R, C) to (V, S, R, C)."""
    if scores.ndim == 2:
        return scores[:, None, None]
    return scores[:, :, None] if scores.ndim == 3 else scores


def guess_score_type(scores: np.ndarray) -> str:
    """`probs` for scores (..., C) that are never negative and sum to 1, else `logits`."""
    sums = scores.sum(axis=-1, dtype=np.float64)
    return "probs" if (scores >= 0).all() and np.allclose(sums, 1, atol=1e-3) else "logits"


def check_table(table: ScoreTable, *, where: str) -> None:
    """Check a table against the rules that `ScoreTable` states; `where` starts the message.

    Raises:
        InputError: the first rule that is broken, and by what.
    """
    shape, dtype = table.scores.shape, table.scores.dtype
    if dtype not in (np.float16, np.float32, np.float64) or len(shape) != 4 or 0 in shape:
        raise InputError(
            f"{where}: scores are {dtype} {shape}; they must be float16, float32 or float64 "
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
    for items, what in ((table.names, "video names"), (table.class_names, "class names")):
        if not all(isinstance(item, str) and item for item in items):
            raise InputError(f"{where}: {what} must be texts that are not empty")
        if doubled := [item for item, count in Counter(items).items() if count > 1]:
            raise InputError(f"{where}: {what} must differ; more than once: {some_of(doubled)}")
    groups, times, videos = table.groups, table.times, len(table.names)
    texts = isinstance(groups, tuple) and all(isinstance(g, str) and g for g in groups)
    if groups is not None and not (texts and len(groups) == videos):
        raise InputError(
            f"{where}: `groups` must be {videos} texts that are not empty, one for each video, or "
            "be left out"
        )
    if times is not None:
        if times.dtype != np.float64 or times.shape != (videos, 2) or not np.isfinite(times).all():
            raise InputError(
                f"{where}: `times` are {times.dtype} {times.shape}; they must be float64 "
                f"({videos}, 2), the seconds, finite, where each window begins and ends"
            )
        if len(rows := np.flatnonzero((times[:, 0] < 0) | (times[:, 1] <= times[:, 0]))):
            names = some_of([f"{table.names[row]} ({times[row].tolist()})" for row in rows])
            raise InputError(
                f"{where}: `times` must begin at 0 or later and end after their beginning; not "
                f"so: {names}"
            )
        if groups is None:
            raise InputError(
                f"{where}: `times` without `groups`, which name the video of each window"
            )
    if table.score_type not in SCORE_TYPES:
        raise InputError(
            f"{where}: score type {table.score_type!r}; allowed: {', '.join(SCORE_TYPES)}"
        )
    count = table.metadata.get("summed_over")
    if table.score_type == "logit_sum" and not (type(count) is int and count > 0):
        raise InputError(f"{where}: `summed_over` is {count!r}; it must be the logits in each sum")
    last = len(table.class_names) - 1
    outside = np.flatnonzero((table.labels < UNKNOWN) | (table.labels > last))
    if len(outside):
        names = some_of([table.names[row] for row in outside])
        raise InputError(f"{where}: labels must be in -1..{last}; not so for {names}")
    broken = [
        name
        for part in slices(table.scores)
        for name, finite in zip(
            table.names[part], np.isfinite(table.scores[part]).all(axis=(1, 2, 3)), strict=True
        )
        if not finite
    ]
    if broken:
        raise InputError(
            f"{where}: scores that are NaN or infinite, for {some_of(broken)}; look for the "
            "cause in training, then score again"
        )
