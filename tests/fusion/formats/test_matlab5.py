from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fusion.formats.matlab5 import read_mat
from twostream.errors import InputError


def cell(*items: object) -> np.ndarray:
    array = np.empty((len(items), 1), dtype=object)
    array[:, 0] = items
    return array


CONTENT = {
    "scores": np.arange(12.0).reshape(3, 4) / 7,
    "single": np.arange(3, dtype=np.float32),
    "labels": np.array([1, 2, 200], np.uint8),
    "large": np.array([-(2**40), 2**40]),
    "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "names": cell("a", "väter", "c d"),
    "nested": cell(cell("x"), np.arange(2.0)),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, CONTENT, do_compression=compressed)
    read = read_mat(path)
    reference = scipy.io.loadmat(path)
    for name in ("scores", "single", "labels", "large", "cube"):
        np.testing.assert_array_equal(read[name], reference[name])
    assert read["names"] == ["a", "väter", "c d"]
    (inner,), numbers = read["nested"]
    assert inner == "x"
    assert np.asarray(numbers).tolist() == [[0, 1]]


def test_other_classes_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"s": {"field": 1.0}, "c": np.array([1j]), "x": np.ones((2, 2))})
    assert list(read_mat(path)) == ["x"]


@pytest.mark.parametrize("name", ["hmdb51/hmdb_idt_split1", "ucf101/ucf_idt_split1"])
def test_real_files(shared_data: Path, name: str) -> None:
    path = shared_data / "scores-seqvlad" / f"{name}.mat"
    read, reference = read_mat(path), scipy.io.loadmat(path)
    np.testing.assert_array_equal(read["scores_idt"], reference["scores_idt"])
    assert read["vn_idt"] == [item[0] for item in reference["vn_idt"].ravel()]


def header(text: bytes = b"MATLAB 5.0") -> bytes:
    return text.ljust(124) + b"\x00\x01IM"


def bomb(size: int) -> bytes:
    packed = zlib.compress(struct.pack("<II", 14, size) + bytes(size), 9)
    return header() + struct.pack("<II", 15, len(packed)) + packed


def promise(shape: tuple[int, int]) -> bytes:
    """A cell that promises items and holds none."""
    parts = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, *shape)
    matrix = parts + struct.pack("<II", 1, 0)
    return header() + struct.pack("<II", 14, len(matrix)) + matrix


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .mat file of version 5 to 7"),
        (header(b"MATLAB 7.3 MAT-file"), "version 7.3; save it with `save -v7`"),
        (bomb(65 * 2**20), r"bytes unpack to over 67,108,864; refused"),
        (promise((2**31 - 1, 2**31 - 1)), r"damaged or cut short.*0 cells for shape"),
        (header() + b"\x0e\x00\x00\x00\xff\xff\xff\xff", "damaged or cut short.*0 there"),
        (header() + struct.pack("<II", 15, 4) + b"abcd", "damaged or cut short"),
    ],
)
def test_broken_and_hostile_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"a.mat: .*{message}"):
        read_mat(path)
