"""`manifest.jsonl`: an index over a store, one line per video, for people and programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flow_extract import problems
from flow_extract.store import entry_paths, read_header
from twostream.errors import InputError
from twostream.files import sha256_bytes, write_text

FILE_NAME = "manifest.jsonl"


def rebuild_manifest(store: Path) -> list[dict[str, Any]]:
    """Write the manifest anew from the files of the store; return its lines, sorted by name.

    A line has name, status, reason, counts, settings_hash and header_sha256; the header, in turn,
    holds the sha256 of all that follows it. A store file that cannot be read has the status
    `unreadable`.
    """
    entries = {name: _entry_line(name, path) for name, path in entry_paths(store).items()}
    failed = {
        name: _problem_line(name, path)
        for name, path in entry_paths(store, problems.SUFFIX).items()
    }
    lines = [line for _, line in sorted((failed | entries).items())]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(store / FILE_NAME, text)
    return lines


def header_digest(header: dict[str, Any]) -> str:
    """The `header_sha256` of a store file's header, as 64 hex digits."""
    return sha256_bytes(json.dumps(header, sort_keys=True).encode())


def _entry_line(name: str, path: Path) -> dict[str, Any]:
    try:
        header = read_header(path)
    except InputError as error:
        return _line(name, "unreadable", reason=str(error))
    return _line(
        name,
        header["status"],
        reason=header["reason"],
        counts=header["counts"],
        settings_hash=header["settings_hash"],
        header_sha256=header_digest(header),
    )


def _problem_line(name: str, path: Path) -> dict[str, Any]:
    try:
        problem = problems.read_problem(path)
    except InputError as error:
        return _line(name, "unreadable", reason=str(error))
    return _line(
        name, problem["status"], reason=problem["reason"], settings_hash=problem["settings_hash"]
    )


def _line(name: str, status: str, **facts: Any) -> dict[str, Any]:
    """All lines have the same keys in the same order."""
    keys = ("reason", "counts", "settings_hash", "header_sha256")
    return {"name": name, "status": status} | {key: facts.get(key) for key in keys}
