from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from twostream.errors import InputError
from twostream.training.checkpoint import has_checkpoint, read_card
from twostream.training.kept_epochs import drop_epochs, dumped_epochs, keep_epoch, kept_folder

from .test_checkpoint import CARD


@pytest.mark.parametrize(
    ("dump", "epochs"),
    [("off", []), ("all", [0, 1, 2, 3]), ("last:2", [2, 3]), ("last:9", [0, 1, 2, 3])],
)
def test_which_epochs(dump: str, epochs: list[int]) -> None:
    assert list(dumped_epochs(dump, 4)) == epochs


@pytest.mark.parametrize("dump", ["", "on", "last", "last:0", "last:-1", "best:3", "3"])
def test_what_is_no_choice_of_epochs(dump: str) -> None:
    with pytest.raises(InputError, match="--dump-scores .*: expected off, all, or last:N"):
        dumped_epochs(dump, 4)


def test_only_the_last_epochs_stay(tmp_path: Path) -> None:
    for epoch in range(4):
        wanted = dumped_epochs("last:2", epoch + 1)
        keep_epoch(tmp_path, nn.Linear(2, 2), replace(CARD, epoch=epoch), wanted=wanted)
    folders = sorted((tmp_path / "epochs").iterdir())
    assert folders == [kept_folder(tmp_path, 2), kept_folder(tmp_path, 3)]
    assert read_card(folders[1]).epoch == 3
    drop_epochs(tmp_path)
    assert not has_checkpoint(folders[1])
    keep_epoch(tmp_path, nn.Linear(2, 2), replace(CARD, epoch=4), wanted=())
    assert not list((tmp_path / "epochs").iterdir())
