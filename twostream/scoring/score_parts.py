"""A score file made part by part: killed at any moment it goes on, and several processes share it.

Parts are score files of a few videos, in a folder beside the file to be. Each says what it is part
of; one of anything else (another checkpoint, protocol, list or batch size) is dropped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.tables.large_files import write_scores_in_parts
from fusion.tables.score_file import ScoreTable, read_head, read_scores, write_scores
from twostream.compute.distributed import (
    barrier,
    broadcast_from_rank_0,
    rank,
    shard,
)
from twostream_base.errors import InputError
from twostream_base.files import atomic_path

# A part takes a GPU a second or two and a CPU one or two minutes: what a kill can cost.
VIEWS_PER_PART = 4096


def is_scored(path: Path, whole: ScoreTable) -> bool:
    """Whether the score file `path` is there and says what `whole` says.

    Raises:
        InputError: there is a file that is no score file; it is not for us to replace.
    """
    if not path.exists():
        return False
    head = read_head(path)
    return (head["about"], tuple(head["names"])) == (whole.about, whole.names)


def score_in_parts(
    path: Path,
    whole: ScoreTable,
    batches: Batches,
    *,
    views: int,
    snippets_at_once: int,
    score: Callable[[Batches], Generator[NDArray[np.float32]]],
    note: Callable[[str], None],
) -> None:
    """Write the score file `path`; parts that an earlier try has left are used.

    The file has the same bytes however often that was stopped, and by how many processes.

    Args:
        whole: all of the file but its scores.
        batches: indices of all videos, in order.
        views: of each video.
        snippets_at_once: how many views of a batch enter the network together. Logits depend on it
            in their last bits, so parts made with another number are dropped.
        score: some of the batches -> the logits of each.
        note: is told about parts found and dropped.
    """
    folder = path.with_name(f"{path.stem}.parts")
    parts = _plan(folder, whole, batches, views=views, snippets_at_once=snippets_at_once)
    pending = broadcast_from_rank_0(lambda: _find_pending(folder, parts, note))
    own = [parts[index] for index in shard(pending)]
    with closing(score([batch for part in own for batch in part.batches])) as scored:
        for part in own:
            part.write(list(islice(scored, len(part.batches))))
    barrier()
    if rank() == 0:
        # Within the folder of the parts first: a kill leaves nothing elsewhere.
        join_scores(folder / "scores", parts, whole)
        with atomic_path(path) as temporary:
            (folder / "scores").rename(temporary)
        shutil.rmtree(folder)
    barrier()


def _plan(
    folder: Path,
    whole: ScoreTable,
    batches: Batches,
    *,
    views: int,
    snippets_at_once: int,
) -> list[Part]:
    batches_per_part = max(1, VIEWS_PER_PART // (len(batches[0]) * views))
    groups = [
        batches[begin : begin + batches_per_part]
        for begin in range(0, len(batches), batches_per_part)
    ]
    parts = []
    for number, group in enumerate(groups):
        videos = slice(group[0][0], group[-1][-1] + 1)
        about = {"part": number, "of": len(groups), "snippets_at_once": snippets_at_once}
        empty = replace(
            whole,
            names=whole.names[videos],
            labels=whole.labels[videos],
            about=whole.about | about,
        )
        parts.append(Part(folder / f"{number:06d}.safetensors", group, empty))
    return parts


def _find_pending(folder: Path, parts: list[Part], note: Callable[[str], None]) -> list[int]:
    """Numbers of the parts still to be made; what is no part of this score file is removed."""
    done = [part.is_done() for part in parts]
    kept = {part.path for part in compress(parts, done)}
    others = [path for path in folder.glob("*") if path not in kept]
    for path in others:
        path.unlink()
    if any(done):
        note(f"{folder}: {sum(done):,} of {len(parts):,} parts are done already")
    if dropped := sum(path.suffix == ".safetensors" for path in others):
        note(f"{folder}: {dropped:,} parts dropped: damaged, or of another scoring")
    return [number for number, is_done in enumerate(done) if not is_done]


# The files of which a score file is made part by part.
Batches = Sequence[Sequence[int]]


class Part(NamedTuple):
    """Some neighbouring videos of a score file, in whole batches."""

    path: Path
    batches: Batches
    empty: ScoreTable  # all but the scores

    def is_done(self) -> bool:
        """Whether its file is there, whole, and of this very part."""
        try:
            table = read_scores(self.path)
        except InputError:
            return False
        return (table.about, table.names) == (self.empty.about, self.empty.names)

    def write(self, logits: Sequence[NDArray[np.float32]]) -> None:
        """Write its file: the logits of each of its batches."""
        write_scores(self.path, replace(self.empty, scores=np.concatenate(logits)))


def join_scores(path: Path, parts: Sequence[Part], whole: ScoreTable) -> None:
    """Write the score file that says what `whole` says, of the scores of all parts."""
    shape = (len(whole.names), *read_scores(parts[0].path).scores.shape[1:])
    whole = replace(whole, scores=np.broadcast_to(np.float32(0), shape))
    tables = (replace(read_scores(part.path), about=whole.about) for part in parts)
    write_scores_in_parts(path, tables, whole=whole)
