from __future__ import annotations

import pytest

from twostream.training.options import dumped_epochs
from twostream_base.errors import InputError


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
