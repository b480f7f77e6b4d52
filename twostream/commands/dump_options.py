"""Options that keep more than one epoch's scores."""

from __future__ import annotations

import click

from twostream.commands.options import option_group

features_option = click.option(
    "--dump-features",
    is_flag=True,
    help="Keep what the classifier sees of each segment beside the scores.",
)

dump_options = option_group(
    click.option(
        "--dump-scores",
        metavar="[last:N|all|off]",
        default="off",
        show_default=True,
        help="Keep the scores of the last N epochs too, for `fuse --epochs`.",
    ),
    features_option,
)
