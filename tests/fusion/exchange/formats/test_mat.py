from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fusion.exchange.formats.mat import read_mat_scores
from twostream_base.errors import InputError

SCORES = np.array([[1.5, -2.5, 0.5], [0.1, 0.2, 0.3]])
NAMES = np.array([["v_a"], ["v_b"]], dtype=object)


def save(folder: Path, **variables: object) -> Path:
    scipy.io.savemat(folder / "a.mat", variables)
    return folder / "a.mat"


def test_names_and_labels_are_known_by_their_shapes(tmp_path: Path) -> None:
    path = save(tmp_path, whatever=SCORES, vn=NAMES, gt=np.array([[3], [1]]), more=np.zeros((1, 9)))
    foreign = read_mat_scores(path)
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], SCORES.astype(np.float32))
    assert foreign.names == ("v_a", "v_b")
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [2, 0]


def test_scores_alone(tmp_path: Path) -> None:
    foreign = read_mat_scores(save(tmp_path, s=SCORES))
    assert foreign.names is None
    assert foreign.labels is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"t": "text", "x": np.zeros((1, 5))},
            r"no matrix .*; it holds t char \(1,\), x double \(1, 5\)",
        ),
        ({"a": SCORES, "b": SCORES}, r"a and b could each be the matrix \(videos, classes\)"),
        ({"a": SCORES, "n": NAMES, "m": NAMES}, "n and m could each be the list of names"),
        ({}, "it holds nothing"),
    ],
)
def test_other_contents(tmp_path: Path, variables: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"a.mat: .*{message}"):
        read_mat_scores(save(tmp_path, **variables))


@pytest.mark.parametrize("compressed", [False, True])
def test_other_classes_are_left_out(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    others = {"s": {"field": 1.0}, "c": np.array([[1j, 2], [3, 4]]), "g": np.array([[1], [2.5]])}
    scipy.io.savemat(path, {"x": SCORES, **others}, do_compression=compressed)
    foreign = read_mat_scores(path)
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], SCORES.astype(np.float32))
    assert (foreign.names, foreign.labels) == (None, None)


@pytest.mark.parametrize("name", ["hmdb51/hmdb_idt_split1", "ucf101/ucf_idt_split1"])
def test_real_files(shared_data: Path, name: str) -> None:
    path = shared_data / "scores-seqvlad" / f"{name}.mat"
    foreign, reference = read_mat_scores(path), scipy.io.loadmat(path)
    np.testing.assert_array_equal(
        foreign.scores[:, 0, 0], reference["scores_idt"].astype(np.float32)
    )
    assert foreign.names == tuple(item[0] for item in reference["vn_idt"].ravel())


def header(text: bytes = b"MATLAB 5.0") -> bytes:
    return text.ljust(124) + b"\x00\x01IM"


def bomb(size: int) -> bytes:
    packed = zlib.compress(struct.pack("<II", 14, size) + bytes(size), 9)
    return header() + struct.pack("<II", 15, len(packed)) + packed


def promise(shape: tuple[int, int], kind: int) -> bytes:
    """A cell (1) or matrix (6) that promises items and holds none."""
    parts = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<IIii", 5, 8, *shape)
    matrix = parts + struct.pack("<II", 1, 0)
    return header() + struct.pack("<II", 14, len(matrix)) + matrix


def zeros(folder: Path) -> bytes:
    scipy.io.savemat(folder / "z.mat", {"z": np.zeros((3000, 3000))}, do_compression=True)
    return (folder / "z.mat").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .mat file of version 5 to 7"),
        (header(b"MATLAB 7.3 MAT-file"), "version 7.3; save it with `save -v7`"),
        (bomb(65 * 2**20), r"or damaged"),
        (promise((2**31 - 1, 2**31 - 1), 6), r"bytes of content, over 67,108,864; refused"),
        (promise((16384, 16384), 1), r"2,147,483,648 bytes of content, over .*; refused"),
        (header() + b"\x0e\x00\x00\x00\xff\xff\xff\xff", "or damaged"),
        (header() + struct.pack("<II", 15, 4) + b"abcd", "or damaged"),
        (zeros, r"72,000,000 bytes of content, over 67,108,864; refused"),
    ],
)
def test_broken_and_hostile_files(tmp_path: Path, data: object, message: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(data(tmp_path) if callable(data) else data)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"a.mat: .*{message}"):
        read_mat_scores(path)
