"""`twostream check-flow`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from twostream.commands import console
from twostream.commands.option_types import OUT_FOLDER
from twostream_base.errors import some_of


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
@click.option("--videos", type=OUT_FOLDER, help="Folder of videos: lists those that are missing.")
@click.option(
    "--deep", is_flag=True, help="Also read all data: checksums, and whether anything moves."
)
@click.option(
    "--repair", is_flag=True, help="Remove bad files, so that extract-flow makes them again."
)
@console.json_option
@console.quiet_option
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
        console.tell(f"{videos}: no such folder of videos; which ones are missing is not known")
        videos = None
    expected = find_videos(videos, store=store).videos if videos else {}
    bar = partial(console.progress, label="check-flow", unit="video", quiet=quiet)
    check = check_store(store, deep=deep, expected=expected, progress=bar)
    removed = drop_bad(store, check) if repair else []
    if as_json:
        findings = [
            {"name": finding.name, "kind": finding.kind, "reason": finding.reason}
            for finding in check.findings
        ]
        console.print_json(
            check.counts() | {"store": str(store), "findings": findings, "removed": removed}
        )
    else:
        console.show(
            "{files:,} store files, {frames:,} frames, {flows:,} flow pairs; {wrong:,} things "
            "wrong; store {store}".format(**check.counts(), wrong=len(check.wrong()), store=store)
        )
        for finding in check.findings:
            console.show(f"{finding.kind:<10} {finding.name}: {finding.reason}")
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
        if removed:
            console.show(f"{len(removed):,} removed; `twostream extract-flow` makes them again")
    if check.wrong() and not (repair or as_json):
        only_missing = all(finding.kind == "missing" for finding in check.wrong())
        console.tell_next(*(["extract-flow"] if only_missing else ["check-flow", "--repair"]))
    if check.wrong():
        click.get_current_context().exit(1)
