"""`twostream recognize`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from fusion.combining.strategies import STRATEGIES
from twostream.commands import console, score_options, shared_options
from twostream.commands.option_types import (
    FILE,
    FILE_OR_FOLDER,
    FOLDER,
    OUT_FILE,
    OUT_FOLDER,
    OUT_PATH,
    PlugIn,
    any_of,
)
from twostream.sequence.transcripts import NORMALISERS, write_transcripts

RUN_OPTIONS = (
    "videos", "listed", "store", "allow_missing", "use_damaged", "scores", "on_training_videos"
)  # fmt: skip

video_options = console.section(
    "Videos of a RUN",
    click.option(
        "--videos", type=FOLDER, help="Folder of video files, or of one folder of frames a video."
    ),
    click.option(
        "--list",
        "listed",
        type=FILE,
        help="Recognise only the videos of this CSV file: column name, optional columns glosses "
        "(for the word error rate) and frames (path of the frames).",
    ),
    click.option(
        "--store",
        type=OUT_PATH,
        callback=shared_options.take_store,
        help="Store in which extract-flow has put the frames and flow of the --videos; a RUN that "
        "saw flow of a store needs it.",
    ),
    click.option("--allow-missing", is_flag=True, help="Go on when listed videos are missing."),
    shared_options.use_damaged,
    click.option(
        "--scores",
        type=OUT_FOLDER,
        help="Keep the score files in this folder, to decode and fuse them again offline.",
    ),
)


fusion_options = console.section(
    "Fusion",
    score_options.strategy_option(
        "--strategy", f"How the streams are fused at each time step: {any_of(STRATEGIES)}."
    ),
    score_options.weights_option,
    click.option(
        "--strategy-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the strategy, such as k=2 of topk; repeatable.",
    ),
    click.option(
        "--combine",
        type=click.Choice(["logits", "probs", "rover"]),
        default="logits",
        help="Fuse log-probabilities, or probabilities; or decode each stream alone and let its "
        "words vote (ROVER), which needs no common time steps.",
    ),
)
decoding_options = console.section(
    "Decoding",
    click.option(
        "--beam",
        type=click.IntRange(0),
        default=10,
        help="Width of the beam search; 0 decodes greedily.",
    ),
    click.option(
        "--language", type=FILE, help="Sentences (csv, txt, stm) for a bigram language model."
    ),
    click.option(
        "--language-weight",
        type=click.FloatRange(0),
        default=0.5,
        help="Weight of the language model's log-probability.",
    ),
    click.option("--bonus", type=float, default=0.0, help="Added to the score for each gloss."),
    click.option(
        "--n-best",
        type=click.IntRange(1),
        default=1,
        help="Hypotheses of each video in --json, with their scores.",
    ),
    click.option(
        "--normalise",
        type=PlugIn(NORMALISERS),
        help="Clean-up of the glosses before errors are counted.  [default: the data set's]",
    ),
)


@click.command(
    cls=console.Command,
    common=("--videos", "--list", "--strategy", "--weights", "--beam", "--out", "--device"),
    example="twostream recognize runs/csv/ctc --videos new-videos --out recognised.csv\n"
    "twostream recognize spatial.safetensors motion.safetensors --strategy mean",
)
@click.argument("files", metavar="FILE|RUN...", nargs=-1, required=True, type=FILE_OR_FOLDER)
@video_options
@shared_options.on_training_videos
@fusion_options
@decoding_options
@console.section(
    "Output",
    click.option(
        "--out", type=OUT_FILE, help="Write the recognised glosses to this .csv or .ctm file."
    ),
)
@shared_options.compute
@console.trust_option
@console.quiet_option
@console.json_option
def recognize(
    files: tuple[Path, ...], out: Path | None, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Recognise glosses: fuse streams at each time step, then decode.

    FILEs are sequence score files and need neither videos nor a network. A RUN of train-sequence
    scores the --videos first. The word error rate is shown where the score files or --list have
    references.
    """
    from twostream.sequence.recognize import decode_streams, result_lines
    from twostream.sequence.score_file import read_sequence_scores

    run_options = {name: options.pop(name) for name in RUN_OPTIONS}
    compute = {name: options.pop(name) for name in ("device", "precision", "threads")}
    if any(path.is_dir() for path in files):
        from twostream.sequence.score_videos import NewVideos, read_inputs

        runtime = shared_options.read_runtime(compute, bar=partial(console.progress, quiet=quiet))
        tables = read_inputs(
            files,
            NewVideos(**run_options, trust_plugins=console.trusts_plugins()),
            runtime,
            tell=console.tell,
        )
    elif run_options["listed"] or run_options["scores"]:
        raise click.UsageError("--list and --scores are for RUNs; these are score files already")
    else:
        tables = [read_sequence_scores(path) for path in files]
    result, sentences = decode_streams(files, tables, **options)
    if out:
        write_transcripts(out, sentences)
        console.tell(f"{out} written")
    console.print_json(result) if as_json else console.show(*result_lines(result))
