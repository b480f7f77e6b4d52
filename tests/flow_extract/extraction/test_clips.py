import threading
import time

import numpy as np
import pytest

from flow_extract.extraction.one_video import map_in_order, overlapping_chunks


def frames_of(count, size=(4, 6)):
    return (np.full((*size, 3), n % 256, np.uint8) for n in range(count))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [[0]]),
        (2, [[0, 1]]),
        (16, [[*range(16)]]),
        (17, [[*range(16)], [15, 16]]),
        (33, [[*range(16)], [*range(15, 32)], [31, 32]]),
    ],
)
def test_chunks_share_one_frame(count, expected):
    chunks = [chunk[:, 0, 0, 0].tolist() for chunk in overlapping_chunks(frames_of(count))]
    assert chunks == expected


def test_chunks_of_large_frames_are_short():
    lengths = [len(chunk) for chunk in overlapping_chunks(frames_of(5, size=(1080, 1920)))]
    assert lengths == [1, 2, 2, 2, 2]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_answers_come_in_the_order_of_the_items(threads):
    def slowest_first(n):
        time.sleep(0.02 / (n + 1))
        return n * n

    assert list(map_in_order(slowest_first, range(12), threads=threads)) == [
        n * n for n in range(12)
    ]


def test_never_more_busy_threads_than_allowed():
    """Making an item counts as much as working on one."""
    busy, most, lock = 0, 0, threading.Lock()

    def work(item):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1
        return item

    items = map(work, range(30))
    assert list(map_in_order(work, items, threads=3)) == list(range(30))
    assert 1 < most <= 3


@pytest.mark.parametrize("threads", [1, 3])
def test_error_of_an_item_reaches_the_caller(threads):
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda n: 1 / n, [2, 1, 0, 1], threads=threads))


def test_items_are_not_taken_ahead_of_the_work():
    taken = []
    answers = map_in_order(lambda n: n, (taken.append(n) or n for n in range(100)), threads=4)
    assert next(answers) == 0
    assert len(taken) <= 5
    answers.close()
