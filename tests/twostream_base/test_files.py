from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twostream_base import files
from twostream_base.errors import InputError, disk_error
from twostream_base.files import (
    atomic_folder,
    atomic_path,
    parse_json,
    path_inside,
    read_text,
    reading,
    restore_folder,
    sha256_bytes,
    sha256_file,
    write_text,
    write_toml,
)


def test_atomic_path_replaces_a_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_leaves_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half of it")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("named", [True, False])
def test_what_the_disk_refuses_has_the_final_path(tmp_path: Path, named: bool) -> None:
    """A write has no name of a file in its error; other calls that of the temporary one."""
    path = tmp_path / "log.csv"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(path) as temporary:
        raise OSError(28, "No space left on device", *([str(temporary)] if named else []))
    assert disk_error(caught.value) == (
        f"{path}: No space left on device; make room on that disk, then run the same command again"
    )
    other = OSError(2, "No such file or directory", "/elsewhere/clip.avi")
    with pytest.raises(OSError, match=r"/elsewhere/clip\.avi"), atomic_path(path):
        raise other


def test_atomic_path_takes_the_longest_file_name(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "text")


def fill(folder: Path, text: str) -> None:
    with atomic_folder(folder) as new:
        (new / "a").write_text(text)
        (new / "b").write_text(text)


def test_atomic_folder_replaces_all_files_together(tmp_path: Path) -> None:
    fill(tmp_path / "last", "1")
    fill(tmp_path / "last", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert {path.name: path.read_text() for path in (tmp_path / "last").iterdir()} == {
        "a": "2",
        "b": "2",
    }


def test_a_folder_gets_its_name_when_every_file_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file, then the folder of their names; and no name where one of them fails."""
    sync, synced = files._sync, []

    def noted_sync(path: Path) -> None:
        sync(path)
        synced.append((path.name, (tmp_path / "last").exists()))

    monkeypatch.setattr(files, "_sync", noted_sync)
    with atomic_folder(tmp_path / "last") as new:
        for number in range(40):
            (new / str(number)).write_text("content")
    assert set(synced[:40]) == {(str(number), False) for number in range(40)}
    assert synced[40:] == [("last.new", False), (tmp_path.name, True)]
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "other") as new:
        (new / "lost").symlink_to("nowhere")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_atomic_folder_survives_a_crash_at_each_step(tmp_path: Path, crash_at: int) -> None:
    """Leave what a kill would leave: a half-filled new folder, then each rename done or not."""
    last = tmp_path / "last"
    fill(last, "old")
    (tmp_path / "last.new").mkdir()
    (tmp_path / "last.new" / "a").write_text("new")
    if crash_at > 1:
        last.rename(tmp_path / "last.old")
    if crash_at > 2:
        (tmp_path / "last.new").rename(last)
    restore_folder(last)
    assert (last / "a").read_text() == ("new" if crash_at == 3 else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../../up", "a\0b"])
def test_path_inside_refuses_what_leads_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        path_inside(tmp_path, name)


def test_path_inside_refuses_a_link_out(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="through a link"):
        path_inside(tmp_path / "root", "link/secret")


def test_path_inside_joins(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "class/a video") == tmp_path / "class" / "a video"


def test_read_text_drops_the_mark_and_names_a_wrong_encoding(tmp_path: Path) -> None:
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbftext")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    assert read_text(tmp_path / "bom") == "text"
    with pytest.raises(InputError, match="latin: not UTF-8 text \\(byte 3\\)"):
        read_text(tmp_path / "latin")


def test_sha256_of_bytes_and_of_a_file_agree(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "file") == sha256_bytes(b"abc") == expected


def test_settings_are_read_back(tmp_path: Path) -> None:
    settings = {
        "lr": 1e-05,
        "save-every": math.inf,
        "name": 'Tür "1"',
        "resize": [1, 2],
        "on": True,
    }
    write_toml(tmp_path / "config.toml", settings, title="Options.")
    assert tomllib.loads((tmp_path / "config.toml").read_text()) == settings


@pytest.mark.parametrize("depth", [100, 100_000])
def test_json_that_is_nested_deep_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="nested deeper than 64"):
        parse_json("[" * depth + "]" * depth)
    assert parse_json('{"a": [[[1]], "x"]}') == {"a": [[[1]], "x"]}


@pytest.mark.parametrize(
    ("kind", "text", "read"),
    [
        ("TOML", "a = [", tomllib.loads),
        ("TOML", "a = " + "[" * 5000, tomllib.loads),
        ("CSV", "a" * 200_000, lambda text: list(csv.reader([text]))),
        ("JSON", '{"a": ', parse_json),
    ],
)
def test_a_torn_text_names_its_file(kind: str, text: str, read: Callable[[str], Any]) -> None:
    with (
        pytest.raises(InputError, match=f"^a/b: not a valid {kind} file .*; mend it") as caught,
        reading(Path("a/b"), kind),
    ):
        read(text)
    assert "\n" not in str(caught.value)
