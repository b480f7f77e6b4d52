from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, cast

import numpy as np
import pytest

from flow_extract.store import StoreEntry
from twostream.data import shared_pictures
from twostream.data.shared_pictures import SharedPictures


class Numbered:
    """An entry whose picture `i` is full of `i`, and that notes what was decoded."""

    size = (4, 5)

    def __init__(self, broken: int = -1) -> None:
        self.decoded: list[int] = []
        self.broken = broken

    def pictures(self, key: str, indices: Sequence[int]) -> Iterator[np.ndarray]:
        for index in indices:
            if index == self.broken:
                raise ValueError(f"{key} {index} is broken")
            self.decoded.append(index)
            yield np.full((4, 5, 2), index, np.uint8)


def shared(entry: Numbered) -> SharedPictures:
    return SharedPictures(cast("StoreEntry", entry), "flow")


def numbers(pictures: Any) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in pictures]


def test_threads_get_what_they_ask_for_and_decode_it_once() -> None:
    entry, barrier = Numbered(), Barrier(8)
    pictures = shared(entry)

    def ask(start: int) -> list[int]:
        barrier.wait()
        return numbers(pictures(range(start, start + 6)))

    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(ask, range(8)))
    assert asked == [list(range(start, start + 6)) for start in range(8)]
    assert sorted(entry.decoded) == list(range(13))


def test_only_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_pictures, "KEPT_BYTES", 0)
    monkeypatch.setattr(shared_pictures, "KEPT_AT_LEAST", 3)
    entry = Numbered()
    pictures = shared(entry)
    assert numbers(pictures(range(5))) == [0, 1, 2, 3, 4]
    assert numbers(pictures([1, 2, 3, 4])) == [1, 2, 3, 4]
    assert entry.decoded == [0, 1, 2, 3, 4, 1]


def test_an_error_reaches_all_who_wait() -> None:
    pictures = shared(Numbered(broken=2))
    for _ in range(2):
        with pytest.raises(ValueError, match="flow 2 is broken"):
            list(pictures(range(4)))
