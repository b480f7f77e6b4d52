"""The scores of a run: those of its validation after an epoch, and the files at its end."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fusion.score_file import read_scores
from twostream import plugins
from twostream.data.stored import Joined
from twostream.files import sha256_file
from twostream.inference.protocols import PROTOCOLS
from twostream.inference.scoring import Bar, score_videos, write_score_file
from twostream.training.checkpoint import WEIGHTS, load_weights, read_card
from twostream.training.data import RunData
from twostream.training.run_folder import TrainOptions
from twostream.transforms.presets import MODALITIES


def score_joined(
    options: TrainOptions, network: nn.Module, joined: Joined, *, protocol: str, bar: Bar
) -> NDArray[np.float32]:
    """Logits (V, S, R, classes) of `joined.videos`, computed as the options of the run say."""
    return score_videos(
        network,
        joined.videos,
        modality=MODALITIES[options.stream],
        protocol=plugins.load(protocol, PROTOCOLS),
        size=options.input_size,
        snippets_at_once=options.batch_size * options.num_segments,
        threads=options.threads,
        device=torch.device(options.device),
        precision=options.precision,
        bar=bar,
    )


def write_run_scores(options: TrainOptions, network: nn.Module, data: RunData, *, bar: Bar) -> bool:
    """Score the best epoch's selection and test videos; False if that was done already.

    Args:
        network: of the run; the weights of its best epoch are loaded into it.
    """
    load_weights(options.folder / "best", network)
    subsets = {"val": data.val, "test": data.test}
    if options.select == "test":
        del subsets["val"]
    todo = [subset for subset in subsets if not _is_done(options, subset)]
    for subset in todo:
        _write(options, network, subsets[subset], subset=subset, bar=bar)
    return bool(todo)


def _is_done(options: TrainOptions, subset: str) -> bool:
    path = options.folder / "scores" / f"{subset}.safetensors"
    if not path.exists():
        return False
    about = read_scores(path).about
    wanted = (sha256_file(options.folder / "best" / WEIGHTS), options.protocol)
    return (about["checkpoint"], about["protocol"]) == wanted


def _write(
    options: TrainOptions, network: nn.Module, joined: Joined, *, subset: str, bar: Bar
) -> None:
    best = options.folder / "best"
    write_score_file(
        options.folder / "scores" / f"{subset}.safetensors",
        score_joined(options, network, joined, protocol=options.protocol, bar=bar),
        joined=joined,
        card=read_card(best),
        checkpoint=best,
        facts={
            "dataset": options.dataset,
            "split": options.split,
            "subset": subset,
            "protocol": options.protocol,
        },
    )
