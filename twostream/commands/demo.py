"""`twostream demo`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from twostream.commands import console
from twostream.commands.option_types import OUT_PATH

STRATEGIES = (
    ("mean", ["--strategy", "mean"]),
    ("mean of probabilities", ["--strategy", "mean", "--combine", "probs"]),
    ("max", ["--strategy", "max"]),
    ("weighted 2:1", ["--strategy", "weighted", "--weights", "spatial=2,motion=1"]),
    ("variance", ["--strategy", "variance"]),
    ("variance, legacy", ["--strategy", "variance", "--variance", "legacy"]),
)
TRAIN = [
    "--weights", "none", "--input-size", "96", "--batch-size", "16", "--lr", "0.003",
    "--select-by", "loss", "--protocol", "segments3",
]  # fmt: skip


@click.command(cls=console.Command, example="twostream demo --folder twostream-demo")
@click.option(
    "--folder",
    type=OUT_PATH,
    default=Path("twostream-demo"),
    help="Folder for all results; with an existing one, the demo resumes.",
)
def demo(folder: Path) -> None:
    """Run the whole job on generated videos: both streams, several fusions, the report.

    The nine classes are three colours times three motions. One stream sees the colours, the other
    the motions: alone, neither is right in more than one of three videos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "twostream.toml").exists():
        console.run_command(folder, "init", "--dataset", "toy")
    console.run_command(folder, "extract-flow")
    console.run_command(folder, "train", "--stream", "spatial", "--epochs", "6", *TRAIN)
    console.run_command(folder, "train", "--stream", "motion", "--epochs", "8", *TRAIN)
    results = {
        title: json.loads(console.run_command(folder, "fuse", *options, "--json", capture=True))
        for title, options in STRATEGIES
    }
    console.run_command(folder, "report", "--title", "Three colours, three motions")
    rows = {row["stream"]: row for row in results["mean"]["inputs"]}
    rows |= {title: result["fused"] for title, result in results.items()}
    console.show("", "Test videos recognised at the first guess, with 95 % Wilson interval:", "")
    for title, row in rows.items():
        top1 = row["top1"]
        low, high = top1["interval"]
        count = f"{top1['correct']:>4}/{top1['of']}"
        console.show(f"  {title:<22}{count}  {top1['percent']:6.2f} %  [{low:.1f}, {high:.1f}]")
    console.show(
        "",
        f"Read {folder / 'report.html'}; next, in {folder}: "
        "twostream fuse --strategy weighted --weights spatial=1,motion=2",
    )
