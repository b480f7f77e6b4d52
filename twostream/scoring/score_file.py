"""Score files: the logits of videos, and everything that is needed to use them.

A score file is made in parts, so that it can be resumed after a kill, and shared by several
processes. Parts are score files of a few videos, in a folder beside the final file. Each says what
it is part of; a part of another file (checkpoint, protocol, list or batch size) is dropped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.tables.score_file import (
    SCORE_FILE,
    ScoreTable,
    read_head,
    read_scores,
    write_scores,
    write_scores_in_parts,
)
from twostream.compute.device import Runtime
from twostream.compute.distributed import barrier, broadcast_from_rank_0, rank, shard
from twostream.data.protocols import find_protocol
from twostream.data.splits import known_groups, known_times
from twostream.data.stored import Joined, input_digest
from twostream.models.checkpoint import WEIGHTS, NetworkSpec
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.logits import batch_videos, iterate_logits
from twostream_base.errors import InputError
from twostream_base.files import atomic_path, sha256_file
from twostream_base.tensor_file import TensorFile
from twostream_base.versions import library_version, tool_version

# A part takes a GPU a second or two and a CPU one or two minutes: what a kill can cost.
VIEWS_PER_PART = 4096

Batches = Sequence[Sequence[int]]


def write_score_file(
    path: Path,
    network: SegmentNetwork,
    joined: Joined,
    runtime: Runtime,
    *,
    spec: NetworkSpec,
    checkpoint: Path,
    facts: dict[str, Any],
    tell: Callable[[str], None],
) -> bool:
    """Score `joined.videos`, with all processes, into the score file `path`.

    Args:
        spec, checkpoint, facts: as in `score_metadata`.
        tell: gets a message about parts that an earlier run has left.

    Returns:
        Whether it had to be made; False where it is there already.
    """
    protocol = find_protocol(facts["protocol"])
    whole = ScoreTable(
        names=tuple(video.record.name for video in joined.videos),
        class_names=spec.class_names,
        scores=np.empty((0, 0, 0, len(spec.class_names)), dtype=np.float32),
        labels=np.array([video.record.label for video in joined.videos], dtype=np.int64),
        score_type="logits",
        metadata=score_metadata(
            joined, spec=spec, checkpoint=checkpoint, facts=facts | {"precision": runtime.precision}
        ),
        groups=known_groups([video.record for video in joined.videos]),
        times=known_times([video.record for video in joined.videos]),
    )

    if broadcast_from_rank_0(lambda: is_complete(path, whole)):
        return False
    write_in_parts(
        path,
        whole,
        batch_videos(len(joined.videos), protocol, views_per_forward=runtime.views_per_forward),
        views=protocol.num_snippets * protocol.num_crops,
        views_per_forward=runtime.views_per_forward,
        score=partial(
            iterate_logits,
            network,
            joined.videos,
            runtime=runtime,
            modality=spec.modality,
            protocol=protocol,
            size=spec.input_size,
        ),
        tell=tell,
    )
    return True


def score_metadata(
    joined: Joined, *, spec: NetworkSpec, checkpoint: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """All that a score file says of how its scores came about.

    Args:
        checkpoint: folder of the weights that made them; of another tool's, their file.
        facts: data set, split, subset, protocol (as on the command line), ....
    """
    protocol = find_protocol(facts["protocol"])
    modality = spec.modality
    clip = modality.sampling
    of_clip = {
        "snippet_length": clip.pop("snippet_length"),
        "interval": clip.pop("interval"),
        "frame_size": list(modality.frame_size or ()),
        **clip,
    }
    metadata = {
        "stream": "distilled" if spec.teacher else spec.stream,
        "model": spec.model,
        "consensus": {"name": spec.consensus, "options": spec.consensus_options},
        **facts,
        "protocol_card": protocol.metadata(size=spec.input_size) | of_clip,
        "listed": len(joined.videos) + len(joined.missing),
        "missing": len(joined.missing),
        "checkpoint": sha256_file(checkpoint if checkpoint.is_file() else checkpoint / WEIGHTS),
        "epoch": spec.epoch,
        "selected_on": spec.selected_on,
        "flow": spec.flow,
    }
    if spec.teacher:
        metadata["teacher"] = spec.teacher
    versions = {"twostream": tool_version(), "torch": library_version("torch")}
    return metadata | {"input": input_digest(joined), "versions": versions}


def is_complete(path: Path, whole: ScoreTable) -> bool:
    """Whether the score file `path` is there, with the metadata, videos and labels of `whole`.

    Where the lists have told other groups of the videos since, the file gets these.

    Raises:
        InputError: there is a file that is no score file; it is not for us to replace.
    """
    if not path.exists():
        return False
    head = read_head(path)
    if (head["about"], tuple(head["names"])) != (whole.metadata, whole.names):
        return False
    with TensorFile(path, SCORE_FILE) as file:
        if not np.array_equal(file.read("labels"), whole.labels):  # the lists were mended
            return False
    groups = head.get("groups")
    if (groups and tuple(groups)) != whole.groups:
        write_scores(path, replace(read_scores(path), groups=whole.groups))
    return True


def write_in_parts(
    path: Path,
    whole: ScoreTable,
    batches: Batches,
    *,
    views: int,
    views_per_forward: int,
    score: Callable[[Batches], Generator[NDArray[np.float32]]],
    tell: Callable[[str], None],
) -> None:
    """Write the score file `path`; parts that an earlier run has left are used.

    The file has the same bytes however often this was stopped, and however many processes do it.

    Args:
        whole: all of the file but its scores.
        batches: indices of all videos, in order.
        views: of each video.
        views_per_forward: how many views of a batch enter the network together. Logits depend on
            it in their last bits, so parts made with another number are dropped.
        score: some of the batches -> the logits of each.
        tell: gets a message about parts that are used or dropped.
    """
    folder = path.with_name(f"{path.stem}.parts")
    parts = _plan_parts(folder, whole, batches, views=views, views_per_forward=views_per_forward)
    pending = broadcast_from_rank_0(lambda: _find_pending(folder, parts, tell))
    share = [parts[index] for index in shard(pending)]
    with closing(score([batch for part in share for batch in part.batches])) as logits:
        for part in share:
            scores = np.concatenate(list(islice(logits, len(part.batches))))
            write_scores(part.path, replace(part.empty, scores=scores))
    barrier()
    if rank() == 0:
        shape = (len(whole.names), *read_scores(parts[0].path).scores.shape[1:])
        # In the folder of the parts first: a kill leaves nothing elsewhere.
        write_scores_in_parts(
            folder / "scores",
            (replace(read_scores(part.path), metadata=whole.metadata) for part in parts),
            whole=replace(whole, scores=np.broadcast_to(np.float32(0), shape)),
        )
        with atomic_path(path) as temporary:
            (folder / "scores").rename(temporary)
        shutil.rmtree(folder)
    barrier()


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
        same = (table.metadata, table.names) == (self.empty.metadata, self.empty.names)
        return same and np.array_equal(table.labels, self.empty.labels)


def _plan_parts(
    folder: Path, whole: ScoreTable, batches: Batches, *, views: int, views_per_forward: int
) -> list[Part]:
    batches_per_part = max(1, VIEWS_PER_PART // (len(batches[0]) * views))
    groups = [
        batches[begin : begin + batches_per_part]
        for begin in range(0, len(batches), batches_per_part)
    ]
    parts = []
    for number, group in enumerate(groups):
        videos = slice(group[0][0], group[-1][-1] + 1)
        part = {"part": number, "of": len(groups), "views_per_forward": views_per_forward}
        empty = replace(
            whole,
            names=whole.names[videos],
            labels=whole.labels[videos],
            groups=None,
            times=None,
            metadata=whole.metadata | part,
        )
        parts.append(Part(folder / f"{number:06d}.safetensors", group, empty))
    return parts


def _find_pending(folder: Path, parts: list[Part], tell: Callable[[str], None]) -> list[int]:
    """Numbers of the parts still to be made; what is no part of this score file is removed."""
    are_done = [part.is_done() for part in parts]
    finished = {part.path for part in compress(parts, are_done)}
    others = [path for path in folder.glob("*") if path not in finished]
    for path in others:
        path.unlink()
    if any(are_done):
        tell(f"{folder}: {sum(are_done):,} of {len(parts):,} parts are done already")
    if dropped := sum(path.suffix == ".safetensors" for path in others):
        tell(f"{folder}: {dropped:,} parts dropped: damaged, or of another scoring")
    return [number for number, is_done in enumerate(are_done) if not is_done]
