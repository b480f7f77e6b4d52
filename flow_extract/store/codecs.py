"""Flow as 8-bit numbers, and how one frame, or one pair of flow components, becomes bytes.

`jpeg` is small and almost exact, `lz4` exact and about five times larger, `raw` exact, larger
still, and read at the speed of the disk.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from twostream_base.errors import InputError

ZERO = 128
LEVELS = 127
DEFAULT_BOUND = 20.0


def quantize(flow: np.ndarray, *, bound: float = DEFAULT_BOUND) -> np.ndarray:
    """Clip flow to +-`bound` pixels and store it as uint8, `round(128 + flow * 127 / bound)`.

    Standing still is exactly 128, -bound is 1 and +bound is 255; 0 does not occur, so that both
    directions have equally many levels. A half is rounded to the even level.

    Raises:
        ValueError: the flow has a NaN or an infinity.
    """
    # The extremes of an array are finite exactly when all of it is, and need no temporary array.
    if flow.size and not (np.isfinite(flow.min()) and np.isfinite(flow.max())):
        raise ValueError("the flow has values that are not finite")
    scaled = np.clip(flow, -bound, bound) * (LEVELS / bound) + ZERO
    return np.rint(scaled).astype(np.uint8)


def dequantize(levels: np.ndarray, *, bound: float = DEFAULT_BOUND) -> np.ndarray:
    """Flow in pixels (float32) from its 8-bit form, off by `bound / 254` at most if not clipped."""
    return (levels.astype(np.float32) - ZERO) * np.float32(bound / LEVELS)


JPEG_QUALITY = 95


class Codec(NamedTuple):
    """Four functions between arrays and bytes, and whether what comes back is what went in.

    Attributes:
        encode_rgb: uint8 (H, W, 3) RGB and `quality=` -> bytes.
        decode_rgb: bytes, as a uint8 array, and (H, W) -> uint8 (H, W, 3) RGB.
        encode_flow: quantised flow, uint8 (H, W, 2), and `quality=` -> bytes.
        decode_flow: bytes, as a uint8 array, and (H, W) -> uint8 (H, W, 2).
        lossless: exact, and `quality` has no meaning.

    The decoders raise ValueError for bytes that are no whole picture of that size. What they return
    may be read-only, and a view whose channels lie apart.
    """

    encode_rgb: Callable[..., bytes]
    decode_rgb: Callable[[np.ndarray, tuple[int, int]], np.ndarray]
    encode_flow: Callable[..., bytes]
    decode_flow: Callable[[np.ndarray, tuple[int, int]], np.ndarray]
    lossless: bool


def load_codec(name: str) -> Codec:
    """The codec of that name, if it works here.

    Raises:
        InputError: no such codec; or its library is not installed.
    """
    if name not in CODECS:
        raise InputError(f"codec {name!r} is not one of {', '.join(CODECS)}")
    if name == "lz4":
        _lz4()
    return CODECS[name]


def quality_of(codec: str) -> int | None:
    """The quality that a codec encodes with: 95 for JPEG, None for a lossless one."""
    return None if load_codec(codec).lossless else JPEG_QUALITY


def _jpeg_encode_rgb(frame: np.ndarray, *, quality: int) -> bytes:
    return encode_jpeg(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)


def _jpeg_decode_rgb(blob: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return _jpeg_decode(blob, cv2.IMREAD_COLOR_RGB, size)


def _jpeg_encode_flow(pair: np.ndarray, *, quality: int) -> bytes:
    """One grey picture, u left and v right: a pair is then read in one go, or not at all."""
    height, width = pair.shape[:2]
    picture = np.empty((height, 2 * width), np.uint8)
    cv2.split(pair, [picture[:, :width], picture[:, width:]])
    return encode_jpeg(picture, quality)


def _jpeg_decode_flow(blob: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    picture = _jpeg_decode(blob, cv2.IMREAD_GRAYSCALE, (height, 2 * width))
    return picture.reshape(height, 2, width).swapaxes(1, 2)


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """A picture, grey (H, W) or BGR (H, W, 3), as OpenCV writes it.

    Raises:
        ValueError: JPEG has no pictures of that size.
    """
    height, width = picture.shape[:2]
    if max(height, width) > 65_500:
        raise ValueError(f"a picture of {width} x {height} is too large for JPEG (65,500 a side)")
    is_encoded, blob = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise ValueError(f"OpenCV cannot write a picture of {width} x {height} as JPEG")
    return blob.tobytes()


def _jpeg_decode(blob: np.ndarray, flags: int, size: tuple[int, int]) -> np.ndarray:
    picture = cv2.imdecode(blob, flags) if blob.size else None
    if picture is None:
        raise ValueError(f"{blob.size} bytes that are no whole JPEG picture")
    if picture.shape[:2] != size:
        (height, width), (right_height, right_width) = picture.shape[:2], size
        raise ValueError(f"a picture of {width} x {height}, not {right_width} x {right_height}")
    return picture


def _raw_encode(picture: np.ndarray, *, quality: None) -> bytes:
    """One channel after the other, as a batch wants them; LZ4 gains by it too."""
    height, width, channels = picture.shape
    planes = np.empty((channels, height, width), np.uint8)
    cv2.split(np.ascontiguousarray(picture), list(planes))
    return planes.tobytes()


def _raw_decode(blob: np.ndarray, size: tuple[int, int], *, channels: int) -> np.ndarray:
    if blob.size != size[0] * size[1] * channels:
        raise ValueError(f"{blob.size} bytes that are no picture of {size[1]} x {size[0]}")
    return blob.reshape(channels, *size).transpose(1, 2, 0)


def _lz4() -> Any:
    try:
        return importlib.import_module("lz4.block")
    except ImportError:
        raise InputError("the codec lz4 needs a library: pip install lz4") from None


def _lz4_encode(picture: np.ndarray, *, quality: None) -> bytes:
    return _lz4().compress(_raw_encode(picture, quality=quality), store_size=False)


def _lz4_decode(blob: np.ndarray, size: tuple[int, int], *, channels: int) -> np.ndarray:
    lz4 = _lz4()
    try:
        data = lz4.decompress(blob, uncompressed_size=size[0] * size[1] * channels)
    except lz4.LZ4BlockError as error:
        raise ValueError(f"{blob.size} bytes that are no whole LZ4 block") from error
    return _raw_decode(np.frombuffer(data, np.uint8), size, channels=channels)


def _exact(encode: Callable[..., bytes], decode: Callable[..., np.ndarray]) -> Codec:
    rgb, flow = partial(decode, channels=3), partial(decode, channels=2)
    return Codec(encode, rgb, encode, flow, lossless=True)


CODECS = {
    "jpeg": Codec(
        encode_rgb=_jpeg_encode_rgb,
        decode_rgb=_jpeg_decode_rgb,
        encode_flow=_jpeg_encode_flow,
        decode_flow=_jpeg_decode_flow,
        lossless=False,
    ),
    "raw": _exact(_raw_encode, _raw_decode),
    "lz4": _exact(_lz4_encode, _lz4_decode),
}
