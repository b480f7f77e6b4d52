"""`twostream check-flow`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from twostream.commands import console
from twostream.commands.option_types import OUT_FOLDER
from twostream_base.errors import InputError, some_of


@click.command(
    "check-flow", cls=console.Command, example="twostream check-flow --videos UCF-101 --deep"
)
@click.option(
    "--store",
    cls=console.ProjectOption,
    required=True,
    type=OUT_FOLDER,
    help="Folder of the store.",
)
@click.option(
    "--videos",
    type=OUT_FOLDER,
    help="Folder of videos: lists those that are missing, and store files of no video there.",
)
@click.option(
    "--deep", is_flag=True, help="Also read all data: checksums, and whether anything moves."
)
@click.option(
    "--repair", is_flag=True, help="Remove bad files, so that extract-flow makes them again."
)
@click.option(
    "--prune",
    is_flag=True,
    help="Remove the store files of no video below --videos: it is gone, or has another name.",
)
@console.json_option
@console.quiet_option
def check_flow(
    store: Path,
    videos: Path | None,
    deep: bool,
    repair: bool,
    prune: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check a store: files, counts, holes, settings; with --deep every byte.

    Without --deep only the beginning of each file is read. Exit code 1: something is wrong; it is
    listed.
    """
    from flow_extract.store import check as checking
    from flow_extract.store.reader import entry_path
    from flow_extract.video.find_videos import find_videos, require_videos

    if prune:  # an empty or a half readable folder must not empty the store
        if not videos:
            raise click.UsageError("--prune needs --videos, the folder of all videos of the store")
        there = require_videos(videos, store=store)
        if unclear := [f"{path} ({why})" for path, why in (there.skipped | there.refused).items()]:
            raise InputError(
                f"{videos}: not all of it can be read, so that store files of videos that are "
                f"there might be removed; before --prune mend these: {some_of(unclear)}"
            )
    if videos and not videos.is_dir():
        console.tell(f"{videos}: no such folder of videos; which ones are missing is not known")
        videos = None
    expected = find_videos(videos, store=store).videos if videos else {}
    bar = partial(console.progress, label="check-flow", unit="video", quiet=quiet)
    check = checking.check_store(store, deep=deep, expected=expected, progress=bar)
    orphans = [item.name for item in check.findings if item.kind == "orphan"]
    room = sum(entry_path(store, name).stat().st_size for name in orphans)
    removed = checking.drop_bad(store, check) if repair else []
    pruned = checking.prune(store, check) if prune else []
    if as_json:
        findings = [
            {"name": finding.name, "kind": finding.kind, "reason": finding.reason}
            for finding in check.findings
        ]
        console.print_json(
            check.counts()
            | {"store": str(store), "findings": findings, "removed": removed, "pruned": pruned}
        )
    else:
        console.show(
            "{files:,} store files, {frames:,} frames, {flows:,} flow pairs; {wrong:,} things "
            "wrong; store {store}".format(**check.counts(), wrong=len(check.wrong()), store=store)
        )
        for finding in check.findings:
            if finding.kind != "orphan":
                console.show(f"{finding.kind:<10} {finding.name}: {finding.reason}")
        if orphans:
            console.show(
                f"{'orphan':<10} {len(orphans):,} store files, {room / 1e6:,.1f} MB, are of no "
                f"video below {videos}"
                f"{'' if prune else '; --prune removes them'}: {some_of(orphans)}"
            )
        repeated = {
            name: header["counts"].get("repeated", 0) for name, header in check.headers.items()
        }
        if any(repeated.values()):
            most = sorted(filter(repeated.get, repeated), key=lambda name: -repeated[name])
            dropped = all(check.headers[name].get("drop_repeated") for name in most)
            most = [f"{name} ({repeated[name]:,})" for name in most]
            console.show(
                f"{'repeated':<10} {sum(repeated.values()):,} frames repeat the one before them"
                f"{', and are not stored' if dropped else ''}; of {len(most):,} videos: "
                f"{some_of(most, limit=3)}"
            )
        if pruned:
            console.show(f"{len(pruned):,} of no video removed")
        if removed:
            console.show(f"{len(removed):,} removed; `twostream extract-flow` makes them again")
    if check.wrong() and not (repair or as_json):
        only_missing = all(finding.kind == "missing" for finding in check.wrong())
        console.tell_next(*(["extract-flow"] if only_missing else ["check-flow", "--repair"]))
    if check.wrong():
        click.get_current_context().exit(1)
