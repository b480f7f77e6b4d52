"""`twostream models`."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from twostream.commands import console
from twostream.models import (
    MODELS,
    TIMM,
    checkpoint_formats,
    default_clip,
    default_input_size,
    list_models,
)
from twostream_base.plugins import TrustedName


@click.command(
    cls=console.Command, example='twostream models\ntwostream models i3d "tsm*" --stream motion'
)
@click.argument("names", nargs=-1)
@click.option(
    "--stream",
    type=click.Choice(["spatial", "motion", "difference"]),
    default="spatial",
    help="Input of the networks: RGB frames, optical flow, or differences of RGB frames.",
)
@click.option(
    "--classes", type=click.IntRange(1), default=400, help="For figures: outputs of the classifier."
)
@click.option(
    "--input-size",
    type=click.IntRange(32),
    help="For figures: side of the square input, pixels.  [default: by network, mostly 224]",
)
@console.quiet_option
@console.json_option
def models(
    names: tuple[str, ...],
    stream: str,
    classes: int,
    input_size: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """List the networks of `train --model`; for NAMES also parameters, multiply-adds, checkpoints.

    The last column has the tools whose checkpoints `--weights` puts into that network.

    NAMES are patterns such as "tsm*", parts of names such as i3d, timm:NAME, or your own
    module:function.
    """
    if not names:
        rows = [_row(name, stream) for name in MODELS]
    else:
        from twostream.models.probe import network_size

        own = [TrustedName(name) for name in names if ":" in name]
        patterns = [name for name in names if ":" not in name]
        selected = own + (list_models(*patterns) if patterns else [])
        rows = []
        for name in console.progress(
            selected, total=len(selected), label="models", unit="network", quiet=quiet
        ):
            side = input_size or default_input_size(name)
            size = network_size(name, stream=stream, num_classes=classes, side=side)
            rows.append(_row(name, stream) | size._asdict() | {"input_size": side})
    if as_json:
        console.print_json({"stream": stream, "classes": classes, "models": rows})
    else:
        console.show(*table_lines(rows) if names else family_lines(rows, stream))


def family_lines(rows: list[dict[str, Any]], stream: str) -> list[str]:
    """A paragraph a family: its snippet of that stream, its input if not 224, its networks."""
    unit = "flow pairs" if stream == "motion" else "RGB frames"
    families: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        many = f"{row['frames']} {unit if row['frames'] > 1 else unit[:-1]}"
        spacing = {0: " spread over the video", 1: ""}.get(row["step"], f", {row['step']} apart")
        size = f", at {row['input_size']} pixels" if row["input_size"] != 224 else ""
        families.setdefault((row["family"], many + spacing + size), []).append(row["model"])
    lines = []
    for (family, snippet), names in families.items():
        lines.append(f"{family}: {snippet}")
        lines += textwrap.wrap(
            " ".join(names),
            width=100,
            initial_indent="    ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return [
        *lines,
        f"{len(rows)} networks, of 224 pixels where no size is told; besides, as timm:NAME, the "
        "picture networks of timm (extra timm)",
        'figures of some of them: twostream models i3d "tsm*"',
    ]


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as a table, numbers in millions (M) and thousands of millions (G)."""
    width = max(len(row["model"]) for row in rows)
    lines = [
        f"{'':{width}}  {'snippet':>9}  {'side':>4}  {'parameters':>11}  {'multiply-adds':>13}  "
        "checkpoints of"
    ]
    for row in rows:
        parameters, multiply_adds = row["parameters"] / 1e6, row["multiply_adds"] / 1e9
        frames, step = row["frames"], row["step"]
        snippet = f"{frames} spread" if step == 0 else f"{frames} x {step}"
        lines.append(
            f"{row['model']:{width}}  {snippet:>9}  {row['input_size']:>4}  {parameters:>9.2f} M  "
            f"{multiply_adds:>11.2f} G  {', '.join(row['checkpoint_formats']) or '-'}"
        )
    return lines


def _row(model: str, stream: str) -> dict[str, Any]:
    clip = default_clip(model, stream)
    own = "timm" if model.startswith(TIMM) else "your own"
    family = getattr(MODELS.get(model), "family", own)
    return {
        "model": model,
        "family": family,
        "frames": clip["clip_length"],
        "step": clip["frame_interval"],
        "input_size": default_input_size(model),
        "checkpoint_formats": checkpoint_formats(model, stream),
    }
