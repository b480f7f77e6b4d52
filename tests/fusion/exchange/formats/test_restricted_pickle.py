from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fusion.exchange.formats.restricted_pickle import load_pickle, load_tensors
from twostream_base.errors import InputError

PATH = Path("scores.pkl")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
PLAIN_TYPES = ["?", "i1", "u1", ">i2", "<u4", "<i8", "<f2", ">f4", "<f8"]


class Runs:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_of_every_protocol(protocol: int) -> None:
    value = {"a": [1, -2.5, True, None], "b": ("é", b"\x00\xff"), "c": {3: 10**30}}
    assert load_pickle(pickle.dumps(value, protocol), path=PATH) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(
    array=st.sampled_from(PLAIN_TYPES).flatmap(lambda t: arrays(np.dtype(t), array_shapes())),
    transposed=st.booleans(),
)
def test_arrays_of_every_plain_type(protocol: int, array: np.ndarray, transposed: bool) -> None:
    array = array.T if transposed else array
    loaded = load_pickle(pickle.dumps([array, array], protocol), path=PATH)
    for copy in loaded:
        np.testing.assert_array_equal(np.asarray(copy), array, strict=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_and_arrays_of_objects(protocol: int) -> None:
    rows = np.empty((2, 2), dtype=object)
    rows[0] = [np.arange(3.0), np.int64(7)]
    rows[1] = [[np.ones(2)], np.float32(0.5)]
    loaded = np.asarray(load_pickle(pickle.dumps(rows, protocol), path=PATH))
    np.testing.assert_array_equal(np.asarray(loaded[0, 0]), [0, 1, 2])
    np.testing.assert_array_equal(np.asarray(loaded[1, 0]), [[1, 1]])
    assert loaded[:, 1].tolist() == [7, 0.5]


def test_a_python_2_pickle_with_old_numpy_names() -> None:
    data = (
        b"\x80\x02}U\x01vcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00"
        b"\xc0tbs."
    )
    assert np.asarray(load_pickle(data, path=PATH)["v"]).tolist() == [1, -2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "builtins.exec"])
def test_nothing_in_a_pickle_runs(tmp_path: Path, protocol: int, function: str) -> None:
    import os

    marker = tmp_path / "marker"
    call = {
        "os.system": Runs(os.system, f"touch {marker}"),
        "builtins.eval": Runs(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.exec": Runs(exec, f"open({str(marker)!r}, 'w')"),
    }[function]
    for value in (call, {"video": call}, [np.zeros(3), [call]], {"a": np.array([call, None])}):
        with pytest.raises(InputError, match=r"^scores.pkl: the pickle asks for \S+; .*not run$"):
            load_pickle(pickle.dumps(value, protocol), path=PATH)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [complex(1, 2), Path("a"), np.zeros(2, "S3"), np.zeros(2, "M8[s]"), range(3),
     np.zeros(2, [("a", "f4"), ("b", "O")]), np.ma.masked_array([1.0, 2.0])],
)  # fmt: skip
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="^scores.pkl: "):
        load_pickle(pickle.dumps(value), path=PATH)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        pickle.dumps({"a": 1.0})[:-3],
        b"\x80\x02]r\xff\xff\xff\xff.",  # a memo number of 4 thousand million
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # as many bytes as there are
        b"\x80\x02cnumpy\ndtype\n}b.",  # alters a function
        b"\x80\x02cnumpy\ndtype\nN}U\x08__call__K\x01s\x86b.",
        b"\x80\x02cnumpy\nndarray\n)R.",  # calls what is only an argument
        b"\x80\x02cnumpy\nndarray\n)\x81.",
        b"\x80\x02U\x01aQ.",  # a persistent id
    ],
)
def test_malformed_pickles(data: bytes) -> None:
    with pytest.raises(InputError, match="^scores.pkl: not a pickle that can be read: "):
        load_pickle(data, path=PATH)


def laughs(levels: int) -> list[object]:
    """Ten lists, each of ten times the one before: few bytes, 10**levels numbers."""
    value: list[object] = [1.0]
    for _ in range(levels):
        value = [value] * 10
    return value


HOSTILE = {
    "tuples nested deeper than 32": b"\x80\x02}N" + b"\x85" * 300_000 + b"Ns.",
    # The class of OBJ stands above its mark: what is below keeps its depth.
    "nested deeper than 32 levels": b"\x80\x02N)"
    + b"\x85" * 30
    + b"(cnumpy\ndtype\nX\x02\x00\x00\x00f8o0"
    + b"\x85" * 5
    + b".",
    "it is nested deeper than 32": b"\x80\x02" + b"]" * 50 + b"a" * 49 + b".",
    "nested deeper": b"\x80\x02]q\x00h\x00a.",  # a list within itself
    "more items than there are bytes": pickle.dumps(laughs(10)),
    "more than it has put on the stack": b"\x80\x02R.",
}


@pytest.mark.parametrize("message", HOSTILE)
def test_depth_and_extent_are_bounded(message: str) -> None:
    with pytest.raises(InputError, match=f"^scores.pkl: .*{message}"):
        load_pickle(HOSTILE[message], path=PATH)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_honest_pickles_hold_is_within_the_bounds(protocol: int) -> None:
    labels = np.array([3] * 20_000, dtype=object)
    shared = np.zeros(400, np.float32)
    honest = [labels, [None] * 20_000, [()] * 1_000, {"a": [[0, 1]] * 500}, [shared, shared]]
    loaded = load_pickle(pickle.dumps(honest, protocol), path=PATH)
    assert np.asarray(loaded[0]).tolist() == [3] * 20_000
    assert loaded[1:4] == honest[1:4]


def test_an_object_array_must_be_given_its_objects() -> None:
    honest = pickle.dumps(np.array([None, 1], dtype=object), 2)
    loose = honest.replace(b"]q\x11(NK\x01e", b"U\x10" + b"A" * 16)
    assert loose != honest
    with pytest.raises(InputError, match="items do not fill its shape"):
        load_pickle(loose, path=PATH)


def test_an_array_must_fill_its_shape() -> None:
    short = pickle.dumps(np.zeros(3, "f4"), 3).replace(b"K\x03\x85", b"K\x09\x85")
    with pytest.raises(InputError, match="cannot reshape"):
        load_pickle(short, path=PATH)


@given(data=st.binary(max_size=60).map(lambda tail: b"\x80\x02" + tail))
def test_any_bytes_give_data_or_an_input_error(data: bytes) -> None:
    with contextlib.suppress(InputError):
        load_pickle(data, path=PATH)


PATH_TENSOR = Path("preds.pkl")
TYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool]  # fmt: skip
TENSOR = pickle.dumps(torch.arange(12.0).reshape(3, 4), 2)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_tensors_of_every_plain_type_and_layout(dtype: torch.dtype, protocol: int) -> None:
    tensor = torch.arange(24).reshape(2, 3, 4).to(dtype)
    for view in (tensor, tensor.permute(2, 0, 1), tensor[1:, ::2], tensor[0, 0, 0], tensor[:0]):
        loaded = load_tensors(pickle.dumps([view], protocol), path=PATH_TENSOR)[0]
        np.testing.assert_array_equal(loaded, view.numpy(), strict=True)


def test_other_tensors_are_refused() -> None:
    for tensor in (torch.zeros(2, dtype=torch.complex64), torch.nn.Parameter(torch.zeros(2))):
        with pytest.raises(InputError, match=r"^preds.pkl: the pickle asks for torch\."):
            load_tensors(pickle.dumps(tensor), path=PATH_TENSOR)


def test_a_pickle_inside_the_storage_runs_nothing(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    class Storage:
        def __reduce__(self) -> tuple[object, tuple[bytes]]:
            return torch.storage._load_from_bytes, (pickle.dumps(Runs()),)

    with pytest.raises(InputError, match=r"the pickle asks for \w+.system"):
        load_tensors(pickle.dumps(Storage()), path=PATH_TENSOR)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"K\x03K\x04\x86", b"K\x03K\x09\x86", "reaches beyond its storage"),
        (b"K\x04K\x01\x86", b"K\x06K\x01\x86", "reaches beyond its storage"),
        (b"K\x03K\x04\x86", b"K\xffK\xff\x86", "reaches beyond its storage"),
    ],
)
def test_a_tensor_stays_inside_its_storage(old: bytes, new: bytes, message: str) -> None:
    assert TENSOR.count(old) == 1
    with pytest.raises(InputError, match=message):
        load_tensors(TENSOR.replace(old, new), path=PATH_TENSOR)


@given(place=st.integers(0, len(TENSOR) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_data_or_an_input_error(place: int, bit: int) -> None:
    damaged = bytearray(TENSOR)
    damaged[place] ^= 1 << bit
    with contextlib.suppress(InputError):
        load_tensors(bytes(damaged), path=PATH_TENSOR)
