"""Checking a store: what is wrong with which video, and removing what is bad."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from flow_extract.store import reader
from flow_extract.store.codecs import CODECS, load_codec
from flow_extract.store.header import Header, recorded_settings, settings_hash
from flow_extract.store.locks import locked, remove_leftovers, temporary_files
from flow_extract.store.manifest import MANIFEST, header_digest, read_problem, rebuild_manifest
from twostream_base.errors import InputError
from twostream_base.files import names_are_one, parse_json, read_text

# `progress(items, total=...)` passes them through, drawing a bar or not.
Progress = Callable[..., Iterable[Any]]
# Listed, but as good as it will get: the video itself is short; or of no video, and sound.
NOT_WRONG = ("damaged", "orphan")
# The kinds of findings for which `drop_bad` removes a store file: an extraction would not notice
# them, or could not read the file.
DROPPED = ("unreadable", "misnamed", "header", "content")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one video, or one file, that is not as it should be.

    Attributes:
        name: of the video; or the path of another file in the store.
        kind: `missing` (no store file), `unreadable`, `misnamed`, `header` or `content` (changed
            since it was written), `settings` (unlike most), `still` (nothing changes from frame to
            frame), `leftover` (temporary file), `manifest` (unreadable), `orphan` (of no video that
            was expected); or, as the extraction said, `damaged`, `failed`, `crashed`, `timeout`.
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
        names: of all videos that have a store file or a problem file.
        orphans: name -> files -> their state when they were looked at (see `_state`).
    """

    headers: dict[str, Header]
    findings: list[Finding]
    names: frozenset[str]
    orphans: dict[str, dict[Path, tuple[int, int] | None]]

    def counts(self) -> dict[str, int]:
        """Numbers of store files, frames and flow pairs in them, and findings of each kind.

        `repeated`: frames of the videos that repeat the one before, stored or not.
        """
        totals = [header["counts"] for header in self.headers.values()]
        return {
            "files": len(self.headers),
            "frames": sum(counts["frames"] for counts in totals),
            "flows": sum(counts["flows"] for counts in totals),
            "repeated": sum(counts.get("repeated", 0) for counts in totals),
            **dict(sorted(Counter(finding.kind for finding in self.findings).items())),
        }

    def wrong(self) -> list[Finding]:
        """The findings but for those in `NOT_WRONG`."""
        return [finding for finding in self.findings if finding.kind not in NOT_WRONG]


def without_progress(items: Iterable[Any], *, total: int) -> Iterable[Any]:
    """The items, without a progress bar."""
    return items


def check_store(
    store: str | PathLike[str],
    *,
    deep: bool = False,
    expected: Collection[str] = (),
    progress: Progress = without_progress,
) -> Check:
    """Look at every file of a store.

    Args:
        deep: read all data: sha256 of every array, and whether anything moves.
        expected: names that should be there, besides those of the manifest; any others, of store
            files and problem files, are orphans, unless none is expected.

    Raises:
        InputError: no such store; or a codec needs a library that is not installed.
    """
    store = Path(store)
    paths = reader.entry_paths(store)
    problems = reader.entry_paths(store, reader.PROBLEM_SUFFIX)
    names, as_one = paths.keys() | problems.keys(), names_are_one(store)
    there = {as_one(name) for name in expected}
    orphans = {
        name: {files[name]: _state(files[name]) for files in (paths, problems) if name in files}
        for name in sorted(names)
        if expected and as_one(name) not in there
    }
    manifest, findings = _read_manifest(store / MANIFEST)
    headers = {}
    for name, path in progress(paths.items(), total=len(paths)):
        try:
            headers[name] = reader.read_header(path)
        except InputError as error:
            findings.append(Finding(name, "unreadable", str(error)))
            continue
        faults = _check_entry(name, path, headers[name], manifest.get(name, {}), deep=deep)
        findings += [Finding(name, *fault) for fault in faults]
    for name, path in problems.items():
        if name not in paths and name not in orphans:
            try:
                problem = read_problem(path)
                findings.append(Finding(name, problem["status"], problem["reason"]))
            except InputError as error:
                findings.append(Finding(name, "unreadable", str(error)))
    findings += _unlike_most(headers)
    for path in temporary_files(store):
        reason = "of a run that was killed, or that is working now"
        findings.append(Finding(path.relative_to(store).as_posix(), "leftover", reason))
    known = {as_one(name) for name in names}
    for name in {*manifest, *expected}:
        if as_one(name) not in known:
            reason = "it has neither a store file nor a problem file"
            findings.append(Finding(name, "missing", reason))
    for name in orphans:
        findings.append(Finding(name, "orphan", "no video of this name is there any more"))
    findings.sort(key=lambda finding: (finding.name, finding.kind))
    return Check(headers, findings, frozenset(names), orphans)


def drop_bad(store: str | PathLike[str], check: Check) -> list[str]:
    """Remove the store files that are wrong (`DROPPED`), and what killed runs have left.

    The next extraction makes them again; the manifest still names them, so that they count as
    `missing` until then. A video that another process works on is left alone.

    Returns:
        The names of the videos whose files were removed.
    """
    store, dropped = Path(store), []
    for name in sorted({item.name for item in check.findings if item.kind in DROPPED}):
        paths = [
            reader.entry_path(store, name, suffix)
            for suffix in (reader.SUFFIX, reader.PROBLEM_SUFFIX)
        ]
        with locked(store, name) as mine:
            if mine and any(path.exists() for path in paths):
                for path in paths:
                    path.unlink(missing_ok=True)
                dropped.append(name)
    remove_leftovers(store)
    return dropped


def prune(store: str | PathLike[str], check: Check) -> list[str]:
    """Remove the orphans: the files of videos that are gone, or have another name now.

    A video that another process works on is left alone, and so is what was written since the check.

    Returns:
        Their names.
    """
    removed = []
    for name, files in check.orphans.items():
        with locked(Path(store), name) as mine:
            if mine and all(state and _state(path) == state for path, state in files.items()):
                for path in files:
                    path.unlink()
                removed.append(name)
    if removed:
        rebuild_manifest(Path(store))
    return removed


def _state(path: Path) -> tuple[int, int] | None:
    """By which a file that was written anew is recognised: time (ns) and size; None: gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def common_settings(headers: Mapping[str, Header]) -> dict[str, Any]:
    """The settings that most of these headers record.

    Raises:
        InputError: there are no headers.
    """
    hashes = Counter(header["settings_hash"] for header in headers.values())
    if not hashes:
        raise InputError("no readable store file tells the settings; run `twostream extract-flow`")
    most = hashes.most_common(1)[0][0]
    return recorded_settings(
        next(header for header in headers.values() if header["settings_hash"] == most)
    )


def _check_entry(
    name: str, path: Path, header: Header, noted: Mapping[str, Any], *, deep: bool
) -> Iterator[tuple[str, str]]:
    """Kind and reason of what is wrong with one store file; `noted` is its line in the manifest."""
    if header["codec"] in CODECS:
        load_codec(header["codec"])  # an absent library is no fault of the file
    if header["name"] != name:
        yield "misnamed", f"it was written for {header['name']!r}"
    # A file of other settings is younger than the manifest, which is then no witness.
    witness = noted if noted.get("settings_hash") == header["settings_hash"] else {}
    digest = header_digest(header)
    if settings_hash(recorded_settings(header)) != header["settings_hash"]:
        yield "header", "its settings do not fit their hash"
    elif witness.get("header_sha256", digest) != digest:
        yield "header", "it is not the one that the manifest knows"
    try:
        entry = reader.StoreEntry(path)
        changed = entry.changed_arrays() if deep else []
        if changed:
            yield "content", f"its {', '.join(changed)} changed after it was written (sha256)"
        elif deep:
            for key, count, what in (
                ("rgb", entry.num_frames, "frames"),
                ("flow", entry.num_flows, "flow pairs"),
            ):
                if count < 2:
                    continue
                first = entry.blobs(key, 0, 1)[0].tobytes()  # equal pictures give equal bytes
                others = (entry.blobs(key, index, 1)[0] for index in range(1, count))
                if all(other.tobytes() == first for other in others):
                    yield "still", f"its {count:,} {what} are all the same picture"
    except InputError as error:
        yield "unreadable", str(error)
    if header["status"] in NOT_WRONG:
        yield header["status"], header["reason"]


def _unlike_most(headers: Mapping[str, Header]) -> Iterator[Finding]:
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


def _read_manifest(path: Path) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """Name -> line; nothing, and a finding, where it cannot be read."""
    if not path.exists():
        return {}, []
    try:
        lines = [parse_json(line) for line in read_text(path).splitlines()]
        return {line["name"]: line for line in lines}, []
    except (ValueError, KeyError, TypeError):
        why = "not a manifest; `twostream extract-flow` makes a new one"
        return {}, [Finding(path.name, "manifest", why)]
