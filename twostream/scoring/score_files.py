"""Score files: the logits of videos, and all that one must know to use them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusion.tables.score_file import ScoreTable
from twostream.compute.distributed import broadcast_from_rank_0
from twostream.data.protocols import PROTOCOLS, Protocol
from twostream.data.stored import Joined
from twostream.models.checkpoint import WEIGHTS, NetworkSpec
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.score_parts import is_scored, score_in_parts
from twostream.scoring.scoring import Bar, score_batches, video_batches
from twostream_base import plugins
from twostream_base.files import sha256_file
from twostream_base.versions import library_version, tool_version


def make_score_file(
    path: Path,
    network: SegmentNetwork,
    joined: Joined,
    *,
    spec: NetworkSpec,
    checkpoint: Path,
    facts: dict[str, Any],
    snippets_at_once: int,
    threads: int,
    device: torch.device,
    precision: str,
    bar: Bar,
    note: Callable[[str], None],
) -> bool:
    """Score `joined.videos` part by part, with all processes, into the score file `path`.

    Args:
        spec, checkpoint, facts: as in `about_scores`.
        note: is told about parts that an earlier try has left.

    Returns:
        Whether it had to be made; False where it is there already.
    """
    protocol: Protocol = plugins.load(facts["protocol"], PROTOCOLS)
    about = about_scores(
        joined, spec=spec, checkpoint=checkpoint, facts={**facts, "precision": precision}
    )
    whole = _without_scores(joined, spec=spec, about=about)
    if broadcast_from_rank_0(lambda: is_scored(path, whole)):
        return False
    score = partial(
        score_batches,
        network,
        joined.videos,
        modality=spec.modality,
        protocol=protocol,
        size=spec.input_size,
        snippets_at_once=snippets_at_once,
        threads=threads,
        device=device,
        precision=precision,
        bar=bar,
    )
    batches = video_batches(len(joined.videos), protocol, snippets_at_once=snippets_at_once)
    score_in_parts(
        path,
        whole,
        batches,
        views=protocol.num_snippets * protocol.num_crops,
        snippets_at_once=snippets_at_once,
        score=score,
        note=note,
    )
    return True


def about_scores(
    joined: Joined, *, spec: NetworkSpec, checkpoint: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """All that a score file says of how its scores came about.

    Args:
        checkpoint: folder of the weights that made them.
        facts: data set, split, subset, protocol (as on the command line), ....
    """
    protocol: Protocol = plugins.load(facts["protocol"], PROTOCOLS)
    modality = spec.modality
    clip = {
        "snippet_length": modality.snippet_length,
        "interval": modality.interval,
        "frame_size": list(modality.frame_size or ()),
    }
    return {
        "stream": spec.stream,
        "model": spec.model,
        "consensus": {"name": spec.consensus, "options": spec.consensus_options},
        **facts,
        "protocol_card": protocol.metadata(size=spec.input_size) | clip,
        "listed": len(joined.videos) + len(joined.missing),
        "missing": len(joined.missing),
        "checkpoint": sha256_file(checkpoint / WEIGHTS),
        "epoch": spec.epoch,
        "selected_on": spec.selected_on,
        "flow": spec.flow,
        "versions": {"twostream": tool_version(), "torch": library_version("torch")},
    }


def _without_scores(joined: Joined, *, spec: NetworkSpec, about: dict[str, Any]) -> ScoreTable:
    return ScoreTable(
        names=tuple(video.record.name for video in joined.videos),
        class_names=spec.class_names,
        scores=np.empty((0, 0, 0, len(spec.class_names)), dtype=np.float32),
        labels=np.array([video.record.label for video in joined.videos], dtype=np.int64),
        kind="logits",
        about=about,
    )
