"""The exact accuracy curve over all weights of two streams, beside the naive loop at 1,001 weights.

From a clone: `PYTHONPATH=. python benchmarks/weight_search.py`. Both are run in turns (A B A B ...)
and the ratios compared, on the published ResNet101 scores where they lie beside the clone, else on
made ones of their size. Fails where one video differs at any weight, or below 20 times as fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from fusion.exchange.formats.pickles import read_two_stream_pickle
from fusion.fitting.weight_search import weight_curve

SCORES = Path(__file__).resolve().parents[2] / "shared" / "data" / "scores-resnet101-ucf101"
TURNS, GOAL = 5, 20
WEIGHTS = np.linspace(0, 1, 1001)


def main() -> None:
    first, second, labels = real_scores() if SCORES.is_dir() else made_scores()
    pairs = [
        (timed(naive, first, second, labels), timed(exact, first, second, labels))
        for _ in range(TURNS)
    ]
    (_, slow), (_, fast) = pairs[0]
    different = int(np.abs(slow - fast).sum())
    ratio = median(loop / ours for (loop, _), (ours, _) in pairs)
    loop_s, ours_s = (median(run[side][0] for run in pairs) for side in (0, 1))
    print(f"{len(labels)} videos, {first.shape[1]} classes, {len(WEIGHTS)} weights")
    print(
        f"naive {loop_s:.3f} s, exact {ours_s:.4f} s: {ratio:.0f} times; {different} videos differ"
    )
    print(f"best: weight {weight_curve(first, second, labels).best()}")
    if different or ratio < GOAL:
        raise SystemExit(f"expected 0 videos of difference and {GOAL} times")


def naive(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([
        ((w * first + (1 - w) * second).argmax(axis=1) == labels).sum() for w in WEIGHTS
    ])  # fmt: skip


def exact(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return weight_curve(first, second, labels).correct(WEIGHTS)


def timed(run: Callable[..., np.ndarray], *arguments: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = run(*arguments)
    return time.perf_counter() - start, result


def real_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    files = [SCORES / f"{stream}_video_preds.pickle" for stream in ("spatial", "motion")]
    streams = [read_two_stream_pickle(file) for file in files]
    names = sorted(streams[0].names or ())
    classes = sorted({name.split("_")[0].casefold() for name in names})
    labels = np.array([classes.index(name.split("_")[0].casefold()) for name in names])
    first, second = (
        stream.scores[[list(stream.names or ()).index(name) for name in names], 0, 0].astype(float)
        for stream in streams
    )
    return first, second, labels


def made_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(101, size=3783)
    signal = 2.5 * np.eye(101)[labels]
    first, second = (rng.normal(size=(2, 3783, 101)) + signal) * [[[1.0]], [[3.6]]]
    return first, second, labels


if __name__ == "__main__":
    main()
