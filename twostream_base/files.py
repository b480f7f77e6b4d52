"""Atomic files and folders, which are whole or absent, and paths that cannot leave their root."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from twostream_base.errors import InputError
from twostream_base.heartbeat import beat

DIGEST_BLOCK = 2**18  # bytes that are read at one time for a checksum

TEMPORARY_MARK = ".part-"
SYNCS_AT_ONCE = 16
DEEPEST_JSON = 64
WINDOWS = os.name == "nt"
REPLACE_SECONDS = 2.0
# Of a part of a path: `a:b` would be written beside a file `a` that looks empty, a backslash parts
# folders, and the names of devices are theirs whatever follows the dot.
_NO_WINDOWS_NAME = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com[0-9]|lpt[0-9]) *(\.|$)', re.IGNORECASE
)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it becomes `path`.

    The content is on disk (fsync) before the name changes, and the change of name is on disk
    before the block is left: after a crash at any moment `path` holds the old file or the new one.
    If the block raises, the temporary file is removed and `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name stays short: it must fit where the final name does (255 bytes on most file systems).
    owner = f"{machine_id()}-{os.getpid()}"
    temporary = path.with_name(f"{TEMPORARY_MARK}{owner}-{secrets.token_hex(4)}")
    try:
        with _naming(path):
            yield temporary
            _sync(temporary)
            _replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of the disk name `path`, not what is written in its place, or nothing at all."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).parent == path.parent:
            error.filename, error.filename2 = str(path), None
        raise


@cache
def machine_id() -> str:
    """Eight hex digits for where a process id means something: this machine since it was started.

    Containers count as machines of their own where they number their processes themselves.
    """
    facts = [socket.gethostname()]
    try:
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        facts.append(os.readlink("/proc/self/ns/pid"))
    except (OSError, AttributeError):
        # No Linux. Two machines of one name differ in the address of their network card; without
        # one Python draws a number, and each process counts as a machine.
        facts.append(f"{uuid.getnode():012x}")
    return sha256_bytes(" ".join(facts).encode())[:8]


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; when the block ends well it takes the place of `path`.

    A folder cannot be replaced in one step: a crash between the two leaves the old one under
    another name. So whoever reads `path` calls `restore_folder` first.
    """
    restore_folder(path)
    new, old = _beside(path)
    new.mkdir(parents=True)
    try:
        with _naming(path):
            yield new
            # At once: a journal then commits many small files together. os.sync() would be one
            # call, but waits for whatever else this machine has to write, and tells of no error.
            with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
                for _ in pool.map(_sync, new.iterdir()):
                    pass  # raises what went wrong
            _sync_folder(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)  # a full disk has room for something else
        raise
    if path.exists():
        path.rename(old)
    new.rename(path)
    _sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Undo what a crash in `atomic_folder` left: the old folder gets its name back."""
    new, old = _beside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, as UTF-8 with `\\n` line ends.

    Raises:
        InputError: half a character (a lone surrogate), which UTF-8 cannot hold.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        at = text[max(0, error.start - 20) : error.end]
        raise InputError(f"{path}: {at!r} cannot be written as UTF-8; rename it") from None
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file (a byte-order mark is dropped); a wrong encoding names the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """What a parser says of a text of this kind (TOML, CSV, ...) becomes one line with its file.

    Raises:
        InputError: the text is torn, or no such text at all.
    """
    try:
        yield
    except InputError:
        raise
    except (ValueError, csv.Error, RecursionError) as error:  # TOML's and JSON's are ValueErrors
        raise InputError(
            f"{path}: not a valid {kind} file ({' '.join(str(error).split())}); mend it, or write "
            "it again"
        ) from error


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text from elsewhere.

    Raises:
        ValueError: it is none, or nested deeper than any of our files: what walks through a value
            (to write, copy, compare it) would end in Python's limit of recursion.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST_JSON} levels") from None
    level, depth = [value], 0
    while level := [
        child
        for item in level
        if isinstance(item, list | dict)
        for child in (item.values() if isinstance(item, dict) else item)
        if isinstance(child, list | dict)
    ]:
        depth += 1
        if depth >= DEEPEST_JSON:
            raise ValueError(f"nested deeper than {DEEPEST_JSON} levels")
    return value


def why_address(path: str | PathLike[str]) -> str:
    """Why what looks like an address (`https://...`, `s3://...`) is no file; empty if it does not.

    A `Path` has lost one of the slashes.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)):
        return ""
    return (
        "an address; only files and folders of this machine are opened: download it, or mount "
        "it as a folder, and give that"
    )


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of bytes in memory, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(DIGEST_BLOCK):
            digest.update(block)
            beat()
    return digest.hexdigest()


def path_inside(root: Path, name: str) -> Path:
    """Join `name` (as `class/video`) to `root`, refusing whatever would lead out of it.

    Raises:
        InputError: `name` is empty or absolute, has a `..` or a NUL, or meets a link out of `root`;
            or Windows has no such file names.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise InputError(f"{name!r} is not a path below {root}: no leading '/', no '..' and no NUL")
    if WINDOWS and (refused := [part for part in parts if _NO_WINDOWS_NAME.search(part)]):
        raise InputError(
            f"{name!r}: {refused[0]!r} is no name of a file on Windows; rename it there: none of "
            '<>:"|?*\\, no space or dot at its end, no device such as CON or NUL'
        )
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{name!r} leads out of {root} through a link")
    return path


def names_are_one(folder: Path) -> Callable[[str], str]:
    """What names of files in `folder` have in common that are one file there.

    Most file systems of Windows and macOS take `A.avi` and `a.avi` for one, and macOS also the
    Unicode forms of a letter. The folder may not be there yet: the first above it is asked, by its
    own name.

    Returns:
        name -> the same text for all names of one file.
    """
    ignores_case = WINDOWS
    for path in (folder.absolute(), *folder.absolute().parents):
        other = path.with_name(path.name.swapcase()) if path.name else path
        if other != path and os.path.lexists(path):
            ignores_case |= os.path.lexists(other) and os.path.samestat(other.lstat(), path.lstat())
            break
    if not ignores_case:
        return lambda name: name
    return lambda name: unicodedata.normalize("NFC", name).casefold()


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.new"), path.with_name(f"{path.name}.old")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # Windows syncs what is writable
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """Sync the names in a folder, where the system can: Windows opens no folders.

    Some file systems of networks sync no folders either, and say that it is no valid argument.
    """
    if not WINDOWS:
        try:
            _sync(path)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise


def _replace(source: Path, target: Path) -> None:
    """`os.replace`; on Windows again for a while, as a virus scanner may have the file open."""
    end = time.monotonic() + REPLACE_SECONDS
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if not WINDOWS or time.monotonic() > end:
                raise
        time.sleep(0.01)


def write_toml(path: Path, settings: dict[str, Any], *, title: str) -> None:
    """Write settings; a dict among them is a table of flat settings.

    Strings, lists and booleans are the same in JSON as in TOML; floats are as in Python, `inf`
    among them.
    """

    def rows(flat: dict[str, Any]) -> list[str]:
        texts = {
            key: str(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
            for key, value in flat.items()
            if not isinstance(value, dict)
        }
        return [f"{key} = {text}" for key, text in texts.items()]

    lines = [f"# {title}", *rows(settings)]
    for key, table in settings.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]", *rows(table)]
    write_text(path, "\n".join([*lines, ""]))
