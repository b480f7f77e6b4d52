from __future__ import annotations

from decimal import Decimal

import pytest

from twostream.logs.cells import number, pair


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (r"$\color{red}{49.412}$", "49.412"),
        (r"$\color{red}{ 76.315\% }$", "76.315"),
        ("<sub> 34.62(115000)</sub>", "34.62"),
        ("**80**", "80"),
        ("100 %", "100"),
        ("0.00000001", "1e-08"),
        ("5e-09", "5e-09"),
        ("97.0130", "97.0130"),
    ],
)
def test_numbers(cell: str, expected: str) -> None:
    assert number(cell) == Decimal(expected)


def test_printed_digits_are_kept() -> None:
    assert str(number("97.0130")) == "97.0130"


@pytest.mark.parametrize("cell", ["", "x", "average", "256*320", "---", "1.2.3", "halve at 40/60"])
def test_what_is_no_number(cell: str) -> None:
    assert number(cell) is None


def test_pairs() -> None:
    assert pair("72.28 / 90.30") == (Decimal("72.28"), Decimal("90.30"))
    assert pair("74.0 / x") == (Decimal("74.0"), None)
    assert pair("CenterCrop 224") is None
    assert pair("40/60/80") is None
