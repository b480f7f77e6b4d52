"""Dense score files: the windows of long videos that are their rows, in frames and in seconds.

A window is a row like any other, so all that reads score files reads these. Its name is that of the
video with its times, its group the video (windows of a video are not independent of each other),
and `ScoreTable.times` says in seconds where it begins and ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

LONGEST = 100_000_000  # seconds or frames: three years, or seven weeks at 25 a second


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time, in seconds or in frames."""

    amount: float
    in_frames: bool = False

    @classmethod
    def parse(cls, text: str) -> Span:
        """`2.5` (seconds) or `60f` (frames).

        Raises:
            InputError: neither, not above 0, or above `LONGEST`.
        """
        in_frames = text.endswith("f")
        try:
            amount = int(text[:-1]) if in_frames else float(text)
        except ValueError:
            amount = 0
        if not 0 < amount <= LONGEST:
            raise InputError(
                f"{text!r} is no length of time up to {LONGEST:,}: give seconds, such as 2.5, or "
                "frames, such as 60f"
            )
        return cls(amount, in_frames)

    def frames(self, fps: float) -> int:
        """In frames, of seconds the nearest whole number; at least 1."""
        return max(1, round(self.amount if self.in_frames else self.amount * fps))

    def quarter(self) -> Span:
        """A quarter of it; of frames a whole number, at least 1."""
        return replace(self, amount=max(1, self.amount // 4) if self.in_frames else self.amount / 4)

    def __str__(self) -> str:
        return f"{self.amount:g}{'f' if self.in_frames else ' s'}"


def window_grid(length: int, *, window: int, stride: int) -> list[tuple[int, int]]:
    """Begin and end, in frames, of the windows of a video of `length` frames.

    They begin every `stride` frames. Where they miss the end of the video, one more window of the
    same length ends there. A video shorter than a window has one, which is all of it.

    length 10, window 4, stride 2: (0, 4) (2, 6) (4, 8) (6, 10)
    length 11, window 4, stride 2: (0, 4) (2, 6) (4, 8) (6, 10) (7, 11)
    length 3, window 4, stride 2: (0, 3)
    """
    if min(length, window, stride) < 1:
        raise ValueError(f"length {length}, window {window}, stride {stride}: all must be >= 1")
    if length <= window:
        return [(0, length)]
    grid = [(begin, begin + window) for begin in range(0, length - window + 1, stride)]
    return grid if grid[-1][1] == length else [*grid, (length - window, length)]


def window_names(video: str, times: NDArray[np.float64]) -> list[str]:
    """Names of the windows of a video, in their order by time: `film@00012.500-00014.500`.

    Args:
        times: begin and end of each in seconds, (V, 2).
    """
    return [f"{video}@{begin:09.3f}-{end:09.3f}" for begin, end in times.tolist()]


def rows_by_video(table: ScoreTable) -> dict[str, NDArray[np.int64]]:
    """The rows of each video of a dense score table, in order of time.

    Raises:
        InputError: the table has no times.
    """
    if table.times is None or table.groups is None:
        raise InputError(
            "these are scores of whole videos, without times; `twostream predict --window` gives "
            "scores of windows, and so does `score` for clips of --dataset timed"
        )
    times, rows = table.times, dict[str, list[int]]()
    for row, video in enumerate(table.groups):
        rows.setdefault(video, []).append(row)
    return {
        video: np.array(sorted(of_video, key=lambda row: tuple(times[row])), np.int64)
        for video, of_video in rows.items()
    }
