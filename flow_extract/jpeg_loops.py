"""The compiled loops of `flow_jpeg`: pixels to quantised coefficients, and these to Huffman codes.

The transform is libjpeg's accurate one (`jfdctint.c` and `jcdctmgr.c`, after Loeffler, Ligtenberg
and Moschytz, ICASSP 1989) to the last bit; all integers, so the same on any processor. It takes
`LANES` blocks of 8 x 8 pixels at once: coefficient k, in natural order, of block i is int32 number
k * LANES + i. LLVM makes vector code of these loops because the distances between what they write
are constants, and because `int32` keeps each sum in 32 bits, where numba would take 64.

All loops are in this one file: numba keeps compiled code until the file of the loop changes, with
the loops of other files that are in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy import int32, uint32, uint64

from flow_extract.compiled import compiled, part

LANES = 64
ROW = 8 * LANES
# A coefficient before it is quantised is eight times the true one: so many bits, without the sign.
COEFFICIENT_BITS = 14
# Fraction bits that the pass over rows leaves to the pass over columns, and bits of the constants.
KEPT_BITS, CONSTANT_BITS = 2, 13
# Natural index of each place in the zigzag (T.81, figure A.6), and the place of each index.
DIAGONALS = sorted(
    ((v, u) for v in range(8) for u in range(8)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)
ZIGZAG = np.array([8 * v + u for v, u in DIAGONALS])
PLACE_IN_ZIGZAG = np.argsort(ZIGZAG)
LANE_OF_PLACE = (ZIGZAG * LANES).astype(np.uint64)
# First coefficients differ by -2047 to 2047; the others are -1023 to 1023.
LARGEST_DIFFERENCE = 2047
VALUES = 2048
# Words of 32 bits that a block may need: 20 bits, and 63 times 26.
WORDS_OF_BLOCK = 52
LENGTH_BITS = 6
BYTE = uint64(255)
EIGHT_TIMES = uint64(0x0101010101010101)
State = tuple[np.uint64, np.uint64, np.uint64]


@compiled("u8[:,::1](u1[:,:,::1])")
def side_by_side(pair: np.ndarray) -> np.ndarray:
    """u, and v to its right, of uint8 (H, W, 2): words of 8 pixels, uint64, with whole blocks only.

    Beyond the picture, its last column and row come again.
    """
    height, width, _ = pair.shape
    across, down = (2 * width + 7) // 8, (height + 7) // 8
    picture = np.empty((8 * down, 8 * across), np.uint8)
    for y in range(8 * down):
        source, row = pair[min(y, height - 1)].reshape(-1), picture[y]
        u, v = row[:width], row[width : 2 * width]
        for x in range(width):
            u[x] = source[2 * x]
        for x in range(width):
            v[x] = source[2 * x + 1]
        row[2 * width :] = v[width - 1]
    return picture.view(np.uint64)


@compiled("i8[::1](u8[:,::1])")
def find_busy(words: np.ndarray) -> np.ndarray:
    """Flat index of the first word of each block that is not all of one value."""
    rows, across = words.shape
    busy, differs = np.empty(words.size // 8, np.int64), np.empty(across, np.uint64)
    count = 0
    for top in range(0, rows, 8):
        y0, y1, y2, y3 = words[top], words[top + 1], words[top + 2], words[top + 3]
        y4, y5, y6, y7 = words[top + 4], words[top + 5], words[top + 6], words[top + 7]
        for i in range(across):
            one = (y0[i] & BYTE) * EIGHT_TIMES
            upper = (y0[i] ^ one) | (y1[i] ^ one) | (y2[i] ^ one) | (y3[i] ^ one)
            differs[i] = upper | (y4[i] ^ one) | (y5[i] ^ one) | (y6[i] ^ one) | (y7[i] ^ one)
        for i in range(across):
            busy[count] = top * across + i  # overwritten by the next, unless it counts
            count += differs[i] != uint64(0)
    return busy[:count]


@part
def _rounded(value: np.int32, bits: int) -> np.int32:
    return int32(int32(value + int32(1 << bits >> 1)) >> int32(bits))


@part
def _transform_eight(numbers: tuple[np.int32, ...], drop: int) -> tuple[np.int32, ...]:
    """The transform of length 8, with `drop` fraction bits fewer than what comes in."""
    x0, x1, x2, x3, x4, x5, x6, x7 = numbers
    sum0, sum1, sum2, sum3 = int32(x0 + x7), int32(x1 + x6), int32(x2 + x5), int32(x3 + x4)
    d0, d1, d2, d3 = int32(x0 - x7), int32(x1 - x6), int32(x2 - x5), int32(x3 - x4)

    e0, e1, e2, e3 = int32(sum0 + sum3), int32(sum1 + sum2), int32(sum1 - sum2), int32(sum0 - sum3)
    turned = int32(4433 * int32(e2 + e3))
    y2, y6 = int32(turned + 6270 * e3), int32(turned - 15137 * e2)

    a, b = int32(-7373 * int32(d3 + d0)), int32(-20995 * int32(d2 + d1))
    turned = int32(9633 * int32(int32(d0 + d1) + int32(d2 + d3)))
    c, d = int32(turned - 16069 * int32(d3 + d1)), int32(turned - 3196 * int32(d2 + d0))
    y7, y5 = int32(int32(2446 * d3 + a) + c), int32(int32(16819 * d2 + b) + d)
    y3, y1 = int32(int32(25172 * d1 + b) + c), int32(int32(12299 * d0 + a) + d)

    bits = CONSTANT_BITS + drop
    return (
        *(_rounded(int32(e0 + e1), drop), _rounded(y1, bits), _rounded(y2, bits)),
        *(_rounded(y3, bits), _rounded(int32(e0 - e1), drop), _rounded(y5, bits)),
        *(_rounded(y6, bits), _rounded(y7, bits)),
    )


@part
def _pixel(word: np.uint64, number: int) -> np.int32:
    """Pixel `number` of a word, around 0, with `KEPT_BITS` of fraction."""
    pixel = int32((word >> uint64(8 * number)) & BYTE)
    return int32(int32(pixel - int32(128)) << int32(KEPT_BITS))


@part
def _places(i: np.uint64, step: int) -> tuple[np.uint64, ...]:
    """Eight indices, `step` apart."""
    return (
        *(i, i + uint64(step), i + uint64(2 * step), i + uint64(3 * step)),
        *(i + uint64(4 * step), i + uint64(5 * step), i + uint64(6 * step), i + uint64(7 * step)),
    )


@part
def _read(data: np.ndarray, places: tuple[np.uint64, ...]) -> tuple[np.int32, ...]:
    i0, i1, i2, i3, i4, i5, i6, i7 = places
    return data[i0], data[i1], data[i2], data[i3], data[i4], data[i5], data[i6], data[i7]


@part
def _write(data: np.ndarray, places: tuple[np.uint64, ...], numbers: tuple[np.int32, ...]) -> None:
    for place, number in zip(places, numbers):  # noqa: B905 (numba knows no `strict`)
        data[place] = number


@part
def _transform_rows(words: np.ndarray, out: np.ndarray) -> None:
    for lane in range(LANES):
        word = words[lane]
        pixels = (
            *(_pixel(word, 0), _pixel(word, 1), _pixel(word, 2), _pixel(word, 3)),
            *(_pixel(word, 4), _pixel(word, 5), _pixel(word, 6), _pixel(word, 7)),
        )
        _write(out, _places(uint64(lane), LANES), _transform_eight(pixels, 0))


@part
def _transform_columns(data: np.ndarray) -> None:
    for lane in range(LANES):
        places = _places(uint64(lane), ROW)
        _write(data, places, _transform_eight(_read(data, places), KEPT_BITS))


@part
def _quantise(coefficients: np.ndarray, divisors: np.ndarray, nonzero: np.ndarray) -> None:
    """Divide and round as `divisors` says, in place, and mark what is not 0."""
    nonzero[:] = int32(0)
    for k in range(64):
        half, multiplier, shift = divisors[k, 0], divisors[k, 1], divisors[k, 2]
        place = PLACE_IN_ZIGZAG[k]
        marks, mark = nonzero[place >> 5], int32(1 << (place & 31))
        lanes = coefficients[k * LANES : (k + 1) * LANES]
        for i in range(LANES):
            sign = int32(lanes[i] >> int32(31))
            size = int32(int32(lanes[i] ^ sign) - sign)
            size = int32(int32(int32(size + half) * multiplier) >> shift)
            lanes[i] = int32(int32(size ^ sign) - sign)
            marks[i] = int32(marks[i] | (mark if size != int32(0) else int32(0)))


@part
def _transform(
    words: np.ndarray,
    blocks: np.ndarray,
    divisors: np.ndarray,
    coefficients: np.ndarray,
    nonzero: np.ndarray,
) -> None:
    """Quantised coefficients of some blocks.

    Args:
        words: of `side_by_side`.
        blocks: at most `LANES` of `find_busy`.
        divisors: as in `flow_jpeg.Tables`.
        coefficients: int32 (64 * LANES,), filled.
        nonzero: int32 (2, LANES), filled: bit z % 32 of row z // 32 tells whether the coefficient
            at place z of the zigzag is not 0.
    """
    flat, gathered = words.reshape(-1), np.zeros(LANES, np.uint64)
    for y in range(8):
        row = flat[y * words.shape[1] :]
        for i in range(blocks.size):
            gathered[i] = row[uint64(blocks[i])]
        _transform_rows(gathered, coefficients[y * ROW : (y + 1) * ROW])
    for x in range(8):
        _transform_columns(coefficients[x * LANES :])
    _quantise(coefficients, divisors, nonzero)


@intrinsic
def _lowest_bit(_: Any, number: types.Integer) -> tuple[Any, Any]:
    """Index of the lowest bit that is set, in compiled code: uint64 -> uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), generate


@part
def _append(
    symbols: np.ndarray,
    coefficients: np.ndarray,
    lane: np.uint64,
    nonzero: np.uint64,
    row: np.ndarray,
    count: np.uint64,
) -> np.uint64:
    """Append to `row` the symbols of a block but the first; return how many `row` then has."""
    rest, after = nonzero, uint64(1)
    while rest != uint64(0):
        place: np.uint64 = _lowest_bit(rest)  # type: ignore[call-arg]
        rest &= rest - uint64(1)
        zeros, after = place - after, place + uint64(1)
        while zeros > uint64(15):
            row[count] = symbols[15 * VALUES]
            zeros, count = zeros - uint64(16), count + uint64(1)
        value = uint64(coefficients[LANE_OF_PLACE[place] + lane]) % uint64(VALUES)
        row[count] = symbols[zeros * uint64(VALUES) + value]
        count += uint64(1)
    row[count] = symbols[0]  # end of block, unless its last place is taken
    return count + (~nonzero >> uint64(63))


@part
def _pack(row: np.ndarray, state: State, out: np.ndarray) -> State:
    """Append symbols to the words `out`.

    `state` is the last bits, of which the lowest ones are not yet in `out`; how many these are,
    fewer than 32; and how many words `out` has.
    """
    bits, pending, at = state
    for i in range(row.size):
        symbol = uint64(row[i])
        length = symbol & uint64((1 << LENGTH_BITS) - 1)
        bits = (bits << length) | (symbol >> uint64(LENGTH_BITS))
        pending += length
        # Written even when no word is full: the next one overwrites it, and there is no branch.
        out[at] = uint32(bits >> (pending & uint64(31)))
        at += pending >> uint64(5)
        pending &= uint64(31)
    return bits, pending, at


@compiled("Tuple((u4[::1], i8))(u8[:,::1], i8[::1], i4[:,::1], i4[::1], u4[::1], u4[::1])")
def encode_blocks(
    words: np.ndarray,
    busy: np.ndarray,
    divisors: np.ndarray,
    first_of_even: np.ndarray,
    first_symbols: np.ndarray,
    symbols: np.ndarray,
) -> tuple[np.ndarray, int]:
    """The blocks, coded.

    Args:
        words: of `side_by_side`.
        busy: of `find_busy`.
        divisors: this and the others as in `flow_jpeg.Tables`.

    Returns:
        uint32 words, whose highest bit comes first, and the number of bits.
    """
    flat, (rows, across) = words.reshape(-1), words.shape
    out = np.empty(words.size // 8 * WORDS_OF_BLOCK + 1, np.uint32)
    coefficients, nonzero = np.empty(64 * LANES, np.int32), np.empty((2, LANES), np.int32)
    row = np.empty(64 * across + 1, np.uint32)
    state, last, done = (uint64(0), uint64(0), uint64(0)), int32(0), 0
    for top in range(0, rows * across, 8 * across):
        count = uint64(0)
        for block in range(top, top + across):
            if done == busy.size or busy[done] != block:
                first = first_of_even[flat[block] & BYTE]
                row[count] = first_symbols[uint64(first - last + LARGEST_DIFFERENCE)]
                row[count + uint64(1)] = symbols[0]
                count += uint64(2)
            else:
                lane = uint64(done % LANES)
                if lane == uint64(0):
                    blocks = busy[done : done + LANES]
                    _transform(words, blocks, divisors, coefficients, nonzero)
                first = coefficients[lane]
                row[count] = first_symbols[uint64(first - last + LARGEST_DIFFERENCE)]
                others = uint64(uint32(nonzero[0, lane])) & ~uint64(1)
                others |= uint64(uint32(nonzero[1, lane])) << uint64(32)
                count = _append(symbols, coefficients, lane, others, row, count + uint64(1))
                done += 1
            last = first
        state = _pack(row[:count], state, out)
    bits, pending, at = state
    unused = uint64(32) - pending
    out[at] = uint32((bits << unused) | ((uint64(1) << unused) - uint64(1)))
    return out[: at + uint64(1)], int(uint64(32) * at + pending)
