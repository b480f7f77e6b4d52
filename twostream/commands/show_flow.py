"""`twostream show-flow`."""

from __future__ import annotations

from pathlib import Path

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands import console
from twostream.commands.option_types import OUT_FILE, OUT_FOLDER, PlugIn
from twostream_base.errors import InputError
from twostream_base.video_names import without_suffix

# Rows of a picture, where nothing else is asked for.
PNG_ROWS = 4


@click.command(
    "show-flow",
    cls=console.Command,
    example="twostream show-flow clip.mp4 --out clip-flow.gif\n"
    "twostream show-flow v_Archery_g01_c01 --store store --frames 0:40",
)
@click.argument("video")
@click.option("--store", type=OUT_FOLDER, help="Store in which VIDEO is looked up.")
@click.option(
    "--out", type=OUT_FILE, help="File to write: .png, .gif or .mp4.  [default: VIDEO-flow.png]"
)
@click.option(
    "--frames",
    metavar="N,N,START:STOP",
    help="Frames to draw.  [default: 4 that move for a PNG, else all]",
)
@click.option(
    "--method",
    type=PlugIn(FLOW_METHODS),
    default="dis",
    help="Optical flow method for a VIDEO that is a file or a folder.",
)
@console.trust_option
def show_flow(
    video: str, store: Path | None, out: Path | None, frames: str | None, method: str
) -> None:
    """Draw optical flow as colours, next to the frames.

    VIDEO is a video file or a folder of numbered pictures, whose flow is computed first, or a name
    in the store.
    """
    from flow_extract.display.show import choose_pairs, draw_clip, stored_clip, video_clip
    from flow_extract.extraction.settings import flow_method
    from flow_extract.store.reader import entry_path
    from flow_extract.video.decode import VideoError
    from flow_extract.video.pictures import numbered_files

    is_pictures = Path(video).is_dir() and any(numbered_files(Path(video)))
    if Path(video).is_file() or is_pictures:
        try:
            clip = video_clip(Path(video), flow_method(method, {}), method_name=method)
        except VideoError as error:
            raise InputError(f"{video}: {error}") from error
    elif store and not Path(video).is_absolute() and (path := entry_path(store, video)).is_file():
        clip = stored_clip(path)
    else:
        where = f"no video of this name in {store}" if store else "no --store to look into"
        cure = "; only files are opened: download it" if "://" in video else ""
        raise InputError(f"{video!r}: {where}, and no such file{cure}")
    out = out or Path(f"{without_suffix(Path(video).absolute().name)}-flow.png")
    default = PNG_ROWS if out.suffix.lower() == ".png" else None
    pairs = choose_pairs(clip, frames, default=default)
    largest = draw_clip(clip, pairs, out)
    console.show(
        f"{out}: {len(pairs):,} of {clip.num_flows:,} pairs; scale {largest:g} px per frame"
    )
