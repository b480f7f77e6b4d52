from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from twostream.models.checkpoint import save_checkpoint
from twostream.sequence.checkpoint import (
    ONCE,
    SequenceNetworkSpec,
    best_checkpoint,
    epochs_to_average,
    load_average,
    load_sequence_network,
    read_average,
    read_starts,
    score_metadata,
)
from twostream.sequence.network import build_network
from twostream.training.run_folder import epoch_folder
from twostream_base.errors import InputError

SPEC = SequenceNetworkSpec(
    stream="motion", backbone="plain width=2 weights=imagenet", temporal=("conv widths=8,8,8",),
    vocabulary=("A", "B"), frame_size=36, input_size=32, epoch=3, averaged=(2, 3),
)  # fmt: skip


def test_the_average_is_scored_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        best_checkpoint(tmp_path)
    for name in ("best", "average"):
        save_checkpoint(tmp_path / name, torch.nn.Linear(1, 1), SPEC, {})
        assert best_checkpoint(tmp_path) == tmp_path / name


def test_a_network_is_built_again_from_its_checkpoint(tmp_path: Path) -> None:
    """Without its initial weights, which may not be at hand."""
    network = build_network(
        stream="motion", backbone="plain width=2", temporal=SPEC.temporal, classes=3
    )
    save_checkpoint(tmp_path / "best", network, SPEC, {})
    spec, rebuilt = load_sequence_network(tmp_path / "best")
    assert spec == SPEC
    for name, tensor in network.state_dict().items():
        assert rebuilt.state_dict()[name].equal(tensor), name
    metadata = score_metadata(spec, checkpoint=tmp_path / "best", subset="new")
    assert (metadata["subset"], metadata["epoch"], "vocabulary" in metadata) == ("new", 3, False)


def test_runs_with_other_temporal_modules(tmp_path: Path) -> None:
    """Refused where one chain is for both, else told by the trainer."""
    runs = []
    for stream, temporal in (("spatial", ("conv",)), ("motion", ("tcn width=8",))):
        spec = replace(SPEC, stream=stream, temporal=temporal)
        save_checkpoint(tmp_path / stream / "best", torch.nn.Linear(1, 1), spec, {})
        runs.append(str(tmp_path / stream))
    assert [spec.stream for _, spec in read_starts(runs)] == ["spatial", "motion"]
    with pytest.raises(InputError, match=r"temporal differs.*conv.*tcn width=8"):
        read_starts(runs, alike=(*ONCE, "temporal"))


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


def test_mean_of_epochs(tmp_path: Path) -> None:
    network = nn.BatchNorm1d(2)
    states = []
    for epoch in range(3):
        nn.init.normal_(network.weight)
        network(torch.randn(4, 2))
        states.append({name: t.clone() for name, t in network.state_dict().items()})
        save_checkpoint(epoch_folder(tmp_path, epoch), network, SPEC, {})
    load_average(tmp_path, network, [1, 2])
    for name in ("weight", "running_mean", "running_var"):
        mean = (states[1][name] + states[2][name]) / 2
        assert torch.allclose(network.state_dict()[name], mean)
    assert network.num_batches_tracked == 3
