"""Is a store whole and sound? What is wrong with which video, and how it is put right."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flow_extract.extraction.resume import remove_leftovers
from flow_extract.store import manifest
from flow_extract.store.codecs import CODECS, load_codec
from flow_extract.store.locks import locked
from flow_extract.store.manifest import FILE_NAME, header_digest
from flow_extract.store.reader import (
    StoreEntry,
    entry_path,
    entry_paths,
    read_header,
    recorded_settings,
)
from flow_extract.store.settings import settings_hash
from twostream_base.errors import InputError
from twostream_base.files import TEMPORARY_MARK, read_text

Progress = Callable[..., Iterable[Any]]
# The kinds of findings for which `drop_bad` removes a store file: an extraction would not notice
# them, or could not read the file.
DROPPED = ("unreadable", "misnamed", "header", "content")
# Bytes that are read at one time.
BLOCK = 64 * 2**20
# Listed, but as good as it will get: the video itself is short.
NOT_WRONG = ("damaged",)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one video, or one file, that is not as it should be.

    Attributes:
        name: of the video; or the path of another file in the store.
        kind: `missing` (no store file), `unreadable`, `misnamed`, `header` or `content` (changed
            since it was written), `settings` (unlike most), `still` (nothing changes from frame to
            frame), `leftover` (temporary file), `manifest` (unreadable); or, as the extraction
            said, `damaged`, `failed`, `crashed`, `timeout`.
        reason: one line.
    """

    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check.

    Attributes:
        headers: name -> header of the store files that can be read.
        findings: sorted by name.
    """

    headers: dict[str, dict[str, Any]]
    findings: list[Finding]

    def counts(self) -> dict[str, int]:
        """Numbers of store files, frames and flow pairs in them, and findings of each kind."""
        totals = [header["counts"] for header in self.headers.values()]
        return {
            "files": len(self.headers),
            "frames": sum(counts["frames"] for counts in totals),
            "flows": sum(counts["flows"] for counts in totals),
            **dict(sorted(Counter(finding.kind for finding in self.findings).items())),
        }

    def wrong(self) -> list[Finding]:
        """The findings but for those in `NOT_WRONG`."""
        return [finding for finding in self.findings if finding.kind not in NOT_WRONG]


def check_store(
    store: Path, *, deep: bool = False, expected: Collection[str] = (), progress: Progress
) -> Check:
    """Look at every file of a store.

    Args:
        store: the store.
        deep: read all data: sha256 of every tensor, and whether anything moves.
        expected: names that should be there, beside those of the manifest.
        progress: `progress(items, total=...)` passes them through, drawing a bar or not.

    Raises:
        InputError: no such store; or a codec needs a library that is not installed.
    """
    paths = entry_paths(store)
    manifest, findings = _read_manifest(store / FILE_NAME)
    headers = {}
    for name, path in progress(paths.items(), total=len(paths)):
        header, found = _check_file(name, path, noted=manifest.get(name, {}), deep=deep)
        findings += found
        if header:
            headers[name] = header
    findings += _problems(store, paths)
    findings += _unlike_most(headers)
    findings += _leftovers(store)
    known = {finding.name for finding in findings} | paths.keys()
    for name in sorted({*manifest, *expected} - known):
        findings.append(Finding(name, "missing", "it has neither a store file nor a problem file"))
    return Check(headers, sorted(findings, key=lambda finding: (finding.name, finding.kind)))


def drop_bad(store: Path, check: Check) -> list[str]:
    """Remove the store files that are wrong (`DROPPED`), and what killed runs have left.

    The next extraction makes them again. The manifest still names them, so that they count as
    `missing` until then. A video that another process works on is left alone.

    Returns:
        The names of the videos whose files were removed.
    """
    dropped = []
    for name in sorted({found.name for found in check.findings if found.kind in DROPPED}):
        with locked(store, name) as mine:
            if mine:
                for path in (entry_path(store, name), manifest.problem_path(store, name)):
                    path.unlink(missing_ok=True)
                dropped.append(name)
    remove_leftovers(store)
    return dropped


def common_settings(headers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings that most of these headers record.

    Raises:
        InputError: there are no headers.
    """
    hashes = Counter(header["settings_hash"] for header in headers.values())
    if not hashes:
        raise InputError("no readable store file tells the settings; run `twostream extract-flow`")
    most = hashes.most_common(1)[0][0]
    header = next(header for header in headers.values() if header["settings_hash"] == most)
    return recorded_settings(header)


def _check_file(
    name: str, path: Path, *, noted: dict[str, Any], deep: bool
) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Header and findings of one store file; `noted` is its line in the manifest."""
    try:
        header = read_header(path)
    except InputError as error:
        return None, [Finding(name, "unreadable", str(error))]
    if header["codec"] in CODECS:
        load_codec(header["codec"])  # an absent library is no fault of the file
    findings = [Finding(name, *found) for found in _check_header(name, header, noted)]
    try:
        StoreEntry(path)
        if deep:
            findings += [Finding(name, *found) for found in _check_data(path, header)]
    except InputError as error:
        findings.append(Finding(name, "unreadable", str(error)))
    if header["status"] in NOT_WRONG:
        findings.append(Finding(name, header["status"], header["reason"]))
    return header, findings


def _check_header(
    name: str, header: dict[str, Any], noted: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    if header["name"] != name:
        yield "misnamed", f"it was written for {header['name']!r}"
    digest = header_digest(header)
    # A file of other settings is younger than the manifest, which is then no witness.
    witness = noted if noted.get("settings_hash") == header["settings_hash"] else {}
    if settings_hash(recorded_settings(header)) != header["settings_hash"]:
        yield "header", "its settings do not fit their hash"
    elif witness.get("header_sha256", digest) != digest:
        yield "header", "it is not the one that the manifest knows"


def _check_data(path: Path, header: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from safetensors import safe_open

    file = safe_open(path, framework="numpy")
    changed = [
        key for key, digest in header["sha256"].items() if _digest(file.get_slice(key)) != digest
    ]
    if changed:
        yield "content", f"its {', '.join(changed)} changed after it was written (sha256)"
        return
    for key, what in (("rgb", "frames"), ("flow", "flow pairs")):
        offsets = file.get_tensor(f"{key}_offsets").astype(np.int64)
        if _all_the_same(file.get_slice(key), offsets):
            yield "still", f"its {len(offsets) - 1:,} {what} are all the same picture"


def _digest(tensor: Any) -> str:
    digest = hashlib.sha256()
    length = tensor.get_shape()[0]
    for start in range(0, length, BLOCK):
        digest.update(tensor[start : min(start + BLOCK, length)])
    return digest.hexdigest()


def _all_the_same(blobs: Any, offsets: np.ndarray) -> bool:
    """Whether there are two blobs or more, and no two differ: equal pictures give equal bytes."""
    if len(offsets) < 3:
        return False
    first = blobs[: int(offsets[1])]
    return all(
        np.array_equal(first, blobs[int(begin) : int(end)]) for begin, end in pairwise(offsets[1:])
    )


def _problems(store: Path, stored: Collection[str]) -> Iterator[Finding]:
    for name, path in entry_paths(store, manifest.SUFFIX).items():
        if name in stored:
            continue
        try:
            problem = manifest.read_problem(path)
        except InputError as error:
            yield Finding(name, "unreadable", str(error))
        else:
            yield Finding(name, problem["status"], problem["reason"])


def _unlike_most(headers: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    usual = common_settings(headers) if headers else {}
    for name, header in headers.items():
        settings = recorded_settings(header)
        differing = [
            f"{key} {json.dumps(settings.get(key))}, not {json.dumps(usual.get(key))}"
            for key in sorted({*settings, *usual})
            if settings.get(key) != usual.get(key)
        ]
        if differing:
            yield Finding(name, "settings", f"unlike most: {'; '.join(differing)}")


def _leftovers(store: Path) -> Iterator[Finding]:
    for folder, _, files in os.walk(store):
        for path in (Path(folder, file) for file in sorted(files)):
            if path.name.startswith(TEMPORARY_MARK):
                where = path.relative_to(store).as_posix()
                yield Finding(where, "leftover", "of a run that was killed, or is at work now")


def _read_manifest(path: Path) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """Name -> line; nothing, and a finding, where it cannot be read."""
    if not path.exists():
        return {}, []
    try:
        lines = [json.loads(line) for line in read_text(path).splitlines()]
        return {line["name"]: line for line in lines}, []
    except (ValueError, KeyError, TypeError):
        why = "not a manifest; `twostream extract-flow` makes a new one"
        return {}, [Finding(path.name, "manifest", why)]
