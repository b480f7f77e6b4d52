"""`twostream doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from twostream.console import Command, json_option, print_json


@click.command(cls=Command, example="twostream doctor --store store")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder whose disk is checked.",
)
@json_option
def doctor(store: Path, as_json: bool) -> None:
    """Check what works on this machine, and say how to fix what does not."""
    from twostream.diagnosis import examine

    findings = examine(store)
    if as_json:
        print_json({"findings": findings})
        return
    for finding in findings:
        mark = "ok " if finding["ok"] else "-- "
        cure = "" if finding["ok"] else f"\n       {finding['cure']}"
        click.echo(f"{mark} {finding['what']}: {finding['found']}{cure}")
