"""The weights of a run's last epochs, kept beside `last` and `best` until their scores are written.

Scoring them at the end costs less than a full protocol after every epoch, most of which would be
dropped again, and a run that stops early has its last epochs all the same.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from torch import nn

from twostream.errors import InputError
from twostream.training.checkpoint import WEIGHTS, NetworkCard, save_checkpoint


def dumped_epochs(dump: str, count: int) -> range:
    """Which of the epochs 0 to `count` - 1 `--dump-scores` asks for: `off`, `all`, or `last:N`.

    Raises:
        InputError: something else.
    """
    if dump == "all":
        return range(count)
    last = re.fullmatch(r"last:([1-9]\d*)", dump)
    if dump != "off" and not last:
        raise InputError(f"--dump-scores {dump!r}: expected off, all, or last:N, such as last:5")
    return range(max(0, count - int(last[1])), count) if last else range(0)


def kept_folder(run: Path, epoch: int) -> Path:
    """Where the checkpoint of `epoch` lies until it is scored."""
    return run / "epochs" / f"epoch-{epoch:03d}"


def keep_epoch(
    run: Path, network: nn.Module, card: NetworkCard, *, wanted: Collection[int]
) -> None:
    """Keep the weights of epoch `card.epoch` if they are wanted, and drop those that are not."""
    if card.epoch in wanted:
        save_checkpoint(kept_folder(run, card.epoch), network, card, {})
    drop_epochs(run, wanted=wanted)


def drop_epochs(run: Path, *, wanted: Collection[int] = ()) -> None:
    """Remove all kept weights but those of the epochs that are `wanted`."""
    keep = {kept_folder(run, epoch) for epoch in wanted}
    for folder in set((run / "epochs").glob("*")) - keep:
        (folder / WEIGHTS).unlink(missing_ok=True)  # first: a kill then leaves no half checkpoint
        shutil.rmtree(folder)
