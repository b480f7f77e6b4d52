"""Frames and optical flow of videos, in memory and on disk.

frames, flow = flow_extract.read_video("clip.mp4", method="dis")
flow_extract.extract_folder("videos", "store")
entry = flow_extract.open_entry("store", "class/clip")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_extract.display.color_wheel import flow_to_rgb
    from flow_extract.extraction.folder import Report, extract_folder
    from flow_extract.extraction.one_video import Job, Result, extract_video, read_video
    from flow_extract.extraction.settings import extraction_settings
    from flow_extract.methods import FLOW_METHODS
    from flow_extract.store.check import Check, check_store
    from flow_extract.store.quantize import dequantize, quantize
    from flow_extract.store.reader import StoreEntry, open_entry, scan_store
    from flow_extract.synthetic import endpoint_error, moving_clip, read_flo
    from flow_extract.video.decode import VideoError, VideoInfo, probe, read_frames

__all__ = [
    "FLOW_METHODS",
    "Check",
    "Job",
    "Report",
    "Result",
    "StoreEntry",
    "VideoError",
    "VideoInfo",
    "check_store",
    "dequantize",
    "endpoint_error",
    "extract_folder",
    "extract_video",
    "extraction_settings",
    "flow_to_rgb",
    "moving_clip",
    "open_entry",
    "probe",
    "quantize",
    "read_flo",
    "read_frames",
    "read_video",
    "scan_store",
]

# Where the names are defined; imported when they are first used, as some need heavy libraries.
_MODULES = {
    "display.color_wheel": ("flow_to_rgb",),
    "extraction.folder": ("Report", "extract_folder"),
    "extraction.one_video": ("Job", "Result", "extract_video", "read_video"),
    "extraction.settings": ("extraction_settings",),
    "methods": ("FLOW_METHODS",),
    "store.check": ("Check", "check_store"),
    "store.quantize": ("dequantize", "quantize"),
    "store.reader": ("StoreEntry", "open_entry", "scan_store"),
    "synthetic": ("endpoint_error", "moving_clip", "read_flo"),
    "video.decode": ("VideoError", "VideoInfo", "probe", "read_frames"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
