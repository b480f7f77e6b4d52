"""The settings of an extraction: what decides the content of a store file, apart from the video."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from flow_extract.methods import FLOW_METHODS
from flow_extract.methods.pairwise import ClipMethod
from flow_extract.store.codecs import DEFAULT_BOUND, LEVELS, ZERO, quality_of
from twostream_base.errors import InputError
from twostream_base.plugins import check_options, load, trust


def extraction_settings(
    method: str | None = "dis",
    options: Mapping[str, Any] | None = None,
    *,
    bound: float = DEFAULT_BOUND,
    short_side: int | None = None,
    codec: str = "jpeg",
    drop_repeated: bool = False,
    trust_plugins: bool = False,
    device: str | None = None,
) -> dict[str, Any]:
    """Everything that decides the content of a store file, as its header records it.

    Args:
        method: key of `FLOW_METHODS`, or `package.module:function`; see `plugins.load`. None:
            frames without flow.
        options: of the method; those that are not given appear with the method's defaults.
        bound: flow is clipped to +-`bound` pixels per frame.
        short_side: frames are resized so that the shorter side has this many pixels; None: not.
        codec: key of `codecs.CODECS`.
        drop_repeated: leave out frames that repeat the one before; recorded only where it is so.
        device: where the method computes, for one that has a choice; it decides nothing, and is not
            recorded, unless the method computes by another form there (`form` beside `options`).
        trust_plugins: whether `method` may be a `module:function`, which is imported.

    Raises:
        InputError: unknown method, option or codec, a bound or side that cannot be, or the method
            fails on two blank frames.
    """
    if type(bound) not in (int, float) or not 0 < bound < math.inf:
        raise InputError(f"bound {bound!r}: expected a number of pixels above 0")
    if short_side is not None and (type(short_side) is not int or short_side < 1):
        raise InputError(f"short side {short_side!r}: expected a whole number of pixels, or None")
    settings = ({"drop_repeated": True} if drop_repeated else {}) | {
        "quantiser": {"bound": bound, "zero": ZERO, "scale": LEVELS / bound},
        "short_side": short_side,
        "codec": codec,
        "quality": quality_of(codec),
        "opencv": cv2.__version__,
    }
    options = dict(options or {})
    if method is None:
        if options or device:
            raise InputError("frames without flow have neither options of a method nor a device")
        return {"method": None} | settings
    method = trust(method, trust_plugins)
    if options.get("device", "cpu") != "cpu":
        raise InputError(f"flow method {method!r}: give device={options['device']!r} by itself")
    entry = load(method, FLOW_METHODS)
    check_options(entry, options, what=f"flow method {method!r}")
    try:
        arguments = inspect.signature(entry).bind(**options)
        arguments.apply_defaults()
        json.dumps(arguments.arguments)
        # Tried once here, so that a wrong option stops the run and not every single video.
        compute = flow_method(method, options, device=device)
        compute(np.zeros((2, 32, 32, 3), np.uint8))
    except Exception as error:
        why = " ".join(str(error).split())  # OpenCV's messages have several lines
        raise InputError(f"flow method {method!r} with options {options}: {why}") from error
    form = getattr(compute, "form", None)
    record = {"name": method, "options": arguments.arguments} | ({"form": form} if form else {})
    return {"method": record} | settings


def recorded_method(settings: Mapping[str, Any], device: str | None) -> ClipMethod | None:
    """The flow method that settings record, on a device; None for frames without flow.

    Raises:
        InputError: there it would compute by another form.
    """
    if settings["method"] is None:
        return None
    record = settings["method"]
    method = flow_method(record["name"], record["options"], device=device)
    form, recorded = getattr(method, "form", None), record.get("form")
    if form != recorded:
        raise InputError(
            f"flow method {record['name']!r} on {device or 'cpu'} computes by "
            f"{form or 'its usual form'}; the settings record {recorded or 'its usual form'}: give "
            "`extraction_settings` the device"
        )
    return method


def flow_method(name: str, options: Mapping[str, Any], *, device: str | None = None) -> ClipMethod:
    """A method of `FLOW_METHODS` or `package.module:function`, checked at each call.

    Raises:
        InputError: no such method or option, or a plug-in that is not trusted (see `plugins.load`).
        ValueError: when called, if it returns anything but float32 (T-1, H, W, 2).
    """
    entry = load(name, FLOW_METHODS)
    check_options(entry, options, what=f"flow method {name!r}")
    with_choice = "device" in inspect.signature(entry).parameters or device not in (None, "cpu")
    method = entry(**dict(options) | ({"device": device} if device and with_choice else {}))

    def clip_flow(frames: np.ndarray) -> np.ndarray:
        flow = method(frames)
        expected = (len(frames) - 1, *frames.shape[1:3], 2)
        if not isinstance(flow, np.ndarray) or (flow.dtype, flow.shape) != (np.float32, expected):
            kind = f"{getattr(flow, 'dtype', type(flow).__name__)} {getattr(flow, 'shape', '')}"
            raise ValueError(f"the flow method returned {kind}, not float32 {expected}")
        return flow

    for attribute in ("pixels_at_once", "form"):
        if hasattr(method, attribute):
            setattr(clip_flow, attribute, getattr(method, attribute))
    return clip_flow
