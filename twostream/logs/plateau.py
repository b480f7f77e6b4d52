"""The plateau schedule, replayed from the losses that a log holds."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

FACTOR, PATIENCE, THRESHOLD, EPS = 0.1, 1, 1e-4, 1e-8


class Replay(NamedTuple):
    """Rates as logged and as the rule has them, and from which epoch on they could not fall."""

    epochs: list[int]
    logged: list[float]
    replayed: list[float]
    floor_from: int | None

    def agreeing(self) -> int:
        """In how many epochs the two rates are the same."""
        pairs = zip(self.logged, self.replayed, strict=True)
        return sum(abs(one - other) <= 1e-6 * one for one, other in pairs)


def replay(epochs: Sequence[int], losses: Sequence[float], rates: Sequence[float]) -> Replay:
    """Replay `ReduceLROnPlateau(min, factor 0.1, patience 1, threshold 1e-4, eps 1e-8)`.

    `losses` are those of validation after each of the epochs, `rates` those logged in it. The rate
    falls once the loss has failed twice in a row to be below 0.9999 of the best; a step that would
    change it by no more than 1e-8 is not taken.
    """
    rate, best, failed, floor = rates[0], inf, 0, None
    replayed = []
    for epoch, loss in zip(epochs, losses, strict=True):
        replayed.append(rate)
        if rate - rate * FACTOR <= EPS and floor is None:
            floor = epoch
        if loss < best * (1 - THRESHOLD):
            best, failed = loss, 0
        else:
            failed += 1
        if failed > PATIENCE:
            failed = 0
            if rate - rate * FACTOR > EPS:
                rate *= FACTOR
    return Replay(list(epochs), list(rates), replayed, floor)
