"""The scores of a run: those of its validation after an epoch, and the files at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fusion.tables.score_file import read_head
from twostream.compute.distributed import barrier, broadcast_from_rank_0, rank
from twostream.data.protocols import PROTOCOLS
from twostream.data.stored import Joined
from twostream.models.checkpoint import has_checkpoint, load_weights, read_spec
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.score_files import make_score_file
from twostream.scoring.scoring import Bar, score_videos
from twostream.training.data import RunData
from twostream.training.options import TrainOptions, dumped_epochs
from twostream.training.run import drop_epochs, epoch_folder
from twostream_base import plugins
from twostream_base.errors import some_of


def score_joined(
    options: TrainOptions, network: SegmentNetwork, joined: Joined, *, protocol: str, bar: Bar
) -> NDArray[np.float32]:
    """Logits (V, S, R, classes) of `joined.videos`, computed as the options of the run say."""
    return score_videos(
        network,
        joined.videos,
        modality=options.modality,
        protocol=plugins.load(protocol, PROTOCOLS),
        size=options.input_size,
        snippets_at_once=options.batch_size * options.num_segments,
        threads=options.threads,
        device=torch.device(options.device),
        precision=options.precision,
        bar=bar,
    )


def write_run_scores(
    options: TrainOptions,
    network: SegmentNetwork,
    data: RunData,
    *,
    num_epochs: int,
    bar: Bar,
    note: Callable[[str], None],
) -> bool:
    """Score the selection and test videos with the best epoch, and with those of --dump-scores.

    Args:
        network: of the run; the weights that are scored are loaded into it.
        num_epochs: that the run has trained.
        note: is told about parts of score files that an earlier try has left, and about epochs that
            are wanted but were not kept.

    Returns:
        Whether anything had to be made.
    """
    barrier()  # rank 0 may still be writing the best weights
    score = partial(_score_checkpoint, options, network, data, bar=bar, note=note)
    made = score(options.folder / "best", _score_files(options))
    lacking = []
    for epoch in dumped_epochs(options.dump_scores, num_epochs):
        kept, files = epoch_folder(options.folder, epoch), _score_files(options, epoch)
        if broadcast_from_rank_0(partial(has_checkpoint, kept)):
            made = score(kept, files) or made
        elif not all(_is_under(options.protocol, path) for path in files.values()):
            lacking.append(epoch)
    if rank() == 0:
        drop_epochs(options.folder)
    if lacking:
        note(
            f"no scores of epochs {some_of(lacking)} under {options.protocol}: they had been "
            "trained without --dump-scores, or scored under another protocol"
        )
    return made


def _score_files(options: TrainOptions, epoch: int | None = None) -> dict[str, Path]:
    """Subset -> score file of the best epoch, or of the `epoch` given.

    An epoch's file without further name is of the videos that select the epoch, as in the log.
    """
    names = {options.select: options.select, "test": "test"}
    if epoch is not None:
        number = f"epoch-{epoch:03d}"
        names = {"test": f"{number}-test", options.select: number}
    return {
        subset: options.folder / "scores" / f"{name}.safetensors" for subset, name in names.items()
    }


def _score_checkpoint(
    options: TrainOptions,
    network: SegmentNetwork,
    data: RunData,
    checkpoint: Path,
    files: Mapping[str, Path],
    *,
    bar: Bar,
    note: Callable[[str], None],
) -> bool:
    """Write the score file of each subset; False if all were there already."""
    load_weights(checkpoint, network)
    made = [
        make_score_file(
            path,
            network,
            data.test if subset == "test" else data.val,
            spec=read_spec(checkpoint),
            checkpoint=checkpoint,
            facts={
                "dataset": options.dataset,
                "split": options.split,
                "subset": subset,
                "protocol": options.protocol,
            },
            snippets_at_once=options.batch_size * options.num_segments,
            threads=options.threads,
            device=torch.device(options.device),
            precision=options.precision,
            bar=bar,
            note=note,
        )
        for subset, path in files.items()
    ]
    return any(made)


def _is_under(protocol: str, path: Path) -> bool:
    """Whether the score file `path` is there and of this protocol."""
    return path.exists() and read_head(path)["about"].get("protocol") == protocol
