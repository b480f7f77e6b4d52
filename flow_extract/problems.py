"""Problem files: why a video has no store file.

`<store>/<name>.problem.json` stands in the place of the store file: a name has one or the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flow_extract.store import entry_path
from twostream.errors import InputError
from twostream.files import path_inside, read_text, write_text

SUFFIX = ".problem.json"


def problem_path(store: Path, name: str) -> Path:
    """Where the problem file of a video is, or would be."""
    path = path_inside(store, name)
    return path.with_name(path.name + SUFFIX)


def write_problem(
    store: Path, name: str, *, status: str, reason: str, source: dict[str, Any], settings_hash: str
) -> None:
    """Record that a video could not be done; an older store file of it goes.

    Args:
        store: the store.
        name: the video.
        status: `failed` (the video), `crashed` (the process that read it) or `timeout`.
        reason: one line for people.
        source: path below the video root, size and mtime_ns of the video.
        settings_hash: of the settings it was tried with.
    """
    record = {
        "name": name,
        "status": status,
        "reason": reason,
        "source": source,
        "settings_hash": settings_hash,
    }
    write_text(problem_path(store, name), json.dumps(record, indent=1, sort_keys=True) + "\n")
    entry_path(store, name).unlink(missing_ok=True)


def read_problem(path: Path) -> dict[str, Any]:
    """Read a problem file.

    Raises:
        InputError: it is not JSON, or lacks a key.
    """
    try:
        record = json.loads(read_text(path))
        keys = ("name", "status", "reason", "source", "settings_hash")
        return {key: record[key] for key in keys}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a sound problem file; remove it") from error
