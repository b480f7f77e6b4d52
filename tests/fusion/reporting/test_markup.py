from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.reporting.markup import (
    Axis,
    bullet_list,
    details,
    paragraph,
    section,
    span,
    table,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (78.3, 91.6, [80, 85, 90]),
        (-3, 17, [0, 5, 10, 15]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_ticks_lie_inside_and_are_few(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 1 <= len(found) <= 8
    assert all(low - 1e-6 * width <= value <= low + width + 1e-6 * width for value in found)


def test_an_axis_places_values() -> None:
    axis = Axis(0, 10, 100, 0)
    assert [axis(0), axis(5), axis(10)] == [100, 50, 0]
    assert Axis(3, 3, 10, 20)(3) == 10


def test_a_span_is_never_empty() -> None:
    assert span([2, 4], margin=0.5) == (1, 5)
    low, high = span([0, 0])
    assert low < 0 < high
    low, high = span([60.714285714285715, 60.7143])  # one value, but for rounding
    assert high - low > 1


HOSTILE = '<script>"a" & b</script>'
SAFE = "&lt;script&gt;&quot;a&quot; &amp; b&lt;/script&gt;"


def test_every_text_is_escaped() -> None:
    made = [
        paragraph(HOSTILE),
        table([HOSTILE], [[HOSTILE]], name=HOSTILE, caption=HOSTILE),
        bullet_list([HOSTILE]),
        details(HOSTILE, ""),
        section("name", HOSTILE),
    ]
    assert [text.count(SAFE) for text in made] == [1, 4, 1, 1, 1]
    assert "<script" not in "".join(made)


def test_numbers_in_tables_do_not_wrap() -> None:
    row = table(["a"], [["x", "-1.5", "3 of 4", "", "+"]], name="t").partition("<tbody>")[2]
    kinds = ["number" in cell for cell in row.split("</td>")[:-1]]
    assert kinds == [False, True, True, False, False]
