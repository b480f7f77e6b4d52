"""`twostream convert-flow`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from twostream.commands import console
from twostream.commands.option_types import CODEC_NAMES, OUT_FOLDER

# Keys of `layouts.LAYOUTS`, whose module imports numpy.
LAYOUT_NAMES = ("uv", "flow_xy", "xy")
QUANTISERS = ("0-255", "ours")
FORMS = ("store", *LAYOUT_NAMES)


@click.command(
    "convert-flow",
    cls=console.Command,
    example="twostream convert-flow tvl1_flow store --from uv --to store",
)
@click.argument("source", type=OUT_FOLDER)
@click.argument("dest", type=OUT_FOLDER)
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
@console.json_option
@console.quiet_option
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
    from flow_extract.extraction.one_video import count_results
    from flow_extract.layouts import convert

    if source.resolve() == dest.resolve():
        raise click.UsageError(f"SOURCE and DEST are both {source}; choose another DEST")
    for option, value, useless in (
        ("--bound", bound, form == "store"),
        ("--quantiser", quantiser, form == target == "store"),
        ("--codec", codec, target != "store"),
    ):
        if useless and value is not None:
            raise click.UsageError(f"{option} has no effect from {form} to {target}")
    if form == "store":
        videos = convert.store_source(source)
    else:
        videos = convert.layout_source(source, form, quantiser=quantiser, bound=bound)
    how: dict[str, Any] = {
        "workers": min(jobs or available_cores(), available_cores()),
        "progress": partial(console.progress, label="convert-flow", unit="video", quiet=quiet),
    }
    if target == "store":
        results = convert.convert_to_store(videos, dest, codec=codec or "jpeg", **how)
    else:
        results = convert.convert_to_layout(
            videos, dest, target, quantiser=quantiser or QUANTISERS[0], **how
        )
    counts = count_results(results)
    problems = [result for result in results if result.status != "ok" or result.reason]
    if as_json:
        rows = [{key: getattr(p, key) for key in ("name", "status", "reason")} for p in problems]
        console.print_json(counts | {"dest": str(dest), "problems": rows})
    else:
        console.show(
            "{videos:,} videos: {done_now:,} done now, {already_done:,} already done, "
            "{damaged:,} damaged, {failed:,} failed; in {dest}".format(**counts, dest=dest),
            *(f"{p.status:<9} {p.name}: {p.reason}" for p in problems),
        )
    if any(result.status == "failed" for result in results):
        click.get_current_context().exit(1)
