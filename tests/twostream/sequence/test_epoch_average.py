from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from twostream.sequence.learner import (
    epochs_to_average,
    keep_epoch,
    load_average,
    read_average,
)
from twostream_base.errors import InputError

ROWS = [{"epoch": e, "errors": errors, "val_loss": 0.0} for e, errors in enumerate((9, 3, 7, 3, 5))]


@pytest.mark.parametrize(
    ("average", "epochs"),
    [("", []), ("last:2", [3, 4]), ("last:9", [0, 1, 2, 3, 4]), ("best:3", [1, 3, 4])],
)
def test_epochs_to_average(average: str, epochs: list[int]) -> None:
    assert epochs_to_average(ROWS, average) == epochs


@pytest.mark.parametrize("text", ["first:2", "last", "best:0", "last:x"])
def test_wrong_average(text: str) -> None:
    with pytest.raises(InputError, match=f"--average.*{text}.*last:N or best:N"):
        read_average(text)


def test_mean_of_kept_epochs(tmp_path: Path) -> None:
    network = nn.BatchNorm1d(2)
    states = []
    for epoch in range(3):
        nn.init.normal_(network.weight)
        network(torch.randn(4, 2))
        states.append({name: t.clone() for name, t in network.state_dict().items()})
        keep_epoch(tmp_path, network, epoch, wanted=list(range(max(0, epoch - 1), epoch + 1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-001.safetensors", "epoch-002.safetensors",
    ]  # fmt: skip
    load_average(tmp_path, network, [1, 2])
    for name in ("weight", "running_mean", "running_var"):
        mean = (states[1][name] + states[2][name]) / 2
        assert torch.allclose(network.state_dict()[name], mean)
    assert network.num_batches_tracked == 3
