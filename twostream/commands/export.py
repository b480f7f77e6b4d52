"""`twostream export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands.options import FOLDER
from twostream.console import json_option, print_json


@click.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to be written: .onnx, or .pt2 (a program of torch.export).",
)
@click.option(
    "--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True
)
@json_option
def export(run: Path, out: Path, checkpoint: str, as_json: bool) -> None:
    """Write the trained network of a RUN folder for other programs: ONNX or torch.export.

    It takes bytes (videos, segments, time, channels, height, width), normalises them itself, and
    gives logits (videos, segments, classes). The written file is run and compared with the network;
    exit code 1: they differ, and no file is kept.

    \b
    twostream export runs/ucf101-split1/motion-resnet18 --out motion.onnx
    """
    from twostream.export.export_run import UnequalError, export_run

    try:
        result = export_run(run, out, checkpoint=checkpoint)
    except UnequalError as error:
        raise click.ClickException(str(error)) from error
    print_json(result) if as_json else click.echo("\n".join(result_lines(result)))


def result_lines(result: dict[str, Any]) -> list[str]:
    """The file, and how it compares with the network."""
    taken = result["metadata"]["input"]
    shapes = " and ".join("x".join(map(str, shape)) for shape in result["checked"])
    return [
        f"{result['file']}: {result['bytes'] / 1e6:,.1f} MB; {taken['name']} {taken['type']} "
        f"({', '.join(map(str, taken['shape']))}) to logits of "
        f"{len(result['metadata']['class_names']):,} classes",
        f"equal to the network on {shapes}: largest difference "
        f"{result['largest_difference']:.1e}, largest logit {result['largest_logit']:.3g}",
    ]
