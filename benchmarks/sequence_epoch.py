"""CPU seconds of an epoch of the motion stream of sequences: flow computed anew, or of a store.

    python benchmarks/sequence_epoch.py [SIDE]

One epoch of 40 toy sequences by the toy recipe, one thread: the training alone, and the loading of
its clips in three ways. Stored flow is lossless, so that training sees the same numbers. SIDE is
the side of the frames, 36 unless given; larger ones are the same videos enlarged.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from flow_extract import extract_folder, extraction_settings
from twostream.sequence import toy
from twostream.sequence.batches import train_batches
from twostream.sequence.learner import SequenceLearner
from twostream.sequence.lists import find_frames, read_list
from twostream.sequence.options import RECIPES, SequenceOptions


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 36
    torch.set_num_threads(1)
    recipe = {k.replace("-", "_"): v for k, v in tomllib.loads(RECIPES["toy"].read_text()).items()}
    values: dict[str, Any] = dict.fromkeys(SequenceOptions.__dataclass_fields__, "")
    values |= {"stream": "motion", "seed": 0, "threads": 1, "device": "cpu", "precision": "fp32"}
    values |= {"weight_decay": 0.0, "ema": 0.0, "auxiliary_loss": 0.0, "flip": 0.0, "fuse": "sum"}
    values |= {"similarity": "joined", "allow_missing": False, "use_damaged": False} | recipe
    values |= {"temporal": tuple(recipe["temporal"]), "frame_size": side, "input_size": side - 4}
    options = SequenceOptions(**values)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        toy.COUNTS = {"train": 40}
        toy.generate_sequences(root, root / "videos")
        records = read_list(root / "train.csv", root / "videos")
        ways = {"computed anew": records}
        for codec in ("raw", "jpeg"):
            settings = extraction_settings(codec=codec, short_side=side)
            extract_folder(root / "videos", root / codec, settings=settings)
            ways[f"store, {codec}"], _ = find_frames(
                records, store=root / codec, root=root / "videos", stream="motion",
                allow_missing=False,
            )  # fmt: skip
        loading = {
            way: cpu_seconds(lambda found=found: list(train_batches(found, options, epoch=0)[0]))  # type: ignore[misc]
            for way, found in ways.items()
        }
        batches = list(train_batches(records, options, epoch=0)[0])
        learner = SequenceLearner(options, classes=7, fresh=True)
        targets = [[1 + len(g) % 6 for g in record.glosses] for record in records]
        training = cpu_seconds(lambda: learner.train_epoch(batches, epoch=0, targets=targets))
    print(f"{len(records)} videos, {side} x {side}; training alone {training:.2f} CPU s")
    for way, seconds in loading.items():
        print(
            f"{way:14} loading {seconds:6.2f} CPU s, epoch {training + seconds:6.2f} CPU s: "
            f"{(training + loading['computed anew']) / (training + seconds):.2f} x"
        )


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of `work`, all its threads, the better of two runs."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
