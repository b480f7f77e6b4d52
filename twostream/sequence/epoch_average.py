"""Checkpoint averaging: the mean of the weights of several epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from twostream.errors import InputError
from twostream.files import atomic_path
from twostream.sequence.validation import best_epochs


def read_average(text: str) -> tuple[str, int]:
    """`last:5` or `best:3` -> `("last", 5)`; an empty text is no average, `("", 0)`.

    Raises:
        InputError: something else.
    """
    which, _, count = text.partition(":")
    if not text:
        return "", 0
    if which not in ("last", "best") or not count.isdecimal() or int(count) < 1:
        raise InputError(f"--average {text!r}: expected last:N or best:N, such as last:5")
    return which, int(count)


def epochs_to_average(rows: Sequence[Mapping[str, Any]], average: str) -> list[int]:
    """The epochs of the log that `--average` asks for."""
    which, count = read_average(average)
    if which == "best":
        return sorted(best_epochs(rows, count))
    return [int(row["epoch"]) for row in rows[-count:]] if count else []


def keep_epoch(folder: Path, network: nn.Module, epoch: int, *, wanted: Sequence[int]) -> None:
    """Write the weights of `epoch` to `folder` if it is wanted, and remove those that are not."""
    if epoch in wanted:
        tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        with atomic_path(epoch_file(folder, epoch)) as temporary:
            safetensors.torch.save_file(tensors, temporary)
    keep = {epoch_file(folder, number) for number in wanted}
    for path in folder.glob("epoch-*.safetensors"):
        if path not in keep:
            path.unlink()


def load_average(folder: Path, network: nn.Module, epochs: Sequence[int]) -> None:
    """Load the mean of the epochs' weights and batch statistics; counters are the last one's."""
    total: dict[str, Tensor] = {}
    for epoch in epochs:
        for name, tensor in safetensors.torch.load_file(epoch_file(folder, epoch)).items():
            if not tensor.is_floating_point():
                total[name] = tensor
            else:
                share = tensor.to(torch.float64) / len(epochs)
                total[name] = total[name] + share if name in total else share
    network.load_state_dict(total)


def epoch_file(folder: Path, epoch: int) -> Path:
    """Where the weights of an epoch are kept."""
    return folder / f"epoch-{epoch:03d}.safetensors"
