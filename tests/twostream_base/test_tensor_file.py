from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from twostream_base.errors import InputError
from twostream_base.files import sha256_bytes
from twostream_base.tensor_file import FileType, Streamed, TensorFile, write_tensor_file

TOY = FileType("toy file", key="toy", format=3, required={"names": list}, cure="make it again")
ARRAYS = {
    "values": np.arange(24, dtype=np.float32).reshape(6, 4),
    "labels": np.arange(6),
    "half": np.ones((2, 0, 3), np.float16),
    "blob": np.frombuffer(b"any bytes", np.uint8),
}
HEADER = {"names": ["a", "日本", 'quote"'], "z": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tensor_file(tmp_path / "a.toy", TOY, HEADER, ARRAYS)
    return tmp_path / "a.toy"


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("cuts", [[], [1], [2, 2, 5]])
def test_the_bytes_are_those_of_the_library(tmp_path: Path, cuts: list[int], compact: bool) -> None:
    kind = FileType("toy", key="toy", format=3, cure="", compact=compact)
    sums = {key: sha256_bytes(array.tobytes()) for key, array in ARRAYS.items()}
    header = {**HEADER, "format": 3, "sha256": sums}
    text = json.dumps(
        header, sort_keys=True, ensure_ascii=False, separators=(",", ":") if compact else None
    )
    values = ARRAYS["values"]
    parts: list[Any] = [values[:0], *np.split(values, cuts), values[:0].tobytes()]
    streamed = Streamed("float32", values.shape, parts)
    write_tensor_file(tmp_path / "file", kind, HEADER, ARRAYS | {"values": streamed})
    assert (tmp_path / "file").read_bytes() == save(ARRAYS, metadata={"toy": text})


def test_what_is_written_is_read(path: Path) -> None:
    with TensorFile(path, TOY) as file:
        assert {key: file.header[key] for key in HEADER} == HEADER
        assert list(file.tensors) == ["labels", "values", "half", "blob"]
        for key, array in ARRAYS.items():
            np.testing.assert_array_equal(file.read(key), array, strict=True)
            file.verify(key)
        assert file.read_bytes("blob", 4, 9) == b"bytes"
        np.testing.assert_array_equal(
            file.read_rows("values", [5, 0, 5]), ARRAYS["values"][[5, 0, 5]]
        )
        np.testing.assert_array_equal(file.read_rows("values", slice(2, 4)), ARRAYS["values"][2:4])
    with pytest.raises(OSError, match="descriptor"):
        file.read("labels")
    np.testing.assert_array_equal(load_file(path)["values"], ARRAYS["values"])


def test_a_part_too_many_and_a_failed_check_leave_no_file(tmp_path: Path) -> None:
    short = Streamed("float32", (3, 4), [ARRAYS["values"][:2]])
    with pytest.raises(ValueError, match="`values`: 32 bytes for a tensor of 48"):
        write_tensor_file(tmp_path / "a", TOY, HEADER, {"values": short})

    def refuse(temporary: Path) -> None:
        assert TensorFile(temporary, TOY).header["z"] == 1
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        write_tensor_file(tmp_path / "a", TOY, HEADER, ARRAYS, check=refuse)
    assert not list(tmp_path.iterdir())


def test_every_flipped_bit_of_the_tensors_is_found(path: Path) -> None:
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    for place in range(begin, len(whole)):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        file = TensorFile(path, TOY)
        for check in (file.read, file.verify):
            with pytest.raises(InputError, match=r"a.toy: .*checksum.*make it again"):
                list(map(check, file.tensors))


def test_every_cut_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a.toy: not a valid toy file .*make it again"):
            TensorFile(path, TOY)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="longer than its tensors"):
        TensorFile(path, TOY)


def test_a_file_that_becomes_shorter_while_it_is_open(path: Path) -> None:
    large = np.zeros(100_000, np.uint8)
    write_tensor_file(path, TOY, HEADER, {"large": large})
    file = TensorFile(path, TOY)
    path.write_bytes(path.read_bytes()[:50_000])
    for read in (
        lambda: file.read("large"), lambda: file.verify("large"),
        lambda: file.read_bytes("large", 60_000, 70_000),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"a.toy: .*truncated while it was read"):
            read()


def raw(table: object) -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text


META = {"__metadata__": {"toy": json.dumps({"format": 3, "names": []})}}


def entry(shape: list[Any], begin: Any, end: Any, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "0 bytes"),
        (b"PK\x03\x04 an archive of another tool", "a header length of .* in a file of 31 bytes"),
        (raw(b"nothing"), "not JSON"),
        (raw(b"[" * 100_000), "not JSON, nested deeper than 64"),
        (raw(b"[" * 80 + b"]" * 80), "not JSON, nested deeper than 64"),
        (raw({"__metadata__": {"toy": "[" * 100_000}}), "without the header"),
        (raw([]), "not a JSON object"),
        (raw({}), "without the header"),
        (raw({"__metadata__": {"other": "{}"}}), "without the header"),
        (raw({"__metadata__": {"toy": "{"}}), "without the header"),
        (raw({"__metadata__": {"toy": "[]"}}), "not a JSON object"),
        (raw({"__metadata__": {"toy": '{"format": 4}'}}), "format 4; this version reads 3"),
        (raw({"__metadata__": {"toy": '{"format": 3}'}}), "lacks names"),
        (raw(META | {"x": entry([3], 0, 4)}) + bytes(4), "`x` has not the bytes of its shape"),
        (raw(META | {"x": entry([-1, -4], 0, 4)}) + bytes(4), "`x` lies elsewhere"),
        (raw(META | {"x": entry([4], 1, 5)}) + bytes(5), "`x` lies elsewhere"),
        (raw(META | {"x": entry([4], 0, 4), "y": entry([4], 2, 6)}) + bytes(6), "`y` lies"),
        (raw(META | {"x": entry([2**50], 0, 2**50)}) + bytes(4), "truncated"),
        (raw(META | {"x": entry([4.0], 0, 4)}) + bytes(4), "not whole"),
        (raw(META | {"x": [1, 2]}), "table of tensors is damaged"),
        (raw(META | {"x": entry([1] * 33, 0, 1)}) + bytes(1), "`x` has no shape"),
        (raw(META | {"x": entry([0, 2**61], 0, 0)}), "`x` has no shape"),
    ],
)  # fmt: skip
def test_other_and_hostile_files(tmp_path: Path, data: bytes, fact: str) -> None:
    path = tmp_path / "a.toy"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"a.toy: not a valid toy file \(.*{fact}.*make it again"):
        TensorFile(path, TOY)


def test_types_that_numpy_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "a.toy"
    table = {"x": entry([2], 0, 4, "BF16"), "y": entry([2], 4, 5, "F4")}
    path.write_bytes(raw(META | table) + bytes(5))
    file = TensorFile(path, TOY)
    assert file.tensors["x"].shape == (2,)
    for key, code in (("x", "BF16"), ("y", "F4")):
        with pytest.raises(InputError, match=f"`{key}` is {code}"):
            file.read(key)
    with pytest.raises(InputError, match="it holds x, y, but no `z`"):
        file.read("z")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_file_and_a_folder(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.toy")
    with pytest.raises(InputError, match="a.toy: .*cannot be read: .*make it again") as caught:
        TensorFile(tmp_path / "a.toy", TOY)
    assert isinstance(caught.value.__cause__, OSError)
