"""Quantised flow as one grey JPEG picture: libjpeg's bytes, in less than half of its time.

Nearly half of the blocks of a flow picture are of one value: what does not move. They need no
transform; the others go through it many at a time. And what a coefficient becomes in the Huffman
code, together with the zeros before it, is looked up at once. Header and tables are those that
OpenCV writes for a picture of that size, so of the format only the coding of blocks is repeated
here (ITU-T T.81, annex F.1.2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from flow_extract.codecs import encode_jpeg
from flow_extract.jpeg_loops import (
    COEFFICIENT_BITS,
    LARGEST_DIFFERENCE,
    LENGTH_BITS,
    VALUES,
    ZIGZAG,
    encode_blocks,
    find_busy,
    side_by_side,
)

QUANTISATION, HUFFMAN, SCAN = 0xDB, 0xC4, 0xDA


class Tables(NamedTuple):
    """What pictures of one size and quality have in common.

    Attributes:
        header: all that comes before the coded blocks.
        divisors: int32 (64, 3), of `_divisors`.
        first_of_even: int32 (256,): first coefficient of a block that is all of one value.
        first_symbols: uint32, by the difference to the first coefficient of the block before,
            plus LARGEST_DIFFERENCE.
        symbols: uint32 (16 * VALUES,), by VALUES * zeros before it + value modulo VALUES. Value 0
            after 0 zeros ends a block, and after 15 of them stands for 16.

    A symbol is the code with the bits of its value, and in the lowest LENGTH_BITS their number.
    """

    header: bytes
    divisors: np.ndarray
    first_of_even: np.ndarray
    first_symbols: np.ndarray
    symbols: np.ndarray


def encode_flow(pair: np.ndarray, quality: int) -> bytes:
    """The picture of u, with v to its right, of quantised flow, uint8 (H, W, 2).

    Raises:
        ValueError: it is too large for JPEG.
    """
    height, width = pair.shape[:2]
    tables = tables_of(height, 2 * width, quality)
    words = side_by_side(np.ascontiguousarray(pair))
    code, bits = encode_blocks(words, find_busy(words), *tables[1:])
    data = code.astype(">u4").tobytes()[: -(-bits // 8)]
    return b"".join((tables.header, data.replace(b"\xff", b"\xff\x00"), b"\xff\xd9"))


@lru_cache(maxsize=16)
def tables_of(height: int, width: int, quality: int) -> Tables:
    """Tables of grey pictures, out of the header that OpenCV writes.

    Raises:
        ValueError: JPEG has no pictures of that size.
    """
    picture = encode_jpeg(np.zeros((height, width), np.uint8), quality)
    segments, length = _segments(picture)
    (quantisation,) = (body for marker, body in segments if marker == QUANTISATION)
    table = np.zeros(64, np.uint8)
    table[ZIGZAG] = np.frombuffer(quantisation[1:], np.uint8)
    codes = {body[0] >> 4: _codes(body) for marker, body in segments if marker == HUFFMAN}
    differences = np.arange(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE + 1)
    values = np.arange(VALUES)
    values[VALUES // 2 :] -= VALUES
    return Tables(
        header=picture[:length],
        divisors=_divisors(table),
        first_of_even=_rounded(8 * np.arange(-128, 128), int(table[0])),
        first_symbols=_symbols(codes[0], differences),
        symbols=np.concatenate([_symbols(codes[1][16 * zeros :], values) for zeros in range(16)]),
    )


def _segments(picture: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Marker and body of each segment of the header, and where the header ends."""
    segments: list[tuple[int, bytes]] = []
    position = 2
    while not segments or segments[-1][0] != SCAN:
        end = position + 2 + int.from_bytes(picture[position + 2 : position + 4])
        segments.append((picture[position + 1], picture[position + 4 : end]))
        position = end
    return segments, position


def _codes(body: bytes) -> np.ndarray:
    """Code and length of each byte in a Huffman table: (256, 2); length 0 for those it lacks."""
    codes, code, position = np.zeros((256, 2), np.int64), 0, 17
    for length, count in enumerate(body[1:17], start=1):
        for byte in body[position : position + count]:
            codes[byte] = code, length
            code += 1
        code, position = 2 * code, position + count
    return codes


def _symbols(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Symbol of each value; `codes` begin with those for values of 0, 1, 2, ... bits."""
    sizes = np.array([int(value).bit_length() for value in np.abs(values)])
    code, length = codes[sizes].T
    bits = np.where(values < 0, values - 1, values) & ((1 << sizes) - 1)
    symbols = (code << sizes | bits) << LENGTH_BITS | (length + sizes)
    return symbols.astype(np.uint32)


def _divisors(table: np.ndarray) -> np.ndarray:
    """Quantisation table (64,) in natural order -> int32 (64, 3): half, multiplier, shift.

    (n + half) * multiplier >> shift is then n / (8 * entry), rounded, for every n that occurs
    (Granlund and Montgomery, PLDI 1994).
    """
    divisors = 8 * table.astype(np.int64)
    shifts = COEFFICIENT_BITS + np.array([int(divisor - 1).bit_length() for divisor in divisors])
    multipliers = -(-(1 << shifts) // divisors)
    return np.stack([divisors // 2, multipliers, shifts], axis=1).astype(np.int32)


def _rounded(numbers: np.ndarray, divisor: int) -> np.ndarray:
    """Quotients, halves away from zero."""
    return (np.sign(numbers) * ((np.abs(numbers) + divisor // 2) // divisor)).astype(np.int32)
