"""Percentages of a known number of videos are k/N; those that are not were mistyped."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

# Official lists: training and test videos of the three splits.
KNOWN_SIZES = (9537, 9586, 9624, 3783, 3734, 3696, 3570, 1530)  # UCF101, HMDB51
_FEWEST, _SHARE = 5, 0.9


def decimals(percents: Sequence[Decimal]) -> int:
    """How many digits a column was printed with: zeros at the end are often dropped."""
    return max((-int(percent.as_tuple().exponent) for percent in percents), default=0)


def nearest_count(percent: Decimal, videos: int) -> int:
    """The number of videos that comes nearest to the percentage."""
    return round(percent * videos / 100)


def is_count(percent: Decimal, videos: int, *, digits: int) -> bool:
    """Whether some k of `videos` prints as this percentage with so many decimals.

    Half a unit of the last digit is let pass, and a little: single precision stood behind some.
    """
    exact = Decimal(100 * nearest_count(percent, videos)) / videos
    return abs(exact - percent) <= Decimal("0.51") * Decimal(10) ** -digits


def fitting_size(percents: Sequence[Decimal], sizes: Sequence[int] = KNOWN_SIZES) -> int | None:
    """The size of a known list that (nearly) all percentages are counts of, or None.

    Fewer than five numbers could be so by chance.
    """
    digits = decimals(percents)
    fits = {
        size: sum(is_count(percent, size, digits=digits) for percent in percents) for size in sizes
    }
    best = max(fits, key=lambda size: fits[size])
    enough = len(percents) >= _FEWEST and fits[best] >= _SHARE * len(percents)
    return best if enough else None
