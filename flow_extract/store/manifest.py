"""`manifest.jsonl`: an index over a store, one line per video, for people and programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flow_extract.store import manifest
from flow_extract.store.reader import entry_path, entry_paths, read_header
from twostream_base.errors import InputError
from twostream_base.files import path_inside, read_text, sha256_bytes, write_text

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
        for name, path in entry_paths(store, manifest.SUFFIX).items()
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
        problem = manifest.read_problem(path)
    except InputError as error:
        return _line(name, "unreadable", reason=str(error))
    return _line(
        name, problem["status"], reason=problem["reason"], settings_hash=problem["settings_hash"]
    )


def _line(name: str, status: str, **facts: Any) -> dict[str, Any]:
    """All lines have the same keys in the same order."""
    keys = ("reason", "counts", "settings_hash", "header_sha256")
    return {"name": name, "status": status} | {key: facts.get(key) for key in keys}


# Problem files: why a video has no store file.
#
# `<store>/<name>.problem.json` stands in the place of the store file: a name has one or the other.
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
