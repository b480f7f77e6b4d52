"""`twostream score`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from twostream.commands.console import (
    Command,
    json_option,
    print_json,
    progress,
    quiet_option,
    tell,
    tell_next,
)
from twostream.commands.option_types import FOLDER, OUT_FILE, PlugIn, any_of
from twostream.commands.options import (
    checkpoint_option,
    compile_option,
    compute_options,
    data_options,
    find_device,
    read_runtime,
    views_per_forward_option,
)
from twostream.data.protocols import PROTOCOLS

# Accuracy of larger score files is left to `fuse`, which reads them a few videos at a time.
LARGE_BYTES = 2**30


@click.command(
    cls=Command,
    common=(
        "--subset", "--protocol", "--checkpoint", "--out", "--dataset", "--annotations", "--split",
        "--store", "--device", "--batch-size",
    ),
    example="twostream score runs/ucf101-split1/motion-resnet18 --protocol tsn25x10",
)  # fmt: skip
@click.argument("run", type=FOLDER)
@data_options
@click.option(
    "--subset",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    help="Videos to score: the whole training list, those of it that RUN held out, or the test "
    "list.",
)
@click.option(
    "--protocol",
    type=PlugIn(PROTOCOLS),
    default="clips19",
    help=f"Test protocol: {any_of(PROTOCOLS)}.",
)
@checkpoint_option
@views_per_forward_option
@click.option(
    "--out",
    type=OUT_FILE,
    help="Score file to write.  [default: RUN/scores/SUBSET-PROTOCOL.safetensors]",
)
@compute_options
@compile_option
@quiet_option
@json_option
def score(run: Path, out: Path | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Score videos with the trained network of the run folder RUN, under a named protocol.

    Re-run the same command to resume a scoring that was stopped.
    """
    from fusion.evaluation.inspect_file import contents
    from fusion.evaluation.results import accuracy_text
    from fusion.tables.score_file import read_head, read_scores
    from twostream.compute.distributed import process_group, rank
    from twostream.scoring.score_run import ScoreOptions, score_run

    path = out or run / "scores" / f"{options['subset']}-{options['protocol']}.safetensors"
    options["device"] = find_device(options["device"])
    with process_group(options["device"]):
        first = rank() == 0
        bar = partial(progress, quiet=quiet or not first)
        runtime = read_runtime(options, bar=bar)
        written = score_run(run, path, ScoreOptions(**options), runtime, tell=tell)
        if not first:
            return
        shape = read_head(path)["shape"]
        result: dict[str, Any] = {"file": str(path)}
        result |= zip(("videos", "snippets", "crops", "classes"), shape, strict=True)
        if path.stat().st_size <= LARGE_BYTES:
            result["accuracy"] = contents(read_scores(path), first=0)["accuracy"]
        if as_json:
            print_json(result)
            return
        counts = "{videos:,} videos, {snippets} snippets, {crops} crops, {classes} classes"
        click.echo(f"{path}: {counts.format(**result)}" + ("" if written else "; done already"))
        if "accuracy" in result:
            click.echo(f"top-1 {accuracy_text(result['accuracy']['top1'])}")
        tell_next("scores", "show", path)
