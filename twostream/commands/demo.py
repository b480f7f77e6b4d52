"""`twostream demo`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click

from twostream.commands import console
from twostream_base.errors import InputError

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
    type=click.Path(path_type=Path),
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
        _run(folder, "init", "--dataset", "toy")
    _run(folder, "extract-flow")
    _run(folder, "train", "--stream", "spatial", "--epochs", "6", *TRAIN)
    _run(folder, "train", "--stream", "motion", "--epochs", "8", *TRAIN)
    results = {
        title: json.loads(_run(folder, "fuse", *options, "--json", capture=True))
        for title, options in STRATEGIES
    }
    _run(folder, "report", "--title", "Three colours, three motions")
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


def _run(folder: Path, *arguments: str, capture: bool = False) -> str:
    """Print a command as the user would type it, and run it in the demo's folder."""
    click.secho(f"\n$ twostream {shlex.join(arguments)}", bold=True)
    # The folder that we were imported from comes first: it may be a clone that is not installed.
    home = str(Path(__file__).parents[2])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "twostream", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"that command ended with exit code {done.returncode}, in {folder}")
    return done.stdout or ""
