"""What decides the content of a store file, apart from the video."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flow_extract.methods import FLOW_METHODS
from flow_extract.store.codecs import load_codec
from flow_extract.store.quantize import LEVELS, ZERO
from twostream_base.errors import InputError
from twostream_base.plugins import load

JPEG_QUALITY = 95


def extraction_settings(
    method: str,
    options: Mapping[str, Any],
    *,
    bound: float,
    short_side: int | None,
    codec: str = "jpeg",
) -> dict[str, Any]:
    """Everything that decides the content of a store file, as its header says it.

    Options that are not given appear with the method's defaults.

    Raises:
        InputError: unknown method, option or codec, or the method fails on two blank frames.
    """
    import cv2

    return {
        "method": {"name": method, "options": _all_options(method, options)},
        "quantiser": {"bound": bound, "zero": ZERO, "scale": LEVELS / bound},
        "short_side": short_side,
        "codec": codec,
        "quality": None if load_codec(codec).lossless else JPEG_QUALITY,
        "opencv": cv2.__version__,
    }


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as canonical JSON: two stores hold the same flow when it is the same."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def clip_flow(method: Callable[[np.ndarray], np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Flow of a clip, with the check that a method (perhaps a user's own) keeps its contract."""
    flow = method(frames)
    expected = (len(frames) - 1, *frames.shape[1:3], 2)
    if not isinstance(flow, np.ndarray) or (flow.dtype, flow.shape) != (np.float32, expected):
        found = f"{getattr(flow, 'dtype', type(flow).__name__)} {getattr(flow, 'shape', '')}"
        raise ValueError(f"the flow method returned {found}, not float32 {expected}")
    return flow


def _all_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    make = load(name, FLOW_METHODS)
    try:
        bound_arguments = inspect.signature(make).bind(**options)
        bound_arguments.apply_defaults()
        json.dumps(bound_arguments.arguments)
        # Tried once here, so that a wrong option stops the run and not every single video.
        clip_flow(make(**options), np.zeros((2, 32, 32, 3), np.uint8))
    except Exception as error:
        why = " ".join(str(error).split())  # OpenCV's messages have several lines
        raise InputError(f"flow method {name!r} with options {dict(options)}: {why}") from error
    return bound_arguments.arguments
