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

from fusion.exchange.formats.pickled_tensors import load_tensors
from twostream_base.errors import InputError

PATH = Path("preds.pkl")
TYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool]  # fmt: skip
TENSOR = pickle.dumps(torch.arange(12.0).reshape(3, 4), 2)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_tensors_of_every_plain_type_and_layout(dtype: torch.dtype, protocol: int) -> None:
    tensor = torch.arange(24).reshape(2, 3, 4).to(dtype)
    for view in (tensor, tensor.permute(2, 0, 1), tensor[1:, ::2], tensor[0, 0, 0], tensor[:0]):
        loaded = load_tensors(pickle.dumps([view], protocol), path=PATH)[0]
        np.testing.assert_array_equal(loaded, view.numpy(), strict=True)


def test_other_tensors_are_refused() -> None:
    for tensor in (torch.zeros(2, dtype=torch.complex64), torch.nn.Parameter(torch.zeros(2))):
        with pytest.raises(InputError, match=r"^preds.pkl: the pickle asks for torch\."):
            load_tensors(pickle.dumps(tensor), path=PATH)


def test_a_pickle_inside_the_storage_runs_nothing(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    class Storage:
        def __reduce__(self) -> tuple[object, tuple[bytes]]:
            return torch.storage._load_from_bytes, (pickle.dumps(Runs()),)

    with pytest.raises(InputError, match=r"the pickle asks for \w+.system"):
        load_tensors(pickle.dumps(Storage()), path=PATH)
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
        load_tensors(TENSOR.replace(old, new), path=PATH)


@given(place=st.integers(0, len(TENSOR) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_data_or_an_input_error(place: int, bit: int) -> None:
    damaged = bytearray(TENSOR)
    damaged[place] ^= 1 << bit
    with contextlib.suppress(InputError):
        load_tensors(bytes(damaged), path=PATH)
