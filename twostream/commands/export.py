"""`twostream export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands import console, shared_options
from twostream.commands.option_types import FOLDER, OUT_FILE


@click.command(
    cls=console.Command,
    example="twostream export runs/ucf101-split1/motion-resnet18 --out motion.onnx",
)
@click.argument("run", type=FOLDER, required=False)
@shared_options.weights
@shared_options.class_names
@click.option(
    "--out",
    required=True,
    type=OUT_FILE,
    help="File to write: .onnx, or .pt2 (a program of torch.export).",
)
@shared_options.checkpoint
@console.trust_option
@console.json_option
def export(
    run: Path | None,
    weights: str | None,
    classes: Path | None,
    out: Path,
    checkpoint: str,
    as_json: bool,
) -> None:
    """Export the trained network of the run folder RUN for other programs: ONNX or torch.export.

    Or, without RUN, that of another tool's --weights.

    The exported network takes uint8 (videos, segments, time, channels, height, width), normalises
    it itself, and returns logits (videos, segments, classes). The file is run and compared with the
    network; exit code 1: they differ, and no file is kept.
    """
    from twostream.export.export_run import UnequalError, export_run

    network = shared_options.run_or_weights(run, weights, classes, quiet=as_json)
    try:
        result = export_run(
            network, out, checkpoint=checkpoint, trust_plugins=console.trusts_plugins()
        )
    except UnequalError as error:
        raise click.ClickException(str(error)) from error
    console.print_json(result) if as_json else console.show(*result_lines(result))


def result_lines(result: dict[str, Any]) -> list[str]:
    """The file, and how it compares with the network."""
    network_input = result["metadata"]["input"]
    shapes = " and ".join("x".join(map(str, shape)) for shape in result["checked"])
    return [
        f"{result['file']}: {result['bytes'] / 1e6:,.1f} MB; {network_input['name']} "
        f"{network_input['type']} "
        f"({', '.join(map(str, network_input['shape']))}) to logits of "
        f"{len(result['metadata']['class_names']):,} classes",
        f"equal to the network on {shapes}: largest difference "
        f"{result['largest_difference']:.1e}, largest logit {result['largest_logit']:.3g}",
    ]
