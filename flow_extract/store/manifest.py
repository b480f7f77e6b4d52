"""The other files of a store: problem files, and an index over all of them.

`<store>/<name>.problem.json` says why a video has no store file: a name has one or the other.
`<store>/manifest.jsonl` has a line for each video, for people and programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flow_extract.store.header import Source
from flow_extract.store.reader import PROBLEM_SUFFIX, SUFFIX, entry_path, entry_paths, read_header
from twostream_base.errors import InputError
from twostream_base.files import parse_json, read_text, sha256_bytes, write_text

MANIFEST = "manifest.jsonl"


def write_problem(
    store: Path, name: str, *, status: str, reason: str, source: Source, settings_hash: str
) -> None:
    """Record that a video could not be done; an older store file of it is removed.

    Args:
        status: `failed` (the video), `crashed` (the process that read it) or `timeout`.
        reason: one line for people.
        settings_hash: of the settings it was tried with.
    """
    record = {
        "name": name,
        "status": status,
        "reason": reason,
        "source": source,
        "settings_hash": settings_hash,
    }
    write_text(
        entry_path(store, name, PROBLEM_SUFFIX), json.dumps(record, indent=1, sort_keys=True) + "\n"
    )
    entry_path(store, name).unlink(missing_ok=True)


def read_problem(path: Path) -> dict[str, Any]:
    """Read a problem file.

    Raises:
        InputError: it is not JSON, or lacks a key.
    """
    try:
        record = parse_json(read_text(path))
        keys = ("name", "status", "reason", "source", "settings_hash")
        return {key: record[key] for key in keys}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a valid problem file; remove it") from error


def rebuild_manifest(store: Path) -> list[dict[str, Any]]:
    """Write the manifest anew from the files of the store; return its lines, sorted by name.

    A line has name, status, reason, counts, settings_hash and header_sha256; the header, in turn,
    holds the sha256 of all that follows it. A file that cannot be read has the status `unreadable`.
    """
    lines: dict[str, dict[str, Any]] = {}
    keys = ("name", "status", "reason", "counts", "settings_hash", "header_sha256")
    for suffix in (PROBLEM_SUFFIX, SUFFIX):  # a store file counts more than a problem file
        for name, path in entry_paths(store, suffix).items():
            record: Mapping[str, Any]
            try:
                if suffix == PROBLEM_SUFFIX:
                    record = read_problem(path)
                else:
                    header = read_header(path)
                    record = {**header, "header_sha256": header_digest(header)}
            except InputError as error:
                record = {"status": "unreadable", "reason": str(error)}
            lines[name] = {key: record.get(key) for key in keys} | {"name": name}
    ordered = [lines[name] for name in sorted(lines)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in ordered)
    write_text(store / MANIFEST, text)
    return ordered


def header_digest(header: Mapping[str, Any]) -> str:
    """The `header_sha256` of a store file's header, as 64 hex digits."""
    return sha256_bytes(json.dumps(header, sort_keys=True).encode())
