from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twostream.logs.counts import decimals, fitting_size, is_count, nearest_count


@given(videos=st.integers(1, 5000), data=st.data(), digits=st.integers(3, 5))
def test_every_count_prints_as_itself(videos: int, data: st.DataObject, digits: int) -> None:
    count = data.draw(st.integers(0, videos))
    percent = round(Decimal(100 * count) / videos, digits)
    assert is_count(percent, videos, digits=digits)
    if videos < 1000:
        assert nearest_count(percent, videos) == count


@pytest.mark.parametrize(("percent", "count"), [("59.0865", 904), ("50.2601", 769)])
def test_slips(percent: str, count: int) -> None:
    assert not is_count(Decimal(percent), 1530, digits=4)
    assert nearest_count(Decimal(percent), 1530) == count


@pytest.mark.parametrize(
    ("percent", "videos"),
    [("55.4248", 1530), ("60.3922", 1530), ("85.6727", 3783), ("87.4438", 3783), ("14.9523", 9537)],
)
def test_sound_ones(percent: str, videos: int) -> None:
    assert is_count(Decimal(percent), videos, digits=4)


def test_the_list_is_known_by_its_counts() -> None:
    percents = [round(Decimal(100 * count) / 1530, 3) for count in (427, 544, 587, 619, 1224, 756)]
    assert decimals(percents) == 3
    assert fitting_size(percents) == 1530
    assert fitting_size(percents[:4]) is None
    assert fitting_size([percent + Decimal("0.02") for percent in percents]) is None
