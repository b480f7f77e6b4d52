from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fusion.exchange.formats.npy_npz import read_members, read_npy_scores, read_tsn_npz
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
    np.testing.assert_array_equal(foreign.scores.reshape(shape), array.astype(np.float32))
    assert foreign.scores.ndim == 4
    assert foreign.names is None
    assert foreign.labels is None


def test_other_npy_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(4))
    with pytest.raises(InputError, match=r"a.npy: the array is float64 \(4,\)"):
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
