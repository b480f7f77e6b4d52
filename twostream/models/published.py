"""Published checkpoints by name: what they are, and fetching them into torch's cache."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from twostream_base.errors import InputError
from twostream_base.files import atomic_path

CHUNK = 1 << 20  # bytes
Bar = Callable[..., Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Published:
    """An entry of `PUBLISHED`: a checkpoint that somebody published. Unknown texts are empty.

    Attributes:
        name: as --weights takes it.
        model: key of MODELS. stream: `spatial` or `motion`.
        data: what it was trained on last. classes: how many.
        top1: accuracy in percent as published, on `data`; protocol: how it was measured.
        licence: of the project that published it. source: page on which it is found.
        url: of the file; empty where it can only be fetched by hand, from `source`.
        megabytes: size of the file; 0 where it is not published.
        hash: `sha256:` and its first digits, or `git:` and the name of a blob in git.
    """

    name: str
    model: str
    stream: str
    data: str
    classes: int
    top1: str
    protocol: str
    licence: str
    source: str
    url: str
    megabytes: float
    hash: str

    @property
    def file(self) -> str:
        """Its name in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """Where it lies in torch's cache once it was fetched."""
        import torch  # late: a list of names needs no torch

        return Path(torch.hub.get_dir(), "checkpoints", self.file)


@cache
def published() -> dict[str, Published]:
    """All published checkpoints that are known, by name."""
    text = (files("twostream.models") / "published.csv").read_text(encoding="utf-8")
    entries = []
    for row in csv.DictReader(io.StringIO(text)):
        numbers = {"classes": int(row["classes"]), "megabytes": float(row["megabytes"] or 0)}
        entries.append(Published(**{**row, **numbers}))  # type: ignore[arg-type]
    return {entry.name: entry for entry in entries}


def find_weights(weights: str, *, bar: Bar | None = None) -> tuple[Path, Published | None]:
    """The file that `--weights FILE|NAME` names; a published one is fetched if need be.

    Args:
        bar: passes the parts of a download through, and shows them.

    Raises:
        InputError: neither a file nor a name, it cannot be fetched, or its hash is wrong.
    """
    path = Path(weights)
    if path.is_dir() and (path / "weights.safetensors").is_file():  # a checkpoint of a run
        path = path / "weights.safetensors"
    if path.is_file():
        return path, None
    entry = published().get(weights)
    if entry is None:
        near = difflib.get_close_matches(weights, published(), n=3, cutoff=0.5)
        raise InputError(
            f"{weights}: no such file, nor a published checkpoint"
            + (f" ({', '.join(near)}?)" if near else "")
            + "; `twostream weights` lists those"
        )
    if not entry.path.is_file():
        fetch(entry, bar=bar)
    check_hash(entry, entry.path)
    return entry.path, entry


def fetch(entry: Published, *, bar: Bar | None = None) -> None:
    """Download a checkpoint into torch's cache; a file that bears its name is whole and right.

    Raises:
        InputError: there is no network, or the address is dead; where to put the file.
    """
    by_hand = f"fetch it by other means and put it at {entry.path}"
    if not entry.url.startswith("https://"):
        raise InputError(f"{entry.name}: only found by hand, on {entry.source}; {by_hand}")
    try:
        with atomic_path(entry.path) as temporary, temporary.open("wb") as file:
            # Some servers refuse Python's own name.
            request = Request(entry.url, headers={"User-Agent": "twostream"})
            with urlopen(request, timeout=60) as answer:
                size = int(answer.headers.get("Content-Length") or 0)
                parts: Iterable[bytes] = iter(lambda: answer.read(CHUNK), b"")
                if bar:
                    parts = bar(parts, total=-(-size // CHUNK), label=entry.name, unit="MiB")
                for part in parts:
                    file.write(part)
                if size and file.tell() != size:
                    raise URLError(f"{file.tell():,} of {size:,} bytes came")
            file.flush()
            check_hash(entry, temporary, shown=entry.url)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # URLError and what sockets raise are OSErrors
        reason = getattr(error, "reason", None) or (error.args or [type(error).__name__])[-1]
        raise InputError(
            f"{entry.name}: {entry.url} cannot be fetched ({reason}); {by_hand}"
        ) from error


def check_hash(entry: Published, path: Path, *, shown: str = "") -> None:
    """Refuse a file of another content than was published; where no hash was, any passes.

    Args:
        shown: what the file is called in the error, if not by its path.

    Raises:
        InputError: another hash.
    """
    kind, _, expected = entry.hash.partition(":")
    if not expected:
        return
    digest = hashlib.sha256()
    if kind == "git":  # the name of a blob
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    if digest.hexdigest().startswith(expected):
        return
    cure = "" if shown else ". Delete this file, and it is fetched again"
    raise InputError(
        f"{shown or path}: not the file published as {entry.name}: its {kind} hash begins with "
        f"{digest.hexdigest()[: len(expected)]} instead of {expected}{cure}"
    )
