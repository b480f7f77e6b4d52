"""The commands that look into stores: `check-flow`, `show-flow`, `convert-flow`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands.console import (
    Command,
    ProjectOption,
    json_option,
    note,
    print_json,
    progress,
    quiet_option,
)
from twostream.commands.extract_flow import CODEC_NAMES
from twostream.commands.plugin_type import PlugIn
from twostream_base.errors import InputError
from twostream_base.plugins import load

if TYPE_CHECKING:
    from flow_extract.display.show import Clip
    from flow_extract.extraction.one_video import Result
    from flow_extract.layouts.convert import Source
    from flow_extract.store.check import Check

FOLDER = click.Path(file_okay=False, path_type=Path)
# Keys of `layouts.LAYOUTS`, whose module imports numpy.
LAYOUT_NAMES = ("uv", "flow_xy", "xy")
QUANTISERS = ("0-255", "ours")
FORMS = ("store", *LAYOUT_NAMES)
# Rows of a picture, where nothing else is asked for.
PNG_ROWS = 4


@click.command("check-flow", cls=Command, example="twostream check-flow --videos UCF-101 --deep")
@click.option("--store", cls=ProjectOption, required=True, type=FOLDER, help="Folder of the store.")
@click.option("--videos", type=FOLDER, help="Folder of videos: lists those that are missing.")
@click.option(
    "--deep", is_flag=True, help="Also read all data: checksums, and whether anything moves."
)
@click.option(
    "--repair", is_flag=True, help="Remove bad files, so that extract-flow makes them again."
)
@json_option
@quiet_option
def check_flow(
    store: Path, videos: Path | None, deep: bool, repair: bool, as_json: bool, quiet: bool
) -> None:
    """Check a store: files, counts, holes, settings; with --deep every byte.

    Without --deep only the beginning of each file is read. Exit code 1: something is wrong; it is
    listed.
    """
    from flow_extract.store.check import check_store, drop_bad
    from flow_extract.video.find_videos import find_videos

    if videos and not videos.is_dir():
        note(f"{videos}: no such folder of videos; which ones are missing is not known")
        videos = None
    expected = find_videos(videos, store=store).videos if videos else {}
    bar = partial(progress, label="check-flow", unit="video", quiet=quiet)
    check = check_store(store, deep=deep, expected=expected, progress=bar)
    removed = drop_bad(store, check) if repair else []
    (_print_check_json if as_json else _print_check)(check, removed, store)
    if check.wrong():
        click.get_current_context().exit(1)


@click.command(
    "show-flow",
    cls=Command,
    example="twostream show-flow clip.mp4 --out clip-flow.gif\n"
    "twostream show-flow v_Archery_g01_c01 --store store --frames 0:40",
)
@click.argument("video")
@click.option("--store", type=FOLDER, help="Store in which VIDEO is looked up.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .png, .gif or .mp4.  [default: VIDEO-flow.png]",
)
@click.option(
    "--frames", metavar="N,N,START:STOP", help="Frames to draw.  [default: 4 for a PNG, else all]"
)
@click.option(
    "--method",
    type=PlugIn(FLOW_METHODS),
    default="dis",
    show_default=True,
    help="Optical flow method for a VIDEO that is a file.",
)
def show_flow(
    video: str, store: Path | None, out: Path | None, frames: str | None, method: str
) -> None:
    """Draw optical flow as colours, next to the frames.

    VIDEO is a name in the store, or a video file, whose flow is computed first.
    """
    from flow_extract.display.show import choose_pairs, draw_clip

    clip = _open_clip(video, store, method)
    out = out or Path(f"{Path(video).stem}-flow.png")
    default = PNG_ROWS if out.suffix.lower() == ".png" else None
    pairs = choose_pairs(frames, num_flows=clip.num_flows, default=default)
    largest = draw_clip(clip, pairs, out)
    click.echo(f"{out}: {len(pairs):,} of {clip.num_flows:,} pairs; scale {largest:g} px per frame")


def _open_clip(video: str, store: Path | None, method: str) -> Clip:
    from flow_extract.display.show import stored_clip, video_clip
    from flow_extract.store.reader import entry_path
    from flow_extract.video.decode import VideoError

    if store and (path := entry_path(store, video)).is_file():
        return stored_clip(path)
    if not Path(video).is_file():
        where = f"no video of this name in {store}" if store else "no --store to look into"
        raise InputError(f"{video!r}: {where}, and no such file")
    try:
        return video_clip(Path(video), load(method, FLOW_METHODS)(), method_name=method)
    except VideoError as error:
        raise InputError(f"{video}: {error}") from error


@click.command(
    "convert-flow",
    cls=Command,
    example="twostream convert-flow tvl1_flow store --from uv --to store",
)
@click.argument("source", type=FOLDER)
@click.argument("dest", type=FOLDER)
@click.option("--from", "form", type=click.Choice(FORMS), required=True, help="Layout of SOURCE.")
@click.option("--to", "target", type=click.Choice(FORMS), required=True, help="Layout of DEST.")
@click.option(
    "--bound",
    type=click.FloatRange(min=0, min_open=True),
    help="Pixels per frame that the extreme grey levels of SOURCE stand for.  [default: 20]",
)
@click.option(
    "--quantiser",
    type=click.Choice(QUANTISERS),
    help="Grey levels of the flow images: 0-255 for -BOUND to BOUND, or ours, with zero at 128.  "
    "[default: as recorded by convert-flow, else 0-255]",
)
@click.option(
    "--codec", type=click.Choice(CODEC_NAMES), help="Encoding in a new store.  [default: jpeg]"
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Videos processed at once.  [default: one per core]"
)
@json_option
@quiet_option
def convert_flow(
    source: Path,
    dest: Path,
    form: str,
    target: str,
    bound: float | None,
    quantiser: str | None,
    codec: str | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert frames and flow between a store and the image folders of other tools.

    \b
    uv       u/VIDEO/frame000001.jpg    v/...              rgb/...
    flow_xy  VIDEO/flow_x_00001.jpg     VIDEO/flow_y_...   VIDEO/img_...
    xy       VIDEO/x_00001.jpg          VIDEO/y_...        VIDEO/img_...

    Re-run the same command to convert what is missing. Exit code 1: some videos failed; they are
    listed.
    """
    from flow_extract.extraction.executor import available_cores
    from flow_extract.layouts.convert import convert_to_layout, convert_to_store

    _refuse_nonsense(source, dest, form, target, bound=bound, quantiser=quantiser, codec=codec)
    videos = _open_source(source, form, quantiser=quantiser, bound=bound)
    how: dict[str, Any] = {
        "workers": min(jobs or available_cores(), available_cores()),
        "progress": partial(progress, label="convert-flow", unit="video", quiet=quiet),
    }
    if target == "store":
        results = convert_to_store(videos, dest, codec=codec or "jpeg", **how)
    else:
        results = convert_to_layout(
            videos, dest, target, quantiser=quantiser or QUANTISERS[0], **how
        )
    (_print_converted_json if as_json else _print_converted)(results, dest)
    if any(result.status == "failed" for result in results):
        click.get_current_context().exit(1)


def _open_source(source: Path, form: str, *, quantiser: str | None, bound: float | None) -> Source:
    from flow_extract.layouts.convert import layout_source, store_source

    if form == "store":
        return store_source(source)
    return layout_source(source, form, quantiser=quantiser, bound=bound)


def _refuse_nonsense(
    source: Path, dest: Path, form: str, target: str, **given: float | str | None
) -> None:
    """Options that would have no effect are a mistake of the user's."""
    if source.resolve() == dest.resolve():
        raise click.UsageError(
            f"{source} cannot be converted in its own place; choose another DEST"
        )
    useless = {
        "bound": form == "store",
        "quantiser": form == target == "store",
        "codec": target != "store",
    }
    for option, is_useless in useless.items():
        if is_useless and given[option] is not None:
            raise click.UsageError(f"--{option} has no meaning from {form} to {target}")


def _print_converted_json(results: list[Result], dest: Path) -> None:
    print_json(_converted_counts(results) | {"dest": str(dest), "problems": _problems(results)})


def _print_converted(results: list[Result], dest: Path) -> None:
    from flow_extract.video.find_videos import printable

    counts = _converted_counts(results)
    click.echo(
        "{videos:,} videos: {done_now:,} done now, {already_done:,} already done, "
        "{damaged:,} damaged, {failed:,} failed; in {dest}".format(**counts, dest=dest)
    )
    for problem in _problems(results):
        click.echo(f"{problem['status']:<9} {printable(problem['name'])}: {problem['reason']}")


def _converted_counts(results: list[Result]) -> dict[str, Any]:
    whole = [result for result in results if result.status == "ok"]
    return {
        "videos": len(results),
        "done_now": sum(not result.settled for result in whole),
        "already_done": sum(result.settled for result in whole),
        "damaged": sum(result.status == "damaged" for result in results),
        "failed": sum(result.status == "failed" for result in results),
    }


def _problems(results: list[Result]) -> list[dict[str, str]]:
    """All that is not simply `ok`, with what there is to say about it."""
    return [
        {"name": result.name, "status": result.status, "reason": result.reason}
        for result in results
        if result.status != "ok" or result.reason
    ]


def _print_check_json(check: Check, removed: list[str], store: Path) -> None:
    findings = [
        {"name": finding.name, "kind": finding.kind, "reason": finding.reason}
        for finding in check.findings
    ]
    print_json(check.counts() | {"store": str(store), "findings": findings, "removed": removed})


def _print_check(check: Check, removed: list[str], store: Path) -> None:
    from flow_extract.video.find_videos import printable

    click.echo(
        "{files:,} store files, {frames:,} frames, {flows:,} flow pairs; {wrong:,} things wrong; "
        "store {store}".format(**check.counts(), wrong=len(check.wrong()), store=store)
    )
    for finding in check.findings:
        click.echo(f"{finding.kind:<10} {printable(finding.name)}: {finding.reason}")
    if removed:
        click.echo(f"{len(removed):,} removed; `twostream extract-flow` makes them again")
