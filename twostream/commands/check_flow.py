"""`twostream check-flow`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource

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
    help="Remove the files of no video below --videos: it is gone, or has another name. Not where "
    "another folder of videos fills this store too.",
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
    from flow_extract.video.find_videos import find_videos, require_videos

    if prune:  # an empty or a half readable folder must not empty the store
        if not videos:
            raise click.UsageError("--prune needs --videos, the folder of all videos of the store")
        source = click.get_current_context().get_parameter_source
        if source("videos") not in (ParameterSource.COMMANDLINE, source("store")):
            raise click.UsageError(
                f"--prune of the store {store}: type its --videos too; the {videos} of "
                "twostream.toml may be those of another store"
            )
        there = require_videos(videos, store=store)
        if unclear := [f"{path} ({why})" for path, why in (there.skipped | there.refused).items()]:
            raise InputError(
                f"{videos}: not all of it can be read, so that store files of videos that are "
                f"there might be removed; before --prune mend these: {some_of(unclear)}"
            )
    elif videos and not videos.is_dir():
        console.tell(f"{videos}: no such folder of videos; which ones are missing is not known")
        videos = None
    elif videos:
        there = find_videos(videos, store=store)
    expected = there.videos if videos else {}
    bar = partial(console.progress, label="check-flow", unit="video", quiet=quiet)
    check = checking.check_store(store, deep=deep, expected=expected, progress=bar)
    orphans = list(check.orphans)
    if prune and (not expected or 2 * len(orphans) > len(check.names)):
        raise InputError(
            f"{store}: {len(orphans):,} of its {len(check.names):,} videos are not below {videos}, "
            "more than half, so that it may be the wrong folder; --prune removes nothing: name "
            f"the right --videos, or remove their files by hand: {some_of(orphans)}"
        )
    files = [state for states in check.orphans.values() for state in states.values() if state]
    room = sum(size for _, size in files)
    pruned = checking.prune(store, check) if prune else []  # first: no extraction makes them again
    removed = checking.drop_bad(store, check) if repair else []
    if as_json:
        findings = [asdict(finding) for finding in check.findings]
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
                f"{'orphan':<10} {len(files):,} store files, {room / 1e6:,.1f} MB, are of no "
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
        command = ["extract-flow"] if only_missing else ["check-flow", "--repair"]
        console.tell_next(*command)
    if check.wrong():
        click.get_current_context().exit(1)
