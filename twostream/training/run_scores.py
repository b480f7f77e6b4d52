"""The scores of a run: those of its validation after an epoch, and the files at its end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from twostream import plugins
from twostream.data.stored import Joined
from twostream.inference.protocols import PROTOCOLS
from twostream.inference.score_files import make_score_file
from twostream.inference.scoring import Bar, score_videos
from twostream.models.segment_network import SegmentNetwork
from twostream.training.checkpoint import load_weights, read_card
from twostream.training.data import RunData
from twostream.training.distributed import wait_for_all
from twostream.training.run_folder import TrainOptions


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
    bar: Bar,
    note: Callable[[str], None],
) -> bool:
    """Score the best epoch's selection and test videos; False if that was done already.

    Args:
        network: of the run; the weights of its best epoch are loaded into it.
        note: is told about parts of score files that an earlier try has left.
    """
    wait_for_all()  # rank 0 may still be writing the best weights
    best = options.folder / "best"
    load_weights(best, network)
    subsets = {"val": data.val, "test": data.test}
    if options.select == "test":
        del subsets["val"]
    made = [
        make_score_file(
            options.folder / "scores" / f"{subset}.safetensors",
            network,
            joined,
            card=read_card(best),
            checkpoint=best,
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
        for subset, joined in subsets.items()
    ]
    return any(made)
