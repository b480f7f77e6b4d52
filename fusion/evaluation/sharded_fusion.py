"""Fusion of score files larger than memory: a few hundred videos at a time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from fusion.combining.fuse import Fusion, fuse_joined, shared_metadata
from fusion.combining.step import Steps
from fusion.evaluation.metrics import rank_summary, true_ranks
from fusion.evaluation.results import summarise
from fusion.tables.join import JoinedTables, JoinPlan, plan_join
from fusion.tables.score_file import LargeScoreFile, ScoreTable, check_table, write_scores_in_parts

# Scores of one shard and stream in memory; a few such arrays exist in float64 at one time.
SHARD_BYTES = 2 * 2**20
_TIMES = re.compile(r"(\d+) times")


def fuse_in_shards(
    large: Mapping[str, LargeScoreFile],
    *,
    files: Mapping[str, str],
    steps: Steps,
    combine: str | None = None,
    groups: str | None = None,
    out: str | PathLike[str] | None = None,
    videos: int | None = None,
) -> dict[str, Any]:
    """Fuse files as `fuse` does, to the bit; return `fusion_result`, write the scores to `out`.

    Args:
        large: the file of each stream.
        files: for each stream what a reader is told about its file.
        groups: how `video_groups` finds those of the videos; by default those of the files.
        videos: of a shard; by default as many as make `SHARD_BYTES`.

    Raises:
        InputError: as `fuse` does.
    """
    plan = plan_join({key: file.head for key, file in large.items()}, groups=groups)
    largest = max(file.head.scores[:1].nbytes for file in large.values())
    count = videos or max(1, SHARD_BYTES // largest)
    ranks: dict[str, list[np.ndarray]] = {key: [] for key in large}
    fused_ranks: list[np.ndarray] = []
    warnings: list[str] = []

    def fused_tables() -> Iterator[ScoreTable]:
        for begin in range(0, len(plan.names), count):
            fusion = _fuse_shard(large, plan, slice(begin, begin + count), steps, combine)
            for key, scores in fusion.streams.scores.items():
                ranks[key].append(true_ranks(scores, fusion.labels))
            fused_ranks.append(true_ranks(fusion.scores, fusion.labels))
            warnings.extend(fusion.warnings)
            yield fusion.table

    one_video = _fuse_shard(large, plan, slice(0, 1), steps, combine).table
    whole = _whole_table(one_video, plan, large)
    if out:
        write_scores_in_parts(out, fused_tables(), whole=whole)
    else:
        deque(fused_tables(), maxlen=0)

    def summary(parts: list[np.ndarray]) -> dict[str, Any]:
        return rank_summary(np.concatenate(parts), plan.labels, classes=len(plan.class_names))

    return summarise(
        whole,
        inputs={key: summary(parts) for key, parts in ranks.items()},
        fused=summary(fused_ranks),
        warnings=[*plan.warnings, *_merge_counts(warnings)],
        files=files,
    )


def _fuse_shard(
    large: Mapping[str, LargeScoreFile],
    plan: JoinPlan,
    part: slice,
    steps: Steps,
    combine: str | None,
) -> Fusion:
    """Read and fuse some of the joined videos."""
    tables = {}
    for key, source in large.items():
        scores = source.file.read_rows("scores", plan.rows[key][part])[..., plan.columns[key]]
        metadata = source.head.metadata
        tables[key] = replace(
            source.head,
            names=plan.names[part],
            labels=plan.labels[part],
            class_names=plan.class_names,
            scores=scores,
            groups=None,
            # Warnings about the metadata are given once, not for each shard.
            metadata={key: metadata[key] for key in ("summed_over",) if key in metadata},
        )
        check_table(tables[key], where=str(source.file.path))
    joined = JoinedTables(plan.names[part], plan.class_names, plan.labels[part], None, tables, [])
    return fuse_joined(joined, steps, combine=combine)


def _whole_table(
    fused: ScoreTable, plan: JoinPlan, large: Mapping[str, LargeScoreFile]
) -> ScoreTable:
    """The fused file without its scores, as `fuse` would make it of the whole inputs."""
    inputs = {
        key: {"kind": file.head.score_type, "scores_sha256": file.sha256, **file.head.metadata}
        for key, file in large.items()
    }
    return replace(
        fused,
        names=plan.names,
        labels=plan.labels,
        groups=plan.groups,
        scores=np.broadcast_to(np.float32(0), (len(plan.names), *fused.scores.shape[1:])),
        metadata=shared_metadata(inputs) | fused.metadata | {"inputs": inputs},
    )


def _merge_counts(warnings: list[str]) -> list[str]:
    """Lines that differ only in `N times` become one line with the sum."""
    sums: dict[str, int] = {}
    for line in warnings:
        times = _TIMES.search(line)
        key = _TIMES.sub("\0 times", line)
        sums[key] = sums.get(key, 0) + (int(times[1]) if times else 0)
    return [line.replace("\0", str(count)) for line, count in sums.items()]
