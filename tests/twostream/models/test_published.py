"""Published checkpoints: the table, and files in the cache under their published names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twostream.models import MODELS
from twostream.models import published as module
from twostream.models.published import Published, check_hash, find_weights, published
from twostream_base.errors import InputError

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
NAME = "tsm-r50-1x1x8-k400"


def test_the_table() -> None:
    entries = list(published().values())
    assert len(entries) >= 30
    assert sum(entry.stream == "motion" for entry in entries) >= 8
    assert len({entry.url for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.model in MODELS
        assert entry.stream in ("spatial", "motion")
        assert entry.url.startswith("https://")
        assert re.fullmatch(r"(sha256:[0-9a-f]{8,64}|git:[0-9a-f]{40})?", entry.hash)
        assert bool(entry.top1) == bool(entry.protocol)
        if entry.hash.startswith("sha256:"):  # the authors put it into the name
            assert f"-{entry.hash.removeprefix('sha256:')}.pth" in entry.file


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """A published checkpoint whose hash is that of CONTENT, and an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = replace(published()[NAME], hash=f"sha256:{SHA256[:8]}")
    monkeypatch.setattr(module, "published", lambda: {NAME: entry})
    return entry


def put(entry: Published, content: bytes) -> None:
    entry.path.parent.mkdir(parents=True)
    entry.path.write_bytes(content)


def test_a_file_in_the_cache_needs_no_network(entry: Published) -> None:
    put(entry, CONTENT)
    assert find_weights(NAME) == (entry.path, entry)


def test_a_file_with_another_hash_is_refused_and_named(entry: Published) -> None:
    put(entry, b"something else")
    with pytest.raises(InputError) as caught:
        find_weights(NAME)
    for fact in (str(entry.path), NAME, SHA256[:8], "Delete this file"):
        assert fact in str(caught.value)


def test_without_a_network_the_error_says_where_the_file_belongs(
    entry: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(module, "urlopen", unreachable)
    with pytest.raises(InputError) as caught:
        find_weights(NAME)
    for fact in (entry.url, str(entry.path), "Name or service not known"):
        assert fact in str(caught.value)
    assert "\n" not in str(caught.value)


class Answer:
    """What `urlopen` gives: some content."""

    def __init__(self, content: bytes, size: int) -> None:
        self.content, self.headers = content, {"Content-Length": str(size)}

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, size: int) -> bytes:
        part, self.content = self.content[:size], self.content[size:]
        return part


@pytest.mark.parametrize(
    ("content", "size", "fact"),
    [
        (CONTENT, len(CONTENT), ""),
        (b"nothing", 7, "sha256 hash begins with"),
        (b"wei", 7, "3 of 7"),
    ],
)
def test_a_download_is_whole_and_right_or_leaves_nothing(
    entry: Published, monkeypatch: pytest.MonkeyPatch, content: bytes, size: int, fact: str
) -> None:
    monkeypatch.setattr(module, "urlopen", lambda *_, **__: Answer(content, size))
    if not fact:
        assert find_weights(NAME) == (entry.path, entry)
        assert entry.path.read_bytes() == CONTENT
        return
    with pytest.raises(InputError, match=fact):
        find_weights(NAME)
    assert list(entry.path.parent.iterdir()) == []


@pytest.mark.parametrize("expected", [f"git:{GIT}", f"sha256:{SHA256}", ""])
def test_kinds_of_hashes(tmp_path: Path, entry: Published, expected: str) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    check_hash(replace(entry, hash=expected), tmp_path / "file")
    (tmp_path / "file").write_bytes(b"other")
    if expected:
        with pytest.raises(InputError, match="file: not the file published as"):
            check_hash(replace(entry, hash=expected), tmp_path / "file")


def test_an_unknown_name_suggests_others() -> None:
    with pytest.raises(InputError, match=f"no such file, nor a published .*{NAME}"):
        find_weights(NAME + "0")
