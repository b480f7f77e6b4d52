"""Fusion of score files larger than the memory: some hundred videos at a time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fusion.combining.fuse import fuse
from fusion.combining.step import Step
from fusion.combining.video_scores import shared_facts
from fusion.evaluation.text_tables import described
from fusion.metrics import rank_summary, true_ranks
from fusion.tables.join import JoinPlan, plan_join
from fusion.tables.large_files import MappedScores, write_scores_in_parts
from fusion.tables.score_file import ScoreTable, check_table
from twostream_base.tensor_file import TensorFile

# Scores of one shard and stream in memory; a few such arrays in float64 exist at one time.
SHARD_BYTES = 2 * 2**20
FUSED = "the fused scores"
_NEEDED = ("summed_over",)
_TIMES = re.compile(r"(\d+) times")


@dataclass(frozen=True, eq=False)
class Shard:
    """Some videos of all streams, still on disk, and how they are fused."""

    heads: Mapping[str, ScoreTable]
    files: Mapping[str, TensorFile]
    rows: Mapping[str, list[int]]
    columns: Mapping[str, list[int]]
    steps: Mapping[str, Step]
    combine: str | None


class FusedShard(NamedTuple):
    """Fused scores of a shard, and for each input and `fused` the true class's rank (n,)."""

    table: ScoreTable
    ranks: dict[str, np.ndarray]
    warnings: list[str]


def fuse_in_shards(
    mapped: Mapping[str, MappedScores],
    *,
    files: Mapping[str, str],
    steps: Mapping[str, Step],
    combine: str | None = None,
    out: Path | None = None,
    videos: int | None = None,
) -> dict[str, Any]:
    """Fuse files as `fuse` does, to the bit; return `fusion_result`, write the scores to `out`.

    Args:
        mapped: the streams, by key.
        files: for each key the file, for the reader.
        steps: crops, segments and streams.
        combine: as for `fuse`.
        out: a score file to write, shard by shard.
        videos: of a shard; by default as many as make `SHARD_BYTES`.

    Raises:
        InputError: as `fuse` does.
    """
    plan = plan_join({key: one.head for key, one in mapped.items()})
    count = videos or max(1, SHARD_BYTES // max(_video_bytes(one) for one in mapped.values()))
    shards = (
        _shard(mapped, plan, slice(begin, begin + count), steps, combine)
        for begin in range(0, len(plan.names), count)
    )
    one_video = fuse_shard(_shard(mapped, plan, slice(0, 1), steps, combine))
    whole = _whole(one_video.table, plan, mapped)
    ranks: dict[str, list[np.ndarray]] = {key: [] for key in (*mapped, FUSED)}
    odd: list[str] = []
    tables = _tallied(map(fuse_shard, shards), ranks, odd)
    if out:
        write_scores_in_parts(out, tables, whole=whole)
    else:
        deque(tables, maxlen=0)
    accuracies = {
        key: rank_summary(np.concatenate(own), plan.labels, classes=len(plan.class_names))
        for key, own in ranks.items()
    }
    fused = accuracies.pop(FUSED)
    warnings = [*plan.warnings, *_merged(odd)]
    return described(whole, inputs=accuracies, fused=fused, warnings=warnings, files=files)


def fuse_shard(shard: Shard) -> FusedShard:
    """Read and fuse the videos of a shard."""
    tables = {
        key: replace(
            head,
            scores=shard.files[key].read_rows("scores", shard.rows[key])[..., shard.columns[key]],
        )
        for key, head in shard.heads.items()
    }
    for key, table in tables.items():
        check_table(table, where=str(shard.files[key].path))
    fusion = fuse(tables, **shard.steps, combine=shard.combine)
    scores = fusion.votes.scores | {FUSED: fusion.table.scores[:, 0, 0]}
    ranks = {key: true_ranks(own, fusion.table.labels) for key, own in scores.items()}
    return FusedShard(fusion.table, ranks, fusion.warnings)


def _shard(
    mapped: Mapping[str, MappedScores],
    plan: JoinPlan,
    part: slice,
    steps: Mapping[str, Step],
    combine: str | None,
) -> Shard:
    names, labels = plan.names[part], plan.labels[part]
    return Shard(
        heads={
            key: replace(
                one.head,
                names=names,
                labels=labels,
                class_names=plan.class_names,
                scores=np.empty(0),
                # What one warns of is said once, of all.
                about={key: one.head.about[key] for key in _NEEDED if key in one.head.about},
            )
            for key, one in mapped.items()
        },
        files={key: one.file for key, one in mapped.items()},
        rows={key: plan.rows[key][part] for key in mapped},
        columns=plan.columns,
        steps=steps,
        combine=combine,
    )


def _whole(fused: ScoreTable, plan: JoinPlan, mapped: Mapping[str, MappedScores]) -> ScoreTable:
    """The header of the fused file, as `fuse` would make it of the whole inputs."""
    inputs = {
        key: {"kind": one.head.kind, "scores_sha256": one.sha256, **one.head.about}
        for key, one in mapped.items()
    }
    return replace(
        fused,
        names=plan.names,
        labels=plan.labels,
        scores=np.broadcast_to(np.float32(0), (len(plan.names), *fused.scores.shape[1:])),
        about=shared_facts(inputs) | fused.about | {"inputs": inputs},
    )


def _tallied(
    shards: Iterable[FusedShard], ranks: dict[str, list[np.ndarray]], odd: list[str]
) -> Iterator[ScoreTable]:
    """Pass on the fused tables; keep ranks and warnings of each shard."""
    for shard in shards:
        for key, own in shard.ranks.items():
            ranks[key].append(own)
        odd += shard.warnings
        yield shard.table


def _video_bytes(one: MappedScores) -> int:
    return one.head.scores[:1].nbytes


def _merged(warnings: Iterable[str]) -> list[str]:
    """Lines that differ in a count of times alone become one, with the sum."""
    sums: dict[str, int] = {}
    for line in warnings:
        times = _TIMES.search(line)
        key = _TIMES.sub("\0 times", line)
        sums[key] = sums.get(key, 0) + (int(times[1]) if times else 0)
    return [line.replace("\0", str(count)) for line, count in sums.items()]
