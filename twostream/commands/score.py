"""`twostream score`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from twostream.commands import console, shared_options
from twostream.commands.option_files import take_run
from twostream.commands.option_types import FOLDER, OUT_FILE


@click.command(
    cls=console.Command,
    common=(
        "--subset", "--protocol", "--checkpoint", "--weights", "--out", "--dataset",
        "--annotations", "--split", "--store", "--device", "--batch-size",
    ),
    example="twostream score runs/ucf101-split1/motion-resnet18 --protocol tsn25x10",
)  # fmt: skip
@click.argument("run", type=FOLDER, required=False, is_eager=True, callback=take_run)
@shared_options.weights
@shared_options.data
@shared_options.on_training_videos
@click.option(
    "--subset",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    help="Videos to score: the whole training list, those that chose the epoch (held out of it by "
    "RUN, or listed as such), or the test list.",
)
@shared_options.protocol
@shared_options.checkpoint
@shared_options.views_per_forward
@click.option(
    "--out",
    type=OUT_FILE,
    help="Score file to write.  [default: RUN/scores/SUBSET-PROTOCOL.safetensors; lists that RUN "
    "was not trained on stand in its name]",
)
@shared_options.compute
@shared_options.compile_network
@console.trust_option
@console.quiet_option
@console.json_option
def score(
    run: Path | None,
    weights: str | None,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Score videos with the trained network of the run folder RUN, under a named protocol.

    Or, without RUN, with that of another tool's --weights, whose classes are taken in the order of
    the lists.

    Without a project, or what it leaves open, lists and store are those that RUN was trained on.

    Re-run the same command to resume a scoring that was stopped.
    """
    from fusion.evaluation.inspect_file import contents
    from fusion.evaluation.results import accuracy_text
    from fusion.tables.score_file import read_scores, seen_text
    from twostream.compute.distributed import process_group, rank
    from twostream.data.splits import read_split
    from twostream.scoring.score_run import ScoreOptions, score_run

    options["device"] = shared_options.find_device(options["device"])
    options["trust_plugins"] = console.trusts_plugins()
    with process_group(options["device"]):
        first = rank() == 0
        bar = partial(console.progress, quiet=quiet or not first)
        runtime = shared_options.read_runtime(options, bar=bar)
        tell = console.tell if first else lambda text: None
        names = None
        if weights:
            lists = read_split(options["dataset"], options["annotations"], split=options["split"])
            names = lists.class_names
        network = shared_options.run_or_weights(run, weights, names, quiet=quiet or not first)
        path, written = score_run(network, out, ScoreOptions(**options), runtime, tell=tell)
        if not first:
            return
        table = read_scores(path, in_memory=False)
        result: dict[str, Any] = {"file": str(path)}
        result |= zip(("videos", "snippets", "crops", "classes"), table.scores.shape, strict=True)
        seen = seen_text(table.metadata)
        if seen:
            result["seen_in_training"] = table.metadata["seen_in_training"]
        result["accuracy"] = contents(table, first=0)["accuracy"]
        if as_json:
            console.print_json(result)
            return
        counts = "{videos:,} videos, {snippets} snippets, {crops} crops, {classes} classes"
        console.show(f"{path}: {counts.format(**result)}" + ("" if written else "; done already"))
        console.show(f"top-1 {accuracy_text(result['accuracy']['top1'])}")
        if seen:
            console.show(f"warning: {seen}: this accuracy says nothing about unseen videos")
        console.tell_next("scores", "show", path)
