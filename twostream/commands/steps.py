"""Running other commands of twostream one after the other, shown as the user would type them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from twostream_base.errors import InputError


def run_command(
    folder: Path, *words: str, capture: bool = False, accepts: Sequence[int] = (0,)
) -> str:
    """Print a command as the user would type it, and run it in a folder.

    Returns:
        What it printed, with `capture`; else nothing, as it went to the screen.

    Raises:
        InputError: it ended with another exit code than those it `accepts`.
    """
    click.secho(f"\n$ {shlex.join(['twostream', *words])}", bold=True)
    # The folder that we were imported from comes first: it may be a clone that is not installed.
    home = str(Path(__file__).parents[2])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "twostream", *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": paths,
            **({"PYTHONIOENCODING": "utf-8"} if capture else {}),
        },
        stdout=subprocess.PIPE if capture else None,
        encoding="utf-8",
        check=False,
    )
    if done.returncode not in accepts:
        raise InputError(f"that command ended with exit code {done.returncode}, in {folder}")
    return done.stdout or ""
