"""`twostream weights`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import click

from fusion.evaluation.results import columns
from twostream.commands import console
from twostream.models.published import Published, find_weights, published
from twostream_base.errors import InputError


@click.command(
    cls=console.Command,
    example="twostream weights\n"
    "twostream weights flow ucf101\n"
    "twostream weights tsm-r50-1x1x8-k400 --fetch",
)
@click.argument("names", nargs=-1)
@click.option("--fetch", is_flag=True, help="Download those of these NAMES into torch's cache.")
@console.quiet_option
@console.json_option
def weights(names: tuple[str, ...], fetch: bool, quiet: bool, as_json: bool) -> None:
    """List published checkpoints: what they are, their accuracy as published, licence and source.

    NAMES are names, of which all is shown, or parts of names such as flow. `train`, `score`,
    `predict`, `export` and `import-weights` take a name by --weights: they download the file into
    torch's cache, check it, and need no network from then on. What was not published is left out.
    """
    known = published()
    for name in names:
        if not any(name in entry for entry in known):
            raise InputError(
                f"no published checkpoint is called {name!r}, or has that in its name; "
                f"`twostream weights` lists all {len(known)}"
            )
    if fetch:
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise InputError("--fetch takes whole names; `twostream weights` lists them")
        for name in names:
            find_weights(name, bar=partial(console.progress, quiet=quiet or as_json))
    entries = [
        entry for name, entry in known.items() if not names or any(part in name for part in names)
    ]
    if as_json:
        rows = [
            asdict(entry) | {"path": str(entry.path), "cached": entry.path.exists()}
            for entry in entries
        ]
        console.print_json({"weights": rows})
    elif names and set(names) <= known.keys():
        console.show(*(line for name in names for line in details(known[name])))
    else:
        flow = sum(entry.stream == "motion" for entry in entries)
        console.show(
            *table(entries),
            f"{len(entries)} checkpoints, {flow} of optical flow; all of one: twostream weights "
            f"{entries[0].name}",
        )


def table(entries: list[Published]) -> list[str]:
    """A row for each checkpoint."""
    head = ("name", "network", "stream", "data", "top-1", "as published", "licence")
    rows = [
        (e.name, e.model, e.stream, e.data, e.top1 or "-", e.protocol or "-", e.licence)
        for e in entries
    ]
    return columns([head, *rows])


def details(entry: Published) -> list[str]:
    """All that is known of a checkpoint, a line each."""
    values: dict[str, Any] = {
        "network": f"{entry.model}, {entry.stream} stream",
        "data": f"{entry.data}, {entry.classes} classes",
        "top-1": f"{entry.top1} %, {entry.protocol}" if entry.top1 else "",
        "licence": entry.licence,
        "source": entry.source,
        "address": entry.url,
        "size": f"{entry.megabytes:g} MB" if entry.megabytes else "",
        "hash": entry.hash or "none was published, so none is checked",
        "file": f"{entry.path}{'' if entry.path.exists() else ' (not there yet)'}",
    }
    return [entry.name, *(f"    {key:8} {value}" for key, value in values.items() if value)]
