from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fusion.exchange.formats.arrays import (
    read_mat_scores,
    read_members,
    read_npy_scores,
    read_tsn_npz,
)
from twostream_base.errors import InputError


class Runs:
    """Its pickle runs a shell command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def rows(*pairs: tuple[object, object]) -> np.ndarray:
    """An object array of rows [scores, label], as TSN writes it."""
    array = np.empty((len(pairs), 2), dtype=object)
    for row, pair in enumerate(pairs):
        array[row, 0], array[row, 1] = pair
    return array


VIEWS = np.arange(12, dtype=np.float32).reshape(3, 1, 4)  # segments, crops, classes


def save(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_rows_of_scores_and_label(tmp_path: Path) -> None:
    path = save(
        tmp_path, scores=rows((VIEWS, 2), (VIEWS + 1, np.int64(0))), labels=np.array([2, 0])
    )
    foreign = read_tsn_npz(path)
    assert foreign.names is None
    np.testing.assert_array_equal(foreign.scores, [VIEWS, VIEWS + 1])
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 4), (5, 1, 1, 4)), ((5, 3, 4), (5, 3, 1, 4)), ((5, 3, 2, 4), (5, 3, 2, 4))],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_arrays(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], order: str
) -> None:
    scores = np.asarray(np.random.default_rng(0).normal(size=shape), dtype="f4", order=order)
    foreign = read_tsn_npz(save(tmp_path, scores=scores))
    np.testing.assert_array_equal(foreign.scores, scores.reshape(expected), strict=True)
    assert foreign.labels is None


def test_a_real_file_of_python_2(shared_data: Path) -> None:
    path = shared_data / "scores-seqvlad" / "hmdb51" / "hmdb51_rgb_split1.npz"
    foreign = read_tsn_npz(path)
    assert foreign.scores.shape == (1530, 1, 1, 51)
    assert foreign.labels is not None
    assert np.bincount(foreign.labels).tolist() == [30] * 51


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"preds": np.zeros((2, 3))}, "no array `scores`, which the .npz"),
        ({"scores": np.zeros(3)}, r"`scores` is float64 \(3,\)"),
        ({"scores": np.array([["a", "b"]])}, r"`scores` is <U1 \(1, 2\)"),
        ({"scores": rows((VIEWS, 1)).reshape(-1)}, r"object rows of shape \(2,\)"),
        ({"scores": rows((VIEWS, 1), (VIEWS[:2], 1))}, r"row 1 has scores of shape \(2, 1, 4\)"),
        ({"scores": rows((VIEWS, 1)), "labels": np.array([2])}, "are not those of `labels`"),
        ({"scores": rows((VIEWS, 0.5))}, "labels must be whole numbers"),
        ({"scores": rows((VIEWS, -3))}, "labels must be whole numbers"),
        ({"scores": rows((VIEWS, None))}, "labels must be whole numbers"),
    ],
)
def test_other_contents(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tsn_npz(save(tmp_path, **arrays))


def test_nothing_in_an_npz_runs(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hostile = Runs(f"touch {marker}")
    for pair in ((VIEWS, hostile), (hostile, 1), ([hostile], 1)):
        with pytest.raises(InputError, match=r"the pickle asks for \w+.system"):
            read_tsn_npz(save(tmp_path, scores=rows(pair)))
    assert not marker.exists()


def test_names_beside_the_scores(tmp_path: Path) -> None:
    texts = {"names": np.array(["a", "b"]), "class_names": np.array(["x", "y"])}
    foreign = read_tsn_npz(save(tmp_path, scores=np.zeros((2, 2)), **texts))
    assert foreign.names == ("a", "b")
    assert foreign.class_names == ("x", "y")
    with pytest.raises(InputError, match=r"`names` is int64 \(2,\); expected a list of texts"):
        read_tsn_npz(save(tmp_path, scores=np.zeros((2, 2)), names=np.array([1, 2])))


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4), (5, 3, 2, 4)])
def test_arrays_of_numbers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    np.save(tmp_path / "a.npy", array)
    foreign = read_npy_scores(tmp_path / "a.npy")
    np.testing.assert_array_equal(foreign.scores.reshape(shape), array)
    assert foreign.scores.ndim == 4
    assert foreign.names is None
    assert foreign.labels is None


def test_other_npy_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(4))
    with pytest.raises(InputError, match=r"a.npy: the array is float64 \(4,\)"):
        read_npy_scores(path)
    for text in ("(True, 2)", "(-1, 2)", "('a',)", "(" * 5000):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}".encode()
        data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        path.write_bytes(data + bytes(8))
        with pytest.raises(InputError, match=r"a.npy: not a .npy array that can be read \("):
            read_npy_scores(path)
    path.write_bytes(b"none")
    with pytest.raises(InputError, match="a.npy: not a .npy array that can be read"):
        read_npy_scores(path)


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


SCORES = np.array([[1.5, -2.5, 0.5], [0.1, 0.2, 0.3]])
NAMES = np.array([["v_a"], ["v_b"]], dtype=object)


def save_mat(folder: Path, **variables: object) -> Path:
    scipy.io.savemat(folder / "a.mat", variables)
    return folder / "a.mat"


def test_names_and_labels_are_known_by_their_shapes(tmp_path: Path) -> None:
    path = save_mat(
        tmp_path, whatever=SCORES, vn=NAMES, gt=np.array([[3], [1]]), more=np.zeros((1, 9))
    )
    foreign = read_mat_scores(path)
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], SCORES)
    assert foreign.names == ("v_a", "v_b")
    assert foreign.labels is not None
    assert foreign.labels.tolist() == [2, 0]


def test_scores_alone(tmp_path: Path) -> None:
    foreign = read_mat_scores(save_mat(tmp_path, s=SCORES))
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
def test_other_contents_of_mat(tmp_path: Path, variables: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"a.mat: .*{message}"):
        read_mat_scores(save_mat(tmp_path, **variables))


@pytest.mark.parametrize("compressed", [False, True])
def test_other_classes_are_left_out(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    others = {"s": {"field": 1.0}, "c": np.array([[1j, 2], [3, 4]]), "g": np.array([[1], [2.5]])}
    scipy.io.savemat(path, {"x": SCORES, **others}, do_compression=compressed)
    foreign = read_mat_scores(path)
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], SCORES)
    assert (foreign.names, foreign.labels) == (None, None)


@pytest.mark.parametrize("name", ["hmdb51/hmdb_idt_split1", "ucf101/ucf_idt_split1"])
def test_real_files(shared_data: Path, name: str) -> None:
    path = shared_data / "scores-seqvlad" / f"{name}.mat"
    foreign, reference = read_mat_scores(path), scipy.io.loadmat(path)
    np.testing.assert_array_equal(foreign.scores[:, 0, 0], reference["scores_idt"])
    assert foreign.names == tuple(item[0] for item in reference["vn_idt"].ravel())


def header(text: bytes = b"MATLAB 5.0") -> bytes:
    return text.ljust(124) + b"\x00\x01IM"


def bomb(folder: Path) -> bytes:
    size = 65 * 2**20
    packed = zlib.compress(struct.pack("<II", 14, size) + bytes(size))
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
        (bomb, r"or damaged"),
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
