"""PyTorch tensors inside pickles, read without PyTorch: each becomes a numpy array.

A pickled tensor holds its storage as bytes in PyTorch's older file format: three pickles of
preliminaries, one of the storage, one of the keys, then a count and the numbers. Inside are pickles
again, so these go through the restricted unpickler too.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fusion.exchange.formats.restricted_pickle import Maker, RestrictedUnpickler, load_pickle

_PRELIMINARIES = 3
# Texts, not dtypes: a pickle could alter those.
_NUMBERS = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}


class _Promise(NamedTuple):
    """What the pickle says of a storage, before its numbers are read."""

    dtype: np.dtype
    length: int


def load_tensors(data: bytes, *, path: Path) -> Any:
    """As `restricted_pickle.load`, and tensors of plain numbers come as numpy arrays.

    Raises:
        InputError: the pickle wants anything else (named, and not run), or is malformed.
    """
    stand_ins = {
        "torch.storage._load_from_bytes": Maker(lambda raw: _storage(raw, path)),
        "torch._utils._rebuild_tensor_v2": Maker(_tensor),
        "collections.OrderedDict": Maker(dict),  # of hooks: always empty
    }
    return load_pickle(data, path=path, stand_ins=stand_ins)


class _StorageUnpickler(RestrictedUnpickler):
    def persistent_load(self, pid: Any) -> _Promise:
        """Take ("storage", type, key, device, count, ...): where it lay does not matter."""
        kind, numbers, _, _, count = pid[:5]
        if kind != "storage" or numbers not in _NUMBERS.values() or not isinstance(count, int):
            raise pickle.UnpicklingError("a tensor whose storage is not described as one")
        return _Promise(np.dtype(numbers), count)


def _storage(raw: bytes, path: Path) -> np.ndarray:
    """The numbers of a storage, (count,)."""
    stream = io.BytesIO(raw)
    for _ in range(_PRELIMINARIES):
        RestrictedUnpickler(stream, path, {}).load()
    promise = _StorageUnpickler(stream, path, _NUMBERS).load()
    RestrictedUnpickler(stream, path, {}).load()
    count = int.from_bytes(stream.read(8), "little")
    numbers = stream.read()
    if not isinstance(promise, _Promise) or count != promise.length:
        raise pickle.UnpicklingError("a tensor whose storage has another length than it says")
    if len(numbers) != count * promise.dtype.itemsize:
        raise pickle.UnpicklingError("a tensor whose storage is cut short")
    return np.frombuffer(numbers, promise.dtype)


def _tensor(
    storage: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> np.ndarray:
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    inside = offset >= 0 and min((*size, *stride), default=0) >= 0 and last < len(storage)
    if math.prod(size) > len(storage) or (math.prod(size) > 0 and not inside):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
