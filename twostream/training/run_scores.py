"""The score files at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from fusion.tables.score_file import read_head
from twostream.compute.distributed import barrier, broadcast_from_rank_0, rank
from twostream.models.checkpoint import has_checkpoint, load_weights, read_spec
from twostream.models.segment_network import SegmentNetwork
from twostream.scoring.logits import Bar
from twostream.scoring.score_file import write_score_file
from twostream.training.data import RunData
from twostream.training.options import TrainOptions, dumped_epochs
from twostream.training.run import drop_epochs, epoch_folder
from twostream_base.errors import some_of


def write_run_scores(
    options: TrainOptions,
    network: SegmentNetwork,
    data: RunData,
    *,
    num_epochs: int,
    bar: Bar,
    tell: Callable[[str], None],
) -> bool:
    """Score the selection and test videos with the best epoch, and with those of --dump-scores.

    Args:
        network: of the run; the weights that are scored are loaded into it.
        num_epochs: that the run has trained.
        tell: is told about parts of score files that an earlier try has left, and about epochs that
            are wanted but were not kept.

    Returns:
        Whether a file had to be made; False where all were there already.
    """

    def score(checkpoint: Path, files: dict[str, Path]) -> bool:
        load_weights(checkpoint, network)
        written = [
            write_score_file(
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
                views_per_forward=options.batch_size * options.num_segments,
                threads=options.threads,
                device=torch.device(options.device),
                precision=options.precision,
                bar=bar,
                tell=tell,
            )
            for subset, path in files.items()
        ]
        return any(written)

    barrier()  # rank 0 may still be writing the best weights
    folder = options.folder / "scores"
    files = {name: folder / f"{name}.safetensors" for name in (options.select, "test")}
    written = score(options.folder / "best", files)
    lacking = []
    for epoch in dumped_epochs(options.dump_scores, num_epochs):
        # The file without further name is of the videos that select the epoch, as in the log.
        name = f"epoch-{epoch:03d}"
        files = {"test": folder / f"{name}-test.safetensors"}
        files[options.select] = folder / f"{name}.safetensors"
        checkpoint = epoch_folder(options.folder, epoch)
        if broadcast_from_rank_0(partial(has_checkpoint, checkpoint)):
            written = score(checkpoint, files) or written
        elif not all(
            path.exists() and read_head(path)["about"].get("protocol") == options.protocol
            for path in files.values()
        ):
            lacking.append(epoch)
    if rank() == 0:
        drop_epochs(options.folder)
    if lacking:
        tell(
            f"no scores of epochs {some_of(lacking)} under {options.protocol}: they had been "
            "trained without --dump-scores, or scored under another protocol"
        )
    return written
