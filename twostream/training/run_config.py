"""`config.toml` of a run folder: all options of the run, by which it is recognised and repeated."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twostream.errors import InputError, some_of
from twostream.files import read_text
from twostream.project import write_toml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NAME = "config.toml"


def check_same_run(folder: Path, options: DataclassInstance, *, free: Collection[str]) -> None:
    """Hold the options against those of the run that has begun in this folder.

    Args:
        free: names of those that may be others.

    Raises:
        InputError: they differ in what changes the result, or the run is of another version.
    """
    before, now = tomllib.loads(read_text(folder / NAME)), _settings(options)
    bound = {key for key in before.keys() | now.keys() if key.replace("-", "_") not in free}
    if strange := sorted(bound & (before.keys() ^ now.keys())):
        raise InputError(
            f"{folder} holds a run of another version of twostream, whose options differ in "
            f"{some_of(strange)}; go on with that version, or give another --name, or --restart"
        )
    changed = [
        f"{key} was {before[key]!r}, now {value!r}"
        for key, value in now.items()
        if key in bound and before[key] != value
    ]
    if changed:
        raise InputError(
            f"{folder} holds a run with other options ({'; '.join(changed)}); give the old "
            "ones, another --name, or --restart"
        )


def write_config(folder: Path, options: DataclassInstance, *, command: str) -> None:
    """Write `config.toml`, from which `twostream COMMAND --config` repeats the run."""
    title = f"The options of this run, as `twostream {command}` resolved them."
    write_toml(folder / NAME, _settings(options), title=title)


def _settings(options: DataclassInstance) -> dict[str, Any]:
    return {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in asdict(options).items()
    }
