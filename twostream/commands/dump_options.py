"""Options of `twostream train` that keep more than the best epoch's scores."""

from __future__ import annotations

import click

from twostream.commands.options import option_group

dump_options = option_group(
    click.option(
        "--dump-scores",
        metavar="[last:N|all|off]",
        default="off",
        show_default=True,
        help="Keep the scores of the last N epochs too, for `fuse --epochs`.",
    ),
)
