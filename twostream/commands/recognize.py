"""`twostream recognize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fusion.strategies import STRATEGIES
from twostream.console import json_option, note, print_json
from twostream.plugins import PlugIn
from twostream.sequence.normalisers import NORMALISERS

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option(
    "--strategy",
    type=PlugIn(STRATEGIES),
    default="mean",
    show_default=True,
    help="How the streams are fused at each time step.",
)
@click.option(
    "--weights", metavar="STREAM=W,...", help="For --strategy weighted, as spatial=2,motion=1."
)
@click.option(
    "--strategy-option", multiple=True, metavar="KEY=VALUE", help="Option of the strategy."
)
@click.option(
    "--combine",
    type=click.Choice(["logits", "probs"]),
    default="logits",
    show_default=True,
    help="Fuse log-probabilities, or probabilities.",
)
@click.option(
    "--beam",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Prefixes of the beam search; 0 decodes greedily.",
)
@click.option("--language", type=EXISTING, help="Sentences (csv, txt, stm) for a bigram model.")
@click.option(
    "--language-weight",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    help="Of its log-probability.",
)
@click.option("--bonus", type=float, default=0.0, show_default=True, help="Added for each gloss.")
@click.option(
    "--n-best",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Hypotheses of each video in --json, with their scores.",
)
@click.option(
    "--normalise",
    type=PlugIn(NORMALISERS),
    default="none",
    show_default=True,
    help="Clean-up of the glosses before errors are counted.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the recognised glosses to this .csv or .ctm file.",
)
@json_option
def recognize(files: tuple[Path, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Turn sequence score FILES into glosses: streams are fused at each time step, then decoded.

    Works offline, without video or network. The word error rate is that of the references which
    the files carry.
    """
    from twostream.sequence.recognize_files import recognise_files, result_lines, write_sentences

    result, sentences = recognise_files(files, **options)
    if out:
        write_sentences(out, sentences)
        note(f"{out} written")
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(result_lines(result)))
