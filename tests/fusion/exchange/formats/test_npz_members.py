from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.npz_members import read_members
from twostream_base.errors import InputError


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", scores=np.arange(3), other=np.array([{}], dtype=object))
    members = read_members(tmp_path / "a.npz", ["scores", "labels"])
    assert {name: member.array.tolist() for name, member in members.items()} == {
        "scores": [0, 1, 2]
    }
    assert members["scores"].size == 128 + 3 * 8


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, scores=np.ones(100))
    data = bytearray(path.read_bytes())
    data[400] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a.npz: not an .npz file that can be read: Bad CRC-32"):
        read_members(path, ["scores"])


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="not an .npz file that can be read"):
        read_members(path, ["scores"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scores.npy", b"no array")
    with pytest.raises(InputError, match="scores.npy: not a .npy array that can be read"):
        read_members(path, ["scores"])


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, scores=np.zeros((2, 3)))
    content = np.load(path)["scores"].tobytes()
    with zipfile.ZipFile(path, "w") as archive, archive.open("scores.npy", "w") as stream:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2, 3_000_000_000)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(content)
    with pytest.raises(InputError, match=r"48 bytes are not \(2, 3000000000\) of float64"):
        read_members(path, ["scores"])


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("scores.npy", "w") as stream,
    ):
        for _ in range(65):
            stream.write(bytes(2**20))
    with pytest.raises(InputError, match=r"would unpack from [\d,]+ to 68,157,440 bytes; refused"):
        read_members(path, ["scores"])
