"""Scaling down as OpenCV's INTER_AREA does it: the same bytes, in a quarter of the time.

Importing this takes a moment: numba compiles, or loads what it has compiled.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numba
import numpy as np

from flow_extract.methods.tvl1_numerics import njit_eager

TAPS = 3  # source pixels that a pixel overlaps where the scale is below 2

PLANES = numba.types.Array(numba.uint8, 3, "A", readonly=True)  # or not read-only
TAP_TYPES = numba.int32[::1], numba.float32[:, ::1]  # of what `area_taps` gives
SIGNATURE = numba.void(PLANES, numba.uint8[:, :, :], *TAP_TYPES, *TAP_TYPES)


@lru_cache(maxsize=256)
def area_taps(source: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What each of `size` pixels takes of a line of `source`, size < source < 2 * size.

    Returns:
        The first source pixel of each, int32 (size,), and the weights of it and the next two,
        float32 (3, size): the share of the pixel's width that each covers, as OpenCV rounds it.
    """
    scale = 1.0 / (size / source)
    first, weights = np.zeros(size, np.int32), np.zeros((TAPS, size), np.float32)
    for place in range(size):
        begin = place * scale
        end = begin + scale
        width = min(scale, source - begin)
        last = min(math.floor(end), source - 1)
        whole = min(math.ceil(begin), last)
        shares = {pixel: 1.0 / width for pixel in range(whole, last)}
        if whole - begin > 1e-3:
            shares[whole - 1] = (whole - begin) / width
        if end - last > 1e-3:
            shares[last] = min(end - last, 1.0, width) / width
        first[place] = min(min(shares), source - TAPS)
        for pixel, share in shares.items():
            weights[pixel - first[place], place] = share
    return first, weights


@njit_eager(SIGNATURE, fastmath=False)
def _scale_down(  # type: ignore[no-untyped-def]
    source, out, columns, column_weights, rows, row_weights
):
    channels, height, width = out.shape
    line = np.empty(source.shape[2], np.float32)
    scaled, total = np.empty((4, width), np.float32), np.empty(width, np.float32)
    first, second, third = column_weights[0], column_weights[1], column_weights[2]
    for channel in range(channels):
        held = np.full(4, -1, np.int64)  # which source row each of `scaled` is: two pixels share it
        for y in range(height):
            begun = False
            for tap in range(3):
                weight, row = row_weights[tap, y], rows[y] + tap
                if weight == 0:
                    continue
                part = scaled[row & 3]
                if held[row & 3] != row:
                    held[row & 3] = row
                    for x in range(line.size):
                        line[x] = np.float32(source[channel, row, x])
                    for x in range(width):
                        at = columns[x]
                        part[x] = (
                            line[at] * first[x] + line[at + 1] * second[x] + line[at + 2] * third[x]
                        )
                if begun:
                    for x in range(width):
                        total[x] += weight * part[x]
                else:
                    begun = True
                    for x in range(width):
                        total[x] = weight * part[x]
            for x in range(width):
                out[channel, y, x] = np.uint8(np.rint(min(total[x], np.float32(255))))


def scale_down(planes: np.ndarray, out: np.ndarray) -> bool:
    """Scale uint8 `planes` (C, H, W), of any strides, to `out` (C, h, w), without Python's lock.

    Returns:
        False, with nothing done, where this is not for h < H < 2 h and w < W < 2 w, or would not
        give OpenCV's bytes on this machine.
    """
    sizes = list(zip(planes.shape[1:], out.shape[1:], strict=True))
    if not all(size < source < 2 * size for source, size in sizes) or not _is_exact():
        return False
    rows, columns = (area_taps(source, size) for source, size in sizes)
    _scale_down(planes, out, *columns, *rows)
    return True


@lru_cache(maxsize=1)
def _is_exact() -> bool:
    """Whether sums are rounded as in this machine's OpenCV, which may fuse multiply and add."""
    source = np.random.default_rng(0).integers(0, 256, (1, 256, 340), np.uint8)
    out = np.empty((1, 224, 224), np.uint8)
    _scale_down(source, out, *area_taps(340, 224), *area_taps(256, 224))
    return np.array_equal(out[0], cv2.resize(source[0], (224, 224), interpolation=cv2.INTER_AREA))
