from __future__ import annotations

from typing import Any

import click
import pytest

from twostream.commands.options import CountOrAuto, Epochs


@pytest.mark.parametrize(("given", "expected"), [("auto", "auto"), ("4", 4), (4, 4)])
def test_count_or_auto(given: Any, expected: Any) -> None:
    assert CountOrAuto().convert(given, None, None) == expected


@pytest.mark.parametrize("given", ["0", "-1", "half", "", "²", "1.5"])
def test_what_is_no_count(given: str) -> None:
    with pytest.raises(click.BadParameter, match="neither a whole number from 1 nor auto"):
        CountOrAuto().convert(given, None, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("15,25", (15, 25)), ([15, 25], (15, 25)), ("", ()), ((), ()), ("7", (7,))],
)
def test_epochs(given: Any, expected: Any) -> None:
    assert Epochs().convert(given, None, None) == expected


@pytest.mark.parametrize("given", ["a,b", "25,15", "0,5", "5,5", "5,,6"])
def test_what_are_no_epochs(given: str) -> None:
    with pytest.raises(click.BadParameter, match="epochs"):
        Epochs().convert(given, None, None)
