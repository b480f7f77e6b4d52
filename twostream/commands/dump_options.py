"""The option that keeps more than one epoch's scores."""

from __future__ import annotations

import click

dump_options = click.option(
    "--dump-scores",
    metavar="[last:N|all|off]",
    default="off",
    show_default=True,
    help="Keep the scores of the last N epochs too, for `fuse --epochs`.",
)
