"""`twostream wer`."""

from __future__ import annotations

from pathlib import Path

import click

from twostream.commands import console
from twostream.commands.option_types import FILE, PlugIn
from twostream.sequence.transcripts import NORMALISERS, read_signers
from twostream_base.plugins import load


@click.command(
    cls=console.Command,
    example="twostream wer --reference test.corpus.csv --hypothesis recognised.ctm \\\n"
    "    --normalise phoenix2014",
)
@click.option("--reference", required=True, type=FILE, help="File of the correct sentences.")
@click.option("--hypothesis", required=True, type=FILE, help="File of the recognised sentences.")
@click.option("--against", type=FILE, help="A second hypothesis, to compare with the first.")
@click.option(
    "--normalise",
    type=PlugIn(NORMALISERS),
    default="none",
    help="Clean-up of the glosses, in all files; phoenix2014 is that of the official evaluation.",
)
@click.option(
    "--costs",
    type=click.Choice(("equal", "sclite")),
    default="equal",
    help="Of the errors in an alignment: equal, or sclite's 4 for a substitution and 3 for a "
    "deletion or insertion, which decide how papers divide the errors.",
)
@click.option(
    "--confusions",
    type=click.IntRange(0),
    default=10,
    help="How many of the most frequent confusions to list.",
)
@click.option("--alignments", is_flag=True, help="Show every sentence aligned, word above word.")
@console.json_option
def wer(
    reference: Path,
    hypothesis: Path,
    against: Path | None,
    normalise: str,
    costs: str,
    confusions: int,
    alignments: bool,
    as_json: bool,
) -> None:
    """Compute the word error rate of recognised sentences, with a 95 % interval.

    Shows substitutions, deletions and insertions, the frequent confusions, and the rate of each
    signer where the reference names several. Files are text (a sentence a line), csv (PHOENIX-2014,
    2014T, or name,glosses), stm or ctm.
    """
    from twostream.sequence.word_error_rate import (
        COSTS,
        align_files,
        compare_systems,
        rates_by_signer,
        wer_lines,
        wer_result,
    )

    rules = load(normalise, NORMALISERS)
    aligned = align_files(reference, hypothesis, normalise=rules, costs=COSTS[costs])
    result = wer_result(aligned, num_confusions=confusions, sentences=alignments)
    if signers := rates_by_signer(aligned, read_signers(reference)):
        result["signers"] = signers
    if against:
        other = align_files(reference, against, normalise=rules, costs=COSTS[costs])
        result["against"] = compare_systems(aligned, other, num_confusions=confusions)
    console.print_json(result) if as_json else console.show(*wer_lines(result))
