"""What `twostream recognize` is given: sequence score files, or runs and videos for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from twostream.errors import InputError, some_of
from twostream.sequence.data import testing_batches
from twostream.sequence.lists import with_frames
from twostream.sequence.network_card import (
    SequenceCard,
    about_scores,
    best_checkpoint,
    load_sequence_network,
)
from twostream.sequence.new_videos import check_glosses, find_records
from twostream.sequence.prediction import predict
from twostream.sequence.records import SequenceRecord
from twostream.sequence.score_file import (
    SequenceScores,
    holds_scores,
    read_sequence_scores,
    scores_of,
    write_sequence_scores,
)


@dataclass(frozen=True, slots=True)
class NewVideos:
    """Videos for the runs, and what they are scored with.

    Attributes:
        videos: folder of video files or folders of pictures. listed: a list of some of them.
        scores: folder in which the score files are kept, if they are.
    """

    videos: Path | None
    listed: Path | None
    allow_missing: bool
    scores: Path | None
    device: str
    precision: str
    threads: int


def read_inputs(
    paths: Sequence[Path], new: NewVideos, *, bar: Callable[..., Any], tell: Callable[[str], None]
) -> list[SequenceScores]:
    """Read the score files among `paths`, and score the videos with the runs among them.

    Args:
        paths: a run at least. bar: passes batches through a progress bar. tell: is told what a user
            should know.

    Raises:
        InputError: no videos for a run, or two runs for one score file.
    """
    runs = [path for path in paths if path.is_dir()]
    if len({run.resolve().name for run in runs}) < len(runs) and new.scores:
        raise InputError("two runs have one name, under which --scores would keep both")
    records, missing = _records(runs[0], new)
    if missing:
        tell(f"{len(missing)} listed videos have no frames: {some_of(missing)}")
    return [
        _score(path, records, new, missing=missing, bar=bar, tell=tell)
        if path in runs
        else read_sequence_scores(path)
        for path in paths
    ]


def _records(run: Path, new: NewVideos) -> tuple[tuple[SequenceRecord, ...], list[str]]:
    if new.videos is None:
        raise InputError(
            f"{run} is a run: give the videos that it shall recognise by --videos FOLDER, or the "
            "score files that it made of its own lists, in its folder scores/"
        )
    records, missing = with_frames(
        find_records(new.videos, new.listed), allow_missing=new.allow_missing
    )
    if not records:
        raise InputError(f"{new.listed}: no listed video has frames below {new.videos}")
    return records, missing


def _score(
    run: Path,
    records: Sequence[SequenceRecord],
    new: NewVideos,
    *,
    missing: list[str],
    bar: Callable[..., Any],
    tell: Callable[[str], None],
) -> SequenceScores:
    folder = best_checkpoint(run)
    card, network = load_sequence_network(folder)
    if unknown := check_glosses(records, card.vocabulary, run=run):
        tell(f"{run} was not trained on {len(unknown)} glosses, all errors: {some_of(unknown)}")
    about = about_scores(
        card,
        checkpoint=folder,
        videos=str(new.videos),
        list=str(new.listed or ""),
        missing=missing,
        precision=new.precision,
    )
    kept = new.scores / f"{run.resolve().name}.safetensors" if new.scores else None
    if kept and holds_scores(kept, records, about):
        tell(f"{kept} is left as it is: the same videos by the same network")
        return read_sequence_scores(kept)
    found = _predict(network, card, records, new, bar=partial(bar, label=f"scoring, {run.name}"))
    scores = scores_of(records, found, vocabulary=card.vocabulary, about=about)
    if kept:
        write_sequence_scores(kept, scores)
        tell(f"{kept} written")
    return scores


def _predict(
    network: nn.Module,
    card: SequenceCard,
    records: Sequence[SequenceRecord],
    new: NewVideos,
    *,
    bar: Callable[..., Any],
) -> dict[int, np.ndarray]:
    # One by one: a video of some hundred frames is a batch by itself.
    batches, count = testing_batches(
        records,
        stream=card.stream,
        side=card.frame_size,
        size=card.input_size,
        batch_size=1,
        threads=new.threads,
    )
    device = torch.device(new.device)
    shown = bar(batches, total=count, unit="video")
    return predict(network.to(device), shown, device=device, precision=new.precision)
