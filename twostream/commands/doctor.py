"""`twostream doctor`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from twostream.commands.options import find_device
from twostream.console import json_option, print_json

LABELS = {
    "disk": "disk, cold",
    "decode": "decode",
    "crop": "crop",
    "copy": "copy, floats",
    "step": "training step",
}


@click.command()
@click.option("--data", is_flag=True, help="Measure what bounds training on the store.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder whose disk is looked at; for --data, the store.",
)
@click.option(
    "--stream",
    type=click.Choice(["spatial", "motion"]),
    default="motion",
    show_default=True,
    help="For --data: what is loaded.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=15.0,
    show_default=True,
    help="For --data: how long to measure.",
)
@click.option("--device", default="auto", show_default=True, help="For --data: auto, cpu, cuda.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=os.cpu_count(),
    show_default="cores",
    help="For --data: loader threads.",
)
@json_option
def doctor(data: bool, store: Path, as_json: bool, **options: Any) -> None:
    """Say what works on this machine, and how to mend what does not.

    With --data: how long disk, decoding, crops, copies and training steps take on the store, which
    of them bounds training, and what to do about it.
    """
    result = _measure(store, **options) if data else _examine(store)
    if as_json:
        print_json(result)
    else:
        (_show_parts if data else _show_findings)(result)


def _examine(store: Path) -> dict[str, Any]:
    from twostream.diagnosis import examine

    return {"findings": examine(store)}


def _show_findings(result: dict[str, Any]) -> None:
    for finding in result["findings"]:
        mark = "ok " if finding["ok"] else "-- "
        cure = "" if finding["ok"] else f"\n       {finding['cure']}"
        click.echo(f"{mark} {finding['what']}: {finding['found']}{cure}")


def _measure(
    store: Path, *, stream: str, seconds: float, device: str, threads: int
) -> dict[str, Any]:
    import torch

    from twostream.input_speed import can_drop_from_memory, find_bound, measure_parts
    from twostream.transforms.presets import MODALITIES

    found = find_device(device)
    parts = measure_parts(store, MODALITIES[stream], seconds=seconds, device=torch.device(found))
    return {
        "store": str(store),
        "stream": stream,
        "device": found,
        "threads": threads,
        "disk_is_cold": can_drop_from_memory(),
        "seconds_per_snippet": parts,
        **find_bound(parts, threads=threads),
    }


def _show_parts(result: dict[str, Any]) -> None:
    click.echo(f"{result['store']}, {result['stream']}, on {result['device']}; one thread each:")
    for part, seconds in result["seconds_per_snippet"].items():
        label = LABELS[part] if part != "disk" or result["disk_is_cold"] else "disk, cached"
        click.echo(f"  {label:14} {1e3 * seconds:9.2f} ms a snippet")
    click.echo(
        f"{result['threads']} loader threads give {result['loading']:,.0f} snippets/s, "
        f"the network takes {result['learning']:,.0f}/s.\n"
        f"Training is bound by: {result['bound']}. Try: {result['cure']}."
    )
