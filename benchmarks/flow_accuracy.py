"""Endpoint error and cost of every flow method, written into `docs/flow-methods.md`.

    PYTHONPATH=. python benchmarks/flow_accuracy.py

A method that cannot run here (no weights) gets dashes. OpenCV's own TV-L1 is there
too once `benchmarks/flow_speed.py` has made its environment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from statistics import mean, median

import cv2
import numpy as np
from contrib_tvl1 import ENVIRONMENT, ROOT, contrib_tvl1
from real_pairs import MIDDLEBURY, clips, grey, middlebury, pairs_of

from flow_extract.methods import FLOW_METHODS
from flow_extract.synthetic import endpoint_error
from twostream_base.files import read_text, write_text

PAGE = ROOT / "docs" / "flow-methods.md"
BEGIN, END = "<!-- made by benchmarks/flow_accuracy.py -->", "<!-- end -->"
CLIPS = 8

ClipMethod = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    cv2.setNumThreads(1)
    heads = ["method", *MIDDLEBURY, "mean", "time (`dis` = 1)"]
    lines = [row(heads), row(["---"] * len(heads)), *map(row, table_rows())]
    text = read_text(PAGE)
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    write_text(PAGE, "\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"]))
    print("\n".join(lines))


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table_rows() -> Iterator[list[str]]:
    yield figures("no flow at all", lambda frames: np.zeros((1, *frames.shape[1:3], 2), "f4"), None)
    dis = FLOW_METHODS["dis"]()
    for name, make in FLOW_METHODS.items():
        try:
            method = make()
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            yield [f"`{name}`", *["-"] * (len(MIDDLEBURY) + 2)]
            continue
        cost = 1.0 if name == "dis" else relative_time(method, dis)
        yield figures(f"`{name}`", method, cost)
    deep = FLOW_METHODS["tvl1"](scales=8, scale_step=0.7)
    yield figures("`tvl1` with scales=8 scale_step=0.7", deep, relative_time(deep, dis))
    if ENVIRONMENT.is_dir():
        with contrib_tvl1() as contrib:

            def method(frames: np.ndarray) -> np.ndarray:
                return contrib(*grey(frames))[0][None]

            yield figures("OpenCV contrib's DualTVL1", method, relative_time(method, dis))


def figures(title: str, method: ClipMethod, cost: float | None) -> list[str]:
    errors = [endpoint_error(method(frames)[0], truth) for _, frames, truth in middlebury()]
    print(title, file=sys.stderr)
    return [
        title,
        *(f"{error:.2f}" for error in (*errors, mean(errors))),
        "" if cost is None else f"{cost:.3g}",
    ]


def relative_time(method: ClipMethod, dis: ClipMethod) -> float:
    """Median over pairs of real 320x240 frames; the two take turns."""
    pairs = [pair for clip in clips(CLIPS) for pair in pairs_of(clip, 2)]
    method(pairs[0])  # compiled, or loaded, before the clock runs
    return median(seconds(method, pair) / seconds(dis, pair) for pair in pairs)


def seconds(method: ClipMethod, pair: np.ndarray) -> float:
    start = time.perf_counter()
    method(pair)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
