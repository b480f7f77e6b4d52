"""Frames and optical flow of videos, in memory and on disk.

frames, flow = flow_extract.read_video("clip.mp4", method="dis")
flow_extract.extract_folder("videos", "store")
entry = flow_extract.open_entry("store", "class/clip")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twostream_base.public_names import late_names

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from flow_extract.display.color_wheel import flow_to_rgb
    from flow_extract.extraction.folder import Report, extract_folder
    from flow_extract.extraction.one_video import Job, Result, extract_video, read_video
    from flow_extract.extraction.settings import extraction_settings
    from flow_extract.methods import FLOW_METHODS
    from flow_extract.store.check import Check, check_store
    from flow_extract.store.codecs import dequantize, quantize
    from flow_extract.store.reader import StoreEntry, open_entry, scan_store
    from flow_extract.synthetic import endpoint_error, moving_clip, read_flo
    from flow_extract.video.decode import VideoError, VideoInfo, probe, read_frames

__all__, __getattr__, __dir__ = late_names(
    __name__,
    {
        "flow_extract.display.color_wheel": "flow_to_rgb",
        "flow_extract.extraction.folder": "Report extract_folder",
        "flow_extract.extraction.one_video": "Job Result extract_video read_video",
        "flow_extract.extraction.settings": "extraction_settings",
        "flow_extract.methods": "FLOW_METHODS",
        "flow_extract.store.check": "Check check_store",
        "flow_extract.store.codecs": "dequantize quantize",
        "flow_extract.store.reader": "StoreEntry open_entry scan_store",
        "flow_extract.synthetic": "endpoint_error moving_clip read_flo",
        "flow_extract.video.decode": "VideoError VideoInfo probe read_frames",
    },
)
