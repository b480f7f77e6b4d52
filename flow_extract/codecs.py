"""How one frame, or one pair of flow components, becomes bytes in a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Codec(NamedTuple):
    """Four functions between arrays and bytes.

    Attributes:
        encode_rgb: uint8 (H, W, 3) RGB and `quality=` -> bytes.
        decode_rgb: bytes, as a uint8 array -> uint8 (H, W, 3) RGB.
        encode_flow: quantised flow, uint8 (H, W, 2), and `quality=` -> bytes.
        decode_flow: bytes, as a uint8 array -> uint8 (H, W, 2).
    """

    encode_rgb: Callable[..., bytes]
    decode_rgb: Callable[[np.ndarray], np.ndarray]
    encode_flow: Callable[..., bytes]
    decode_flow: Callable[[np.ndarray], np.ndarray]


def _encode_rgb(frame: np.ndarray, *, quality: int) -> bytes:
    import cv2

    return _encode(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)


def _decode_rgb(blob: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(_decode(blob, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _encode_flow(pair: np.ndarray, *, quality: int) -> bytes:
    """One grey picture, u left and v right: a pair is then read in one go, or not at all."""
    return _encode(np.hstack([pair[..., 0], pair[..., 1]]), quality)


def _decode_flow(blob: np.ndarray) -> np.ndarray:
    import cv2

    u, v = np.hsplit(_decode(blob, cv2.IMREAD_GRAYSCALE), 2)
    return np.stack([u, v], axis=-1)


def _encode(picture: np.ndarray, quality: int) -> bytes:
    import cv2

    height, width = picture.shape[:2]
    if max(height, width) > 65_500:
        raise ValueError(f"a picture of {width} x {height} is too large for JPEG (65,500 a side)")
    done, blob = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV cannot write a picture of {width} x {height} as JPEG")
    return blob.tobytes()


def _decode(blob: np.ndarray, flags: int) -> np.ndarray:
    import cv2

    picture = cv2.imdecode(blob, flags) if blob.size else None
    if picture is None:
        raise ValueError(f"{blob.size} bytes that are no whole JPEG picture")
    return picture


CODECS = {"jpeg": Codec(_encode_rgb, _decode_rgb, _encode_flow, _decode_flow)}
